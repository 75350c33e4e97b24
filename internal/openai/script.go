package openai

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/door"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/request"
)

// script is one request for answers: its choices, and how to write them down.
type script struct {
	*request.Answers
	head
	echo []string // what stands before each choice; nil: nothing
	form dialect
	math *checker // whom to ask; nil: the assistant
}

// asked is whom the questions go to.
func (q *script) asked(a Assistant) assistant.Asker {
	if q.math != nil {
		return q.math
	}
	return a
}

// found is what is known of the mathematics of the answer; nil unless asked for.
func (q *script) found() *mathObject {
	if q.math == nil {
		return nil
	}
	return q.math.found
}

// dialect writes choices down, as chat or as text.
type dialect interface {
	choice(i int, c *gathered) any
	// opening is the chunk that a choice begins with; nil: none.
	opening(i int) any
	// pieces are the chunks' choices for a delta, the last with its reason.
	pieces(i int, d assistant.Delta) []any
}

// gathered is a choice as it has been written so far.
type gathered struct {
	text   strings.Builder
	tokens []assistant.Logprob
	calls  []chat.Call
	reason engine.Reason
	usage  assistant.Usage
}

func (g *gathered) add(d assistant.Delta) {
	g.text.WriteString(d.Text)
	g.tokens = append(g.tokens, d.Tokens...)
	g.calls, g.reason, g.usage = chat.Gather(g.calls, d.Calls), d.Reason, d.Usage
}

// sum counts a prompt once, however many choices it has, and cached what was
// not computed for the first.
func (q *script) sum(all []*gathered) usage {
	var u assistant.Usage
	for i, g := range all {
		if i%q.Each == 0 {
			u.Prompt += g.usage.Prompt
			u.Cached += g.usage.Cached
		}
		u.Completion += g.usage.Completion
	}
	return usageOf(u)
}

// errUnfinished is an answer that stopped without saying why.
var errUnfinished = errors.New("the answer ended without a reason")

// answer is a whole answer.
type answer struct {
	head
	Choices []any       `json:"choices"`
	Usage   usage       `json:"usage"`
	Math    *mathObject `json:"math,omitempty"` // only when asked for
}

// chunk is a piece of an answer. It must never have a field "error", not even
// null: clients take that for a failure.
type chunk struct {
	head
	Choices []any `json:"choices"`
	// Usage is absent unless asked for; then null in every chunk but the last.
	Usage any `json:"usage,omitempty"`
	// Math is in a chunk of its own, without choices, behind the answer.
	Math *mathObject `json:"math,omitempty"`
}

func (s *Server) whole(w http.ResponseWriter, r *http.Request, q *script) error {
	ctx, cancel := context.WithCancel(r.Context())
	pieces := s.pieces(ctx, q)
	defer func() {
		cancel()
		for range pieces { // the answers have noticed when this ends
		}
	}()
	all := q.blank()
	for p := range pieces {
		if p.err != nil {
			return p.err
		}
		all[p.choice].add(p.delta)
	}
	a := answer{head: q.head}
	for i, g := range all {
		if g.reason == "" {
			return errUnfinished
		}
		a.Choices = append(a.Choices, q.form.choice(i, g))
	}
	a.Usage, a.Math = q.sum(all), q.found()
	s.Door.Write(w, http.StatusOK, a)
	return nil
}

// blank is a choice for each question, with its echo written.
func (q *script) blank() []*gathered {
	all := make([]*gathered, len(q.Questions))
	for i := range all {
		all[i] = &gathered{}
		if q.echo != nil {
			all[i].text.WriteString(q.echo[i])
		}
	}
	return all
}

// piece is a delta of a choice, or the error that ended the answers.
type piece struct {
	choice int
	delta  assistant.Delta
	err    error
}

// pieces asks the questions beside the caller, as many at once as the engine
// takes, who must read until the channel is closed; ending ctx makes that soon.
func (s *Server) pieces(ctx context.Context, q *script) <-chan piece {
	out := make(chan piece)
	var fate atomic.Int32
	var asked sync.WaitGroup
	room := make(chan struct{}, max(1, s.Config.Serve.Slots))
	asked.Go(func() {
		for i, question := range q.Questions {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				out <- piece{i, assistant.Delta{}, ctx.Err()}
				return
			}
			asked.Go(func() {
				defer func() { <-room }()
				s.answer(ctx, i, question, q.asked(s.Assistant), &fate, out)
			})
		}
	})
	go func() { asked.Wait(); close(out) }()
	return out
}

