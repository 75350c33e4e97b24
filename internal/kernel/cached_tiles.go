package kernel

import "math"

// keyPiece is how many keys one chunk of AttentionCached takes, a multiple of
// keyBlock. Pieces of a longer sequence are joined in their order.
const keyPiece = 1024

// bundle is a run of lanes of one sequence, computed together.
type bundle struct {
	lo, hi int // lanes lo … hi-1
	pieces int
	chunk  int // number of its first chunk
	part   int // where its first row's part lies, when there are several pieces
}

// cachedTiles is AttentionCached in tiles. Lanes of one sequence, one after the
// other (a piece of a prompt), share their keys.
func (g *Gang) cachedTiles(out, q []float32, lanes []Lane, layer int, keep Keeping) {
	h := keep.Heads
	bundles, chunks, parts := bundleLanes(lanes, h, queryTile)
	scr := g.borrowOwn()
	defer g.giveBack(scr)
	kept := scr.float32s(parts * (h.Dim + 2))
	g.span(chunks, 1, func(c, _ int) {
		i := len(bundles) - 1
		for bundles[i].chunk > c {
			i--
		}
		b := bundles[i]
		piece, kv := (c-b.chunk)/h.KV, (c-b.chunk)%h.KV
		scr := g.borrow()
		defer g.giveBack(scr)
		f := g.runPiece(scr, q, lanes[b.lo:b.hi], b.lo, piece, kv, layer, keep)
		if b.pieces == 1 {
			f.finishLanes(out, b.lo, kv, h)
			return
		}
		f.keep(kept[b.at(piece, kv, h)*(h.Dim+2):])
	})
	for _, b := range bundles {
		if b.pieces > 1 {
			g.span(h.KV, 1, func(kv, _ int) { b.join(g.rows(), out, kept, kv, h) })
		}
	}
}

// bundleLanes groups the lanes, so that a bundle has at most so many rows, and
// numbers the chunks: piece by key head.
func bundleLanes(lanes []Lane, h Heads, rows int) (bundles []bundle, chunks, parts int) {
	most := rows / (h.Query / h.KV)
	for lo := 0; lo < len(lanes); {
		hi, longest := lo, 0
		for hi < len(lanes) && hi-lo < most && lanes[hi].follows(lanes[lo]) {
			longest = max(longest, lanes[hi].Len)
			hi++
		}
		b := bundle{lo: lo, hi: hi, pieces: (longest + keyPiece - 1) / keyPiece, chunk: chunks, part: parts}
		chunks += b.pieces * h.KV
		if b.pieces > 1 {
			parts += b.pieces * (hi - lo) * h.Query
		}
		bundles = append(bundles, b)
		lo = hi
	}
	return bundles, chunks, parts
}

// at is the number of the first part of a chunk.
func (b bundle) at(piece, kv int, h Heads) int {
	return b.part + (piece*h.KV+kv)*(b.hi-b.lo)*(h.Query/h.KV)
}

// runPiece brings the rows (lane, query head of kv) over one piece of the keys.
func (g *Gang) runPiece(scr *scratch, q []float32, lanes []Lane, row0, piece, kv, layer int, keep Keeping) *flash {
	h := keep.Heads
	d, group := h.Dim, h.Query/h.KV
	f := g.newFlash(scr, h)
	rows, longest := len(lanes)*group, 0
	queries := f.extra[:rows*d]
	for i, l := range lanes {
		copy(queries[i*group*d:], q[((row0+i)*h.Query+kv*group)*d:][:group*d])
		longest = max(longest, l.Len)
	}
	start := piece * keyPiece
	for b := start; b < min(longest, start+keyPiece); b += keyBlock {
		f.limit(rows, func(r int) (int, int) { return 0, lanes[r/group].Len - b })
		pages := lanes[0].Pages[b/PageKeys:]
		for r := 0; r < rows; r += groupRows {
			f.pages(r, min(groupRows, rows-r), queries[r*d:], pages, keep.at(layer, kv), b == start)
		}
	}
	return f
}

