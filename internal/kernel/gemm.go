package kernel

import "fmt"

// Gemm computes c = beta·c + alpha·op(a)·op(b) in float32, row-major.
//
//	op(a) is (m, k): a is (m, k), or (k, m) when transA
//	op(b) is (k, n): b is (k, n), or (n, k) when transB
//	beta is 0 or 1
//
// A row of c does not depend on m, nor on the other rows.
func (g *Gang) Gemm(transA, transB bool, m, n, k int, alpha float32, a, b []float32, beta float32, c []float32) {
	if m < 0 || n < 0 || k < 0 || len(a) < m*k || len(b) < k*n || len(c) < m*n || beta != 0 && beta != 1 {
		panic(fmt.Sprintf("kernel: gemm of (%d, %d) in %d numbers, (%d, %d) in %d into %d, beta %g",
			m, k, len(a), k, n, len(b), len(c), beta))
	}
	switch {
	case m == 0 || n == 0:
	case k == 0 || alpha == 0:
		if beta == 0 {
			clear(c[:m*n])
		}
	case transA && m > n:
		g.gemmTurned(transB, m, n, k, alpha, a, b, int(beta), c)
	default:
		t := gemmTask{m: m, n: n, k: k, alpha: alpha, add: int(beta), a: a, b: b, c: c, rs: k, ks: 1, ldb: n}
		if transA {
			t.rs, t.ks = 1, m
		}
		g.gemm(&t, transB)
	}
}

// gemmTask is a Gemm on its way: element (i, l) of a at a[i*rs+l*ks], b (k, n)
// in rows ldb apart or in panels.
type gemmTask struct {
	m, n, k     int
	alpha       float32
	add         int
	a, b, c     []float32
	rs, ks, ldb int
	width       int       // of a panel
	packed      []float32 // panels (k, width), the first of which is panel first
	first       int
}

// gemmTurned computes the transpose of the result, and turns it: a gradient of
// few columns and many rows then reads its large operand row by row.
func (g *Gang) gemmTurned(transB bool, m, n, k int, alpha float32, a, b []float32, add int, c []float32) {
	s := g.borrow()
	defer g.giveBack(s)
	turned := s.float32s(n * m)
	t := gemmTask{m: n, n: m, k: k, alpha: alpha, a: b, b: a, c: turned, rs: 1, ks: n, ldb: m}
	if transB {
		t.rs, t.ks = k, 1
	}
	g.gemm(&t, false)
	for i := range m {
		row := c[i*n:][:n]
		for j := range row {
			if add == 0 {
				row[j] = turned[j*m+i]
			} else {
				row[j] += turned[j*m+i]
			}
		}
	}
}

// gemm packs the panels of b that cannot be read in place and shares the work.
func (g *Gang) gemm(t *gemmTask, transB bool) {
	t.width = wide
	if t.n <= narrow {
		t.width = narrow
	}
	panels := (t.n + t.width - 1) / t.width
	t.first = t.n / t.width // whole panels are read in place …
	if transB || t.m >= 64 && t.k >= 64 {
		t.first = 0 // … unless they run the other way, or are read often enough
	}
	s := g.borrow()
	defer g.giveBack(s)
	t.packed = s.float32s((panels - t.first) * t.k * t.width)
	g.packPanels(t, transB, panels)

	d := gemmGrid(t, panels)
	g.run(d, func(p0, p1, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		for p := p0; p < p1; p++ {
			b, ldb := t.packed, t.width
			if p < t.first {
				b, ldb = t.b[p*t.width:], t.ldb
			} else {
				b = b[(p-t.first)*t.k*t.width:]
			}
			g.floatPanel(s, t.k, t.alpha, t.a, t.rs, t.ks, b, ldb, t.width, t.c[p*t.width:], t.n, i0, i1, t.n-p*t.width, t.add)
		}
	})
}

// packPanels copies the panels from t.first on, with zeros for missing columns.
func (g *Gang) packPanels(t *gemmTask, transB bool, panels int) {
	step := max(1, 16384/(t.k*t.width))
	g.run(newGrid(panels-t.first, step, 1, 1), func(p0, p1, _, _ int) {
		for p := p0; p < p1; p++ {
			at := (p + t.first) * t.width
			cols := min(t.width, t.n-at)
			panel := t.packed[p*t.k*t.width:][:t.k*t.width]
			if transB {
				g.kit.transpose(cols, t.k, t.b[at*t.k:], t.k, panel, t.width)
				continue
			}
			for l := range t.k {
				row := panel[l*t.width:][:t.width]
				copy(row, t.b[l*t.ldb+at:][:cols])
				clear(row[cols:])
			}
		}
	})
}

// gemmGrid cuts t into chunks of about two million multiplications.
func gemmGrid(t *gemmTask, panels int) grid {
	const chunk = 2 << 20
	rows := min(t.m, 96)
	if panels == 1 {
		rows = min(t.m, max(12, chunk/(t.k*t.width)/12*12))
	}
	step := max(1, min(panels, chunk/(rows*t.k*t.width)))
	return newGrid(panels, step, t.m, rows)
}
