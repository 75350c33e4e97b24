package kernel

import (
	"slices"
	"unsafe"
)

// The low-rank products of training on tiles of bfloat16. Sums over tokens (the
// gradients of A and B) are taken piece by piece and added up in the order of the
// pieces, so that they do not depend on who computes them.

const (
	lowBlock  = 32 // rows that go through the loops together: pairs of one tile
	lowPieces = 8  // pieces of the tokens, at most
)

// lowLoops are the loops that these products need beside tileLoops.
type lowLoops struct {
	// drop is Dropout of 32n numbers, rounded to pairs. over and onto also mask dy
	// and write it to dx, or add it.
	drop       func(pairs *uint32, x *float32, n int, index, k0, k1, threshold uint32, scale float32)
	over, onto func(pairs *uint32, x, dx, dy *float32, n int, index, k0, k1, threshold uint32, scale float32)

	// weave makes of two rows of 32n numbers of bfloat16 pairs along the rows: 32 at
	// dst, the next 32 step words on.
	weave func(n int, x0, x1, dst *uint32, step int)
}

// genericLow is the definition of the loops.
func genericLow() *lowLoops {
	masked := func(x *float32, n int, index, k0, k1, threshold uint32, scale float32) []float32 {
		y := make([]float32, n*block)
		dropoutGeneric(y, unsafe.Slice(x, n*block), index, k0, k1, threshold, scale)
		return y
	}
	back := func(add bool) func(pairs *uint32, x, dx, dy *float32, n int, index, k0, k1, threshold uint32, scale float32) {
		return func(pairs *uint32, x, dx, dy *float32, n int, index, k0, k1, threshold uint32, scale float32) {
			roundGeneric(n, &masked(x, n, index, k0, k1, threshold, scale)[0], pairs)
			grad, out := masked(dy, n, index, k0, k1, threshold, scale), unsafe.Slice(dx, n*block)
			for i, v := range grad {
				if add {
					v += out[i]
				}
				out[i] = v
			}
		}
	}
	return &lowLoops{
		drop: func(pairs *uint32, x *float32, n int, index, k0, k1, threshold uint32, scale float32) {
			roundGeneric(n, &masked(x, n, index, k0, k1, threshold, scale)[0], pairs)
		},
		over: back(false), onto: back(true),
		weave: func(n int, x0, x1, dst *uint32, step int) {
			a, b := unsafe.Slice(x0, n*block/2), unsafe.Slice(x1, n*block/2)
			out := unsafe.Slice(dst, (n-1)*step+wide)
			for i := range a {
				a0, a1 := unpair(a[i])
				b0, b1 := unpair(b[i])
				at := i/narrow*step + 2*i%wide
				out[at], out[at+1] = pair(a0, b0), pair(a1, b1)
			}
		},
	}
}

// onTiles says whether a low-rank product of p is computed on tiles.
func (g *Gang) onTiles(p Precision, sizes ...int) bool {
	for _, n := range sizes {
		if n%block != 0 {
			return false
		}
	}
	return p == Fast && g.kit.tiles != nil
}

// wholes32 is n rounded up to a multiple of 32.
func wholes32(n int) int { return (n + 31) / 32 * 32 }

// turned writes the transpose of rows of pairs (n, k2), rows rs apart, as panels
// (ceil(n/32), k2, 32); columns over the edge are zeros.
func (g *Gang) turnPairs(dst, rows []uint32, n, k2, rs int) {
	for p := 0; p < n; p += wide {
		panel, w := dst[p*k2:], min(wide, n-p)
		if w < wide {
			clear(panel[:k2*wide])
		}
		g.kit.transpose(w, k2, sameBits(rows[p*rs:]), rs, sameBits(panel), wide)
		if w < wide {
			clearColumns(panel, k2, w)
		}
	}
}

// clearColumns writes zeros to columns w … 31 of a panel of k2 rows.
func clearColumns(panel []uint32, k2, w int) {
	for i := range k2 {
		clear(panel[i*wide+w : (i+1)*wide])
	}
}

