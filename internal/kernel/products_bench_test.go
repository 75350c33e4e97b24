package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"afina/internal/kernel"
	"afina/internal/parallel"
	"afina/internal/quant"
)

// fastest runs f b.N times and reports the fastest run: on a shared machine the
// minimum says most about the code. peak is the limit of one core in ops/s.
func fastest(b *testing.B, ops, bytes, peak float64, workers int, f func()) {
	least := time.Hour
	f()
	for b.Loop() {
		t := time.Now()
		f()
		least = min(least, time.Since(t))
	}
	b.ReportMetric(ops/least.Seconds()/1e9, "GOPS")
	if peak > 0 {
		b.ReportMetric(100*ops/least.Seconds()/peak/float64(workers), "%peak")
	}
	if bytes > 0 {
		b.ReportMetric(bytes/least.Seconds()/1e9, "GB/s")
	}
}

// peak measures a loop on registers only, in operations per second of one core.
func peak(name string) float64 {
	p, ok := kernel.Peaks()[name]
	if !ok {
		return 0
	}
	const rounds = 20000
	least := time.Hour
	for range 50 {
		t := time.Now()
		p.Loop(rounds)
		least = min(least, time.Since(t))
	}
	return p.Ops * rounds / least.Seconds()
}

// crews runs f on one core and on two, at every level with assembly. The share
// of peak is always that of the highest.
func crews(b *testing.B, f func(b *testing.B, g *kernel.Gang, workers int)) {
	for _, level := range kernel.Available()[1:] {
		for _, workers := range []int{1, 2} {
			pool := parallel.New(workers)
			defer pool.Close()
			g, err := kernel.NewGang(pool, level)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/cores=%d", level, workers), func(b *testing.B) { f(b, g, workers) })
		}
	}
}

var benchShapes = [][3]int{{512, 1536, 576}, {512, 576, 1536}, {512, 2560, 2560}, {512, 10240, 2560}, {64, 1536, 576}}

func BenchmarkMatMul(b *testing.B) { benchmarkMatMul(b, false, false) }

// BenchmarkMatMulDense is the product of training, with weights rounded too.
func BenchmarkMatMulDense(b *testing.B) { benchmarkMatMul(b, true, false) }

// BenchmarkMatMulCoarse is the product with activations of 8 bits.
func BenchmarkMatMulCoarse(b *testing.B) { benchmarkMatMul(b, false, true) }

func benchmarkMatMul(b *testing.B, dense, coarse bool) {
	top := map[bool]float64{true: peak("VNNI"), false: peak("BF16")}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, typ := range []quant.Type{quant.Q4_0, quant.Q4_1, quant.Q8_0, quant.Q5_1, quant.BF16} {
		for _, s := range benchShapes {
			n, rows, cols := s[0], s[1], s[2]
			m := weights(b, typ, rows, cols, rng)
			x, dst := normal(n*cols, rng), make([]float32, n*rows)
			b.Run(fmt.Sprintf("%v/%v", typ, s), func(b *testing.B) {
				crews(b, func(b *testing.B, g *kernel.Gang, workers int) {
					w, err := g.Pack(m)
					if err != nil {
						b.Fatal(err)
					}
					w.Coarse = coarse
					op := kernel.Operand{Dense: dense}
					fastest(b, 2*float64(n*rows*cols), 0, top[typ != quant.BF16], workers, func() {
						g.Prepare(&op, x, n, cols, kernel.Fast)
						g.MatMul(dst, &op, w)
					})
				})
			})
		}
	}
}

func BenchmarkMatMulRows(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, typ := range []quant.Type{quant.Q4_0, quant.Q4_1, quant.Q8_0} {
		for _, s := range [][3]int{{1, 576, 576}, {1, 192, 576}, {1, 1536, 576}, {1, 576, 1536}, {1, 10240, 2560}, {1, 49152, 576}, {2, 49152, 576}, {4, 49152, 576}, {8, 1536, 576}, {8, 49152, 576}, {16, 49152, 576}, {1, 51200, 2560}} {
			n, rows, cols := s[0], s[1], s[2]
			m := weights(b, typ, rows, cols, rng)
			x, dst := normal(n*cols, rng), make([]float32, n*rows)
			b.Run(fmt.Sprintf("%v/%v", typ, s), func(b *testing.B) {
				crews(b, func(b *testing.B, g *kernel.Gang, workers int) {
					w, err := g.Pack(m)
					if err != nil {
						b.Fatal(err)
					}
					var op kernel.Operand
					fastest(b, 2*float64(n*rows*cols), float64(w.Bytes()), 0, workers, func() {
						g.Prepare(&op, x, n, cols, kernel.Fast)
						g.MatMul(dst, &op, w)
					})
				})
			})
		}
	}
}

