// Package client speaks to a running service over HTTP, as any other program
// would: the terminal commands and the demonstration use it.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"afina/internal/jobs"
)

// Client is one service. Fill Base, then call.
type Client struct {
	Base string       // http://host:port
	Key  string       // API key; may be empty
	HTTP *http.Client // nil: http.DefaultClient
}

// Find returns a client of the service that listens at address, or nil when none
// answers there within two seconds.
func Find(ctx context.Context, address, key string) *Client {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	c := &Client{Base: "http://" + net.JoinHostPort(host, port), Key: key}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if c.Call(ctx, http.MethodGet, "/healthz", "", nil, nil) != nil {
		return nil
	}
	return c
}

// envelope is the error body of the service.
type envelope struct {
	Error struct {
		Message string `json:"message"`
		Errors  []struct {
			Line    int    `json:"line"`
			Path    string `json:"path"`
			Message string `json:"message"`
		} `json:"errors"`
	} `json:"error"`
}

// do sends a request; an answer outside 2xx becomes an error that says what the
// service said.
func (c *Client) do(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var e envelope
	if err != nil || json.Unmarshal(b, &e) != nil || e.Error.Message == "" {
		return nil, fmt.Errorf("%s %s: the service answers %s", method, path, resp.Status)
	}
	message := e.Error.Message
	for _, x := range e.Error.Errors {
		at := x.Path
		if x.Line > 0 {
			at = fmt.Sprintf("line %d, %s", x.Line, x.Path)
		}
		message += "\n  " + at + ": " + x.Message
	}
	return nil, errors.New(message)
}

// Call sends body and decodes the JSON answer into v, unless v is nil.
func (c *Client) Call(ctx context.Context, method, path, kind string, body io.Reader, v any) error {
	resp, err := c.do(ctx, method, path, kind, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if v == nil {
		_, err := io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// Post sends v as JSON and decodes the answer into out.
func (c *Client) Post(ctx context.Context, path string, v, out any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Call(ctx, http.MethodPost, path, "application/json", bytes.NewReader(b), out)
}

// Upload sends a dataset file and returns its id.
func (c *Client) Upload(ctx context.Context, file, name string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var answer struct {
		ID string `json:"id"`
	}
	kind := "application/json"
	if ext := strings.ToLower(filepath.Ext(file)); ext == ".jsonl" || ext == ".ndjson" {
		kind = "application/jsonl"
	}
	err = c.Call(ctx, http.MethodPost, "/datasets?name="+url.QueryEscape(name), kind, f, &answer)
	return answer.ID, err
}

// Watch follows a job until it is over: progress is told of every point, and the
// job as it ended is returned.
func (c *Client) Watch(ctx context.Context, id string, progress func(jobs.Progress)) (jobs.Job, error) {
	var job jobs.Job
	err := c.events(ctx, http.MethodGet, "/jobs/"+id+"/events", nil, func(event string, b []byte) (bool, error) {
		if event == "progress" {
			var p jobs.Progress
			if err := json.Unmarshal(b, &p); err != nil {
				return false, err
			}
			progress(p)
			return true, nil
		}
		err := json.Unmarshal(b, &job)
		return job.Finished == nil, err
	})
	if err == nil && job.Finished == nil {
		err = errors.New("the service closed the stream before the job was over")
	}
	return job, err
}

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Question is the body of a chat completion.
type Question struct {
	Model       string    `json:"model"`
	Messages    []Message `json:"messages"`
	Temperature *float64  `json:"temperature,omitempty"`
	MaxTokens   int       `json:"max_tokens,omitempty"`
	Seed        *int64    `json:"seed,omitempty"`
	Stream      bool      `json:"stream"`
}

// Chat asks and tells the answer piece by piece; it returns the whole.
func (c *Client) Chat(ctx context.Context, q Question, tell func(text string)) (string, error) {
	q.Stream = true
	var answer strings.Builder
	err := c.events(ctx, http.MethodPost, "/v1/chat/completions", q, func(_ string, b []byte) (bool, error) {
		if string(b) == "[DONE]" {
			return false, nil
		}
		var chunk struct {
			envelope
			Choices []struct {
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
			} `json:"choices"`
		}
		if err := json.Unmarshal(b, &chunk); err != nil {
			return false, err
		}
		if chunk.Error.Message != "" {
			return false, errors.New(chunk.Error.Message)
		}
		for _, x := range chunk.Choices {
			answer.WriteString(x.Delta.Content)
			tell(x.Delta.Content)
		}
		return true, nil
	})
	return answer.String(), err
}

// events calls f with every server-sent event of the answer, until f returns
// false or the stream ends.
func (c *Client) events(ctx context.Context, method, path string, body any, f func(event string, data []byte) (bool, error)) error {
	var send io.Reader
	kind := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send, kind = bytes.NewReader(b), "application/json"
	}
	resp, err := c.do(ctx, method, path, kind, send)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<22)
	event := ""
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "":
			event = ""
		case strings.HasPrefix(line, "event:"):
			event = strings.TrimSpace(line[len("event:"):])
		case strings.HasPrefix(line, "data:"):
			more, err := f(event, []byte(strings.TrimSpace(line[len("data:"):])))
			if err != nil || !more {
				return err
			}
		}
	}
	return lines.Err()
}