// The fate of a request of several choices: the first of them decides.
const (
	open    = iota
	begun   // one is being written: those for which there is no room wait for it
	refused // there was no room for one, and none was begun
)

// answer sends the pieces of one choice.
func (s *Server) answer(ctx context.Context, i int, q assistant.Question, a assistant.Asker, fate *atomic.Int32, out chan<- piece) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("panic", zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
			out <- piece{i, assistant.Delta{}, fmt.Errorf("answering panicked: %v", p)}
		}
	}()
	for again := true; again; {
		again = false
		for delta, err := range a.Ask(ctx, q) {
			if err == nil && !fate.CompareAndSwap(open, begun) && fate.Load() == refused {
				return
			}
			if noRoom(err) && !fate.CompareAndSwap(open, refused) && fate.Load() == begun {
				again = true
				break
			}
			out <- piece{i, delta, err}
			if err != nil {
				return
			}
		}
		if again {
			select {
			case <-time.After(roomPause):
			case <-ctx.Done(): // the next try says so
			}
		}
	}
}

// roomPause is how long a choice waits for room beside others that have begun.
const roomPause = 100 * time.Millisecond

// noRoom reports whether an engine had no place for a question.
func noRoom(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.Busy && f.Code == "overloaded"
}

// writing writes answers as chunks.
type writing struct {
	*script
	out    *door.Stream
	all    []*gathered
	opened bool
	left   int // choices that are not finished
}

// send sends one chunk of one choice.
func (a *writing) send(choice any) error {
	return a.put(chunk{head: a.head, Choices: []any{choice}})
}

// put sends a chunk that is not the usage.
func (a *writing) put(c chunk) error {
	if a.WithUsage {
		c.Usage = (*usage)(nil)
	}
	return a.out.Event("", c)
}

// open sends what every choice begins with, in order: clients build their lists
// by place.
func (a *writing) open() error {
	if a.opened {
		return nil
	}
	a.opened = true
	for i := range a.Questions {
		if first := a.form.opening(i); first != nil {
			if err := a.send(first); err != nil {
				return err
			}
		}
		if a.echo != nil && a.echo[i] != "" {
			for _, c := range a.form.pieces(i, assistant.Delta{Text: a.echo[i]}) {
				if err := a.send(c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// take sends what a piece brings and reports whether nothing is left to come.
func (a *writing) take(p piece) (last bool, err error) {
	g := a.all[p.choice]
	g.add(p.delta)
	if err := a.open(); err != nil {
		return false, err
	}
	for _, c := range a.form.pieces(p.choice, p.delta) {
		if err := a.send(c); err != nil {
			return false, err
		}
	}
	if p.delta.Reason == "" {
		return false, nil
	}
	if a.left--; a.left > 0 {
		return false, nil
	}
	if found := a.found(); found != nil {
		if err := a.put(chunk{head: a.head, Choices: []any{}, Math: found}); err != nil {
			return false, err
		}
	}
	if a.WithUsage {
		if err := a.out.Event("", chunk{head: a.head, Choices: []any{}, Usage: a.sum(a.all)}); err != nil {
			return false, err
		}
	}
	return true, a.out.Done()
}

// stream writes the answers as they come. An error before its first byte is
// returned; after it, the error is told inside the stream. Who no longer reads
// ends the answers.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, q *script) error {
	ctx, cancel := context.WithCancel(r.Context())
	pieces := s.pieces(ctx, q)
	defer func() {
		cancel()
		for range pieces { // the answers have noticed when this ends
		}
	}()
	a := &writing{script: q, out: door.NewStream(w), all: q.blank(), left: len(q.Questions)}
	tick := time.NewTicker(s.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case p, more := <-pieces:
			if !more {
				p.err = errUnfinished
			}
			if p.err != nil {
				return s.breakOff(w, r, a.out, p.err)
			}
			last, err := a.take(p)
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

// breakOff ends answers with an error: as a status if nothing was sent yet, else
// inside the stream.
func (s *Server) breakOff(w http.ResponseWriter, r *http.Request, out *door.Stream, err error) error {
	if !out.Begun() {
		return err
	}
	_, e := s.Door.Explain(w, r, err)
	_ = out.Event("", e) // the client may be gone; there is nobody to tell
	return nil
}
