package train_test

import (
	"context"
	"os"
	"testing"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/modeltest"
	"afina/internal/optim"
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
			file, err := os.Open("../../dataset/matematicas.json")
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			all, err := data.ReadAll(file, data.DefaultLimits())
			if err != nil {
				b.Fatal(err)
			}
			index, _ := data.Split(all, 0, 1)
			laid, err := data.Lay(m, all, index, 512)
			if err != nil {
				b.Fatal(err)
			}
			short(b, t, laid.Sequences, share)
		})
	}
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
			if _, err := t.Gradients(context.Background(), batch, 1/float32(step.Counted), uint64(i<<20+j)); err != nil {
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
