package train_test

import (
	"context"
	"math"
	"os"
	"testing"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/optim"
	"afina/internal/train"
)

// BenchmarkShort is a whole optimiser step over eight short conversations of
// dataset/matematicas.json, as the plan deals them, on SmolLM2-135M with PEFT's
// usual adapter: rank 16 on all seven projections, dropout 0.05.
func BenchmarkShort(b *testing.B) {
	for _, share := range []bool{true, false} {
		name := map[bool]string{true: "shared", false: "plain"}[share]
		b.Run(name, func(b *testing.B) {
			g := gang(b, 0)
			m := open(b, modeltest.Real(b), g)
			a, err := lora.New(m, 16, 32, nil, 1)
			if err != nil {
				b.Fatal(err)
			}
			t, err := graph.Build(m, a, g, graph.Options{Precision: kernel.Fast, Memory: graph.Store, Dropout: 0.05})
			if err != nil {
				b.Fatal(err)
			}
			defer t.Close()
			all := ours(b)
			index, _ := data.Split(all, 0, 1)
			laid, err := data.Lay(m, all, index, 512)
			if err != nil {
				b.Fatal(err)
			}
			short(b, t, laid.Sequences, share)
		})
	}
}

// ours is the dataset that comes with the program.
func ours(b *testing.B) []chat.Conversation {
	b.Helper()
	file, err := os.Open("../../dataset/matematicas.json")
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	all, err := data.ReadAll(file, data.DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	return all
}

// BenchmarkJob is the whole job that the service makes of the dataset by default,
// three passes, fast and exact: fast must end within 1 % of exact's held-out loss.
func BenchmarkJob(b *testing.B) {
	ends := map[kernel.Precision]float64{}
	for _, precision := range []kernel.Precision{kernel.Fast, kernel.Exact} {
		b.Run(map[kernel.Precision]string{kernel.Fast: "fast", kernel.Exact: "exact"}[precision], func(b *testing.B) {
			g := gang(b, 0)
			m := open(b, modeltest.Real(b), g)
			all := ours(b)
			inTrain, inTest := data.Split(all, 0.1, 42)
			learn, err := data.Lay(m, all, inTrain, 1024)
			if err != nil {
				b.Fatal(err)
			}
			held, err := data.Lay(m, all, inTest, 1024)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				ends[precision] = wholeJob(b, m, g, precision, learn.Sequences, held.Sequences)
			}
			b.ReportMetric(ends[precision], "held-out-loss")
		})
	}
	fast, exact := ends[kernel.Fast], ends[kernel.Exact]
	if exact != 0 && math.Abs(fast/exact-1) > 0.01 {
		b.Errorf("fast ends at a held-out loss of %v, exact at %v", fast, exact)
	}
}

// wholeJob trains with the service's defaults and returns the held-out loss at
// the end, in the precision of the job: what the user is told.
func wholeJob(b *testing.B, m *model.Model, g *kernel.Gang, p kernel.Precision, seqs, held []chat.Sequence) float64 {
	a, err := lora.New(m, 16, 32, nil, 42)
	if err != nil {
		b.Fatal(err)
	}
	t, err := graph.Build(m, a, g, graph.Options{Precision: p, Memory: graph.Store, Dropout: 0.05})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	plan := data.Plan{BatchSize: 8, Accumulate: 1, Epochs: 3, MaxTokens: 512, Share: true, Seed: 42}
	r, err := train.Run(context.Background(), t, seqs, held, train.Options{
		Plan:         plan,
		LearningRate: 2e-4, Schedule: "cosine", WarmupRatio: 0.03, ClipNorm: 1, Seed: 42,
	}, b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(*r.FirstEval, "held-out-loss-before")
	b.ReportMetric(r.TrainLoss, "train-loss")
	if want := plan.Steps(len(seqs)); r.Steps != want {
		b.Errorf("%d steps, want %d", r.Steps, want)
	}
	return *r.EvalLoss
}

func short(b *testing.B, t *graph.Graph, seqs []chat.Sequence, share bool) {
	adam := optim.NewAdamW(t.Gang(), 0)
	plan := data.Plan{BatchSize: 8, Epochs: 1 << 20, MaxTokens: 512, Share: share, Seed: 42}
	i, tokens := 0, 0
	one := func() {
		step := plan.Step(seqs, i)
		i, tokens = i+1, tokens+step.Tokens
		optim.Zero(t.Gang(), t.Params())
		for j, batch := range step.Batches {
			if _, _, err := t.Gradients(context.Background(), batch, 1/float32(step.Counted), uint64(i<<20+j)); err != nil {
				b.Fatal(err)
			}
		}
		optim.GradNorm(t.Gang(), t.Params())
		adam.Step(t.Params(), 1e-6, 1)
	}
	one()
	i, tokens = 0, 0
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
	// The last step of an epoch is of one conversation: 193 = 24·8 + 1.
	per := plan.Steps(len(seqs)) / plan.Epochs
	talks := float64(i/per*len(seqs) + i%per*plan.BatchSize)
	b.ReportMetric(talks/b.Elapsed().Seconds(), "conversations/s")
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}
