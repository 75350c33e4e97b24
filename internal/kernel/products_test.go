package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"afina/internal/kernel"
	"afina/internal/parallel"
	"afina/internal/quant"
)

// gangs calls f for every level of this machine, and for those of others that it
// can play.
func gangs(t *testing.T, f func(t *testing.T, g *kernel.Gang)) {
	t.Helper()
	for _, level := range kernel.Available() {
		pool := parallel.New(2)
		t.Cleanup(pool.Close)
		g, err := kernel.NewGang(pool, level)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(string(level), func(t *testing.T) { f(t, g) })
		for name, g := range kernel.Variants(g) {
			t.Run(name, func(t *testing.T) { f(t, g) })
		}
	}
}

var fileTypes = []quant.Type{
	quant.F32, quant.F16, quant.BF16, quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1, quant.Q8_0,
	quant.Q2_K, quant.Q3_K, quant.Q4_K, quant.Q5_K, quant.Q6_K, quant.IQ4_NL, quant.IQ4_XS,
}

// weights returns a random matrix of any type. For types without a quantiser
// the bytes are random, with small scales in the places of the format.
func weights(t testing.TB, typ quant.Type, rows, cols int, rng *rand.Rand) quant.Matrix {
	t.Helper()
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = float32(rng.NormFloat64()) * 0.1
	}
	if m, err := quant.Quantize(typ, x, rows, cols); err == nil {
		return m
	}
	m := quant.Matrix{Type: typ, Rows: rows, Cols: cols, Data: make([]byte, rows*typ.RowBytes(cols))}
	for i := range m.Data {
		m.Data[i] = byte(rng.Uint32())
	}
	scales := map[quant.Type][]int{quant.Q2_K: {80, 82}, quant.Q3_K: {108}, quant.Q4_K: {0, 2},
		quant.Q5_K: {0, 2}, quant.Q6_K: {208}, quant.IQ4_NL: {0}, quant.IQ4_XS: {0}}[typ]
	for b := 0; b < len(m.Data); b += typ.BlockBytes() {
		for _, s := range scales {
			h := quant.F32ToF16(rng.Float32() * 0.001)
			m.Data[b+s], m.Data[b+s+1] = byte(h), byte(h>>8)
		}
	}
	return m
}

func normal(n int, rng *rand.Rand) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// distance is |got-want| / |want| over all elements.
func distance(got, want []float32) float64 {
	var e, w float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		e += d * d
		w += float64(want[i]) * float64(want[i])
	}
	if w == 0 {
		return math.Sqrt(e)
	}
	return math.Sqrt(e / w)
}

// dense is every row of m as float32.
func dense(m quant.Matrix) []float32 {
	x := make([]float32, m.Rows*m.Cols)
	for i := range m.Rows {
		m.Dequantize(x[i*m.Cols:][:m.Cols], i)
	}
	return x
}

// multiply is c = op(a)·op(b) in float64; element (i, l) of op(a) is a[i*ai+l*al].
func multiply(m, n, k int, a []float32, ai, al int, b []float32, bl, bj int) []float32 {
	c := make([]float32, m*n)
	for i := range m {
		for j := range n {
			var sum float64
			for l := range k {
				sum += float64(a[i*ai+l*al]) * float64(b[l*bl+j*bj])
			}
			c[i*n+j] = float32(sum)
		}
	}
	return c
}

func TestMatMul(t *testing.T) {
	gangs(t, func(t *testing.T, g *kernel.Gang) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, typ := range fileTypes {
			for _, shape := range [][3]int{{1, 16, 256}, {3, 33, 512}, {37, 100, 256}, {13, 64, 768}} {
				n, rows, cols := shape[0], shape[1], shape[2]
				m := weights(t, typ, rows, cols, rng)
				w, err := g.Pack(m)
				if err != nil {
					t.Fatal(err)
				}
				x, dy := normal(n*cols, rng), normal(n*rows, rng)
				flat := dense(m)
				forward := multiply(n, rows, cols, x, cols, 1, flat, 1, cols)
				backward := multiply(n, cols, rows, dy, rows, 1, flat, cols, 1)
				for p, bound := range map[kernel.Precision]float64{kernel.Fast: 0.02, kernel.Exact: 1e-6} {
					t.Run(fmt.Sprintf("%v %v %d", typ, shape, p), func(t *testing.T) {
						dst := make([]float32, n*rows)
						var op kernel.Operand
						for _, op.Dense = range []bool{false, true} {
							g.Prepare(&op, x, n, cols, p)
							g.MatMul(dst, &op, w)
							if d := distance(dst, forward); d > bound {
								t.Errorf("forward, dense %v, is off by %g", op.Dense, d)
							}
						}
						dx := make([]float32, n*cols)
						for i := range dx {
							dx[i] = backward[i]
						}
						g.Prepare(&op, dy, n, rows, p)
						g.MatMulBack(dx, &op, w)
						for i := range dx {
							dx[i] -= backward[i]
						}
						if d := distance(dx, backward); d > bound {
							t.Errorf("backward is off by %g", d)
						}
					})
				}
			}
		}
	})
}

