package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"afina/internal/chat"
	"afina/internal/gguf"
	"afina/internal/tokenizer"
)

// crowd is people who ask a service at the same time, each one question after
// another. All sides are asked by the same code, over HTTP, and stream.
type crowd struct {
	clients, each int
	limit         int // tokens of each answer
	texts         *texts
	ask           func(client int, body map[string]any) // how this side is asked: its model, its adapter
}

// answered is one answer as its client saw it.
type answered struct {
	first, whole   time.Duration // to the first text, to the end
	prompt, tokens int           // as the service counts them
}

// run lets everybody ask. turn sets the questions: equal turns ask the same.
func (c *crowd) run(ctx context.Context, base string, turn uint64) (sample, error) {
	// A connection for each question: llama-server ends those that have streamed.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answers, errs := make([][]answered, c.clients), make([]error, c.clients)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range c.clients {
		wg.Go(func() {
			for k := range c.each {
				a, err := c.one(ctx, client, base, i, turn<<32|uint64(i)<<16|uint64(k))
				if err != nil {
					errs[i] = fmt.Errorf("client %d: %w", i, err)
					return
				}
				answers[i] = append(answers[i], a)
			}
		})
	}
	wg.Wait()
	s := sample{Seconds: time.Since(begin).Seconds()}
	if err := errors.Join(errs...); err != nil {
		return s, err
	}
	var first []float64
	for _, of := range answers {
		for _, a := range of {
			if a.tokens != c.limit || a.prompt != c.texts.length {
				return s, fmt.Errorf("an answer of %d tokens to a prompt of %d; asked were %d to %d", a.tokens, a.prompt, c.limit, c.texts.length)
			}
			s.Tokens += a.tokens
			first = append(first, a.first.Seconds())
		}
	}
	s.Figures = map[string]float64{"ttft_p95": quantile(first, 0.95)}
	return s, nil
}

// one asks one question and reads the answer as it comes.
func (c *crowd) one(ctx context.Context, client *http.Client, base string, who int, seed uint64) (a answered, err error) {
	body := map[string]any{
		"messages": c.texts.question(seed), "max_tokens": c.limit, "seed": seed & 0xffffffff,
		"temperature": 0.3, "top_p": 0.9, "top_k": 40, "min_p": 0,
		"stream": true, "stream_options": map[string]bool{"include_usage": true},
	}
	c.ask(who, body)
	text, err := json.Marshal(body)
	if err != nil {
		return a, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/chat/completions", bytes.NewReader(text))
	if err != nil {
		return a, err
	}
	r.Header.Set("Content-Type", "application/json")
	begin := time.Now()
	answer, err := client.Do(r)
	if err != nil {
		return a, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 300)) // only for the message
		return a, fmt.Errorf("status %d: %s", answer.StatusCode, text)
	}
	err = a.read(answer.Body, begin)
	a.whole = time.Since(begin)
	return a, err
}

// read follows a stream to its end. Between the first text and the usage nothing
// is unpacked, lest the clients take the services' time.
func (a *answered) read(stream io.Reader, begin time.Time) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok || a.first > 0 && !bytes.Contains(data, []byte(`"usage":{`)) {
			continue
		}
		if string(data) == "[DONE]" {
			break
		}
		var chunk struct {
			Error   json.RawMessage
			Choices []struct{ Delta struct{ Content string } }
			Usage   *struct {
				Prompt int `json:"prompt_tokens"`
				Tokens int `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal(data, &chunk); err != nil {
			return fmt.Errorf("a chunk of the stream: %w", err)
		}
		if chunk.Error != nil {
			return fmt.Errorf("the stream broke off: %s", chunk.Error)
		}
		if a.first == 0 && len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != "" {
			a.first = time.Since(begin)
		}
		if chunk.Usage != nil {
			a.prompt, a.tokens = chunk.Usage.Prompt, chunk.Usage.Tokens
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if a.first == 0 {
		return errors.New("the stream held no text")
	}
	return nil
}

// texts are questions of a fixed number of tokens that begin alike in nothing but
// the template's first token or two: what one has been asked helps with no other.
type texts struct {
	words  []string // each one token of its own
	own    int      // words of a question
	length int      // tokens of a question, with the template's
}

// systemWords is how many of a question's words are its system message.
const systemWords = 20

// newTexts draws from the vocabulary of the model at path.
func newTexts(path string, length int) (*texts, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tok, err := tokenizer.FromGGUF(f.Metadata)
	if err != nil {
		return nil, err
	}
	template, err := chat.FromGGUF(f.Metadata, tok)
	if err != nil {
		return nil, err
	}
	t := &texts{length: length}
	for id := range int32(tok.Size) {
		if word := string(tok.Bytes(id)); letters(word) && len(tok.Encode(nil, word+word, false)) == 2 {
			t.words = append(t.words, word)
		}
	}
	if len(t.words) < 1000 {
		return nil, fmt.Errorf("the vocabulary of %s has only %d words", path, len(t.words))
	}
	t.own = 2 * systemWords
	var c chat.Conversation
	for _, m := range t.question(1) {
		c.Messages = append(c.Messages, chat.Message{Role: chat.Role(m["role"]), Content: m["content"]})
	}
	laid, err := template.Lay(tok, c, true)
	if err != nil {
		return nil, err
	}
	if t.own += length - len(laid.Tokens); t.own <= systemWords {
		return nil, fmt.Errorf("the template of %s leaves no room for a question of %d tokens", path, length)
	}
	return t, nil
}

// letters reports whether word is a blank and three or more small letters.
func letters(word string) bool {
	rest, ok := strings.CutPrefix(word, " ")
	return ok && len(rest) >= 3 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz") == ""
}

// question is the messages of one question.
func (t *texts) question(seed uint64) []map[string]string {
	r := random(seed)
	draw := func(n int) string {
		var all strings.Builder
		for range n {
			all.WriteString(t.words[r.next()%uint64(len(t.words))])
		}
		return all.String()
	}
	return []map[string]string{
		{"role": "system", "content": draw(systemWords)},
		{"role": "user", "content": draw(t.own - systemWords)},
	}
}
