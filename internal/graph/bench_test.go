package graph_test

import (
	"bufio"
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"afina/internal/data"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/modeltest"
	"afina/internal/optim"
)

// BenchmarkTrain512 is a whole optimiser step on SmolLM2-135M at PEFT's shape
// (rank 16 on all seven projections, dropout 0.05): four packed conversations
// of 128 tokens, three quarters of which are learned, or every position.
func BenchmarkTrain512(b *testing.B) {
	for name, c := range map[string]struct {
		options graph.Options
		from    int // first learned token of each conversation
	}{
		"fast-store":          {graph.Options{Precision: kernel.Fast, Memory: graph.Store, Dropout: 0.05}, 32},
		"fast-store-no_drop":  {graph.Options{Precision: kernel.Fast, Memory: graph.Store}, 32},
		"fast-store-all":      {graph.Options{Precision: kernel.Fast, Memory: graph.Store, Dropout: 0.05}, 0},
		"fast-recompute":      {graph.Options{Precision: kernel.Fast, Memory: graph.Recompute, Dropout: 0.05}, 32},
		"exact-store":         {graph.Options{Precision: kernel.Exact, Memory: graph.Store, Dropout: 0.05}, 32},
		"fast-store-forward":  {graph.Options{Precision: kernel.Fast, Memory: graph.Store}, -1},
		"fast-recompute-1024": {graph.Options{Precision: kernel.Fast, Memory: graph.Recompute, Dropout: 0.05}, -2},
		"fast-store-1024":     {graph.Options{Precision: kernel.Fast, Memory: graph.Store, Dropout: 0.05}, -2},
		"fast-store-2048":     {graph.Options{Precision: kernel.Fast, Memory: graph.Store, Dropout: 0.05}, -3},
		"fast-store-256":      {graph.Options{Precision: kernel.Fast, Memory: graph.Store, Dropout: 0.05}, -4},
	} {
		b.Run(name, func(b *testing.B) { trainStep(b, c.options, c.from) })
	}
}

func trainStep(b *testing.B, o graph.Options, kind int) {
	g := gang(b, 0)
	m := open(b, modeltest.Real(b), g)
	a, err := lora.New(m, 16, 32, nil, 1)
	if err != nil {
		b.Fatal(err)
	}
	t := build(b, fixture{g, m, a}, o)
	parts, from := 4, max(kind, 0)
	switch kind {
	case -2:
		parts, from = 8, 32
	case -3:
		parts, from = 16, 32
	case -4:
		parts, from = 2, 32
	}
	var batch data.Batch
	for i := range parts {
		one := pack(sequence(128, from, i))
		for j := range one.First {
			one.First[j] += int32(len(batch.Tokens))
		}
		batch = join(batch, one)
	}
	adam := optim.NewAdamW(0)
	step := func() {
		optim.Zero(t.Params())
		if _, err := t.Gradients(context.Background(), batch, 1/float32(batch.Counted), 1); err != nil {
			b.Fatal(err)
		}
		optim.GradNorm(t.Params())
		adam.Step(t.Params(), 1e-6)
	}
	if kind == -1 {
		step = func() {
			if _, err := t.Loss(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	step()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(len(batch.Tokens)*b.N)/b.Elapsed().Seconds(), "tokens/s")
	b.ReportMetric(peak(b)/(1<<20), "peak-MiB")
	b.ReportMetric(float64(graph.Estimate(m, a, len(batch.Tokens), o)+m.Bytes())/(1<<20), "estimated-MiB")
}

func join(a, b data.Batch) data.Batch {
	return data.Batch{
		Tokens: append(a.Tokens, b.Tokens...), Targets: append(a.Targets, b.Targets...),
		First: append(a.First, b.First...), Pos: append(a.Pos, b.Pos...), Counted: a.Counted + b.Counted,
	}
}

// peak is the most memory the process has had resident; run one benchmark at a
// time to read it.
func peak(b *testing.B) float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "VmHWM:" {
			n, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return n * 1024
		}
	}
	return 0
}
