package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"afina/internal/kernel"
	"afina/internal/parallel"
)

// quickest runs f b.N times and reports the quickest run in µs and what it did
// per second: on a shared machine the minimum says most about the code.
func quickest(b *testing.B, amount float64, unit string, f func()) {
	least := time.Hour
	f()
	for b.Loop() {
		t := time.Now()
		f()
		least = min(least, time.Since(t))
	}
	b.ReportMetric(float64(least.Nanoseconds())/1e3, "µs")
	b.ReportMetric(amount/least.Seconds()/1e9, unit)
}

// best runs f at the highest level, on one core and on two.
func best(b *testing.B, f func(b *testing.B, g *kernel.Gang, workers int)) {
	for _, workers := range []int{1, 2} {
		pool := parallel.New(workers)
		defer pool.Close()
		g, err := kernel.NewGang(pool, "")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("cores=%d", workers), func(b *testing.B) { f(b, g, workers) })
	}
}

func uniform(n int) []float32 {
	rng, x := rand.New(rand.NewPCG(1, 1)), make([]float32, n)
	for i := range x {
		x[i] = rng.Float32()*2 - 1
	}
	return x
}

// BenchmarkAttention: one layer of SmolLM2, a row of 512 tokens. GFLOPS count
// the pairs that the causal mask leaves.
func BenchmarkAttention(b *testing.B) {
	for _, c := range []struct {
		name  string
		h     kernel.Heads
		first []int32
	}{
		{"smollm512", heads(9, 3, 64), packed(512)},
		{"smollm4x128", heads(9, 3, 64), packed(128, 128, 128, 128)},
		{"smollm2048", heads(9, 3, 64), packed(2048)},
		{"phi2-512", heads(32, 32, 80), packed(512)},
	} {
		n := len(c.first)
		q, dout := uniform(n*c.h.Query*c.h.Dim), uniform(n*c.h.Query*c.h.Dim)
		k, v := uniform(n*c.h.KV*c.h.Dim), uniform(n*c.h.KV*c.h.Dim)
		out, dq := make([]float32, len(q)), make([]float32, len(q))
		dk, dv, lse := make([]float32, len(k)), make([]float32, len(k)), make([]float32, n*c.h.Query)
		flops := 0.0 // of one product over all pairs
		for t, f := range c.first {
			flops += 2 * float64((t-int(f)+1)*c.h.Query*c.h.Dim)
		}
		for name, p := range map[string]kernel.Precision{"exact": kernel.Exact, "fast": kernel.Fast} {
			b.Run(c.name+"/forward/"+name, func(b *testing.B) {
				best(b, func(b *testing.B, g *kernel.Gang, _ int) {
					quickest(b, 2*flops, "GFLOPS", func() { g.Attention(out, lse, q, k, v, c.first, c.h, p) })
				})
			})
			b.Run(c.name+"/backward/"+name, func(b *testing.B) {
				best(b, func(b *testing.B, g *kernel.Gang, _ int) {
					g.Attention(out, lse, q, k, v, c.first, c.h, p)
					quickest(b, 5*flops, "GFLOPS", func() {
						g.AttentionBack(dq, dk, dv, dout, out, lse, q, k, v, c.first, c.h, p)
					})
				})
			})
		}
	}
}

// BenchmarkCached: decoding and a piece of a prompt. GB/s count keys and values
// once per sequence.
func BenchmarkCached(b *testing.B) {
	h := heads(9, 3, 64)
	for _, c := range []struct {
		name                    string
		sequences, last, length int
	}{
		{"decode1x512", 1, 1, 512}, {"decode1x4096", 1, 1, 4096}, {"decode16x512", 16, 1, 512}, {"prompt128of1024", 1, 128, 1024},
	} {
		b.Run(c.name, func(b *testing.B) {
			best(b, func(b *testing.B, g *kernel.Gang, _ int) {
				keep := keeping(h, true)
				var lanes []kernel.Lane
				for range c.sequences {
					k, v := uniform(c.length*h.KV*h.Dim), uniform(c.length*h.KV*h.Dim)
					pages := kept(g, k, v, c.length, keep)
					for i := range c.last {
						lanes = append(lanes, kernel.Lane{Pages: pages, Len: c.length - c.last + i + 1})
					}
				}
				q := uniform(len(lanes) * h.Query * h.Dim)
				out := make([]float32, len(q))
				quickest(b, float64(c.sequences*c.length*h.KV*h.Dim*4), "GB/s", func() { g.AttentionCached(out, q, lanes, 1, keep) })
			})
		})
	}
}

// BenchmarkRows: elementwise work and norms on 512 tokens of SmolLM2. GB/s count
// every number read and written once.
func BenchmarkRows(b *testing.B) {
	const n, cols, ff = 512, 576, 1536
	x, y, d, u := uniform(n*ff), uniform(n*ff), uniform(n*ff), uniform(n*ff)
	w, pos := uniform(cols), make([]int32, n)
	for i := range pos {
		pos[i] = int32(i)
	}
	r := kernel.Rotary{Dims: 64, Base: 10000}
	halves := kernel.Rotary{Dims: 64, Base: 10000, Halves: true}
	small := n * cols
	for _, c := range []struct {
		name    string
		numbers int
		run     func(g *kernel.Gang)
	}{
		{"Add", 3 * small, func(g *kernel.Gang) { g.Add(d[:small], x[:small]) }},
		{"Dropout", 2 * small, func(g *kernel.Gang) { g.Dropout(d[:small], x[:small], 0.05, 1) }},
		{"RMSNorm", 2 * small, func(g *kernel.Gang) { g.RMSNorm(d, x, n, cols, w, 1e-5) }},
		{"RMSNormBack", 4 * small, func(g *kernel.Gang) { g.RMSNormBack(d, y, x, n, cols, w, 1e-5) }},
		{"LayerNorm", 2 * small, func(g *kernel.Gang) { g.LayerNorm(d, x, n, cols, w, w, 1e-5) }},
		{"LayerNormBack", 4 * small, func(g *kernel.Gang) { g.LayerNormBack(d, y, x, n, cols, w, 1e-5) }},
		{"RotatePairs", 2 * small, func(g *kernel.Gang) { g.Rotate(d, n, 9, 64, pos, r, false) }},
		{"RotateHalves", 2 * small, func(g *kernel.Gang) { g.Rotate(d, n, 9, 64, pos, halves, false) }},
		{"SwiGLU", 3 * n * ff, func(g *kernel.Gang) { g.SwiGLU(d, x, y) }},
		{"SwiGLUBack", 5 * n * ff, func(g *kernel.Gang) { g.SwiGLUBack(d, u, y, x, y) }},
		{"GELU", 2 * n * ff, func(g *kernel.Gang) { g.GELU(d, x) }},
		{"GELUBack", 3 * n * ff, func(g *kernel.Gang) { g.GELUBack(d, y, x) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			best(b, func(b *testing.B, g *kernel.Gang, _ int) {
				quickest(b, float64(4*c.numbers), "GB/s", func() { c.run(g) })
			})
		})
	}
}

func BenchmarkCrossEntropy(b *testing.B) {
	for _, c := range [][2]int{{1, 49152}, {16, 49152}, {4, 262144}} {
		n, vocab := c[0], c[1]
		x, targets := uniform(n*vocab), make([]int32, n)
		b.Run(fmt.Sprintf("%dx%d", n, vocab), func(b *testing.B) {
			best(b, func(b *testing.B, g *kernel.Gang, _ int) {
				quickest(b, float64(16*n*vocab), "GB/s", func() { g.CrossEntropy(x, n, vocab, targets) })
			})
		})
	}
}
