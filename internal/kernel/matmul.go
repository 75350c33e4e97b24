package kernel

import (
	"fmt"
	"runtime"
)

// MatMul computes dst = x·wᵀ.
//
//	x   is (n, w.Cols)
//	dst is (n, w.Rows)
func (g *Gang) MatMul(dst []float32, x *Operand, w *Matrix) {
	if x.cols != w.Cols || len(dst) < x.n*w.Rows {
		panic(fmt.Sprintf("kernel: (%d, %d) times the transpose of (%d, %d) into %d numbers",
			x.n, x.cols, w.Rows, w.Cols, len(dst)))
	}
	switch {
	case x.n == 0:
	case x.precision == Exact:
		g.matMulExact(dst, x, w)
	case w.form != pairForm && g.kit.tiles != nil && x.Dense:
		g.rounded(x)
		g.matMulDense(dst, x, w)
	case w.form != pairForm && g.kit.tiles != nil:
		g.tiledRows(x)
		g.matMulTiles(dst, x, w)
	case w.form != pairForm && g.kit.shorts != nil:
		g.matMulWords(dst, x, w)
	case w.form != pairForm && w.Coarse && g.kit.integers:
		g.quantised(x, &x.coarse, &g.kit.coarse)
		g.matMulInts(dst, x, &x.coarse, &g.kit.coarse, w)
	case w.form.bits() == 4 && g.kit.pairs:
		g.wholes(x)
		g.matMulWholes(dst, x, w)
	case w.form != pairForm && g.kit.integers:
		g.quantised(x, &x.fine, &g.kit.fine)
		g.matMulInts(dst, x, &x.fine, &g.kit.fine, w)
	case w.form == pairForm && g.kit.pairs:
		g.rounded(x)
		g.matMulPairs(dst, x, w)
	default:
		g.matMulFloats(dst, x, w)
	}
	runtime.KeepAlive(w) // its memory goes when nobody refers to it
}

// grid cuts a product into chunks of panels × rows. It depends on the shape
// alone, so that results do not depend on the number of workers.
type grid struct {
	panels, rows         int // in all
	panelStep, rowStep   int // per chunk
	panelParts, rowParts int
}

func newGrid(panels, panelStep, rows, rowStep int) grid {
	return grid{panels, rows, panelStep, rowStep, (panels + panelStep - 1) / panelStep, (rows + rowStep - 1) / rowStep}
}

// run calls f for every chunk: panels p0 … p1-1, rows i0 … i1-1.
func (g *Gang) run(d grid, f func(p0, p1, i0, i1 int)) {
	piece := func(chunk int) {
		p, i := chunk/d.rowParts*d.panelStep, chunk%d.rowParts*d.rowStep
		f(p, min(p+d.panelStep, d.panels), i, min(i+d.rowStep, d.rows))
	}
	if g.gathered != nil {
		g.gathered.add(d.panelParts*d.rowParts, piece)
		return
	}
	g.pool.Run(d.panelParts*d.rowParts, piece)
}

// cacheBytes is how much of the second-level cache a group of panels may take:
// every tile of rows sweeps the whole group.
const cacheBytes = 384 << 10

// chunkBytes is the least that a chunk of one sweep over weights reads: half a
// microsecond's worth.
const chunkBytes = 24 << 10

// matMulInts multiplies int8 activations by quantised weights.
func (g *Gang) matMulInts(dst []float32, x *Operand, f *intForm, t *intTiles, w *Matrix) {
	g.narrowTiles(dst, x.n, w, t.heights, func(h, p0, p1, i int, c *float32, ldc int) {
		f.tile(t, h, p0, p1, i, w, c, ldc)
	})
}

// narrowTiles runs a product with quantised weights: tile multiplies the tile of h
// rows that begins at row i by panels p0 … p1-1. What stands over the edge of w is
// left out of dst.
func (g *Gang) narrowTiles(dst []float32, n int, w *Matrix, heights *heights, tile func(h, p0, p1, i int, c *float32, ldc int)) {
	perPanel := w.blocks * (blockBytes(w.form.bits()) + 4*narrow)
	step := max(1, min(cacheBytes/perPanel, 8))
	if n < 12 { // few rows: one sweep over the weights, so chunks need only be worth sharing
		step = max(1, chunkBytes/perPanel, min(w.panels/16, 2*step))
	}
	g.run(newGrid(w.panels, step, n, 120), func(p0, p1, i0, i1 int) {
		for i := i0; i < i1; {
			h := heights.next(n - i)
			whole := min(p1, w.Rows/narrow)
			if whole > p0 {
				tile(h, p0, whole, i, &dst[i*w.Rows+p0*narrow], w.Rows)
			}
			if whole < p1 {
				s := g.borrow()
				tile(h, whole, p1, i, &s.tile[0], narrow)
				put(dst[i*w.Rows+whole*narrow:], w.Rows, s.tile[:], narrow, h, w.Rows-whole*narrow)
				g.giveBack(s)
			}
			i += h
		}
	})
}

// tile multiplies the tile of h rows that begins at row i by panels p0 … p1-1.
func (f *intForm) tile(t *intTiles, h, p0, p1, i int, w *Matrix, c *float32, ldc int) {
	q, d := w.offsets(p0, 0)
	e := t.parts * i * w.blocks
	a, np := &f.ints[e*block], p1-p0
	switch w.form {
	case zeroForm4:
		t.zero4[h](np, w.blocks, &w.qs[q], &w.ds[d], a, &f.scales[e], &f.inits4[e], c, ldc)
	case zeroForm8:
		t.zero8[h](np, w.blocks, &w.qs[q], &w.ds[d], a, &f.scales[e], &f.inits8[e], c, ldc)
	case minForm4:
		t.min4[h](np, w.blocks, &w.qs[q], &w.ds[d], &w.ms[d], a, &f.scales[e], &f.sums[e], c, ldc)
	case minForm8:
		t.min8[h](np, w.blocks, &w.qs[q], &w.ds[d], &w.ms[d], a, &f.scales[e], &f.sums[e], c, ldc)
	}
}

