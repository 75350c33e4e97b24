package kernel_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"afina/internal/kernel"
)

// checkGradient compares the analytic gradient of Σ c·f(x) with central
// differences, the sum in float64.
func checkGradient(t *testing.T, what string, x, gradient, c []float32, f func() []float32) {
	t.Helper()
	const h = 1.0 / 128
	loss := func() (sum float64) {
		for i, y := range f() {
			sum += float64(c[i]) * float64(y)
		}
		return sum
	}
	scale := norm(gradient)
	for i := range x {
		kept := x[i]
		x[i] = kept + h
		up := loss()
		x[i] = kept - h
		down := loss()
		x[i] = kept
		if got, want := float64(gradient[i]), (up-down)/(2*h); math.Abs(got-want) > 3e-3*scale {
			t.Errorf("%s: gradient %d is %v, differences say %v", what, i, got, want)
		}
	}
}

// TestGradients checks every backward function of every level.
func TestGradients(t *testing.T) {
	plain, fast := twins(t, 1)
	fast[kernel.Generic] = plain
	for level, g := range fast {
		t.Run(string(level), func(t *testing.T) {
			const n, cols = 2, 19
			a := newArena(t, 21)
			x, up, w, b := a.numbers(n*cols), a.numbers(n*cols), a.numbers(cols), a.numbers(cols)
			c, y, dx, dup := a.numbers(n*cols), a.zeros(n*cols), a.zeros(n*cols), a.zeros(n*cols)

			g.RMSNormBack(dx, c, x, n, cols, w, 1e-3)
			checkGradient(t, "RMSNorm", x, dx, c, func() []float32 { g.RMSNorm(y, x, n, cols, w, 1e-3); return y })
			clear(dx)
			g.LayerNormBack(dx, c, x, n, cols, w, 1e-3)
			checkGradient(t, "LayerNorm", x, dx, c, func() []float32 { g.LayerNorm(y, x, n, cols, w, b, 1e-3); return y })
			swiglu := func() []float32 { g.SwiGLU(y, x, up); return y }
			g.SwiGLUBack(dx, dup, c, x, up)
			checkGradient(t, "SwiGLU gate", x, dx, c, swiglu)
			checkGradient(t, "SwiGLU up", up, dup, c, swiglu)
			g.GELUBack(dx, c, x)
			checkGradient(t, "GELU", x, dx, c, func() []float32 { g.GELU(y, x); return y })
			g.Dropout(dx, c, 0.4, 3)
			checkGradient(t, "Dropout", x, dx, c, func() []float32 { g.Dropout(y, x, 0.4, 3); return y })

			pos := []int32{3, 40}
			for _, halves := range []bool{false, true} {
				r := kernel.Rotary{Dims: 6, Base: 50, Halves: halves}
				copy(dx, c)
				g.Rotate(dx[:2*16], 2, 2, 8, pos, r, true)
				checkGradient(t, fmt.Sprint("Rotate ", halves), x[:32], dx[:32], c[:32], func() []float32 {
					copy(y, x)
					g.Rotate(y[:32], 2, 2, 8, pos, r, false)
					return y[:32]
				})
			}
			lossGradient(t, g, a)
			attentionGradient(t, g, a)
		})
	}
}

func lossGradient(t *testing.T, g *kernel.Gang, a *arena) {
	x, targets := a.numbers(2*11), []int32{4, 10}
	dx := slices.Clone(x)
	g.CrossEntropy(dx, 2, 11, targets)
	// The loss goes out as two float32, so that checkGradient sees float64.
	checkGradient(t, "CrossEntropy", x, dx, []float32{1, 1}, func() []float32 {
		sum, _ := g.CrossEntropy(slices.Clone(x), 2, 11, targets)
		return []float32{float32(sum), float32(sum - float64(float32(sum)))}
	})
}

func attentionGradient(t *testing.T, g *kernel.Gang, a *arena) {
	s := newScene(a, heads(2, 1, 16), packed(3, 4))
	s.forward(g)
	s.backward(g)
	f := func() []float32 { s.forward(g); return s.out }
	checkGradient(t, "Attention q", s.q, s.dq, s.dout, f)
	checkGradient(t, "Attention k", s.k, s.dk, s.dout, f)
	checkGradient(t, "Attention v", s.v, s.dv, s.dout, f)
}
