package kernel_test

import (
	"fmt"
	"math/rand/v2"
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
						lowRank(t, g, rng, n, in, rank, p, fresh)
					})
				}
			}
		}
	})
}

func lowRank(t *testing.T, g *kernel.Gang, rng *rand.Rand, n, in, rank int, p float32, fresh bool) {
	x, a, dlow := normal(n*in, rng), normal(rank*in, rng), normal(n*rank, rng)
	dx, da := normal(n*in, rng), normal(rank*in, rng)
	masked, grad := make([]float32, n*in), make([]float32, n*in)
	g.Dropout(masked, x, p, 5)
	near := func(what string, got, want []float32) {
		t.Helper()
		if d := distance(got, want); d > 1e-6 {
			t.Errorf("%s is off by %g", what, d)
		}
	}
	want, low := make([]float32, n*rank), make([]float32, n*rank)
	g.Gemm(false, true, n, rank, in, 1, masked, a, 0, want)
	g.LowRank(low, x, a, n, in, rank, p, 5)
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
	g.LowRankBack(dx, da, dlow, x, a, n, in, rank, p, 5, fresh)
	near("dx", dx, wantX)
	near("da", da, wantA)
	g.LowRankBack(nil, again, dlow, x, a, n, in, rank, p, 5, false)
	near("da alone", again, wantA)
}
