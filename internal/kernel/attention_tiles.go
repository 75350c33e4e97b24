package kernel

import "math"

// Attention in tiles (Dao et al. 2022): scores of a tile of queries against a
// block of keys, the running maximum and sum of each row, and the weighted sum
// of values, never a matrix of all scores. Borders of blocks are counted from
// key 0, and every sum runs in the order of the keys, so that a row's result
// depends neither on the other rows nor on who computes it.
const (
	queryTile = 48  // rows of a tile
	keyBlock  = 128 // keys of a block, a multiple of panel
	panel     = 32  // keys of one panel of transposed keys
)

// tiled says whether g computes this shape in tiles: every level but the plain
// one does, for heads of whole vectors.
func (g *Gang) tiled(h Heads) bool {
	return g.level != Generic && h.Dim%16 == 0 && h.Dim <= 256 && h.Query/h.KV <= queryTile
}

// attentionTiles is Attention in tiles.
func (g *Gang) attentionTiles(out, lse, q, k, v []float32, first []int32, h Heads) {
	n, d := len(first), h.Dim
	scr := g.borrowOwn()
	defer g.giveBack(scr)
	keys := scr.float32s(h.KV * panels(n) * panel * d)
	g.transposeHeads(keys, k, n, h)
	tiles := cutTiles(first, queryTile)
	// Head by head, so that its keys and values stay in the second cache. The
	// last tiles see the most keys: they go first.
	g.span(h.Query*len(tiles), 1, func(i, _ int) {
		t, head := tiles[len(tiles)-1-i%len(tiles)], i/len(tiles)
		kv := head / (h.Query / h.KV)
		scr := g.borrow()
		defer g.giveBack(scr)
		f := g.newFlash(scr, h)
		at := (t.lo*h.Query + head) * d
		kt := keys[kv*panels(n)*panel*d:]
		start := int(first[t.lo]) &^ (keyBlock - 1)
		for b := start; b < t.hi; b += keyBlock {
			f.limit(t.hi-t.lo, func(r int) (int, int) { return int(first[t.lo+r]) - b, t.lo + r + 1 - b })
			f.step(q[at:], h.Query*d, kt[b*d:], v[(b*h.KV+kv)*d:], h.KV*d, b == start)
		}
		f.finish(out[at:], h.Query*d, lse[head*n+t.lo:])
	})
}

// tile is a run of tokens lo … hi-1 of one conversation.
type tile struct{ lo, hi int }

// cutTiles cuts the tokens into tiles of at most size, and where a conversation
// begins, so that no conversation can leak into another even as NaN.
func cutTiles(first []int32, size int) []tile {
	var tiles []tile
	for lo := 0; lo < len(first); {
		hi := lo + 1
		for hi < len(first) && hi-lo < size && int(first[hi]) != hi {
			hi++
		}
		tiles = append(tiles, tile{lo, hi})
		lo = hi
	}
	return tiles
}

func panels(n int) int { return (n + panel - 1) / panel }

// transposeHeads lays x (n, KV, Dim) out as panels: (KV, panels, Dim, 32). What
// lies behind the last key is arbitrary.
func (g *Gang) transposeHeads(dst, x []float32, n int, h Heads) {
	const group = 4 // panels per chunk
	groups := (panels(n) + group - 1) / group
	g.span(h.KV*groups, 1, func(i, _ int) {
		kv, lo := i/groups, i%groups*group*panel
		g.transposeKeys(dst[(kv*panels(n)*panel+lo)*h.Dim:], x[(lo*h.KV+kv)*h.Dim:], min(group*panel, n-lo), h)
	})
}

// transposeKeys lays n keys of one head out in panels; x begins at the first.
func (g *Gang) transposeKeys(dst, x []float32, n int, h Heads) {
	stride := h.KV * h.Dim
	for j := 0; j < n; j += panel {
		g.kit.transpose(min(panel, n-j), h.Dim, x[j*stride:], stride, dst[j*h.Dim:], panel)
	}
}

// flash is the state of one tile of queries on its way over the keys.
type flash struct {
	g         *Gang
	k         rowKernels
	dim, rows int
	scale     float32
	scores    []float32          // (groupRows, keyBlock)
	acc       []float32          // (queryTile, dim): Σ exp(s - top)·v
	extra     []float32          // (queryTile+keyBlock, dim): queries and transposed keys
	top, sum  [queryTile]float32 // maximum of the scores, Σ exp(s - top)
	from, to  [queryTile]int32   // which keys of the block a row sees
}

