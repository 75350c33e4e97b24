// Package assistant answers a conversation: template, tokens, engine, text.
// The HTTP API, the terminal chat and the evaluation all ask here.
package assistant

import (
	"context"
	"iter"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/kernel"
	"afina/internal/sampling"
)

// Question is a conversation and how to answer it.
type Question struct {
	Model        string // a base or an adapter, by its catalog name
	Conversation chat.Conversation
	Sampling     sampling.Options
	Limit        int // at most this many new tokens; 0: as many as the context holds
	Stop         []string
}

// Delta is a piece of the answer, in order.
type Delta struct {
	Text   string
	Usage  Usage
	Reason engine.Reason // set on the last one
}

// Usage counts tokens so far.
type Usage struct{ Prompt, Completion int }

// Timing is what an observer is told when an answer ends.
type Timing struct {
	Model         string
	Usage         Usage
	FirstToken    float64 // seconds until the first token
	BetweenTokens []float64
	Seconds       float64
	Reason        string // "stop", "length", "canceled", "error"
}

// Options size the assistant.
type Options struct {
	Engine    engine.Options
	Precision kernel.Precision
}

// Assistant keeps an engine per base model. It is safe for concurrent use.
type Assistant struct {
	Observe func(Timing)                       // may be nil; set before Run
	Pass    func(model string, e engine.Event) // may be nil; set before Run
}

// New returns an assistant over the catalog's models.
func New(c *catalog.Catalog, g *kernel.Gang, o Options) *Assistant { panic("sketch") }

// Run serves until ctx ends, then waits for the engines.
func (a *Assistant) Run(ctx context.Context) error { panic("sketch") }

// Ask yields the answer as it is written. Text never ends in half a rune, and a
// stop string is never shown in part.
func (a *Assistant) Ask(ctx context.Context, q Question) iter.Seq2[Delta, error] { panic("sketch") }

// Load makes a model ready, so that the first question need not wait.
func (a *Assistant) Load(ctx context.Context, name string) error { panic("sketch") }
