package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// impatient asks and leaves before an answer can have begun, or just as it does.
func (p *person) impatient(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(p.rng.IntN(30_000))*time.Microsecond, errLeft)
	defer cancel()
	q := p.question()
	q["stream"] = p.rng.IntN(3) > 0
	delete(q, "stream_options")
	resp, err := p.send(ctx, "/v1/chat/completions", q)
	if err == nil {
		resp.Body.Close()
		return errLeft
	}
	if context.Cause(ctx) == errLeft {
		return errLeft
	}
	return err
}

// ask sends a question and reads the whole answer into v.
func (p *person) ask(ctx context.Context, path string, q, v any) error {
	resp, err := p.send(ctx, path, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// whole asks for an answer in one piece.
func (p *person) whole(ctx context.Context) error {
	q := p.question()
	q["stream"], q["n"] = false, 1+p.rng.IntN(2)
	delete(q, "stream_options")
	var a struct {
		Choices []struct {
			Message struct{ Content string }
			Why     string `json:"finish_reason"`
		}
	}
	if err := p.ask(ctx, "/v1/chat/completions", q, &a); err != nil {
		return err
	}
	s := &sheet{choices: make([]written, len(a.Choices))}
	for i, c := range a.Choices {
		s.choices[i].text.WriteString(c.Message.Content)
		s.choices[i].reason = c.Why
	}
	if len(a.Choices) != q["n"] {
		return fmt.Errorf("%d choices of %d", len(a.Choices), q["n"])
	}
	if err := s.check(); err != nil {
		return err
	}
	if len(a.Choices) == 1 {
		delete(q, "n") // the same as without
	}
	return p.keep(q, s)
}

// schema asks for JSON of a form.
func (p *person) schema(ctx context.Context) error {
	q := p.question()
	q["stream"] = false
	delete(q, "stream_options")
	q["max_tokens"] = 60
	q["response_format"] = json.RawMessage(`{"type":"json_schema","json_schema":{"name":"reply","strict":true,"schema":{"type":"object",
		"properties":{"reply":{"type":"string","enum":["sí","no","tal vez"]},"sure":{"type":"boolean"},"steps":{"type":"array","maxItems":2,"items":{"type":"string","enum":["a","b"]}}},
		"required":["reply","sure","steps"],"additionalProperties":false}}}`)
	var a struct {
		Choices []struct {
			Message struct{ Content string }
			Why     string `json:"finish_reason"`
		}
	}
	if err := p.ask(ctx, "/v1/chat/completions", q, &a); err != nil || a.Choices[0].Why == "length" { // blanks may take all there is room for
		return err
	}
	var form struct {
		Reply *string
		Sure  *bool
		Steps *[]string
	}
	dec := json.NewDecoder(strings.NewReader(a.Choices[0].Message.Content))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&form); err != nil || form.Reply == nil || form.Sure == nil || form.Steps == nil {
		return fmt.Errorf("%q is not of the schema: %v", a.Choices[0].Message.Content, err)
	}
	return nil
}

// text asks for the continuation of a text.
func (p *person) text(ctx context.Context) error {
	var a struct{ Choices []struct{ Text string } }
	q := map[string]any{"model": pick(p.rng, p.models...), "prompt": pick(p.rng, questions...), "max_tokens": 16, "echo": true}
	if err := p.ask(ctx, "/v1/completions", q, &a); err != nil {
		return err
	}
	if len(a.Choices) != 1 || !strings.HasPrefix(a.Choices[0].Text, q["prompt"].(string)) {
		return fmt.Errorf("%+v does not go on with %q", a, q["prompt"])
	}
	return nil
}

// ofJob asks the model as it is in the middle of the job.
func (p *person) ofJob(ctx context.Context) error {
	q := p.question()
	q["model"] = p.live
	return p.stream(ctx, q, reading{})
}

// mistakes are requests that must be refused, and how.
var mistakes = []struct {
	method, path, kind, body string
	status                   int
	code                     string
}{
	{"POST", "/v1/chat/completions", "application/json", `{"model":"nobody","messages":[{"role":"user","content":"x"}]}`, 404, "model_not_found"},
	{"POST", "/v1/chat/completions", "application/json", `{"model":"MODEL","messages":[{"role":"user"`, 400, ""},
	{"POST", "/v1/chat/completions", "application/json", `{"model":"MODEL","messages":[]}`, 400, ""},
	{"POST", "/v1/chat/completions", "application/json", `{"model":"MODEL","messages":[{"role":"user","content":"x"}],"temperature":3}`, 400, "invalid_value"},
	{"POST", "/v1/chat/completions", "application/json", `{"model":"MODEL","messages":[{"role":"user","content":"x"}],"n":129}`, 400, "invalid_value"},
	{"POST", "/v1/chat/completions", "application/json", `{"model":"MODEL","messages":[{"role":"user","content":"x"}],"stream_options":{"include_usage":true}}`, 400, "invalid_value"},
	{"POST", "/v1/chat/completions", "application/json", `{"model":"MODEL","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`, 400, ""},
	{"POST", "/v1/chat/completions", "application/json", `{"model":"MODEL","messages":[{"role":"user","content":"LONG"}],"stream":true}`, 400, "context_length_exceeded"},
	{"POST", "/v1/chat/completions", "text/plain", `x`, 415, ""},
	{"GET", "/v1/chat/completions", "", "", 405, "method_not_allowed"},
	{"GET", "/v1/nothing", "", "", 404, "route_not_found"},
	{"GET", "/jobs/job_nobody", "", "", 404, "job_not_found"},
	{"GET", "/v1/files?after=file-nothing", "", "", 400, ""},
	{"POST", "/datasets", "application/json", `[{"messages":[{"role":"user"}]}]`, 422, ""},
	{"POST", "/v1/fine_tuning/jobs", "application/json", `{"model":"MODEL","training_file":"file-nothing"}`, 400, ""},
}

// wrong makes a mistake.
func (p *person) wrong(ctx context.Context) error {
	m := pick(p.rng, mistakes...)
	body := strings.NewReplacer("MODEL", pick(p.rng, p.models...), "LONG", strings.Repeat("palabra ", 6000)).Replace(m.body)
	resp, err := p.call(ctx, m.method, m.path, m.kind, strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := envelopeOf(resp)
	if err != nil {
		return err
	}
	if resp.StatusCode != m.status || m.code != "" && (f.Code == nil || *f.Code != m.code) {
		return fmt.Errorf("%s %s %.80s: status %d, want %d %s: %s", m.method, m.path, m.body, resp.StatusCode, m.status, m.code, *f.Message)
	}
	return nil
}

// half begins a request and leaves.
func (p *person) half(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	whole := "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + p.key +
		"\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"model\":"
	if _, err := io.WriteString(conn, whole[:1+p.rng.IntN(len(whole)-1)]); err != nil {
		return err
	}
	pause(ctx, time.Duration(p.rng.IntN(1500))*time.Millisecond)
	return errLeft
}

// get reads a list, which must hold a text.
func (p *person) get(ctx context.Context, path, has string) error {
	resp, err := p.call(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !json.Valid(text) || !strings.Contains(string(text), has) {
		return fmt.Errorf("GET %s: status %d, %.200s", path, resp.StatusCode, text)
	}
	return nil
}

// small asks for what needs no answer written.
func (p *person) small(ctx context.Context) error {
	model, text := pick(p.rng, p.models...), pick(p.rng, questions...)
	var a struct {
		Data   []struct{ Embedding []float64 }
		Tokens []int
	}
	if p.rng.IntN(2) == 0 {
		err := p.ask(ctx, "/tokenize", map[string]any{"model": model, "content": text}, &a)
		if err == nil && len(a.Tokens) == 0 {
			err = errors.New("no tokens")
		}
		return err
	}
	err := p.ask(ctx, "/v1/embeddings", map[string]any{"model": model, "input": []string{text, "otro texto"}, "encoding_format": "float"}, &a)
	if err == nil && (len(a.Data) != 2 || len(a.Data[0].Embedding) == 0) {
		err = fmt.Errorf("%d embeddings", len(a.Data))
	}
	return err
}

// watch follows the events of the job for a while.
func (p *person) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(200+p.rng.IntN(4000))*time.Millisecond, errLeft)
	defer cancel()
	resp, err := p.call(ctx, http.MethodGet, "/jobs/"+p.job+"/events", "", nil)
	if err == nil {
		defer resp.Body.Close()
		for lines := bufio.NewReader(resp.Body); err == nil; {
			var data string
			if data, err = event(lines); err == nil && !json.Valid([]byte(data)) {
				return fmt.Errorf("an event %q", data)
			}
		}
	}
	if context.Cause(ctx) == errLeft {
		return errLeft
	}
	return err
}
