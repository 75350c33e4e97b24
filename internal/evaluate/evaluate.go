// Package evaluate marks a model on a dataset: held-out loss, perplexity and
// sample answers, base against tuned.
//
// The loss is teacher-forced through the pass that serves, so the marks are of
// what a caller gets. Sums travel with their counts and are divided once.
package evaluate

import (
	"context"
	"fmt"
	"math"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/kernel"
	"afina/internal/model"
)

// Spec says what to mark.
type Spec struct {
	Model         string              // a base or an adapter
	Conversations []chat.Conversation // the whole dataset; the held-out part is split off as training did
	Samples       int                 // questions to answer with the base and with the model
	TestSplit     float64             // the held-out share; 0: mark the whole dataset
	Seed          int64
	MaxLength     int // tokens per conversation; 0: as many as the model was made for
	MaxTokens     int // of a sample answer; 0: 256
	Precision     kernel.Precision
}

// Report is the marks. For a base, the tuned figures are those of the base and
// samples have no tuned answer.
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
	Catalog   assistant.Models     // *catalog.Catalog
	Assistant *assistant.Assistant // answers the samples; may be nil when there are none
	Gang      *kernel.Gang
}

// Run marks; progress is told how far it is, 0 … 1, and may be nil.
func (e *Evaluator) Run(ctx context.Context, s Spec, progress func(done float64)) (Report, error) {
	if err := s.check(); err != nil {
		return Report{}, err
	}
	m, adapter, err := e.Catalog.Resolve(s.Model)
	if err != nil {
		return Report{}, err
	}
	held := s.heldOut()
	laid, err := data.Lay(m, s.Conversations, held, s.length(m))
	if err != nil {
		return Report{}, err
	}
	if laid.Learned == 0 {
		return Report{}, fault.New(fault.Unprocessable,
			"none of the %d held-out conversations has an answer within max_length; raise max_length or test_split", len(held)).
			WithCode("no_trainable_tokens").WithParam("max_length")
	}
	run := &run{gang: e.Gang, m: m, spec: s, told: progress}
	run.plan(laid, adapter, s.Samples, len(held))

	report := Report{
		Model: s.Model, Base: m.Name, Samples: []Sample{},
		Conversations: len(laid.Sequences), Tokens: laid.Learned,
	}
	if report.BaseLoss, err = run.loss(ctx, laid, nil); err != nil {
		return Report{}, err
	}
	report.Loss = report.BaseLoss
	if adapter == nil {
		report.Model = m.Name // as the file spells it
	} else {
		if report.Loss, err = run.loss(ctx, laid, adapter); err != nil {
			return Report{}, err
		}
	}
	report.BasePerplex, report.Perplexity = math.Exp(report.BaseLoss), math.Exp(report.Loss)
	for _, i := range held[:min(s.Samples, len(held))] {
		sample, err := e.sample(ctx, s, m.Name, adapter != nil, s.Conversations[i])
		if err != nil {
			return Report{}, fmt.Errorf("answer the question of conversation %d: %w", i, err)
		}
		report.Samples = append(report.Samples, sample)
		run.did(sampleWork)
	}
	run.finish()
	return report, nil
}

func (s Spec) check() error {
	switch {
	case !(s.TestSplit >= 0 && s.TestSplit < 1):
		return fault.New(fault.Invalid, "test_split is %v; it must be at least 0 and below 1", s.TestSplit).WithParam("test_split")
	case s.Samples < 0:
		return fault.New(fault.Invalid, "samples is %d; it cannot be negative", s.Samples).WithParam("samples")
	case s.MaxLength < 0:
		return fault.New(fault.Invalid, "max_length is %d; it cannot be negative", s.MaxLength).WithParam("max_length")
	case s.MaxTokens < 0:
		return fault.New(fault.Invalid, "max_tokens is %d; it cannot be negative", s.MaxTokens).WithParam("max_tokens")
	}
	return nil
}

// length is the number of tokens at which a conversation is cut.
func (s Spec) length(m *model.Model) int {
	if s.MaxLength == 0 {
		return m.Dims.Context
	}
	return min(s.MaxLength, m.Dims.Context)
}

// heldOut is the indexes of the conversations to mark: the same that training
// with this split and seed kept apart.
func (s Spec) heldOut() []int {
	if s.TestSplit == 0 {
		every := make([]int, len(s.Conversations))
		for i := range every {
			every[i] = i
		}
		return every
	}
	_, test := data.Split(s.Conversations, s.TestSplit, uint64(s.Seed))
	return test
}
