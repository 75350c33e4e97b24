package kernel_test

import (
	"math"
	"slices"
	"testing"

	"afina/internal/kernel"
	"afina/internal/quant"
)

// TestAdamW: every level moves the tensors by the same bits.
func TestAdamW(t *testing.T) {
	plain, fast := twins(t, 2)
	u := kernel.Update{Scale: 0.7, Keep: 0.99, One: 0.1, Beta2: 0.999, Two: 0.001, Root: 0.3, Eps: 1e-8, Rate: 0.01}
	sizes := []int{1, 7, 8, 16, 33, 1000, 70000}
	run := func(g *kernel.Gang) (all [][]float32) {
		a := newArena(t, 5)
		var w, grad, m, v [][]float32
		for _, n := range sizes {
			w, grad, m, v = append(w, a.numbers(n)), append(grad, a.numbers(n)), append(m, a.numbers(n)), append(v, a.numbers(n))
			for i, x := range v[len(v)-1] {
				v[len(v)-1][i] = x * x
			}
		}
		for range 3 {
			g.AdamW(w, grad, m, v, u)
		}
		return slices.Concat(w, grad, m, v)
	}
	want := run(plain)
	for level, g := range fast {
		for i, x := range run(g) {
			compare(t, string(level), x, want[i], 0, 0)
		}
	}
}

// TestSumSquares adds up in float64, whatever the sizes.
func TestSumSquares(t *testing.T) {
	plain, fast := twins(t, 2)
	fast[kernel.Generic] = plain
	a := newArena(t, 6)
	tensors := [][]float32{a.numbers(3), a.numbers(100001), nil, a.numbers(16)}
	want := 0.0
	for _, x := range tensors {
		for _, v := range x {
			want += float64(v) * float64(v)
		}
	}
	for level, g := range fast {
		if got := g.SumSquares(tensors); math.Abs(got-want) > 1e-12*want {
			t.Errorf("%s: %v, want %v", level, got, want)
		}
		if got := g.SumSquares(nil); got != 0 {
			t.Errorf("%s: %v of nothing", level, got)
		}
	}
	plain.Clear(tensors)
	if got := plain.SumSquares(tensors); got != 0 {
		t.Errorf("%v after Clear", got)
	}
}

// TestDropoutBack: the bits of two calls of Dropout and one of Add.
func TestDropoutBack(t *testing.T) {
	plain, fast := twins(t, 2)
	fast[kernel.Generic] = plain
	for level, g := range fast {
		for _, n := range []int{1, 15, 16, 17, 31, 32, 33, 600, 1 << 17} {
			for _, fresh := range []bool{false, true} {
				a := newArena(t, uint64(n))
				x, dx, dy := a.numbers(n), a.numbers(n), a.numbers(n)
				wantMasked, want := a.zeros(n), a.zeros(n)
				plain.Dropout(wantMasked, x, 0.3, 9)
				plain.Dropout(want, dy, 0.3, 9)
				if !fresh {
					plain.Add(want, dx)
				}
				masked := a.zeros(n)
				if fresh {
					dx = dy // as training does
				}
				g.DropoutBack(masked, x, dx, dy, fresh, 0.3, 9)
				compare(t, string(level)+" masked", masked, wantMasked, 0, 0)
				compare(t, string(level)+" dx", dx, want, 0, 0)
			}
		}
	}
}

// TestSwiGLUPairs: what is kept is gate and up rounded to bfloat16, and the rest is
// computed of that.
func TestSwiGLUPairs(t *testing.T) {
	plain, fast := twins(t, 2)
	fast[kernel.Generic] = plain
	for level, g := range fast {
		for _, n := range []int{1, 8, 17, 64, 513, 100000} {
			a := newArena(t, uint64(n))
			gate, up, dy := a.numbers(n), a.numbers(n), a.numbers(n)
			if n > 16 {
				gate[3], up[5], gate[7], up[9] = nan, nan, inf, -inf
				gate[11], up[11] = math.Float32frombits(0x7fffffff), math.Float32frombits(0xffffffff) // NaNs that would round to zero
			}
			y, wantY, pairs := a.zeros(n), a.zeros(n), make([]uint32, n)
			plain.SwiGLU(wantY, gate, up)
			g.SwiGLUKeep(y, pairs, gate, up)
			compare(t, string(level)+" y", y, wantY, 2e-6, 1e-36)

			short := func(x []float32) []float32 {
				r := a.zeros(n)
				for i, v := range x {
					r[i] = math.Float32frombits(uint32(quant.F32ToBF16(v)) << 16)
				}
				return r
			}
			gate, up = short(gate), short(up)
			for i, p := range pairs {
				lo, hi := math.Float32frombits(p<<16), math.Float32frombits(p&^0xffff)
				if (lo != gate[i] && lo == lo) || (hi != up[i] && hi == hi) || (lo != lo) != (gate[i] != gate[i]) || (hi != hi) != (up[i] != up[i]) {
					t.Fatalf("%s: pair %d is %v and %v, want %v and %v", level, i, lo, hi, gate[i], up[i])
				}
			}
			plain.SwiGLU(wantY, gate, up)
			g.SwiGLUKept(y, pairs)
			compare(t, string(level)+" kept y", y, wantY, 2e-6, 1e-36)
			dgate, dup, wantGate, wantUp := a.zeros(n), a.zeros(n), a.zeros(n), a.zeros(n)
			plain.SwiGLUBack(wantGate, wantUp, dy, gate, up)
			g.SwiGLUBackKept(dgate, dup, dy, pairs)
			compare(t, string(level)+" dgate", dgate, wantGate, 2e-6, 2e-6)
			compare(t, string(level)+" dup", dup, wantUp, 2e-6, 2e-6)
		}
	}
}

func BenchmarkAdamW(b *testing.B) {
	_, fast := twins(b, 0)
	const tensors, n = 420, 11600 // SmolLM2's, rank 16
	make2 := func() (x [][]float32) {
		for range tensors {
			x = append(x, make([]float32, n))
		}
		return x
	}
	w, grad, m, v := make2(), make2(), make2(), make2()
	for level, g := range fast {
		b.Run(string(level), func(b *testing.B) {
			b.SetBytes(4 * 7 * tensors * n) // four read, three written
			for b.Loop() {
				g.AdamW(w, grad, m, v, kernel.Update{Scale: 1, Keep: 1, One: 0.1, Beta2: 0.999, Two: 0.001, Root: 1, Eps: 1e-8, Rate: 1e-3})
			}
		})
	}
}

func BenchmarkDropoutBack(b *testing.B) {
	_, fast := twins(b, 0)
	const n = 512 * 576
	masked, x, dx, dy := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for level, g := range fast {
		b.Run(string(level), func(b *testing.B) {
			b.SetBytes(4 * 5 * n)
			for b.Loop() {
				g.DropoutBack(masked, x, dx, dy, false, 0.05, 1)
			}
		})
	}
}
