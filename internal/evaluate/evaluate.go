// Package evaluate marks a model on a dataset: held-out loss, perplexity and
// sample answers, base against tuned.
package evaluate

import (
	"context"

	"afina/internal/assistant"
	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/kernel"
)

// Spec says what to mark.
type Spec struct {
	Model         string              // a base or an adapter
	Conversations []chat.Conversation // the whole dataset; Split picks the held-out part as training did
	Samples       int                 // questions to answer with the base and with the model
	TestSplit     float64
	Seed          int64
	MaxLength     int
	MaxTokens     int // of a sample answer
	Precision     kernel.Precision
}

// Report is the marks.
type Report struct {
	Model         string   `json:"model"`
	Base          string   `json:"base"`
	Conversations int      `json:"conversations"`
	Tokens        int      `json:"tokens"` // tokens with a loss
	Loss          float64  `json:"loss"`
	Perplexity    float64  `json:"perplexity"`
	BaseLoss      float64  `json:"base_loss"`
	BasePerplex   float64  `json:"base_perplexity"`
	Samples       []Sample `json:"samples"`
}

// Sample is one held-out question and its answers.
type Sample struct {
	Question  string `json:"question"`
	Reference string `json:"reference"`
	Base      string `json:"base"`
	Tuned     string `json:"tuned"`
}

// Evaluator runs specs.
type Evaluator struct {
	Catalog   *catalog.Catalog
	Assistant *assistant.Assistant
	Gang      *kernel.Gang
}

// Run marks; progress is told how far it is, 0 … 1.
func (e *Evaluator) Run(ctx context.Context, s Spec, progress func(done float64)) (Report, error) {
	panic("sketch")
}
