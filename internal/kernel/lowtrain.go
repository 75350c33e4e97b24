package kernel

import "fmt"

// The low-rank product of training, h = dropout(x)·Aᵀ, and its backward. What
// dropout makes of x is never written out: pieces of it are made where they are
// multiplied, while they lie in the caches. Results are those of Dropout and Gemm
// one after the other, up to the order of the sums.

const (
	lowTile  = 36   // rows of x at a time, forward; a multiple of 12
	lowDepth = 24   // rows at a time, backward; a multiple of 12
	lowStrip = 1536 // columns at a time, backward; a multiple of 32
)

// LowRank computes low = dropout(x)·aᵀ.
//
//	x is (n, in), a is (rank, in), low is (n, rank)
//
// Fast lets the level round what is multiplied to bfloat16, here and in the other
// low-rank products.
func (g *Gang) LowRank(low, x, a []float32, n, in, rank int, p float32, seed uint64, precision Precision) {
	checkLow(low, x, a, n, in, rank)
	if g.onTiles(precision, in) && n > 0 {
		g.lowTiles(low, x, a, n, in, rank, p, seed)
		return
	}
	own := g.borrowOwn()
	defer g.giveBack(own)
	if p > 0 && in%block != 0 { // a row of masks begins inside a word of random bits
		masked := own.float32s(n * in)
		g.Dropout(masked, x, p, seed)
		x, p = masked, 0
	}
	if p == 0 {
		g.Gemm(false, true, n, rank, in, 1, x, a, 0, low)
		return
	}
	t := &gemmTask{m: n, n: rank, k: in, alpha: 1, a: x, b: a, c: low, rs: in, ks: 1, ldb: in, turned: true, width: lowWidth(rank)}
	panels := (rank + t.width - 1) / t.width
	packed := own.float32s(panels * in * t.width)
	for i := range panels {
		g.packPanel(t, i, packed[i*in*t.width:])
	}
	drop := g.rows().dropout
	g.span(n, lowTile, func(lo, hi int) {
		s := g.borrow()
		defer g.giveBack(s)
		masked := s.float32s((hi - lo) * in)
		dropped(lo*in, p, seed, masked, x[lo*in:hi*in], drop)
		for i := range panels {
			g.floatPanel(s, in, 1, masked, in, 1, packed[i*in*t.width:], t.width, t.width,
				low[lo*rank+i*t.width:], rank, 0, hi-lo, rank-i*t.width, 0)
		}
	})
}

// LowRankUp adds alpha·low·bᵀ to dst, the outer half of a low-rank product.
//
//	dst is (n, out), low is (n, rank), b is (out, rank)
func (g *Gang) LowRankUp(dst, low, b []float32, n, out, rank int, alpha float32, precision Precision) {
	checkLow(low, dst, b, n, out, rank)
	if g.onTiles(precision, out) && n > 0 {
		g.raiseTiles(dst, low, b, n, out, rank, alpha)
		return
	}
	g.Gemm(false, true, n, out, rank, alpha, low, b, 1, dst)
}

// LowRankUpBack is the backward of LowRankUp, given the gradient dy of dst: it
// writes that of low to dlow, and adds that of b to db.
//
//	dy is (n, out), low and dlow are (n, rank), b and db (out, rank)
func (g *Gang) LowRankUpBack(dlow, db []float32, dy *Operand, low, b []float32, rank int, alpha float32) {
	n, out := dy.n, dy.cols
	checkLow(low, dy.x, b, n, out, rank)
	checkLow(dlow, dy.x, db, n, out, rank)
	if g.onTiles(dy.precision, out) && n > 0 {
		g.raiseBackTiles(dlow, db, dy, low, b, rank, alpha)
		return
	}
	g.Gemm(false, false, n, rank, out, alpha, dy.x, b, 0, dlow)
	g.Gemm(true, false, out, rank, n, alpha, dy.x, low, 1, db)
}

func lowWidth(rank int) int {
	if rank <= narrow {
		return narrow
	}
	return wide
}

// LowRankBack is the backward of LowRank, given the gradient dlow of low: it adds
// the gradient of a to da and, unless dx is nil, that of x to dx. When dx is
// fresh, its old content does not count.
//
//	dx and x are (n, in), da and a (rank, in), dlow is (n, rank)
func (g *Gang) LowRankBack(dx, da, dlow, x, a []float32, n, in, rank int, p float32, seed uint64, fresh bool, precision Precision) {
	checkLow(dlow, x, a, n, in, rank)
	mustHold("da of LowRankBack", len(da), rank*in)
	if dx != nil {
		mustHold("dx of LowRankBack", len(dx), n*in)
	}
	if g.onTiles(precision, in) && n > 0 {
		g.lowBackTiles(dx, da, dlow, x, a, n, in, rank, p, seed, fresh)
		return
	}
	b := &lowBack{g, dx, da, dlow, x, a, n, in, rank, p, seed, fresh}
	if p > 0 && in%block != 0 {
		b.whole()
		return
	}
	b.pieces()
}

// lowBack is a LowRankBack on its way.
type lowBack struct {
	g                  *Gang
	dx, da, dlow, x, a []float32
	n, in, rank        int
	p                  float32
	seed               uint64
	fresh              bool
}

