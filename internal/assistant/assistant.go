// Package assistant answers a conversation: template, tokens, engine, text.
// The HTTP API, the terminal chat and the evaluation all ask here.
//
// It knows models by name and text; it does not know how tokens are computed
// (engine) nor who asks. Each base model gets an engine when it is first asked;
// its adapters share it.
package assistant

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/sampling"
)

// Question is a conversation and how to answer it.
type Question struct {
	Model        string // a base or an adapter, by its catalog name
	Conversation chat.Conversation
	Raw          *Raw // in place of Conversation: a text to go on with
	Sampling     sampling.Options
	Limit        int // at most this many new tokens; 0: as many as the context holds
	Stop         []string

	Client   string // who asks: clients get equal shares
	Form     Form   // what the answer has to look like
	Logprobs bool   // tell the probability of each token
	Top      int    // and of so many likeliest ones in its place
}

// Raw is a text to go on with, as tokens or to be made into such; control tokens
// are read by name. Echo puts it before the answer.
type Raw struct {
	Text   string
	Tokens []int32 // unless nil, in place of Text
	Echo   bool
}

// Delta is a piece of the answer, in order.
type Delta struct {
	Text   string
	Tokens []Logprob        // of Text, when they were asked for
	Calls  []chat.CallPiece // what the assistant calls, as it is written
	Usage  Usage
	Reason engine.Reason // set on the last one
}

// ToolCalls is the reason of an answer that ends in calls.
const ToolCalls engine.Reason = "tool_calls"

// Usage counts tokens so far; an end token counts as one. Cached is how many of
// the prompt's were not computed again.
type Usage struct{ Prompt, Completion, Cached int }

// Timing is what an observer is told when an answer ends.
type Timing struct {
	Model         string
	Usage         Usage
	FirstToken    float64 // seconds until the first token; 0 when there was none
	BetweenTokens []float64
	Seconds       float64
	Reason        string // "stop", "length", "canceled", "error"
}

// Options size the assistant.
type Options struct {
	Engine    engine.Options
	Precision kernel.Precision
}

// Models finds models by name; *catalog.Catalog does.
type Models interface {
	// Resolve returns the base and, when name is an adapter's, the adapter.
	Resolve(name string) (*model.Model, *lora.Adapter, error)
}

// Assistant keeps an engine per base model. It is safe for concurrent use.
type Assistant struct {
	Observe func(Timing)                       // may be nil; set before Run
	Pass    func(model string, e engine.Event) // may be nil; set before Run

	models Models
	gang   *kernel.Gang
	opts   Options

	running chan struct{} // closed when Run has begun
	mu      sync.Mutex
	ctx     context.Context // Run's
	ended   bool
	engines map[*model.Model]*engine.Engine
	readers map[*model.Model]*embedder
	work    sync.WaitGroup
	failed  error // what an engine's Run returned
}

// New returns an assistant over the models, usually the catalog's.
func New(models Models, g *kernel.Gang, o Options) *Assistant {
	o.Engine = o.Engine.Fill()
	return &Assistant{
		models: models, gang: g, opts: o,
		running: make(chan struct{}),
		engines: map[*model.Model]*engine.Engine{},
		readers: map[*model.Model]*embedder{},
	}
}

