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
		t := gemmTask{m: m, n: n, k: k, alpha: alpha, add: int(beta), a: a, b: b, c: c, rs: k, ks: 1, ldb: n, turned: transB}
		if transA {
			t.rs, t.ks = 1, m
		}
		if transB {
			t.ldb = k
		}
		g.gemm(&t)
	}
}

// gemmTask is a Gemm on its way: element (i, l) of a at a[i*rs+l*ks], and b
// (k, n) or, turned, (n, k), in rows ldb apart.
type gemmTask struct {
	m, n, k     int
	alpha       float32
	add         int
	a, b, c     []float32
	rs, ks, ldb int
	turned      bool

	width  int       // of a panel of b
	direct int       // how many panels are read in place
	packed []float32 // the others, (k, width) each, when several chunks read them
}

// gemmTurned computes the transpose of the result, and turns it: a gradient of
// few columns and many rows then reads its large operand row by row.
func (g *Gang) gemmTurned(transB bool, m, n, k int, alpha float32, a, b []float32, add int, c []float32) {
	s := g.borrowOwn()
	defer g.giveBack(s)
	turned := s.float32s(n * m)
	t := gemmTask{m: n, n: m, k: k, alpha: alpha, a: b, b: a, c: turned, rs: 1, ks: n, ldb: m}
	if transB {
		t.rs, t.ks = k, 1
	}
	g.gemm(&t)
	const rows = 64
	g.run(newGrid((n+wide-1)/wide, 1, m, rows), func(p, _, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		cols := min(wide, n-p*wide)
		part := s.float32s(rows * wide)
		g.kit.transpose(cols, i1-i0, turned[p*wide*m+i0:], m, part, wide)
		merge(c[i0*n+p*wide:], n, part, wide, i1-i0, cols, add)
	})
}

// gemm packs the panels of b that cannot be read in place and shares the work.
func (g *Gang) gemm(t *gemmTask) {
	t.width = wide
	if t.n <= narrow {
		t.width = narrow
	}
	panels := (t.n + t.width - 1) / t.width
	t.direct = t.n / t.width // whole panels are read in place …
	if t.turned || t.m >= 64 && t.k >= 64 {
		t.direct = 0 // … unless they run the other way, or are read often enough
	}
	own := g.borrowOwn()
	defer g.giveBack(own)
	d := gemmGrid(t, panels)
	if d.rowParts > 1 {
		t.packed = own.float32s((panels - t.direct) * t.k * t.width)
		step := max(1, 16384/(t.k*t.width))
		g.run(newGrid(panels-t.direct, step, 1, 1), func(p0, p1, _, _ int) {
			for p := p0; p < p1; p++ {
				g.packPanel(t, t.direct+p, t.packed[p*t.k*t.width:])
			}
		})
	}
	g.run(d, func(p0, p1, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		for p := p0; p < p1; p++ {
			b, ldb := g.panel(t, p, s)
			g.floatPanel(s, t.k, t.alpha, t.a, t.rs, t.ks, b, ldb, t.width, t.c[p*t.width:], t.n, i0, i1, t.n-p*t.width, t.add)
		}
	})
}

// panel returns panel p of b, packed into s if need be.
func (g *Gang) panel(t *gemmTask, p int, s *scratch) (b []float32, ldb int) {
	switch {
	case p < t.direct:
		return t.b[p*t.width:], t.ldb
	case t.packed != nil:
		return t.packed[(p-t.direct)*t.k*t.width:], t.width
	}
	b = s.float32s(t.k * t.width)
	g.packPanel(t, p, b)
	return b, t.width
}

// packPanel copies panel p of b to dst (k, width); missing columns hold any
// finite numbers.
func (g *Gang) packPanel(t *gemmTask, p int, dst []float32) {
	first := p * t.width
	cols := min(t.width, t.n-first)
	if t.turned {
		g.kit.transpose(cols, t.k, t.b[first*t.ldb:], t.ldb, dst, t.width)
		return
	}
	for l := range t.k {
		row := dst[l*t.width:][:t.width]
		copy(row, t.b[l*t.ldb+first:][:cols])
		clear(row[cols:])
	}
}

// gemmGrid cuts t into chunks of about two million multiplications; for few
// rows, which wait for b, of chunkBytes.
func gemmGrid(t *gemmTask, panels int) grid {
	const chunk = 2 << 20
	rows := min(t.m, 96)
	if panels == 1 {
		rows = min(t.m, max(12, chunk/(t.k*t.width)/12*12))
	}
	step := max(1, min(panels, chunk/(rows*t.k*t.width)))
	if rows < 12 {
		step = max(1, min(step, chunkBytes/(4*t.k*t.width)))
	}
	return newGrid(panels, step, t.m, rows)
}
