// Package engine generates tokens for many requests at once. It knows token
// ids, not text.
package engine

import (
	"context"
	"iter"

	"afina/internal/forward"
	"afina/internal/lora"
	"afina/internal/sampling"
)

// Request is a prompt and how to continue it.
type Request struct {
	Prompt   []int32
	Adapter  *lora.Adapter
	Sampling sampling.Options
	Limit    int                 // at most this many new tokens
	Ends     []int32             // tokens that end the turn
	Never    func(id int32) bool // tokens that must not be drawn; may be nil
}

// Token is one generated token. The last one carries the Reason; when the
// reason is Stop its ID is the end token itself.
type Token struct {
	ID     int32
	Reason Reason
}

// Reason says why generation ended.
type Reason string

// The reasons.
const (
	Stop   Reason = "stop"
	Length Reason = "length"
)

// Options size an engine. Zero fields take defaults.
type Options struct {
	Slots   int // sequences that run at once
	Context int // tokens per sequence
	Queue   int // requests that may wait
	Chunk   int // prompt tokens per pass
}

// Event is what an observer is told after each pass.
type Event struct {
	Prompt, Generated int // tokens of this pass
	Running, Waiting  int // requests
	Seconds           float64
}

// Engine runs one model. Start Run once; Generate from any goroutine.
type Engine struct {
	pass    *forward.Pass
	Observe func(Event) // may be nil; set before Run
}

// New returns an engine over pass.
func New(pass *forward.Pass, o Options) *Engine { panic("sketch") }

// Run owns the pass and loops until ctx ends: admit, run, sample, deliver.
func (e *Engine) Run(ctx context.Context) error { panic("sketch") }

// Generate queues r and yields its tokens. Leaving the loop early, or ending
// ctx, frees its slot within one token. A full queue is fault.Busy.
func (e *Engine) Generate(ctx context.Context, r Request) iter.Seq2[Token, error] { panic("sketch") }
