package kernel_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"afina/internal/kernel"
	"afina/internal/parallel"
	"afina/internal/quant"
)

// outcome is every product of one set of operands.
func outcome(t *testing.T, g *kernel.Gang, m quant.Matrix, n int, p kernel.Precision) []float32 {
	t.Helper()
	rng := rand.New(rand.NewPCG(11, 12))
	w, err := g.Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	var op kernel.Operand
	x, y := normal(n*m.Cols, rng), normal(n*m.Rows, rng)
	forward, dx := make([]float32, n*m.Rows), make([]float32, n*m.Cols)
	g.Prepare(&op, x, n, m.Cols, p)
	g.MatMul(forward, &op, w)
	g.Prepare(&op, y, n, m.Rows, p)
	g.MatMulBack(dx, &op, w)
	low := make([]float32, 16*m.Cols)
	g.Gemm(true, false, 16, m.Cols, n, 1, normal(16*n, rng), x, 0, low)
	high := make([]float32, n*m.Rows)
	g.Gemm(false, true, n, m.Rows, m.Cols, 2, x, normal(m.Rows*m.Cols, rng), 0, high)
	return slices.Concat(forward, dx, low, high)
}

func TestWorkersDoNotChangeABit(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, typ := range []quant.Type{quant.Q4_0, quant.Q4_1, quant.Q8_0, quant.Q5_K, quant.F16} {
		m := weights(t, typ, 350, 512, rng)
		for _, p := range []kernel.Precision{kernel.Fast, kernel.Exact} {
			var want []float32
			for _, workers := range []int{1, 2, 3, 7} {
				pool := parallel.New(workers)
				defer pool.Close()
				g, err := kernel.NewGang(pool, "")
				if err != nil {
					t.Fatal(err)
				}
				got := outcome(t, g, m, 300, p)
				if want == nil {
					want = got
				}
				if !slices.Equal(got, want) {
					t.Errorf("%v, precision %d: %d workers change the result", typ, p, workers)
				}
				if workers == 3 && !slices.Equal(outcome(t, g.Background(), m, 300, p), want) {
					t.Errorf("%v, precision %d: the background changes the result", typ, p)
				}
			}
		}
	}
}

// A row has the same result in every company: a request does not see what else
// is in its batch.
func TestRowsAloneAndTogether(t *testing.T) {
	gangs(t, func(t *testing.T, g *kernel.Gang) {
		rng := rand.New(rand.NewPCG(13, 14))
		const rows, cols = 72, 768
		for _, typ := range []quant.Type{quant.Q4_0, quant.Q4_1, quant.Q8_0, quant.Q5_1, quant.BF16} {
			w, err := g.Pack(weights(t, typ, rows, cols, rng))
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range []kernel.Precision{kernel.Fast, kernel.Fast, kernel.Exact} {
				w.Coarse = i == 1
				x := normal(40*cols, rng)
				var op kernel.Operand
				alone := make([]float32, 40*rows)
				for i := range 40 {
					g.Prepare(&op, x[i*cols:], 1, cols, p)
					g.MatMul(alone[i*rows:], &op, w)
				}
				for n := 1; n <= 40; n++ {
					together := make([]float32, n*rows)
					g.Prepare(&op, x, n, cols, p)
					g.MatMul(together, &op, w)
					if !slices.Equal(together, alone[:n*rows]) {
						t.Fatalf("%v, precision %d, coarse %v: %d rows are not what they are alone", typ, p, w.Coarse, n)
					}
				}
			}
		}
		for _, width := range []int{16, 100} {
			x, b := normal(40*cols, rng), normal(width*cols, rng)
			alone := make([]float32, 40*width)
			for i := range 40 {
				g.Gemm(false, true, 1, width, cols, 1, x[i*cols:], b, 0, alone[i*width:])
			}
			for n := 1; n <= 40; n++ {
				together := make([]float32, n*width)
				g.Gemm(false, true, n, width, cols, 1, x, b, 0, together)
				if !slices.Equal(together, alone[:n*width]) {
					t.Fatalf("gemm of %d columns: %d rows are not what they are alone", width, n)
				}
			}
		}
	})
}