// groupRows is how many rows go through scores, softmax and values together, so
// that their scores stay in the first cache: the height of the tallest tile.
const groupRows = 12

func (g *Gang) newFlash(scr *scratch, h Heads) *flash {
	dim := h.Dim
	buf := scr.float32s(groupRows*keyBlock + (2*queryTile+keyBlock)*dim)
	f := &flash{g: g, k: g.rows(), dim: dim, scale: h.Scale, scores: buf[:groupRows*keyBlock]}
	f.acc = buf[groupRows*keyBlock:][:queryTile*dim]
	f.extra = buf[groupRows*keyBlock+queryTile*dim:]
	for i := range f.top {
		f.top[i] = float32(math.Inf(-1))
	}
	return f
}

// limit sets which keys of the next block each row sees: from … to-1, counted
// from the block's first key; it cuts them to the block.
func (f *flash) limit(rows int, see func(row int) (from, to int)) {
	f.rows = rows
	for r := range rows {
		from, to := see(r)
		from = min(max(from, 0), keyBlock)
		f.from[r], f.to[r] = int32(from), int32(max(min(to, keyBlock), from))
	}
}

// step adds a block of keys to the rows.
//
//	q  is (rows, dim), ldq apart
//	kt are the panels of the block, v its values, ldv apart
func (f *flash) step(q []float32, ldq int, kt, v []float32, ldv int, first bool) {
	for r := 0; r < f.rows; r += groupRows {
		f.stepGroup(r, min(groupRows, f.rows-r), q[r*ldq:], ldq, kt, v, ldv, first)
	}
}

func (f *flash) stepGroup(r, rows int, q []float32, ldq int, kt, v []float32, ldv int, first bool) {
	lo, hi := visible(f.from[r:r+rows], f.to[r:r+rows])
	acc := f.acc[r*f.dim:]
	if lo >= hi {
		if first {
			clear(acc[:rows*f.dim])
		}
		return
	}
	start, end := lo&^(panel-1), (hi+15)&^15
	for j := start; j < end; j += panel {
		f.g.product(rows, min(panel, end-j), f.dim, q, ldq, 1, kt[j*f.dim:], panel, f.scores[j:], keyBlock, false)
	}
	f.k.softmaxTile(rows, end, f.scores, keyBlock, f.from[r:], f.to[r:], f.top[r:], f.sum[r:], acc, f.dim, f.scale)
	f.g.product(rows, f.dim, hi-lo, f.scores[lo:], keyBlock, 1, v[lo*ldv:], ldv, acc, f.dim, !first)
}

// visible returns the first key that any row sees and one past the last.
func visible(from, to []int32) (lo, hi int) {
	lo = keyBlock
	for i, a := range from {
		if b := to[i]; a < b {
			lo, hi = min(lo, int(a)), max(hi, int(b))
		}
	}
	return lo, hi
}

// finish writes the rows, ldo apart, and their log-sum-exp unless lse is nil.
func (f *flash) finish(out []float32, ldo int, lse []float32) {
	for r := range f.rows {
		f.k.scale(out[r*ldo:][:f.dim], f.acc[r*f.dim:], 1/f.sum[r])
		if lse != nil {
			lse[r] = float32(float64(f.top[r]) + math.Log(float64(f.sum[r])))
		}
	}
}

// product computes c = a·b, or adds it to c. Element (i, l) of a is at
// a[i*rs+l*ks]; cols is a multiple of 16.
//
//	b is (k, cols), c is (rows, cols), ldb and ldc apart
func (g *Gang) product(rows, cols, k int, a []float32, rs, ks int, b []float32, ldb int, c []float32, ldc int, add bool) {
	sum := 0
	if add {
		sum = 1
	}
	for j := 0; j < cols; j += wide {
		tiles := &g.kit.float32
		if cols-j < wide {
			tiles = &g.kit.float16
		}
		for i := 0; i < rows; {
			h := g.kit.floatHeights.next(rows - i)
			n := g.kit.floatHeights.same(rows-i, h)
			tiles[h](n, k, &a[i*rs], rs, ks, &b[j], ldb, &c[i*ldc+j], ldc, 1, sum)
			i += n * h
		}
	}
}