// sameBits is x as numbers that are only moved.
func sameBits(x []uint32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// weaveRows makes of n rows of pairs, rs words apart, panels of pairs along the
// rows: (cols/32, k2, 32), with zeros for rows that are not there.
func (g *Gang) weaveRows(dst, rows []uint32, n, cols, rs, k2 int) {
	var none []uint32
	if n < 2*k2 {
		none = make([]uint32, cols/2)
	}
	row := func(i int) *uint32 {
		if i < n {
			return &rows[i*rs]
		}
		return &none[0]
	}
	weave := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			g.kit.tiles.low.weave(cols/block, row(2*i), row(2*i+1), &dst[i*wide], k2*wide)
		}
	}
	if k2 <= lowBlock/2 {
		weave(0, k2) // inside a chunk
		return
	}
	g.span(k2, 8*lowBlock, weave)
}

// lowScratch cuts words out of a scratch.
type lowScratch struct{ words []uint32 }

func (l *lowScratch) take(n int) []uint32 {
	w := l.words[:n:n]
	l.words = l.words[(n+15)&^15:]
	return w
}

// borrowWords returns a scratch of pairs to be cut into count parts of n words in
// all.
func (s *scratch) words(n, count int) *lowScratch { return &lowScratch{s.uint32s(n + 16*count)} }

// lowTiles is LowRank on tiles.
func (g *Gang) lowTiles(low, x, a []float32, n, in, rank int, p float32, seed uint64) {
	own := g.borrowOwn()
	defer g.giveBack(own)
	k2 := in / 2
	room := own.words(rank*k2+wholes32(rank)*k2, 2)
	rows, panels := room.take(rank*k2), room.take(wholes32(rank)*k2)
	g.roundRows(rows, k2, a, rank, in)
	g.turnPairs(panels, rows, rank, k2, k2)
	g.span(n, 2*lowBlock, func(lo, hi int) {
		s := g.borrow()
		defer g.giveBack(s)
		pairs := s.uint32s((hi - lo) * k2)
		g.dropRows(pairs, x, lo*in, hi*in, p, seed)
		g.narrowPairs(s, hi-lo, rank, k2, pairs, k2, panels, 1, low[lo*rank:])
	})
}

// dropRows writes Dropout of numbers from … to-1 of x as pairs.
func (g *Gang) dropRows(pairs []uint32, x []float32, from, to int, p float32, seed uint64) {
	if p == 0 {
		g.kit.round((to-from)/block, &x[from], &pairs[0])
		return
	}
	eachKey(from, to, p, seed, func(lo, hi int, k0, k1, threshold uint32, scale float32) {
		g.kit.tiles.low.drop(&pairs[(lo-from)/2], &x[lo], (hi-lo)/block, uint32(lo), k0, k1, threshold, scale)
	})
}

// narrowPairs computes dst = alpha·a·b for few columns: m rows of k2 pairs, rs words
// apart, times panels of which cols columns are wanted.
func (g *Gang) narrowPairs(s *scratch, m, cols, k2 int, a []uint32, rs int, panels []uint32, alpha float32, dst []float32) {
	width := wholes32(cols)
	c := s.float32s(m * width)
	g.kit.tiles.pairRows(width/wide, k2, a, rs, &panels[0], k2*wide, c, width, 0, m, 0)
	for i := range m {
		copy(dst[i*cols:][:cols], c[i*width:])
	}
	if alpha != 1 {
		g.rows().scale(dst[:m*cols], dst[:m*cols], alpha)
	}
}

// raiseTiles is LowRankUp on tiles.
func (g *Gang) raiseTiles(dst, low, b []float32, n, out, rank int, alpha float32) {
	own := g.borrowOwn()
	defer g.giveBack(own)
	r2 := wholes32(rank) / 2
	room := own.words(2*out*r2, 2)
	rows, panels := room.take(out*r2), room.take(out*r2)
	g.roundRows(rows, r2, b, out, rank)
	g.turnPairs(panels, rows, out, r2, r2)
	g.span(n, 2*lowBlock, func(lo, hi int) {
		s := g.borrow()
		defer g.giveBack(s)
		pairs := s.uint32s((hi - lo) * r2)
		g.scaledRows(s, pairs, low[lo*rank:hi*rank], rank, alpha)
		g.kit.tiles.pairRows(out/wide, r2, pairs, r2, &panels[0], r2*wide, dst[lo*out:], out, 0, hi-lo, 1)
	})
}