func BenchmarkPrepare(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, typ := range []quant.Type{quant.Q4_1, quant.BF16} {
		m := weights(b, typ, 16, 576, rng)
		x, dst := normal(512*576, rng), make([]float32, 512*16)
		b.Run(typ.String(), func(b *testing.B) {
			crews(b, func(b *testing.B, g *kernel.Gang, workers int) {
				w, err := g.Pack(m)
				if err != nil {
					b.Fatal(err)
				}
				var op kernel.Operand
				fastest(b, 0, float64(4*len(x)), 0, workers, func() {
					g.Prepare(&op, x, 512, 576, kernel.Fast)
					g.MatMul(dst, &op, w)
				})
			})
		})
	}
}

func BenchmarkMatMulBack(b *testing.B) {
	top := peak("BF16")
	rng := rand.New(rand.NewPCG(1, 1))
	for _, typ := range []quant.Type{quant.Q4_1, quant.Q8_0, quant.BF16} {
		for _, s := range benchShapes {
			n, rows, cols := s[0], s[1], s[2]
			m := weights(b, typ, rows, cols, rng)
			dy, dx := normal(n*rows, rng), make([]float32, n*cols)
			b.Run(fmt.Sprintf("%v/%v", typ, s), func(b *testing.B) {
				crews(b, func(b *testing.B, g *kernel.Gang, workers int) {
					w, err := g.Pack(m)
					if err != nil {
						b.Fatal(err)
					}
					var op kernel.Operand
					fastest(b, 2*float64(n*rows*cols), 0, top, workers, func() {
						g.Prepare(&op, dy, n, rows, kernel.Fast)
						g.MatMulBack(dx, &op, w)
					})
				})
			})
		}
	}
}

func BenchmarkExact(b *testing.B) {
	top := peak("FMA")
	rng := rand.New(rand.NewPCG(1, 1))
	for _, s := range [][3]int{{512, 1536, 576}, {512, 2560, 2560}, {64, 1536, 576}} {
		n, rows, cols := s[0], s[1], s[2]
		m := weights(b, quant.Q4_1, rows, cols, rng)
		x, y := normal(n*cols, rng), normal(n*rows, rng)
		for _, way := range []string{"forward", "back"} {
			b.Run(fmt.Sprintf("%s/%v", way, s), func(b *testing.B) {
				crews(b, func(b *testing.B, g *kernel.Gang, workers int) {
					w, err := g.Pack(m)
					if err != nil {
						b.Fatal(err)
					}
					var op kernel.Operand
					fastest(b, 2*float64(n*rows*cols), 0, top, workers, func() {
						if way == "back" {
							g.Prepare(&op, y, n, rows, kernel.Exact)
							g.MatMulBack(x, &op, w)
							return
						}
						g.Prepare(&op, x, n, cols, kernel.Exact)
						g.MatMul(y, &op, w)
					})
				})
			})
		}
	}
}

// The products of an adapter of rank 16: see Gemm's callers in training.
func BenchmarkGemm(b *testing.B) {
	top := peak("FMA")
	rng := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		name           string
		transA, transB bool
		m, n, k        int
	}{
		{"large", false, true, 512, 1536, 576},
		{"x·Aᵀ", false, true, 512, 16, 576},
		{"x·Aᵀ", false, true, 2048, 16, 2560},
		{"x·Aᵀ", false, true, 512, 16, 10240},
		{"h·Bᵀ", false, true, 512, 1536, 16},
		{"h·Bᵀ", false, true, 512, 10240, 16},
		{"dy·B", false, false, 512, 16, 1536},
		{"dh·A", false, false, 512, 1536, 16},
		{"dyᵀ·h", true, false, 1536, 16, 512},
		{"dyᵀ·h", true, false, 10240, 16, 512},
		{"dhᵀ·x", true, false, 16, 1536, 512},
		{"dhᵀ·x", true, false, 16, 2560, 2048},
		{"row x·Aᵀ", false, true, 1, 16, 576},
		{"row h·Bᵀ", false, true, 1, 1536, 16},
	} {
		x, y := normal(c.m*c.k, rng), normal(c.n*c.k, rng)
		out := make([]float32, c.m*c.n)
		b.Run(fmt.Sprintf("%s/%d,%d,%d", c.name, c.m, c.n, c.k), func(b *testing.B) {
			crews(b, func(b *testing.B, g *kernel.Gang, workers int) {
				fastest(b, 2*float64(c.m*c.n*c.k), 0, top, workers, func() {
					g.Gemm(c.transA, c.transB, c.m, c.n, c.k, 1, x, y, 1, out)
				})
			})
		})
	}
}

// NewGang compares every loop with its twin: it has to stay below 5 ms.
func BenchmarkNewGang(b *testing.B) {
	pool := parallel.New(1)
	defer pool.Close()
	for b.Loop() {
		if _, err := kernel.NewGang(pool, ""); err != nil {
			b.Fatal(err)
		}
	}
}