// pieces cuts tokens and columns into chunks. A chunk runs along the rows of x, so
// that memory comes in long runs, and each piece of the tokens has a sum of its own
// for da; they are added up in their order.
func (b *lowBack) pieces() {
	if b.n == 0 {
		return
	}
	own := b.g.borrowOwn()
	defer b.g.giveBack(own)
	step, size := lowPiece(b.n), b.rank*b.in
	sums := own.float32s((b.n + step - 1) / step * size)
	b.g.run(newGrid((b.in+lowStrip-1)/lowStrip, 1, b.n, step), func(p, _, from, to int) {
		lo := p * lowStrip
		b.chunk(sums[from/step*size+lo:], from, to, lo, min(lowStrip, b.in-lo))
	})
	add := b.g.rows().add
	b.g.span(size, grain, func(lo, hi int) {
		for at := 0; at < len(sums); at += size {
			add(b.da[lo:hi], sums[at+lo:at+hi])
		}
	})
}

// chunk computes rows from … to-1 of cols columns from lo on, and their part of da,
// with rows b.in apart, in sum.
func (b *lowBack) chunk(sum []float32, from, to, lo, cols int) {
	s := b.g.borrow()
	defer b.g.giveBack(s)
	room := s.float32s(2 * lowDepth * cols)
	masked, grad := room[:lowDepth*cols], room[lowDepth*cols:]
	for i := from; i < to; i += lowDepth {
		m := min(lowDepth, to-i)
		right, ldb := b.x[i*b.in+lo:], b.in
		if b.p > 0 {
			right, ldb = masked, cols
		}
		switch {
		case b.p > 0:
			b.drop(s, masked, grad, i, m, lo, cols)
		case b.dx != nil:
			b.columns(s, m, b.rank, b.dlow[i*b.rank:], b.rank, 1, b.a[lo:], b.in, b.dx[i*b.in+lo:], b.in, cols, !b.fresh)
		}
		b.columns(s, b.rank, m, b.dlow[i*b.rank:], 1, b.rank, right, ldb, sum, b.in, cols, i > from)
	}
}

// whole is the backward for rows of any length, one product after the other.
func (b *lowBack) whole() {
	own := b.g.borrowOwn()
	defer b.g.giveBack(own)
	room := own.float32s(2 * b.n * b.in)
	masked, grad := room[:b.n*b.in], room[b.n*b.in:]
	if b.dx == nil {
		b.g.Dropout(masked, b.x, b.p, b.seed)
	} else {
		b.g.Gemm(false, false, b.n, b.in, b.rank, 1, b.dlow, b.a, 0, grad)
		b.g.DropoutBack(masked, b.x, b.dx, grad, b.fresh, b.p, b.seed)
	}
	b.g.Gemm(true, false, b.rank, b.in, b.n, 1, b.dlow, masked, 1, b.da)
}

// drop makes the masked piece of x, and adds the piece of its gradient to dx.
func (b *lowBack) drop(s *scratch, masked, grad []float32, i, m, lo, cols int) {
	if b.dx == nil {
		drop := b.g.rows().dropout
		for r := range m {
			at := (i+r)*b.in + lo
			dropped(at, b.p, b.seed, masked[r*cols:][:cols], b.x[at:at+cols], drop)
		}
		return
	}
	b.columns(s, m, b.rank, b.dlow[i*b.rank:], b.rank, 1, b.a[lo:], b.in, grad, cols, cols, false)
	both := b.g.training().dropoutBack
	for r := range m {
		at := (i+r)*b.in + lo
		eachKey(at, at+cols, b.p, b.seed, func(lo, hi int, k0, k1, threshold uint32, scale float32) {
			c := r*cols + lo - at
			both(masked[c:c+hi-lo], b.x[lo:hi], b.dx[lo:hi], grad[c:c+hi-lo], b.fresh, uint32(lo), k0, k1, threshold, scale)
		})
	}
}

// columns is c = a·b for the m rows of a piece, panel by panel.
func (b *lowBack) columns(s *scratch, m, k int, a []float32, rs, ks int, right []float32, ldb int, c []float32, ldc, cols int, add bool) {
	more := 0
	if add {
		more = 1
	}
	for j := 0; j < cols; j += wide {
		b.g.floatPanel(s, k, 1, a, rs, ks, right[j:], ldb, wide, c[j:], ldc, 0, m, cols-j, more)
	}
}

// dropped is Dropout of numbers that begin at place at of what the seed is for.
func dropped(at int, p float32, seed uint64, dst, x []float32, f func(dst, x []float32, index, k0, k1, threshold uint32, scale float32)) {
	eachKey(at, at+len(x), p, seed, func(lo, hi int, k0, k1, threshold uint32, scale float32) {
		f(dst[lo-at:hi-at], x[lo-at:hi-at], uint32(lo), k0, k1, threshold, scale)
	})
}

func checkLow(low, x, a []float32, n, in, rank int) {
	if n < 0 || rank < 1 || in < 1 {
		panic(fmt.Sprintf("kernel: a low-rank product of %d rows, %d columns and rank %d", n, in, rank))
	}
	mustHold("low", len(low), n*rank)
	mustHold("x of a low-rank product", len(x), n*in)
	mustHold("a of a low-rank product", len(a), rank*in)
}
