// Package evaluate marks a model on a dataset: held-out loss and perplexity, and
// what its answers to the held-out questions are worth, base against tuned.
//
// The loss is teacher-forced through the pass that serves, and the answers come
// from the assistant, so the marks are of what a caller gets. Sums travel with
// their counts and are divided once; every figure has a confidence interval over
// the questions. Equal specs give equal reports.
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
	"afina/internal/lora"
	"afina/internal/model"
)

// Spec says what to mark.
type Spec struct {
	Model         string              // a base or an adapter
	Conversations []chat.Conversation // the whole dataset; the held-out part is split off as training did
	Questions     int                 // held-out questions to answer with the base and with the model; below 0: all
	Samples       int                 // answered questions that the report shows
	Verify        int                 // answer once more, taking the best of this many candidates; below 2: not
	TestSplit     float64             // the held-out share; 0: mark the whole dataset
	Seed          int64               // of the split, the draws and the intervals
	MaxLength     int                 // tokens per conversation; 0: as many as the model was made for
	MaxTokens     int                 // of an answer; 0: 256
	Precision     kernel.Precision
}

// Report is the marks. For a base, the tuned figures are those of the base and
// there are no tuned answers.
type Report struct {
	Model         string  `json:"model"`
	Base          string  `json:"base"`
	Conversations int     `json:"conversations"`
	Tokens        int     `json:"tokens"` // tokens with a loss
	Loss          float64 `json:"loss"`
	Perplexity    float64 `json:"perplexity"`
	BaseLoss      float64 `json:"base_loss"`
	BasePerplex   float64 `json:"base_perplexity"`

	LossInterval     *Estimate `json:"loss_interval"`
	BaseLossInterval *Estimate `json:"base_loss_interval"`
	LossGain         *Estimate `json:"loss_gain,omitempty"` // tuned less base, paired by conversation

	BaseMarks  *Marks `json:"base_marks,omitempty"`     // of the base's answers
	Marks      *Marks `json:"marks,omitempty"`          // of the model's
	Verified   *Marks `json:"verified_marks,omitempty"` // of the model's with verification
	Verify     int    `json:"verify,omitempty"`         // candidates per verified answer
	Gain       *Gain  `json:"gain,omitempty"`           // model less base
	VerifyGain *Gain  `json:"verify_gain,omitempty"`    // verified less not

	Samples []Sample `json:"samples"`
}

// Sample is one held-out question and its answers.
type Sample struct {
	Question  string  `json:"question"`
	Reference string  `json:"reference"`
	Base      *Answer `json:"base"`
	Tuned     *Answer `json:"tuned"`    // null for a base
	Verified  *Answer `json:"verified"` // null when nothing was verified
}

// Evaluator runs specs.
type Evaluator struct {
	Catalog   assistant.Models // *catalog.Catalog
	Assistant assistant.Asker  // answers the questions; may be nil when there are none
	Gang      *kernel.Gang
}

// Run marks; progress is told how far it is, 0 … 1, and may be nil.
func (e *Evaluator) Run(ctx context.Context, s Spec, progress func(done float64)) (Report, error) {
	if err := s.Check(); err != nil {
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
	questions := Questions(s.Conversations, held, s.Questions)
	run := &run{gang: e.Gang, m: m, spec: s, told: progress}
	run.plan(laid, adapter, len(questions))
	report := Report{
		Model: s.Model, Base: m.Name, Samples: []Sample{},
		Conversations: len(laid.Sequences), Tokens: laid.Learned,
	}
	if adapter == nil {
		report.Model = m.Name // as the file spells it
	}
	if err := run.losses(ctx, &report, laid, adapter); err != nil {
		return Report{}, err
	}
	if len(questions) > 0 {
		if err := run.answers(ctx, e.Assistant, &report, questions, adapter != nil); err != nil {
			return Report{}, fmt.Errorf("answer the held-out questions: %w", err)
		}
	}
	run.finish()
	return report, nil
}

// losses measures the held-out loss of base and model.
func (r *run) losses(ctx context.Context, report *Report, laid *data.Laid, adapter *lora.Adapter) error {
	base, err := r.loss(ctx, laid, nil)
	if err != nil {
		return err
	}
	tuned := base
	if adapter != nil {
		if tuned, err = r.loss(ctx, laid, adapter); err != nil {
			return err
		}
		report.LossGain = difference(tuned, base, r.spec.Seed)
	}
	report.BaseLossInterval, report.LossInterval = estimate(base, r.spec.Seed), estimate(tuned, r.spec.Seed)
	report.BaseLoss, report.Loss = report.BaseLossInterval.Value, report.LossInterval.Value
	report.BasePerplex, report.Perplexity = math.Exp(report.BaseLoss), math.Exp(report.Loss)
	return nil
}

// answers asks the base, the model, and the model with verification.
func (r *run) answers(ctx context.Context, a assistant.Asker, report *Report, qs []Question, tuned bool) error {
	s := r.spec
	ask := func(model string, verify int) ([]Answer, *Marks, error) {
		answers, err := Answers(ctx, a, qs, Asking{Model: model, Tokens: s.tokens(), Verify: verify, Seed: s.Seed},
			func() { r.did(answerWork * max(verify, 1)) })
		if err != nil {
			return nil, nil, err
		}
		return answers, Mark(answers, s.Seed), nil
	}
	base, marks, err := ask(report.Base, 1)
	if err != nil {
		return err
	}
	report.BaseMarks, report.Marks = marks, marks
	plain := base
	if tuned {
		if plain, report.Marks, err = ask(s.Model, 1); err != nil {
			return err
		}
		report.Gain = gain(plain, base, s.Seed)
	}
	var verified []Answer
	if s.Verify > 1 {
		if verified, report.Verified, err = ask(s.Model, s.Verify); err != nil {
			return err
		}
		report.Verify, report.VerifyGain = s.Verify, gain(verified, plain, s.Seed)
	}
	for i, q := range qs[:min(s.Samples, len(qs))] {
		sample := Sample{Question: q.Text, Reference: q.Reference, Base: &base[i]}
		if tuned {
			sample.Tuned = &plain[i]
		}
		if verified != nil {
			sample.Verified = &verified[i]
		}
		report.Samples = append(report.Samples, sample)
	}
	return nil
}

// MostVerify is how many candidates an answer may have.
const MostVerify = 16

// Check refuses numbers that make no sense.
func (s Spec) Check() error {
	switch {
	case !(s.TestSplit >= 0 && s.TestSplit < 1):
		return fault.New(fault.Invalid, "test_split is %v; it must be at least 0 and below 1", s.TestSplit).WithParam("test_split")
	case s.Verify < 0 || s.Verify > MostVerify:
		return fault.New(fault.Invalid, "verify is %d; it must be from 0 to %d", s.Verify, MostVerify).WithParam("verify")
	case s.Samples < 0:
		return fault.New(fault.Invalid, "samples is %d; it cannot be negative", s.Samples).WithParam("samples")
	case s.MaxLength < 0:
		return fault.New(fault.Invalid, "max_length is %d; it cannot be negative", s.MaxLength).WithParam("max_length")
	case s.MaxTokens < 0:
		return fault.New(fault.Invalid, "max_tokens is %d; it cannot be negative", s.MaxTokens).WithParam("max_tokens")
	}
	return nil
}

// tokens is how long an answer may be.
func (s Spec) tokens() int {
	if s.MaxTokens == 0 {
		return defaultTokens
	}
	return s.MaxTokens
}

// defaultTokens is how long an answer may be when Spec does not say.
const defaultTokens = 256

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
