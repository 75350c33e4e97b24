package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"

	"afina/internal/assistant"
	"afina/internal/door"
	"afina/internal/engine"
)

// completion is a whole answer.
type completion struct {
	head
	Choices []choice    `json:"choices"`
	Usage   usage       `json:"usage"`
	Math    *mathObject `json:"math,omitempty"` // only when asked for
}

// head is what a completion and each of its chunks begin with.
type head struct {
	ID          string `json:"id"` // chatcmpl-…
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"`
}

type choice struct {
	Index    int           `json:"index"`
	Message  answerMessage `json:"message"`
	Logprobs *struct{}     `json:"logprobs"` // null
	Reason   engine.Reason `json:"finish_reason"`
}

type answerMessage struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"` // null
}

type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`

	PromptDetails     promptDetails     `json:"prompt_tokens_details"`
	CompletionDetails completionDetails `json:"completion_tokens_details"`
}

type promptDetails struct {
	Cached int `json:"cached_tokens"`
	Audio  int `json:"audio_tokens"`
}

type completionDetails struct {
	Reasoning int `json:"reasoning_tokens"`
	Audio     int `json:"audio_tokens"`
	Accepted  int `json:"accepted_prediction_tokens"`
	Rejected  int `json:"rejected_prediction_tokens"`
}

func usageOf(u assistant.Usage) usage {
	return usage{Prompt: u.Prompt, Completion: u.Completion, Total: u.Prompt + u.Completion}
}

// completionChunk is a piece of an answer. It must never have a field "error",
// not even null: clients take that for a failure.
type completionChunk struct {
	head
	Choices []chunkChoice `json:"choices"`
	// Usage is absent unless asked for; then null in every chunk but the last.
	Usage any `json:"usage,omitempty"`
	// Math is in a chunk of its own, without choices, behind the answer.
	Math *mathObject `json:"math,omitempty"`
}

type chunkChoice struct {
	Index    int            `json:"index"`
	Delta    chunkDelta     `json:"delta"`
	Logprobs *struct{}      `json:"logprobs"` // null
	Reason   *engine.Reason `json:"finish_reason"`
}

type chunkDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// complete answers POST /v1/chat/completions.
func (s *Server) complete(w http.ResponseWriter, r *http.Request) error {
	var ask completionRequest
	if _, err := s.door.Decode(r, &ask); err != nil {
		return err
	}
	question, err := ask.question(s.Config.Serve)
	if err != nil {
		return err
	}
	r, cancel := door.Within(r, s.Config.HTTP.GenerateTimeout)
	defer cancel()
	a := head{
		ID: "chatcmpl-" + rand.Text(), Created: s.Now().Unix(), Model: ask.Model,
		Fingerprint: "afina-" + s.Build,
	}
	math := s.mathematics(ask.MathCheck, ask.MathVerify)
	if !or(ask.Stream, false) {
		return door.Ended(r, s.completeWhole(w, r, a, question, math))
	}
	withUsage := ask.StreamOptions != nil && or(ask.StreamOptions.IncludeUsage, false)
	return door.Ended(r, s.completeStream(w, r, a, question, withUsage, math))
}

// errUnfinished is an answer that stopped without saying why.
var errUnfinished = errors.New("the answer ended without a reason")

func (s *Server) completeWhole(w http.ResponseWriter, r *http.Request, a head, q assistant.Question, math *checker) error {
	var text strings.Builder
	var last assistant.Delta
	for delta, err := range math.Ask(r.Context(), q) {
		if err != nil {
			return err
		}
		text.WriteString(delta.Text)
		last = delta
	}
	if last.Reason == "" {
		return errUnfinished
	}
	a.Object = "chat.completion"
	s.door.Write(w, http.StatusOK, completion{a,
		[]choice{{Message: answerMessage{Role: "assistant", Content: text.String()}, Reason: last.Reason}},
		usageOf(last.Usage), math.found})
	return nil
}

// piece is a delta, or the error that ended the answer.
type piece struct {
	delta assistant.Delta
	err   error
}

// pieces runs the question beside the caller, who must read until the channel is
// closed; ending ctx makes that soon.
func (s *Server) pieces(ctx context.Context, q assistant.Question, a Assistant) <-chan piece {
	out := make(chan piece)
	go func() {
		defer close(out)
		defer func() {
			if p := recover(); p != nil {
				s.Log.Error("panic", zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
				out <- piece{err: fmt.Errorf("answering panicked: %v", p)}
			}
		}()
		for delta, err := range a.Ask(ctx, q) {
			out <- piece{delta, err}
			if err != nil {
				return
			}
		}
	}()
	return out
}

// answering writes one answer as chunks.
type answering struct {
	head
	out       *door.Stream
	withUsage bool
	opened    bool
	math      *checker
}

// chunk sends one chunk; before the first goes the one with the role.
func (a *answering) chunk(d chunkDelta, reason *engine.Reason) error {
	if !a.opened {
		a.opened = true
		empty := ""
		if err := a.chunk(chunkDelta{Role: "assistant", Content: &empty}, nil); err != nil {
			return err
		}
	}
	return a.send(completionChunk{head: a.head, Choices: []chunkChoice{{Delta: d, Reason: reason}}})
}

// send sends a chunk that is not the usage.
func (a *answering) send(c completionChunk) error {
	if a.withUsage {
		c.Usage = (*usage)(nil)
	}
	return a.out.Event("", c)
}

// finish sends the reason, the mathematics and the usage if they were asked for,
// and the end.
func (a *answering) finish(d assistant.Delta) error {
	if err := a.chunk(chunkDelta{}, &d.Reason); err != nil {
		return err
	}
	if found := a.math.found; found != nil {
		if err := a.send(completionChunk{head: a.head, Choices: []chunkChoice{}, Math: found}); err != nil {
			return err
		}
	}
	if a.withUsage {
		if err := a.out.Event("", completionChunk{head: a.head, Choices: []chunkChoice{}, Usage: usageOf(d.Usage)}); err != nil {
			return err
		}
	}
	return a.out.Done()
}

// take sends what a delta brings and reports whether it was the last.
func (a *answering) take(d assistant.Delta) (last bool, err error) {
	if d.Text != "" {
		if err := a.chunk(chunkDelta{Content: &d.Text}, nil); err != nil {
			return false, err
		}
	}
	if d.Reason == "" {
		return false, nil
	}
	return true, a.finish(d)
}

// completeStream writes the answer as it comes. An error before its first byte is
// returned; after it, the error is told inside the stream. Who no longer reads
// ends the answer.
func (s *Server) completeStream(w http.ResponseWriter, r *http.Request, h head, q assistant.Question, withUsage bool, math *checker) error {
	ctx, cancel := context.WithCancel(r.Context())
	pieces := s.pieces(ctx, q, math)
	defer func() {
		cancel()
		for range pieces { // the answer has noticed when this ends
		}
	}()
	h.Object = "chat.completion.chunk"
	a := &answering{head: h, out: door.NewStream(w), withUsage: withUsage, math: math}
	tick := time.NewTicker(s.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case p, more := <-pieces:
			if !more {
				p.err = errUnfinished
			}
			if p.err != nil {
				return s.breakOff(w, r, a, p.err)
			}
			last, err := a.take(p.delta)
			if last || err != nil {
				return nil
			}
		case <-tick.C:
			if a.out.Ping() != nil {
				return nil
			}
		}
		tick.Reset(s.KeepAlive)
	}
}

// breakOff ends an answer with an error: as a status if nothing was sent yet,
// else inside the stream.
func (s *Server) breakOff(w http.ResponseWriter, r *http.Request, a *answering, err error) error {
	if !a.out.Begun() {
		return err
	}
	_, e := s.door.Explain(w, r, err)
	_ = a.out.Event("", e) // the client may be gone; there is nobody to tell
	return nil
}
