package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/evaluate"
	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/train"
)

// The ways to choose the best step of a run.
const (
	ByLoss  = "loss"
	ByMarks = "marks"
)

// shownAnswers is how many answers a point of the curve shows.
const shownAnswers = 3

// markTokens is the longest answer while training.
const markTokens = 256

// Marks are those of one step of a run, with some of the answers.
type Marks struct {
	*evaluate.Marks
	Samples []MarkedSample `json:"samples"`
}

// MarkedSample is one held-out question, answered at one step.
type MarkedSample struct {
	Question  string          `json:"question"`
	Reference string          `json:"reference"`
	Answer    evaluate.Answer `json:"answer"`
}

// checkMarks refuses a choice by marks that there are none of.
func (s Spec) checkMarks() error {
	switch {
	case s.SelectBy != "" && s.SelectBy != ByLoss && s.SelectBy != ByMarks:
		return fault.New(fault.Invalid, "select_by is %q; choose loss or marks", s.SelectBy).WithParam("select_by")
	case s.EvalQuestions < 0:
		return fault.New(fault.Invalid, "eval_questions is %d; it cannot be negative", s.EvalQuestions).WithParam("eval_questions")
	case s.SelectBy == ByMarks && s.EvalQuestions == 0:
		return fault.New(fault.Invalid, "select_by is marks, but eval_questions is 0: nothing is answered to be marked; set it to 50, say").
			WithParam("eval_questions")
	}
	return nil
}

// marker returns what marks the adapter at the evaluations of the run; nil when
// nobody asked for it. held are the held-out conversations.
func (t *Tuner) marker(s Spec, m *model.Model, a *lora.Adapter, held []chat.Conversation) (train.Marker, error) {
	if s.EvalQuestions == 0 {
		return nil, nil
	}
	index := make([]int, len(held))
	for i := range index {
		index[i] = i
	}
	questions := evaluate.Questions(held, index, s.EvalQuestions)
	if len(questions) == 0 {
		return nil, fault.New(fault.Unprocessable, "no held-out conversation has a question to answer; raise test_split, or set eval_questions to 0").
			WithCode("no_questions").WithParam("eval_questions")
	}
	return func(ctx context.Context) (train.Marks, error) {
		answers, err := t.answers(ctx, s, m, a, questions)
		if err != nil {
			return train.Marks{}, fmt.Errorf("answer the held-out questions: %w", err)
		}
		marks := Marks{Marks: evaluate.Mark(answers, s.Seed), Samples: []MarkedSample{}}
		for i, q := range questions[:min(shownAnswers, len(questions))] {
			marks.Samples = append(marks.Samples, MarkedSample{q.Text, q.Reference, answers[i]})
		}
		report, err := json.Marshal(marks)
		if err != nil {
			return train.Marks{}, err
		}
		score := 0.0
		if marks.Right != nil {
			score = marks.Right.Value
		}
		return train.Marks{Score: score, Report: report}, nil
	}, nil
}

// answers asks the adapter as it is, which stands still meanwhile, through an
// assistant of its own.
func (t *Tuner) answers(ctx context.Context, s Spec, m *model.Model, a *lora.Adapter, qs []evaluate.Question) ([]evaluate.Answer, error) {
	precision, err := Precision(s.Precision)
	if err != nil {
		return nil, err
	}
	ask := assistant.New(only{m, a}, t.Gang, assistant.Options{Engine: engine.Options{Context: s.maxLength(m)}, Precision: precision})
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- ask.Run(running) }()
	answers, err := evaluate.Answers(ctx, ask, qs, evaluate.Asking{Tokens: markTokens, Seed: s.Seed}, nil)
	stop()
	return answers, errors.Join(err, <-ended)
}

// only is a shelf of one adapter, whatever the name.
type only struct {
	model   *model.Model
	adapter *lora.Adapter
}

func (o only) Resolve(string) (*model.Model, *lora.Adapter, error) { return o.model, o.adapter, nil }