// scaledRows writes alpha times rows of rank numbers as pairs, with zeros up to a
// multiple of 32.
func (g *Gang) scaledRows(s *scratch, pairs []uint32, rows []float32, rank int, alpha float32) {
	width, n := wholes32(rank), len(rows)/rank
	room := s.float32s(len(rows) + n*width)
	scaled, spread := rows, room[len(rows):]
	if alpha != 1 {
		scaled = room[:len(rows)]
		g.rows().scale(scaled, rows, alpha)
	}
	if rank == width {
		g.kit.round(len(rows)/block, &scaled[0], &pairs[0])
		return
	}
	for i := range n {
		row := spread[i*width:][:width]
		clear(row[copy(row, scaled[i*rank:][:rank]):])
	}
	g.kit.round(n*width/block, &spread[0], &pairs[0])
}

// turnedRows writes alpha times the transpose of at most 32 rows of rank numbers
// as pairs along the rows: (rank, 16).
func (g *Gang) turnedRows(s *scratch, pairs []uint32, rows []float32, rank int, alpha float32) {
	n := len(rows) / rank
	room := s.float32s(2 * rank * lowBlock)
	scaled, turned := room[:n*rank], room[rank*lowBlock:]
	g.rows().scale(scaled, rows, alpha)
	g.kit.transpose(n, rank, scaled, rank, turned, lowBlock)
	if n < lowBlock {
		for r := range rank {
			clear(turned[r*lowBlock+n : (r+1)*lowBlock])
		}
	}
	g.kit.round(rank, &turned[0], &pairs[0])
}

// lowPiece is how many of n tokens are a piece.
func lowPiece(n int) int { return max(2*lowBlock, wholes32((n+lowPieces-1)/lowPieces)) }

// pieces calls f for pieces of the tokens, each with a place of its own for a
// gradient of rank·width numbers, and returns the places.
func (g *Gang) pieces(own *scratch, n, size int, f func(s *scratch, sum []float32, lo, hi int)) [][]float32 {
	step := lowPiece(n)
	count := (n + step - 1) / step
	all := own.float32s(count * size)
	sums := slices.Collect(slices.Chunk(all[:count*size], size))
	g.span(n, step, func(lo, hi int) {
		s := g.borrow()
		defer g.giveBack(s)
		f(s, sums[lo/step], lo, hi)
	})
	return sums
}

// raiseBackTiles is LowRankUpBack on tiles.
func (g *Gang) raiseBackTiles(dlow, db []float32, dy *Operand, low, b []float32, rank int, alpha float32) {
	g.rounded(dy)
	n, out, stride := dy.n, dy.cols, dy.stride
	own := g.borrowOwn()
	defer g.giveBack(own)
	r2, k2, width := wholes32(rank)/2, out/2, wholes32(rank)
	room := own.words(out*r2+width*k2, 2)
	rows, panels := room.take(out*r2), room.take(width*k2)
	g.roundRows(rows, r2, b, out, rank)
	g.weaveRows(panels, rows, out, width, r2, k2)
	sums := g.pieces(own, n, rank*out, func(s *scratch, sum []float32, lo, hi int) {
		room := s.words(out*lowBlock/2+rank*lowBlock/2, 2)
		wove, turned := room.take(out*lowBlock/2), room.take(rank*lowBlock/2)
		for i := lo; i < hi; i += lowBlock {
			m := min(lowBlock, hi-i)
			pairs := dy.pairs[i*stride:]
			g.narrowPairs(s, m, rank, k2, pairs, stride, panels, alpha, dlow[i*rank:])
			g.turnedRows(s, turned, low[i*rank:(i+m)*rank], rank, alpha)
			g.weaveRows(wove, pairs, m, out, stride, lowBlock/2)
			g.kit.tiles.pairRows(out/wide, lowBlock/2, turned, lowBlock/2, &wove[0], lowBlock/2*wide, sum, out, 0, rank, min(1, i-lo))
		}
	})
	add := g.rows().add
	g.span(out, 8*wide, func(lo, hi int) {
		s := g.borrow()
		defer g.giveBack(s)
		part := s.float32s((hi - lo) * wide)
		for r := range rank {
			for _, sum := range sums[1:] {
				add(sums[0][r*out+lo:r*out+hi], sum[r*out+lo:r*out+hi])
			}
		}
		for r := 0; r < rank; r += wide {
			g.turnSum(db[lo*rank+r:], rank, sums[0][r*out+lo:], out, part, min(wide, rank-r), hi-lo)
		}
	})
}

