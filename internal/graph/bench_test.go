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

// BenchmarkTrain512 is a whole optimiser step on SmolLM2-135M, or the model of
// AFINA_TEST_MODEL, with PEFT's usual
// adapter (rank 16 on all seven projections, dropout 0.05): packed conversations
// of 128 tokens, of which the last 96 are learned. The peak of memory is the
// process's, so it is true only of the first benchmark that runs.
func BenchmarkTrain512(b *testing.B) {
	store := graph.Options{Precision: kernel.Fast, Memory: graph.Store, Dropout: 0.05}
	recompute, plain, exact := store, store, store
	recompute.Memory, plain.Dropout, exact.Precision = graph.Recompute, 0, kernel.Exact
	for _, c := range []struct {
		name    string
		tokens  int
		from    int // first learned token of each conversation
		forward bool
		options graph.Options
	}{
		{"store", 512, 32, false, store},
		{"recompute", 512, 32, false, recompute},
		{"store_all_learned", 512, 0, false, store},
		{"store_no_dropout", 512, 32, false, plain},
		{"store_256_tokens", 256, 32, false, store},
		{"recompute_256_tokens", 256, 32, false, recompute},
		{"store_2048_tokens", 2048, 32, false, store},
		{"forward_only", 512, 32, true, plain},
		{"exact", 512, 32, false, exact},
	} {
		b.Run(c.name, func(b *testing.B) {
			t, a := real(b, c.options)
			var batch data.Batch
			for i := range c.tokens / 128 {
				batch = join(batch, pack(sequence(128, c.from, i)))
			}
			step(b, t, batch, c.forward)
			b.ReportMetric(float64(graph.Estimate(t.Model(), a, c.tokens, 0, c.options)+t.Model().Bytes())/(1<<20), "estimated-MiB")
		})
	}
}

// real is the graph of SmolLM2 with a new adapter.
func real(b *testing.B, o graph.Options) (*graph.Graph, *lora.Adapter) {
	b.Helper()
	g := gang(b, 0)
	m := open(b, modeltest.Real(b), g)
	a, err := lora.New(m, 16, 32, nil, 1)
	if err != nil {
		b.Fatal(err)
	}
	return build(b, fixture{g, m, a}, o), a
}

func step(b *testing.B, t *graph.Graph, batch data.Batch, forward bool) {
	b.Helper()
	adam := optim.NewAdamW(t.Gang(), 0)
	one := func() {
		if forward {
			if _, _, err := t.Loss(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
			return
		}
		optim.Zero(t.Gang(), t.Params())
		if _, _, err := t.Gradients(context.Background(), batch, 1/float32(batch.Counted), 1); err != nil {
			b.Fatal(err)
		}
		optim.GradNorm(t.Gang(), t.Params())
		adam.Step(t.Params(), 1e-6, 1)
	}
	one()
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
	b.ReportMetric(float64(len(batch.Tokens)*b.N)/b.Elapsed().Seconds(), "tokens/s")
	b.ReportMetric(peak(b)/(1<<20), "peak-MiB")
}

// join puts b after a.
func join(a, b data.Batch) data.Batch {
	for i := range b.First {
		b.First[i] += int32(len(a.Tokens))
	}
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