// pages adds a block of keys, in pages from element at on, to the rows from r on.
func (f *flash) pages(r, rows int, q []float32, pages []*Page, at int, first bool) {
	acc := f.acc[r*f.dim:]
	_, hi := visible(f.from[r:r+rows], f.to[r:r+rows])
	if hi == 0 {
		if first {
			clear(acc[:rows*f.dim])
		}
		return
	}
	end, size := (hi+15)&^15, f.dim*PageKeys
	for j := 0; j < end; j += PageKeys {
		p, cols := pages[j/PageKeys], min(PageKeys, end-j)
		if p.half != nil {
			f.fetch(pages, j/PageKeys, at, r)
			f.g.halfProduct(rows, cols, f.dim, 1, q, f.dim, p.half[at:], PageKeys, f.scores[j:], keyBlock, false)
		} else {
			f.g.product(rows, cols, f.dim, q, f.dim, 1, p.full[at:], PageKeys, f.scores[j:], keyBlock, false)
		}
	}
	f.k.softmaxTile(rows, end, f.scores, keyBlock, f.from[r:], f.to[r:], f.top[r:], f.sum[r:], acc, f.dim, f.scale)
	for j := 0; j < hi; j += PageKeys {
		p, keys := pages[j/PageKeys], min(PageKeys, hi-j)
		add := !first || j > 0
		if p.half != nil {
			f.g.halfProduct(rows, f.dim, keys, 1, f.scores[j:], keyBlock, p.half[at+size:], f.dim, acc, f.dim, add)
		} else {
			f.g.product(rows, f.dim, keys, f.scores[j:], keyBlock, 1, p.full[at+size:], f.dim, acc, f.dim, add)
		}
	}
}

// fetch asks for the values of page j and the keys of the page after it, when the
// first rows come to them: they lie where no hardware would look.
func (f *flash) fetch(pages []*Page, j, at, row int) {
	if row > 0 {
		return
	}
	size := f.dim * PageKeys
	f.g.half.fetch(pages[j].half[at+size : at+2*size])
	if j+1 < len(pages) {
		f.g.half.fetch(pages[j+1].half[at : at+size])
	}
}

// finishLanes writes the rows of a key head: (lane, query head of kv).
func (f *flash) finishLanes(out []float32, row0, kv int, h Heads) {
	group := h.Query / h.KV
	for r := range f.rows {
		at := ((row0+r/group)*h.Query + kv*group + r%group) * h.Dim
		f.k.scale(out[at:at+f.dim], f.acc[r*f.dim:], 1/f.sum[r])
	}
}

// keep writes top, sum and acc of each row.
func (f *flash) keep(part []float32) {
	for r := range f.rows {
		p := part[r*(f.dim+2):]
		p[0], p[1] = f.top[r], f.sum[r]
		copy(p[2:2+f.dim], f.acc[r*f.dim:])
	}
}

// join adds the pieces of a bundle's rows up, in their order. A lane that ends
// before a piece has no sum there and takes nothing from it.
func (b bundle) join(k rowKernels, out, kept []float32, kv int, h Heads) {
	group, size := h.Query/h.KV, h.Dim+2
	for r := range (b.hi - b.lo) * group {
		at := ((b.lo+r/group)*h.Query + kv*group + r%group) * h.Dim
		dst := out[at : at+h.Dim]
		first := kept[(b.at(0, kv, h)+r)*size:][:size]
		top, sum := first[0], first[1]
		copy(dst, first[2:])
		for piece := 1; piece < b.pieces; piece++ {
			p := kept[(b.at(piece, kv, h)+r)*size:][:size]
			if p[1] == 0 {
				continue
			}
			next := max(top, p[0])
			old, new := shrink(top, next), shrink(p[0], next)
			top, sum = next, sum*old+p[1]*new
			for i, x := range p[2:] {
				dst[i] = dst[i]*old + x*new
			}
		}
		k.scale(dst, dst, 1/sum)
	}
}

// shrink is the factor that brings sums relative to top down to next.
func shrink(top, next float32) float32 {
	return float32(math.Exp(float64(top) - float64(next)))
}