// Two rows of int8 keep some 15 bits of an activation, bfloat16 8, one row of int8
// 7 of the largest of 32: with weights that are packed as they are, a Fast product
// is that close to the float64 one.
func TestFastIsFine(t *testing.T) {
	gangs(t, func(t *testing.T, g *kernel.Gang) {
		rng := rand.New(rand.NewPCG(7, 8))
		for _, typ := range []quant.Type{quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1, quant.Q8_0, quant.IQ4_NL} {
			for _, coarse := range []bool{false, true} {
				n, rows, cols := 21, 80, 576
				m := weights(t, typ, rows, cols, rng)
				w, err := g.Pack(m)
				if err != nil {
					t.Fatal(err)
				}
				w.Coarse = coarse
				x, dst := normal(n*cols, rng), make([]float32, n*rows)
				want := multiply(n, rows, cols, x, cols, 1, dense(m), 1, cols)
				op := kernel.Operand{Dense: true}
				g.Prepare(&op, x, n, cols, kernel.Fast)
				g.MatMul(dst, &op, w)
				if d := distance(dst, want); d > 8e-3 {
					t.Errorf("%v, coarse %v, weights rounded too: off by %g", typ, coarse, d)
				}
				op.Dense = false
				g.Prepare(&op, x, n, cols, kernel.Fast)
				g.MatMul(dst, &op, w)
				bound := 1e-4
				switch {
				case coarse:
					bound = 8e-3
				case typ == quant.Q4_0 || typ == quant.Q4_1 || g.Level() == kernel.AMX:
					bound = 2e-3
				}
				if d := distance(dst, want); d > bound {
					t.Errorf("%v, coarse %v: off by %g", typ, coarse, d)
				}
			}
		}
	})
}

func TestGemm(t *testing.T) {
	gangs(t, func(t *testing.T, g *kernel.Gang) {
		rng := rand.New(rand.NewPCG(3, 4))
		for _, shape := range [][3]int{{1, 1, 1}, {5, 16, 33}, {70, 16, 576}, {50, 100, 16}, {16, 100, 70}, {100, 16, 70}, {33, 70, 800}, {100, 33, 64}} {
			m, n, k := shape[0], shape[1], shape[2]
			for _, trans := range []int{0, 1, 2, 3} {
				transA, transB := trans&1 == 1, trans&2 == 2
				t.Run(fmt.Sprintf("%v %v %v", shape, transA, transB), func(t *testing.T) {
					a, b, c := normal(m*k, rng), normal(k*n, rng), normal(m*n, rng)
					ai, al, bl, bj := k, 1, n, 1
					if transA {
						ai, al = 1, m
					}
					if transB {
						bl, bj = 1, k
					}
					want := multiply(m, n, k, a, ai, al, b, bl, bj)
					got := make([]float32, m*n)
					g.Gemm(transA, transB, m, n, k, 1, a, b, 0, got)
					if d := distance(got, want); d > 1e-6 {
						t.Errorf("off by %g", d)
					}
					sum := append([]float32(nil), c...)
					g.Gemm(transA, transB, m, n, k, 0.5, a, b, 1, sum)
					for i := range want {
						want[i] = want[i]*0.5 + c[i]
					}
					if d := distance(sum, want); d > 1e-6 {
						t.Errorf("scaled and added, off by %g", d)
					}
				})
			}
		}
	})
}
