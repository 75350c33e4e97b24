package kernel_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"afina/internal/kernel"
	"afina/internal/parallel"
	"afina/internal/quant"
)

// TestMatMuls compares products made together with products made one by one and
// low-rank products in float64, and every row with the row alone.
func TestMatMuls(t *testing.T) {
	pool := parallel.New(2)
	defer pool.Close()
	for _, level := range kernel.Available() {
		g, err := kernel.NewGang(pool, level)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			n, in int
			outs  []int
			rank  int
		}{
			{1, 64, []int{96}, 16}, {5, 64, []int{50, 33, 32}, 4}, {17, 96, []int{128, 16}, 40}, {130, 64, []int{300}, 24}, {3, 64, []int{64}, 1},
		} {
			for _, precision := range []kernel.Precision{kernel.Fast, kernel.Exact} {
				t.Run(fmt.Sprintf("%s/%d rows/%v/rank %d/precision %d", level, c.n, c.outs, c.rank, precision), func(t *testing.T) {
					a := newArena(t, 19)
					x := a.numbers(c.n * c.in)
					bound := 1e-5
					if precision == kernel.Fast {
						bound = 2e-3
					}
					var products []kernel.Product
					var want [][]float32
					for _, out := range c.outs {
						w := matrixOf(t, g, a, out, c.in)
						p := kernel.Product{Dst: a.zeros(c.n * out), W: w}
						var op kernel.Operand
						g.Prepare(&op, x, c.n, c.in, precision)
						plain := a.zeros(c.n * out)
						g.MatMul(plain, &op, w)
						for _, part := range [][2]int{{0, (c.n + 1) / 2}, {(c.n + 1) / 2, c.n}} {
							if part[0] == part[1] {
								continue
							}
							fa, fb := a.numbers(c.rank*c.in), a.numbers(out*c.rank)
							for i := range fb {
								fb[i] *= 1e-6 // below what float16 has as it is
							}
							p.Low = append(p.Low, kernel.LowRank{Lo: part[0], Hi: part[1], Factors: factors(t, g, fa, fb, c.in, out, c.rank, 3e5, precision)})
							addLow(plain[part[0]*out:part[1]*out], x[part[0]*c.in:], fa, fb, c.in, out, c.rank, 3e5)
						}
						products, want = append(products, p), append(want, plain)
					}
					var op kernel.Operand
					g.Prepare(&op, x, c.n, c.in, precision)
					g.MatMuls(&op, products...)
					for i, p := range products {
						compare(t, fmt.Sprint("product ", i), p.Dst, want[i], bound, bound*norm(want[i]))
					}
					for i := range c.n {
						for _, p := range products {
							single := kernel.Product{Dst: a.zeros(p.W.Rows), W: p.W}
							for _, l := range p.Low {
								if l.Lo <= i && i < l.Hi {
									single.Low = []kernel.LowRank{{Lo: 0, Hi: 1, Factors: l.Factors}}
								}
							}
							g.Prepare(&op, x[i*c.in:], 1, c.in, precision)
							g.MatMuls(&op, single)
							if !slices.Equal(single.Dst, p.Dst[i*p.W.Rows:(i+1)*p.W.Rows]) {
								t.Fatalf("row %d depends on its company", i)
							}
						}
					}
				})
			}
		}
	}
}

func factors(t *testing.T, g *kernel.Gang, a, b []float32, in, out, rank int, scale float32, p kernel.Precision) *kernel.Factors {
	t.Helper()
	f, err := g.NewFactors(rank, scale, p, kernel.Pair{In: in, Out: out, A: a, B: b})
	if err != nil {
		t.Fatal(err)
	}
	return f[0]
}