// Run serves until ctx ends, then waits for the engines, which finish the
// answers begun.
func (a *Assistant) Run(ctx context.Context) error {
	a.mu.Lock()
	a.ctx = ctx
	a.mu.Unlock()
	close(a.running)
	<-ctx.Done()
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.work.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

// Load makes a model ready, so that the first question need not wait.
func (a *Assistant) Load(ctx context.Context, name string) error {
	_, _, _, err := a.open(ctx, name)
	return err
}

// open returns the model of that name and its running engine.
func (a *Assistant) open(ctx context.Context, name string) (*model.Model, *lora.Adapter, *engine.Engine, error) {
	select {
	case <-a.running:
	case <-ctx.Done():
		return nil, nil, nil, fault.New(fault.Canceled, "the request was given up: %w", ctx.Err())
	}
	m, adapter, err := a.models.Resolve(name)
	if err != nil {
		return nil, nil, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.engines[m]; ok {
		return m, adapter, e, nil
	}
	if a.ended {
		return nil, nil, nil, fault.New(fault.Busy, "the server is shutting down; try again later").WithCode("shutting_down")
	}
	o := a.opts.Engine
	e := engine.New(forward.New(m, a.gang, a.opts.Precision, o.Slots, o.Context), o)
	if a.Pass != nil {
		e.Observe = func(ev engine.Event) { a.Pass(m.Name, ev) }
	}
	a.engines[m] = e
	a.work.Go(func() { a.run(e, m.Name) })
	return m, adapter, e, nil
}

func (a *Assistant) run(e *engine.Engine, name string) {
	if err := e.Run(a.ctx); err != nil {
		a.mu.Lock()
		a.failed = errors.Join(a.failed, fmt.Errorf("run %s: %w", name, err))
		a.mu.Unlock()
	}
}

// Ask yields the answer as it is written. Text never ends in half a rune, and a
// stop string is never shown in part.
func (a *Assistant) Ask(ctx context.Context, q Question) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		watch := watch{began: time.Now(), timing: Timing{Model: q.Model, Reason: "canceled"}}
		defer func() {
			if a.Observe != nil {
				a.Observe(watch.end())
			}
		}()
		for delta, err := range a.answer(ctx, q, &watch) {
			watch.took(delta, err)
			if !yield(delta, err) {
				return
			}
		}
	}
}

// answer lays the conversation out, asks the engine and turns its tokens into
// text.
func (a *Assistant) answer(ctx context.Context, q Question, w *watch) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		m, request, e, err := a.prepare(ctx, q)
		if err != nil {
			yield(Delta{}, err)
			return
		}
		usage := Usage{Prompt: len(request.Prompt)}
		text := newWriter(m, request.Prompt, q)
		for token, err := range e.Generate(ctx, request) {
			if err != nil {
				yield(Delta{Usage: usage}, err)
				return
			}
			usage.Completion++
			usage.Cached += token.Cached // told on the first only
			w.tick(token.At)
			delta := text.add(token)
			delta.Usage = usage
			if delta.Text == "" && len(delta.Calls) == 0 && delta.Reason == "" {
				continue
			}
			if !yield(delta, nil) || delta.Reason != "" {
				return
			}
		}
	}
}

// prepare turns q into a request to the engine of its model.
func (a *Assistant) prepare(ctx context.Context, q Question) (*model.Model, engine.Request, *engine.Engine, error) {
	var none engine.Request
	if slices.Contains(q.Stop, "") {
		return nil, none, nil, fault.New(fault.Invalid, "stop must not hold an empty string; leave it out").WithParam("stop")
	}
	if len(q.Conversation.Messages) == 0 && q.Raw == nil {
		return nil, none, nil, fault.New(fault.Invalid, "messages is empty; send at least one").WithParam("messages")
	}
	m, adapter, e, err := a.open(ctx, q.Model)
	if err != nil {
		return nil, none, nil, err
	}
	tokens, param, err := lay(m, &q)
	if err != nil {
		return nil, none, nil, err
	}
	if n := len(tokens); n > e.Context() {
		return nil, none, nil, fault.New(fault.Invalid,
			"%s has %d tokens, the context of %q holds %d; shorten it", param, n, q.Model, e.Context()).
			WithCode("context_length_exceeded").WithParam(param)
	}
	for id := range q.Sampling.Bias {
		if int(id) >= m.Tokens.Size {
			return nil, none, nil, fault.New(fault.Invalid, "logit_bias names token %d; the vocabulary of %q has %d", id, q.Model, m.Tokens.Size).
				WithCode("invalid_value").WithParam("logit_bias")
		}
	}
	r := engine.Request{
		Prompt: tokens, Adapter: adapter, Sampling: q.Sampling, Limit: q.Limit,
		Ends:   m.Tokens.Ends,
		Never:  func(id int32) bool { return int(id) >= m.Tokens.Size || m.Tokens.Unused(id) },
		Client: q.Client, Logprobs: q.Logprobs, Top: q.Top,
	}
	form, err := q.Form.grammar(m)
	if err != nil {
		return nil, none, nil, err
	}
	if form != nil {
		r.Constraint = form.Start()
	}
	return m, r, e, nil
}