// turnSum adds the transpose of x (rows, n), ldx apart, to dst (n, rows), ldd apart.
func (g *Gang) turnSum(dst []float32, ldd int, x []float32, ldx int, part []float32, rows, n int) {
	width := lowWidth(rows)
	g.kit.transpose(rows, n, x, ldx, part, width)
	if rows == ldd && rows == width {
		g.rows().add(dst[:n*rows], part[:n*rows])
		return
	}
	merge(dst, ldd, part, width, n, rows, 1)
}

// lowBackTiles is LowRankBack on tiles.
func (g *Gang) lowBackTiles(dx, da, dlow, x, a []float32, n, in, rank int, p float32, seed uint64, fresh bool) {
	own := g.borrowOwn()
	defer g.giveBack(own)
	k2, r2 := in/2, wholes32(rank)/2
	room := own.words(rank*k2+in*r2, 2)
	rows, panels := room.take(rank*k2), room.take(in*r2)
	g.roundRows(rows, k2, a, rank, in)
	g.weaveRows(panels, rows, rank, in, k2, r2)
	t := g.kit.tiles
	sums := g.pieces(own, n, rank*in, func(s *scratch, sum []float32, lo, hi int) {
		room := s.words(lowBlock*(k2+in/2+r2)+rank*lowBlock/2+lowBlock*in, 5)
		pairs, wove := room.take(lowBlock*k2), room.take(in*lowBlock/2)
		lows, turned, grad := room.take(lowBlock*r2), room.take(rank*lowBlock/2), sameBits(room.take(lowBlock*in))
		for i := lo; i < hi; i += lowBlock {
			m := min(lowBlock, hi-i)
			if dx != nil {
				g.scaledRows(s, lows, dlow[i*rank:(i+m)*rank], rank, 1)
			}
			switch {
			case dx == nil:
				g.dropRows(pairs, x, i*in, (i+m)*in, p, seed)
			case p == 0:
				add := 1
				if fresh {
					add = 0
				}
				t.pairRows(in/wide, r2, lows, r2, &panels[0], r2*wide, dx[i*in:], in, 0, m, add)
				g.dropRows(pairs, x, i*in, (i+m)*in, p, seed)
			default:
				t.pairRows(in/wide, r2, lows, r2, &panels[0], r2*wide, grad, in, 0, m, 0)
				both := t.low.onto
				if fresh {
					both = t.low.over
				}
				eachKey(i*in, (i+m)*in, p, seed, func(lo, hi int, k0, k1, threshold uint32, scale float32) {
					both(&pairs[(lo-i*in)/2], &x[lo], &dx[lo], &grad[lo-i*in], (hi-lo)/block, uint32(lo), k0, k1, threshold, scale)
				})
			}
			g.turnedRows(s, turned, dlow[i*rank:(i+m)*rank], rank, 1)
			g.weaveRows(wove, pairs, m, in, k2, lowBlock/2)
			t.pairRows(in/wide, lowBlock/2, turned, lowBlock/2, &wove[0], lowBlock/2*wide, sum, in, 0, rank, min(1, i-lo))
		}
	})
	add := g.rows().add
	g.span(rank*in, grain, func(lo, hi int) {
		for _, sum := range sums {
			add(da[lo:hi], sum[lo:hi])
		}
	})
}
