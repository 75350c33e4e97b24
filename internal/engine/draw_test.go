package engine_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/sampling"
)

// tokens returns the tokens of an answer.
func tokens(t *testing.T, e *engine.Engine, r engine.Request) (out []engine.Token) {
	t.Helper()
	for token, err := range e.Generate(context.Background(), r) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, token)
	}
	return out
}

// TestLogprobs compares what is told with the softmax of the logits of a pass,
// under options that change what is drawn and must not change what is told.
func TestLogprobs(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 1, Context: 64})
	start(t, e)
	r := engine.Request{
		Prompt: prompt(9, 1), Limit: 12, Logprobs: true, Top: 5,
		Never: func(id int32) bool { return id == 17 },
		Sampling: sampling.Options{
			Temperature: 1.5, Seed: 4, FrequencyPenalty: 1, PresencePenalty: 0.5, RepeatPenalty: 1.3,
			Bias: map[int32]float32{3: 2},
		},
	}
	answer := tokens(t, e, r)
	pass := forward.New(b.m, b.gang, kernel.Exact, 1, 64)
	seen := slices.Clone(r.Prompt)
	var rows []forward.Row
	for i, token := range answer {
		rows = rows[:0]
		pass.Reset(0, 0)
		for pos, id := range seen {
			rows = append(rows, forward.Row{Token: id, Pos: pos, Logits: pos == len(seen)-1})
		}
		logits, err := pass.Run(rows)
		if err != nil {
			t.Fatal(err)
		}
		want := logSoftmax(logits[0], 17)
		if d := math.Abs(float64(token.Logprob) - want[token.ID]); d > 1e-5 {
			t.Errorf("token %d: log-probability %v, want %v", i, token.Logprob, want[token.ID])
		}
		if len(token.Top) != 5 {
			t.Fatalf("token %d: %d alternatives", i, len(token.Top))
		}
		for k, s := range token.Top {
			if d := math.Abs(float64(s.Logprob) - want[s.ID]); d > 1e-5 || s.ID == 17 {
				t.Errorf("token %d, alternative %d: %v, want %v", i, k, s, want[s.ID])
			}
			better := 0
			for _, w := range want {
				if w > want[s.ID] {
					better++
				}
			}
			if better > k {
				t.Errorf("token %d, alternative %d: %d tokens are likelier", i, k, better)
			}
		}
		seen = append(seen, token.ID)
	}
	for _, token := range tokens(t, e, engine.Request{Prompt: prompt(9, 1), Limit: 2}) {
		if token.Logprob != 0 || token.Top != nil {
			t.Errorf("log-probabilities that nobody asked for: %v", token)
		}
	}
}

// logSoftmax is the logarithm of the softmax over all tokens but never.
func logSoftmax(x []float32, never int) []float64 {
	out, sum := make([]float64, len(x)), 0.0
	for i, v := range x {
		if i != never {
			sum += math.Exp(float64(v))
		}
	}
	for i, v := range x {
		out[i] = float64(v) - math.Log(sum)
	}
	out[never] = math.Inf(-1)
	return out
}

// only is a constraint that allows given tokens at each step.
type only struct {
	steps    [][]int32 // nil: all
	accepted []int32
	refuse   error
}

func (o *only) Mask(allowed []uint64) bool {
	step := o.steps[min(len(o.accepted), len(o.steps)-1)]
	for _, id := range step {
		allowed[id/64] |= 1 << (id % 64)
	}
	return step != nil
}

func (o *only) Accept(id int32) error {
	o.accepted = append(o.accepted, id)
	return o.refuse
}

func TestConstraint(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 1, Context: 64})
	start(t, e)
	free, _, err := all(e, engine.Request{Prompt: prompt(8, 1), Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := &only{steps: [][]int32{{200}, {1, 64, 255}, nil, {5}}}
	got, reason, err := all(e, engine.Request{
		Prompt: prompt(8, 1), Limit: 20, Constraint: c, Ends: []int32{5},
		Sampling: sampling.Options{Temperature: 2, Seed: 1},
	})
	if err != nil || reason != engine.Stop || len(got) < 4 || got[0] != 200 || !slices.Contains([]int32{1, 64, 255}, got[1]) {
		t.Errorf("drew %v (%s, %v), alone it begins with %v", got, reason, err, free)
	}
	if !slices.Equal(got, c.accepted) {
		t.Errorf("accepted %v of %v", c.accepted, got)
	}
	_, _, err = all(e, engine.Request{Prompt: prompt(8, 1), Limit: 20, Constraint: &only{steps: [][]int32{{}}}})
	if f := (*fault.Error)(nil); !errors.As(err, &f) || f.Code != "constraint_stuck" {
		t.Errorf("a constraint that allows nothing: %v", err)
	}
	broken := errors.New("broken")
	_, _, err = all(e, engine.Request{Prompt: prompt(8, 1), Limit: 20, Constraint: &only{steps: [][]int32{nil}, refuse: broken}})
	if !errors.Is(err, broken) {
		t.Errorf("a constraint that refuses: %v", err)
	}
}

func TestCachedIsTold(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 1, Context: 128})
	start(t, e)
	for i, want := range []int{0, 59} {
		answer := tokens(t, e, engine.Request{Prompt: prompt(60, 1), Limit: 3})
		if answer[0].Cached != want || answer[1].Cached != 0 {
			t.Errorf("request %d: %d tokens of the prompt were cached, want %d", i, answer[0].Cached, want)
		}
	}
}

func TestRefusedOptions(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 1, Context: 32})
	start(t, e)
	for param, r := range map[string]engine.Request{
		"top_logprobs": {Prompt: prompt(3, 1), Logprobs: true, Top: 21},
		"logit_bias":   {Prompt: prompt(3, 1), Sampling: sampling.Options{Bias: map[int32]float32{1 << 20: 1}}},
	} {
		_, _, err := all(e, r)
		if f := (*fault.Error)(nil); !errors.As(err, &f) || f.Kind != fault.Invalid || f.Param != param {
			t.Errorf("%s: %v", param, err)
		}
	}
}
