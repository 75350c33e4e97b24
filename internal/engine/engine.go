// Package engine generates tokens for many requests at once. It knows token
// ids, not text.
//
// One loop, Run, owns the pass. Every turn it takes the next token of each answer
// being written (or several, when what comes next may be known) and a share of
// each prompt being read, runs them as one batch, draws the next tokens and hands
// them over; between turns it admits who waits and lets go of who left. Answers
// are buffered per request, so a slow reader delays nobody.
//
// Keys and values lie in pages. What was computed stays in a tree of beginnings
// until its memory is needed, so that a system prompt or the turns before are not
// computed twice. When memory ends, who came last is put back to the front of the
// queue and goes on later.
//
// Invariant: an answer depends on its request alone, token for token, not on who
// is answered beside it, what was remembered, guessed or put back.
package engine

import (
	"context"
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"afina/internal/fault"
	"afina/internal/forward"
	"afina/internal/lora"
	"afina/internal/sampling"
)

// Request is a prompt and how to continue it.
type Request struct {
	Prompt   []int32
	Adapter  *lora.Adapter
	Sampling sampling.Options
	Limit    int                 // at most this many new tokens; 0: as many as the context holds
	Ends     []int32             // tokens that end the turn
	Never    func(id int32) bool // tokens that must not be drawn; may be nil

	// Client says who asks: clients share the engine evenly, however many requests
	// each has. All requests without one are one client.
	Client string

	// Logprobs asks for Token.Logprob, and Top (0 to MaxTop) for that many of
	// Token.Top.
	Logprobs bool
	Top      int

	// Constraint restricts what may be drawn; it may be nil and serves one request.
	Constraint Constraint
}

// MaxTop is how many alternatives to a token can be asked for.
const MaxTop = 20

// Constraint restricts the tokens of one answer: a grammar. The engine calls
// Mask before a token is drawn and Accept after it, in turns, never both at once,
// on goroutines of its own; both must be quick, for the whole batch waits.
type Constraint interface {
	// Mask sets the bits of the tokens that may come next, id%64 of word id/64.
	// allowed covers the vocabulary and is all zero. It returns false when every
	// token may come; allowed is not read then. The tokens that end the turn
	// (Request.Ends) are tokens like any other: without their bits the answer goes
	// on. No bit at all fails the request.
	Mask(allowed []uint64) bool

	// Accept tells what was drawn. An error fails the request.
	Accept(id int32) error
}

// Token is one generated token. The last one carries the Reason; when the
// reason is Stop its ID is the end token itself.
type Token struct {
	ID     int32
	Reason Reason
	At     time.Time // when it was drawn
	Cached int       // on the first token: how much of the prompt was not computed again

	// With Request.Logprobs: the natural logarithm of the probability that the model
	// gives the token, before temperature, cuts, penalties, bias and constraint, and
	// the likeliest tokens, likeliest first. Tokens that must never be drawn have
	// no part in it.
	Logprob float32
	Top     []sampling.Scored
}

// Reason says why generation ended.
type Reason string

// The reasons.
const (
	Stop   Reason = "stop"
	Length Reason = "length" // the request's Limit, or the end of the context
)

// Options size an engine. Zero fields take defaults.
type Options struct {
	Slots   int   // sequences that run at once
	Context int   // tokens per sequence
	Queue   int   // requests that may wait
	Chunk   int   // prompt tokens per pass
	Memory  int64 // bytes of keys and values, of those who run and remembered; at least one context's
	Unread  int   // tokens that a reader may leave unread before the rest is given up
	Lookup  int   // tokens guessed ahead at most, when it pays; below 0: none
}

// Defaults are the options of the service.
func Defaults() Options {
	return Options{Slots: 32, Context: 4096, Queue: 128, Chunk: 256, Memory: 1 << 30, Unread: 1024, Lookup: 8}
}

// Fill returns o with defaults in its zero fields.
func (o Options) Fill() Options {
	d := Defaults()
	fill := func(v *int, def int) {
		if *v == 0 || *v < 0 && v != &o.Lookup {
			*v = def
		}
	}
	fill(&o.Slots, d.Slots)
	fill(&o.Context, d.Context)
	fill(&o.Queue, d.Queue)
	fill(&o.Chunk, d.Chunk)
	fill(&o.Unread, d.Unread)
	fill(&o.Lookup, d.Lookup)
	if o.Memory <= 0 {
		o.Memory = d.Memory
	}
	return o
}

// Event is what an observer is told after each pass, and, without a pass, when
// nobody is left to run for.
type Event struct {
	Prompt, Generated int   // tokens of this pass
	Running, Waiting  int   // requests
	Bytes             int64 // of keys and values
	Held, Remembered  int   // pages that only running requests hold; pages in the tree
	Seconds           float64
}