// Packing rounds as much as the documentation of Matrix says.
func TestPackedNumbers(t *testing.T) {
	bounds := map[quant.Type]float64{ // share of the largest number of the 32
		quant.Q4_0: 0, quant.Q4_1: 0, quant.Q5_0: 0, quant.Q5_1: 0, quant.Q8_0: 0, quant.IQ4_NL: 0, quant.BF16: 0,
		quant.IQ4_XS: 0x1p-11, quant.Q4_K: 0x1p-10, quant.Q5_K: 0x1p-10,
		quant.Q2_K: 1.0 / 253, quant.Q3_K: 1.0 / 253, quant.Q6_K: 1.0 / 253,
		quant.F32: 0x1p-8, quant.F16: 0x1p-8,
	}
	gangs(t, func(t *testing.T, g *kernel.Gang) {
		rng := rand.New(rand.NewPCG(15, 16))
		for _, typ := range fileTypes {
			m := weights(t, typ, 35, 512, rng)
			w, err := g.Pack(m)
			if err != nil {
				t.Fatal(err)
			}
			worst, row := 0.0, make([]float32, m.Cols)
			packed := w.Dense()
			for i := range m.Rows {
				w.Row(row, i)
				for b := 0; b < m.Cols; b += 32 {
					top, off := 0.0, 0.0
					for k := b; k < b+32; k++ {
						top = max(top, math.Abs(float64(row[k])))
						off = max(off, math.Abs(float64(row[k])-float64(packed[i*m.Cols+k]))-0x1p-25)
					}
					if top > 0 {
						worst = max(worst, off/top)
					}
				}
			}
			if worst > bounds[typ] {
				t.Errorf("%v: off by %g of the block's largest number, want at most %g", typ, worst, bounds[typ])
			}
			least := int64(m.Rows * m.Cols / 2)
			if w.Bytes() < least || w.Bytes() > 8*least {
				t.Errorf("%v: %d bytes for %d numbers", typ, w.Bytes(), m.Rows*m.Cols)
			}
		}
	})
}

func TestPackRefuses(t *testing.T) {
	pool := parallel.New(1)
	defer pool.Close()
	g, err := kernel.NewGang(pool, kernel.Generic)
	if err != nil {
		t.Fatal(err)
	}
	good := weights(t, quant.Q4_0, 4, 64, rand.New(rand.NewPCG(1, 1)))
	short, odd, unknown, infinite := good, good, good, good
	short.Data = good.Data[:100]
	odd.Cols = 40
	unknown.Type = 99
	infinite.Data = slices.Clone(good.Data)
	infinite.Data[18], infinite.Data[19] = 0, 0x7c
	for name, m := range map[string]quant.Matrix{"short": short, "odd": odd, "unknown": unknown, "infinite": infinite} {
		if _, err := g.Pack(m); err == nil {
			t.Errorf("%s: packed", name)
		}
	}
	if _, err := kernel.NewGang(pool, "sse9"); err == nil {
		t.Error("a gang of an unknown level")
	}
}

func TestShapesThatCannotBe(t *testing.T) {
	pool := parallel.New(1)
	defer pool.Close()
	g, err := kernel.NewGang(pool, kernel.Generic)
	if err != nil {
		t.Fatal(err)
	}
	w, err := g.Pack(weights(t, quant.Q4_0, 4, 64, rand.New(rand.NewPCG(1, 1))))
	if err != nil {
		t.Fatal(err)
	}
	var op kernel.Operand
	g.Prepare(&op, make([]float32, 64), 1, 64, kernel.Fast)
	for name, f := range map[string]func(){
		"few activations": func() { g.Prepare(new(kernel.Operand), make([]float32, 63), 1, 64, kernel.Fast) },
		"few results":     func() { g.MatMul(make([]float32, 3), &op, w) },
		"few gradients":   func() { g.MatMulBack(make([]float32, 64), &op, w) },
		"beta": func() {
			g.Gemm(false, false, 1, 1, 1, 1, make([]float32, 1), make([]float32, 1), 0.5, make([]float32, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

// Nothing to do is done.
func TestEmptyProducts(t *testing.T) {
	gangs(t, func(t *testing.T, g *kernel.Gang) {
		w, err := g.Pack(weights(t, quant.Q4_0, 4, 64, rand.New(rand.NewPCG(1, 1))))
		if err != nil {
			t.Fatal(err)
		}
		var op kernel.Operand
		g.Prepare(&op, nil, 0, 64, kernel.Fast)
		g.MatMul(nil, &op, w)
		var none kernel.Operand
		g.Prepare(&none, nil, 0, w.Rows, kernel.Fast)
		g.MatMulBack(nil, &none, w)
		for i, c := range []struct {
			k           int
			alpha, beta float32
			want        float32
		}{{0, 1, 0, 0}, {0, 1, 1, 5}, {2, 0, 0, 0}, {2, 0, 1, 5}} {
			got := []float32{5}
			g.Gemm(false, false, 1, 1, c.k, c.alpha, []float32{1, 2}, []float32{3, 4}, c.beta, got)
			if got[0] != c.want {
				t.Errorf("case %d: %g, want %g", i, got[0], c.want)
			}
		}
	})
}
