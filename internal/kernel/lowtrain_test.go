package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"afina/internal/kernel"
)

// TestLowRank compares with Dropout and Gemm, one after the other.
func TestLowRank(t *testing.T) {
	gangs(t, func(t *testing.T, g *kernel.Gang) {
		rng := rand.New(rand.NewPCG(11, 12))
		for _, shape := range [][3]int{{1, 32, 1}, {37, 576, 16}, {130, 160, 20}, {61, 50, 8}, {75, 1536, 48}} {
			for _, p := range []float32{0, 0.1} {
				for _, fresh := range []bool{false, true} {
					n, in, rank := shape[0], shape[1], shape[2]
					t.Run(fmt.Sprintf("%v p=%v fresh=%v", shape, p, fresh), func(t *testing.T) {
						lowRank(t, g, rng, n, in, rank, p, fresh, kernel.Exact, 1e-6)
						lowRank(t, g, rng, n, in, rank, p, fresh, kernel.Fast, 3e-2)
					})
				}
			}
		}
	})
}

func lowRank(t *testing.T, g *kernel.Gang, rng *rand.Rand, n, in, rank int, p float32, fresh bool, precision kernel.Precision, bound float64) {
	x, a, dlow := normal(n*in, rng), normal(rank*in, rng), normal(n*rank, rng)
	dx, da := normal(n*in, rng), normal(rank*in, rng)
	masked, grad := make([]float32, n*in), make([]float32, n*in)
	g.Dropout(masked, x, p, 5)
	near := func(what string, got, want []float32) {
		t.Helper()
		if d := distance(got, want); d > bound {
			t.Errorf("%s is off by %g", what, d)
		}
	}
	want, low := make([]float32, n*rank), make([]float32, n*rank)
	g.Gemm(false, true, n, rank, in, 1, masked, a, 0, want)
	g.LowRank(low, x, a, n, in, rank, p, 5, precision)
	near("low", low, want)

	g.Gemm(false, false, n, in, rank, 1, dlow, a, 0, grad)
	g.Dropout(grad, grad, p, 5)
	wantX, wantA := append([]float32(nil), grad...), append([]float32(nil), da...)
	if !fresh {
		for i := range wantX {
			wantX[i] += dx[i]
		}
	}
	g.Gemm(true, false, rank, in, n, 1, dlow, masked, 1, wantA)
	again := append([]float32(nil), da...)
	g.LowRankBack(dx, da, dlow, x, a, n, in, rank, p, 5, fresh, precision)
	near("dx", dx, wantX)
	near("da", da, wantA)
	g.LowRankBack(nil, again, dlow, x, a, n, in, rank, p, 5, false, precision)
	near("da alone", again, wantA)

	// The outer half, with x in the part of the result.
	y, b, db, dl := normal(n*in, rng), normal(in*rank, rng), normal(in*rank, rng), make([]float32, n*rank)
	wantY, wantB, wantLow := slices.Clone(y), slices.Clone(db), make([]float32, n*rank)
	g.Gemm(false, true, n, in, rank, 0.5, low, b, 1, wantY)
	g.LowRankUp(y, low, b, n, in, rank, 0.5, precision)
	near("y", y, wantY)
	g.Gemm(false, false, n, rank, in, 0.5, x, b, 0, wantLow)
	g.Gemm(true, false, in, rank, n, 0.5, x, low, 1, wantB)
	var dy kernel.Operand
	g.Prepare(&dy, x, n, in, precision)
	g.LowRankUpBack(dl, db, &dy, low, b, rank, 0.5)
	near("dlow", dl, wantLow)
	near("db", db, wantB)
}

// BenchmarkLowRank: the parts of a low-rank product beside a projection of SmolLM2,
// 512 tokens. GB/s count what has a row for each token, read or written.
func BenchmarkLowRank(b *testing.B) {
	const n, in, rank = 512, 1536, 16
	x, dx, low, dlow := uniform(n*in), uniform(n*in), uniform(n*rank), uniform(n*rank)
	a, da := uniform(rank*in), make([]float32, rank*in)
	for name, precision := range map[string]kernel.Precision{"exact": kernel.Exact, "fast": kernel.Fast} {
		for _, c := range []struct {
			name  string
			times float64
			run   func(g *kernel.Gang)
		}{
			{"down", 1, func(g *kernel.Gang) { g.LowRank(low, x, a, n, in, rank, 0.05, 1, precision) }},
			{"down back", 3, func(g *kernel.Gang) { g.LowRankBack(dx, da, dlow, x, a, n, in, rank, 0.05, 1, false, precision) }},
			{"up", 2, func(g *kernel.Gang) { g.LowRankUp(dx, low, a, n, in, rank, 1e-3, precision) }},
			{"up back", 1, func(g *kernel.Gang) {
				var dy kernel.Operand
				g.Prepare(&dy, x, n, in, precision)
				g.LowRankUpBack(dlow, da, &dy, low, a, rank, 1e-3)
			}},
		} {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				best(b, func(b *testing.B, g *kernel.Gang, _ int) {
					quickest(b, c.times*4*n*in, "GB/s", func() { c.run(g) })
				})
			})
		}
	}
}