// put copies the first cols columns of a tile of h rows to dst.
func put(dst []float32, ldd int, tile []float32, ldt, h, cols int) {
	for r := range h {
		copy(dst[r*ldd:][:cols], tile[r*ldt:][:cols])
	}
}

// The lengths along k at which sums of floats are added to the result: they
// keep a panel in the caches, and fix the order of every sum.
const (
	floatDepth = 384
	pairDepth  = 640 // numbers, not pairs
)

// matMulPairs multiplies bfloat16 activations by bfloat16 weights.
func (g *Gang) matMulPairs(dst []float32, x *Operand, w *Matrix) {
	depth := w.blocks * block / 2
	g.run(newGrid(w.panels, 4, x.n, 120), func(p0, p1, i0, i1 int) {
		for l := 0; l < depth; l += pairDepth / 2 {
			n := min(pairDepth/2, depth-l)
			for p := p0; p < p1; p++ {
				b := &w.pairs[(p*depth+l)*wide]
				g.pairRows(n, x.pairs[l:], x.stride, b, dst[p*wide:], w.Rows, i0, i1, w.Rows-p*wide, min(l, 1))
			}
		}
	})
}

// pairRows multiplies rows i0 … i1-1 of a by one panel, of which cols columns
// are wanted.
func (g *Gang) pairRows(k2 int, a []uint32, rs int, b *uint32, c []float32, ldc, i0, i1, cols, add int) {
	if t := g.kit.tiles; t != nil {
		if cols >= wide {
			t.pairRows(1, k2, a, rs, b, 0, c, ldc, i0, i1, add)
			return
		}
		s := g.borrow()
		defer g.giveBack(s)
		edge := s.float32s((i1 - i0) * wide)
		t.pairRows(1, k2, a[i0*rs:], rs, b, 0, edge, wide, 0, i1-i0, 0)
		merge(c[i0*ldc:], ldc, edge, wide, i1-i0, cols, add)
		return
	}
	for i := i0; i < i1; {
		h := g.kit.floatHeights.next(i1 - i)
		if cols >= wide {
			tiles := g.kit.floatHeights.same(i1-i, h)
			g.kit.pair[h](tiles, k2, &a[i*rs], rs, b, &c[i*ldc], ldc, add)
			i += tiles * h
			continue
		}
		s := g.borrow()
		g.kit.pair[h](1, k2, &a[i*rs], rs, b, &s.tile[0], wide, 0)
		merge(c[i*ldc:], ldc, s.tile[:], wide, h, cols, add)
		g.giveBack(s)
		i += h
	}
}

// merge adds (add 1) or copies (add 0) the first cols columns of a tile to c.
func merge(c []float32, ldc int, tile []float32, ldt, h, cols, add int) {
	if add == 0 {
		put(c, ldc, tile, ldt, h, cols)
		return
	}
	for r := range h {
		for j, v := range tile[r*ldt:][:cols] {
			c[r*ldc+j] += v
		}
	}
}

// matMulFloats multiplies float32 activations by packed weights, on levels that
// do not multiply them as they are. Each chunk unpacks 32 rows of w.
func (g *Gang) matMulFloats(dst []float32, x *Operand, w *Matrix) {
	g.run(newGrid((w.Rows+wide-1)/wide, 1, x.n, 240), func(p, _, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		buffer := s.float32s((w.blocks + 1) * block * wide)
		panel, rows := buffer[block*wide:], buffer[:block*wide]
		end := min((p+1)*wide, w.Rows)
		for b := range w.blocks {
			g.kit.spread(rows, w, b, p*wide, end)
			g.kit.transpose(end-p*wide, block, rows, block, panel[b*block*wide:], wide)
		}
		g.floatPanel(s, w.Cols, 1, x.x, x.cols, 1, panel, wide, wide, dst[p*wide:], w.Rows, i0, i1, w.Rows-p*wide, 0)
	})
}

// floatPanel multiplies rows i0 … i1-1 of a by one panel b of width columns, of
// which cols are wanted: c = alpha·a·b, added to c when add is 1.
func (g *Gang) floatPanel(s *scratch, k int, alpha float32, a []float32, rs, ks int, b []float32, ldb, width int, c []float32, ldc, i0, i1, cols, add int) {
	kit := &g.kit.float32
	if width == narrow {
		kit = &g.kit.float16
	}
	for l := 0; l < k; l += floatDepth {
		n, more := min(floatDepth, k-l), max(add, min(l, 1))
		for i := i0; i < i1; {
			h := g.kit.floatHeights.next(i1 - i)
			x, right := &a[i*rs+l*ks], &b[l*ldb]
			if cols >= width {
				tiles := g.kit.floatHeights.same(i1-i, h)
				kit[h](tiles, n, x, rs, ks, right, ldb, &c[i*ldc], ldc, alpha, more)
				i += tiles * h
				continue
			}
			kit[h](1, n, x, rs, ks, right, ldb, &s.tile[0], width, alpha, 0)
			merge(c[i*ldc:], ldc, s.tile[:], width, h, cols, more)
			i += h
		}
	}
}