// Engine runs one model. Start Run once; Generate from any goroutine.
type Engine struct {
	pass    *forward.Pass
	opts    Options
	Observe func(Event) // may be nil; set before Run; called by the loop, so it must be quick

	mu      sync.Mutex
	queue   queue
	running int
	numbers uint64 // requests that have come
	closed  bool
	wake    chan struct{} // holds a token when the queue has changed
	lastEnd time.Time     // when a request last ended
	between float64       // seconds between two such ends, lately

	// The rest is the loop's own.
	tree    *tree
	pages   int // that keys and values may take
	slots   []slot
	rows    []forward.Row
	reading []int // slots that read a prompt, in the order of their turn
	asking  []int // slots that draw
	turn    int   // number of passes run
	idle    bool  // the observer knows that nobody runs
	cost    cost
}

// New returns an engine over pass, which also bounds its slots and context.
func New(pass *forward.Pass, o Options) *Engine {
	o = o.Fill()
	o.Slots = min(o.Slots, pass.Slots())
	o.Context = min(o.Context, pass.Context())
	return &Engine{
		pass: pass, opts: o, wake: make(chan struct{}, 1), slots: make([]slot, o.Slots), tree: newTree(pass), idle: true,
		// One more than a context has: its last page may be shared, and is copied then.
		pages: max(int(o.Memory/pass.PageBytes()), pagesFor(o.Context)+1),
	}
}

// Context is how many tokens a prompt and its answer may have together.
func (e *Engine) Context() int { return e.opts.Context }

// Generate queues r and yields its tokens. Leaving the loop early, or ending
// ctx, frees its slot within one token. A full queue is fault.Busy.
func (e *Engine) Generate(ctx context.Context, r Request) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		q, err := e.submit(ctx, r)
		if err != nil {
			yield(Token{}, err)
			return
		}
		defer e.leave(q)
		for {
			token, err := q.out.next(ctx)
			if !yield(token, err) || err != nil || token.Reason != "" {
				return
			}
		}
	}
}

// submit checks r and puts it into the queue.
func (e *Engine) submit(ctx context.Context, r Request) (*request, error) {
	if err := ctx.Err(); err != nil {
		return nil, canceled(err)
	}
	if err := e.check(r); err != nil {
		return nil, err
	}
	q := &request{
		ctx: ctx, adapter: r.Adapter, ends: r.Ends,
		tokens: slices.Clone(r.Prompt), prompt: len(r.Prompt),
		sampler: sampling.New(r.Sampling),
		client:  r.Client, logprobs: r.Logprobs, top: r.Top, constraint: r.Constraint,
		out: stream{ready: make(chan struct{}, 1), limit: e.opts.Unread},
	}
	// The last token drawn need not be run, so it may lie past the context.
	q.limit = e.opts.Context - len(r.Prompt) + 1
	if r.Limit > 0 {
		q.limit = min(q.limit, r.Limit)
	}
	if r.Never != nil {
		for id := range int32(e.pass.Vocab()) {
			if r.Never(id) {
				q.never = append(q.never, id)
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return nil, shuttingDown()
	case e.queue.length+e.running >= e.opts.Slots+e.opts.Queue:
		return nil, fault.New(fault.Busy, "%d requests are being answered and %d wait; try again later",
			e.running, e.queue.length).WithCode("overloaded").WithRetry(e.retry())
	}
	e.numbers++
	q.number = e.numbers
	e.queue.push(q, false)
	e.rouse()
	return q, nil
}

// retry is after what time a quarter of the queue will be gone, as requests ended
// lately: 1 s to 1 minute.
func (e *Engine) retry() time.Duration {
	seconds := e.between * float64(1+e.queue.length/4)
	return time.Duration(min(60, max(1, math.Ceil(seconds)))) * time.Second
}

func (e *Engine) check(r Request) error {
	switch n := len(r.Prompt); {
	case n == 0:
		return fault.New(fault.Invalid, "the prompt is empty")
	case n > e.opts.Context:
		return fault.New(fault.Invalid, "the prompt has %d tokens, the context holds %d", n, e.opts.Context).
			WithCode("context_length_exceeded")
	}
	for i, id := range r.Prompt {
		if id < 0 || int(id) >= e.pass.Vocab() {
			return fault.New(fault.Invalid, "token %d of the prompt is %d, which the vocabulary of %d does not have", i, id, e.pass.Vocab())
		}
	}
	for id := range r.Sampling.Bias {
		if id < 0 || int(id) >= e.pass.Vocab() {
			return fault.New(fault.Invalid, "there is a bias for token %d, which the vocabulary of %d does not have", id, e.pass.Vocab()).
				WithParam("logit_bias")
		}
	}
	if r.Top < 0 || r.Top > MaxTop {
		return fault.New(fault.Invalid, "%d alternatives are asked for, 0 to %d can be told", r.Top, MaxTop).WithParam("top_logprobs")
	}
	return nil
}

// leave takes q out of the queue, or tells the loop that nobody reads it.
func (e *Engine) leave(q *request) {
	q.gone.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue.remove(q)
}

// rouse wakes the loop when it sleeps.
func (e *Engine) rouse() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func canceled(cause error) error {
	return fault.New(fault.Canceled, "the request was given up: %w", cause)
}

func shuttingDown() error {
	return fault.New(fault.Busy, "the server is shutting down; try again later").WithCode("shutting_down")
}
