package evaluate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/evaluate"
	"afina/internal/fault"
	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a catalog of one tiny model, "tiny-llama", and an adapter, "tuned".
type shelf struct {
	m     *model.Model
	tuned *lora.Adapter
}

func (s shelf) Resolve(name string) (*model.Model, *lora.Adapter, error) {
	switch name {
	case "tiny-llama":
		return s.m, nil, nil
	case "tuned":
		return s.m, s.tuned, nil
	}
	return nil, nil, fault.New(fault.NotFound, "no model is called %q", name)
}

// start returns an evaluator over a tiny model.
func start(t testing.TB) (*evaluate.Evaluator, shelf) {
	t.Helper()
	pool := parallel.New(2)
	t.Cleanup(pool.Close)
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(modeltest.Write(t, modeltest.Shape{Seed: 3}), gang)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	tuned, err := lora.New(m, 2, 8, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, pairs := range tuned.Pairs {
		for _, p := range pairs {
			for i := range p.B {
				p.B[i] = float32(i%5-2) / 16
			}
		}
	}
	s := shelf{m, tuned}
	a := assistant.New(s, gang, assistant.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return &evaluate.Evaluator{Catalog: s, Assistant: a, Gang: gang}, s
}

// talks are n conversations; every third has two turns and a system message.
func talks(n int) []chat.Conversation {
	out := make([]chat.Conversation, n)
	for i := range out {
		ms := []chat.Message{
			{Role: chat.User, Content: fmt.Sprintf("question %d%s", i, strings.Repeat("?", i))},
			{Role: chat.Assistant, Content: fmt.Sprintf("answer %d", i*i)},
		}
		if i%3 == 0 {
			ms = slices.Concat([]chat.Message{{Role: chat.System, Content: "be brief"}}, ms, []chat.Message{
				{Role: chat.User, Content: "and then?"}, {Role: chat.Assistant, Content: fmt.Sprint("last ", i)},
			})
		}
		out[i].Messages = ms
	}
	return out
}

// mean is the loss by hand: each conversation by itself, one token at a time.
func mean(t *testing.T, e *evaluate.Evaluator, m *model.Model, a *lora.Adapter, all []chat.Conversation) (loss float64, tokens int) {
	t.Helper()
	for _, c := range all {
		seq, err := m.Template.Lay(m.Tokens, c, false)
		if err != nil {
			t.Fatal(err)
		}
		pass := forward.New(m, e.Gang, kernel.Exact, 1, 256)
		for i, id := range seq.Tokens[:len(seq.Tokens)-1] {
			logits, err := pass.Run([]forward.Row{{Token: id, Pos: i, Adapter: a, Logits: true}})
			if err != nil {
				t.Fatal(err)
			}
			if !seq.Learn[i+1] {
				continue
			}
			var sum float64
			for _, l := range logits[0] {
				sum += math.Exp(float64(l))
			}
			loss += math.Log(sum) - float64(logits[0][seq.Tokens[i+1]])
			tokens++
		}
	}
	return loss / float64(tokens), tokens
}

func TestMarks(t *testing.T) {
	e, s := start(t)
	all := talks(20)
	var told []float64
	r, err := e.Run(context.Background(), evaluate.Spec{
		Model: "tuned", Conversations: all, Questions: 4, Samples: 2, Verify: 3, MaxTokens: 10, Precision: kernel.Exact,
	}, func(done float64) { told = append(told, done) })
	if err != nil {
		t.Fatal(err)
	}
	base, tokens := mean(t, e, s.m, nil, all)
	tuned, _ := mean(t, e, s.m, s.tuned, all)
	if i := r.LossInterval; i.Low > r.Loss || i.High < r.Loss || i.Low == i.High || math.Abs(r.LossGain.Value-(tuned-base)) > 1e-4 {
		t.Errorf("intervals %+v, gain %+v", i, r.LossGain)
	}
	if m := r.Marks; m == nil || m.Questions != 4 || m.Graded != 4 || m.Empty == nil || r.BaseMarks.Questions != 4 || r.Verified.Questions != 4 || r.Gain.Right == nil {
		t.Errorf("marks %+v of %+v", r.Marks, r.BaseMarks)
	}
	if math.Abs(r.BaseLoss-base) > 1e-4 || math.Abs(r.Loss-tuned) > 1e-4 || r.Tokens != tokens {
		t.Errorf("base %v, tuned %v over %d tokens; by hand %v, %v over %d", r.BaseLoss, r.Loss, r.Tokens, base, tuned, tokens)
	}
	if r.Perplexity != math.Exp(r.Loss) || r.BasePerplex != math.Exp(r.BaseLoss) {
		t.Errorf("perplexities %v, %v of losses %v, %v", r.Perplexity, r.BasePerplex, r.Loss, r.BaseLoss)
	}
	if r.Model != "tuned" || r.Base != s.m.Name || r.Conversations != 20 {
		t.Errorf("report is %+v", r)
	}
	if !slices.IsSorted(told) || len(told) == 0 || told[len(told)-1] != 1 {
		t.Errorf("progress was %v", told)
	}
	if len(r.Samples) != 2 {
		t.Fatalf("%d samples, want 2", len(r.Samples))
	}
	first := r.Samples[0] // of a conversation with two turns
	if first.Question != "and then?" || first.Reference != "last 0" || first.Base.Text == "" || first.Tuned.Text == "" || first.Base.Text == first.Tuned.Text || first.Verified == nil {
		t.Errorf("sample is %+v", first)
	}
}

func TestBaseAlone(t *testing.T) {
	e, s := start(t)
	r, err := e.Run(context.Background(), evaluate.Spec{Model: "tiny-llama", Conversations: talks(9), TestSplit: 0.3, Seed: 42, Questions: -1, Samples: 1, MaxTokens: 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Model != s.m.Name || r.Loss != r.BaseLoss || r.Conversations >= 9 || r.Conversations == 0 || r.Samples[0].Tuned != nil || r.Gain != nil || r.Marks.Questions != r.Conversations {
		t.Errorf("report is %+v", r)
	}
}

func TestRefusals(t *testing.T) {
	e, _ := start(t)
	for _, c := range []struct {
		name  string
		spec  evaluate.Spec
		kind  fault.Kind
		param string
	}{
		{"split", evaluate.Spec{Model: "tiny-llama", TestSplit: 1}, fault.Invalid, "test_split"},
		{"split that is no number", evaluate.Spec{Model: "tiny-llama", TestSplit: math.NaN()}, fault.Invalid, "test_split"},
		{"verify", evaluate.Spec{Model: "tiny-llama", Verify: 17}, fault.Invalid, "verify"},
		{"samples", evaluate.Spec{Model: "tiny-llama", Samples: -1}, fault.Invalid, "samples"},
		{"length", evaluate.Spec{Model: "tiny-llama", MaxLength: -1}, fault.Invalid, "max_length"},
		{"tokens", evaluate.Spec{Model: "tiny-llama", MaxTokens: -1}, fault.Invalid, "max_tokens"},
		{"model", evaluate.Spec{Model: "other"}, fault.NotFound, ""},
		{"nothing to mark", evaluate.Spec{Model: "tiny-llama", Conversations: talks(3), MaxLength: 4}, fault.Unprocessable, "max_length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := e.Run(context.Background(), c.spec, nil)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != c.kind || f.Param != c.param {
				t.Errorf("error is %+v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := e.Run(ctx, evaluate.Spec{Model: "tiny-llama", Conversations: talks(3)}, nil)
	if fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}