func matrixOf(t *testing.T, g *kernel.Gang, a *arena, out, in int) *kernel.Matrix {
	t.Helper()
	m, err := quant.Quantize(quant.Q8_0, a.numbers(out*in), out, in)
	if err != nil {
		t.Fatal(err)
	}
	w, err := g.Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// addLow adds scale·(x·Aᵀ)·Bᵀ in float64.
func addLow(dst, x, a, b []float32, in, out, rank int, scale float64) {
	low := make([]float64, rank)
	for i := range len(dst) / out {
		for r := range low {
			low[r] = 0
			for k := range in {
				low[r] += float64(x[i*in+k]) * float64(a[r*in+k])
			}
		}
		for o := range out {
			sum := 0.0
			for r, v := range low {
				sum += v * float64(b[o*rank+r])
			}
			dst[i*out+o] += float32(scale * sum)
		}
	}
}

// TestFactorsShowNaN: what is not a number in an adapter shows.
func TestFactorsShowNaN(t *testing.T) {
	pool := parallel.New(1)
	defer pool.Close()
	g, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	a := newArena(t, 20)
	x, fa, fb := a.numbers(32), a.numbers(4*32), a.numbers(32*4)
	fb[0] = nan
	w := matrixOf(t, g, a, 32, 32)
	dst := a.zeros(32)
	var op kernel.Operand
	g.Prepare(&op, x, 1, 32, kernel.Fast)
	g.MatMuls(&op, kernel.Product{Dst: dst, W: w, Low: []kernel.LowRank{{Lo: 0, Hi: 1, Factors: factors(t, g, fa, fb, 32, 32, 4, 1, kernel.Fast)}}})
	if !math.IsNaN(float64(dst[0])) || math.IsNaN(float64(dst[1])) {
		t.Errorf("got %v", dst[:2])
	}
}

// TestTurn: angles made ahead turn as Rotate does.
func TestTurn(t *testing.T) {
	pool := parallel.New(2)
	defer pool.Close()
	for _, level := range kernel.Available() {
		g, err := kernel.NewGang(pool, level)
		if err != nil {
			t.Fatal(err)
		}
		for _, halves := range []bool{false, true} {
			a := newArena(t, 21)
			r := kernel.Rotary{Dims: 24, Base: 1e4, Halves: halves}
			pos := []int32{0, 5, 4000, 3}
			x := a.numbers(4 * 3 * 32)
			y := a.clone(x)
			var angles kernel.Angles
			g.Turns(&angles, pos, r)
			g.Turn(x, 4, 3, 32, &angles)
			g.Rotate(y, 4, 3, 32, pos, r, false)
			if !slices.Equal(x, y) {
				t.Errorf("%s: not what Rotate gives", level)
			}
		}
	}
}

// TestManyAdapters: rows with adapters of their own, which are computed whole, have
// the bits that each has alone; also where a row has none, or none for one of the
// matrices.
func TestManyAdapters(t *testing.T) {
	pool := parallel.New(2)
	defer pool.Close()
	for _, level := range kernel.Available() {
		g, err := kernel.NewGang(pool, level)
		if err != nil {
			t.Fatal(err)
		}
		a := newArena(t, 22)
		const n, in, rank = 11, 96, 24
		outs := []int{70, 64, 33}
		x := a.numbers(n * in)
		var products []kernel.Product
		for _, out := range outs {
			products = append(products, kernel.Product{Dst: a.zeros(n * out), W: matrixOf(t, g, a, out, in)})
		}
		for i := range n {
			var pairs []kernel.Pair
			for _, out := range outs {
				pairs = append(pairs, kernel.Pair{In: in, Out: out, A: a.numbers(rank * in), B: a.numbers(out * rank)})
			}
			all, err := g.NewFactors(rank, 0.5, kernel.Fast, pairs...)
			if err != nil {
				t.Fatal(err)
			}
			for k := range products {
				if i != 4 && (i != 7 || k != 1) {
					products[k].Low = append(products[k].Low, kernel.LowRank{Lo: i, Hi: i + 1, Factors: all[k]})
				}
			}
		}
		var op kernel.Operand
		g.Prepare(&op, x, n, in, kernel.Fast)
		g.MatMuls(&op, products...)
		for i := range n {
			for k, p := range products {
				alone := kernel.Product{Dst: a.zeros(outs[k]), W: p.W}
				for _, l := range p.Low {
					if l.Lo == i {
						alone.Low = []kernel.LowRank{{Lo: 0, Hi: 1, Factors: l.Factors}}
					}
				}
				var op kernel.Operand
				g.Prepare(&op, x[i*in:], 1, in, kernel.Fast)
				g.MatMuls(&op, alone)
				if !slices.Equal(alone.Dst, p.Dst[i*outs[k]:(i+1)*outs[k]]) {
					t.Errorf("%s: product %d of row %d depends on its company", level, k, i)
				}
			}
		}
	}
}
