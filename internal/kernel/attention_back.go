package kernel

// backward is one call of AttentionBack in tiles.
//
// A chunk is one query head against one block of keys: over the tiles of
// queries that see the block it makes the scores and their gradients once, and
// from them that head's dk and dv of the block and the block's share of dq.
// Shares are added up afterwards in the order of the blocks, and dk and dv in
// the order of the heads. Heads go in waves, so that the shares stay small.
type backward struct {
	g                                   *Gang
	rows                                rowKernels
	dq, dk, dv, dout, out, lse, q, k, v []float32
	first                               []int32
	h                                   Heads
	n, block                            int // tokens; keys of a block
	tiles                               []tile
	blocks                              []keysOf
	kt, vt                              []float32 // kᵀ and vᵀ: (KV, panels, Dim, 32)
	delta                               []float32 // (Query, n): Σ dout·out
	shares                              []float32 // (heads of the wave, share): dq of the blocks
	sums                                []float32 // (heads of the wave, 2, n, Dim): dk and dv of each head
	share                               int       // numbers of one head's shares
}

// keysOf is a block of keys lo … hi-1 and the tiles of queries that see it.
type keysOf struct {
	lo, hi      int
	tile0, tile int // tiles tile0 … tile-1
	last        int // one past the last query that sees it
	share       int // where the rows hi … last-1 of its share of dq lie
}

// shareBudget is how many numbers the shares and sums of a wave may take, 16 MB.
const shareBudget = 4 << 20

// attentionBackTiles is AttentionBack in tiles.
func (g *Gang) attentionBackTiles(dq, dk, dv, dout, out, lse, q, k, v []float32, first []int32, h Heads) {
	n, d := len(first), h.Dim
	b := &backward{g: g, rows: g.rows(), dq: dq, dk: dk, dv: dv, dout: dout, out: out, lse: lse, q: q, k: k, v: v, first: first, h: h, n: n}
	b.tiles = cutTiles(first, queryTile)
	b.cutBlocks()
	group := h.Query / h.KV
	perHead := b.share + 2*n*d
	wave := min(h.KV, max(1, shareBudget/(perHead*group))) * group // heads

	transposed := h.KV * panels(n) * panel * d
	scr := g.borrowOwn()
	defer g.giveBack(scr)
	buf := scr.float32s(2*transposed + h.Query*n + wave*perHead)
	b.kt, b.vt, buf = buf[:transposed], buf[transposed:2*transposed], buf[2*transposed:]
	b.delta, buf = buf[:h.Query*n], buf[h.Query*n:]
	b.shares, b.sums = buf[:wave*b.share], buf[wave*b.share:]

	g.transposeHeads(b.kt, k, n, h)
	g.transposeHeads(b.vt, v, n, h)
	b.deltas()
	for head := 0; head < h.Query; head += wave {
		heads := min(wave, h.Query-head)
		g.span(len(b.blocks)*heads, 1, func(i, _ int) {
			slot := i / len(b.blocks)
			b.chunk(b.blocks[i%len(b.blocks)], head+slot, slot)
		})
		b.joinQueries(head, heads)
		b.joinKeys(head, heads)
	}
}

// cutBlocks cuts the keys into blocks: 128 keys, more for long rows so that
// there are at most about 16.
func (b *backward) cutBlocks() {
	b.block = max(128, (b.n/16+panel-1)/panel*panel)
	tile0, tile := 0, 0
	for lo := 0; lo < b.n; lo += b.block {
		hi := min(b.n, lo+b.block)
		for b.tiles[tile0].hi <= lo {
			tile0++
		}
		for tile < len(b.tiles) && int(b.first[b.tiles[tile].lo]) < hi {
			tile++
		}
		last := b.tiles[tile-1].hi
		b.blocks = append(b.blocks, keysOf{lo: lo, hi: hi, tile0: tile0, tile: tile, last: last, share: b.share})
		b.share += max(0, last-hi) * b.h.Dim
	}
}

// deltas writes Σ dout·out of each row and head.
func (b *backward) deltas() {
	d := b.h.Dim
	b.g.spanRows(b.n, b.h.Query*d, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			for head := range b.h.Query {
				at := (t*b.h.Query + head) * d
				b.delta[head*b.n+t] = b.rows.dot(b.dout[at:at+d], b.out[at:])
			}
		}
	})
}

// chunk does one block of keys for one head, the slot-th of the wave.
func (b *backward) chunk(keys keysOf, head, slot int) {
	d, rows := b.h.Dim, keys.hi-keys.lo
	scr := b.g.borrow()
	defer b.g.giveBack(scr)
	buf := scr.float32s(2 * queryTile * b.block)
	s, ds := buf[:queryTile*b.block], buf[queryTile*b.block:]
	sums := b.sums[slot*2*b.n*d:]
	dk, dv := sums[keys.lo*d:][:rows*d], sums[(b.n+keys.lo)*d:][:rows*d]
	clear(dk)
	clear(dv)
	for _, t := range b.tiles[keys.tile0:keys.tile] {
		t.lo = max(t.lo, keys.lo) // queries before the block see nothing of it
		lo, hi := max(keys.lo, int(b.first[t.lo])), min(keys.hi, t.hi)
		if lo >= hi {
			continue
		}
		b.scores(s, ds, t, keys.lo, lo, hi, head)
		for r := t.lo; r < t.hi; r += groupRows {
			b.queries(ds[(r-t.lo)*b.block:], tile{r, min(t.hi, r+groupRows)}, keys, lo, head, slot)
		}
		at, ld := (t.lo*b.h.Query+head)*d, b.h.Query*d
		for j := lo; j < hi; j += groupRows { // keys; those behind t.lo have no queries before them
			skip, n := max(0, j-t.lo), min(groupRows, hi-j)
			x, y := skip*b.block+j-keys.lo, at+skip*ld
			b.g.product(n, d, t.hi-t.lo-skip, s[x:], 1, b.block, b.dout[y:], ld, dv[(j-keys.lo)*d:], d, true)
			b.g.product(n, d, t.hi-t.lo-skip, ds[x:], 1, b.block, b.q[y:], ld, dk[(j-keys.lo)*d:], d, true)
		}
	}
}

// scores writes the weights s and gradients ds of the queries of t and the keys
// lo … hi-1; column 0 is key zero.
func (b *backward) scores(s, ds []float32, t tile, zero, lo, hi, head int) {
	d := b.h.Dim
	keys := head / (b.h.Query / b.h.KV) * panels(b.n) * panel * d
	start, end := (lo-zero)&^(panel-1), (hi-zero+15)&^15
	var from, to [groupRows]int32
	for r := t.lo; r < t.hi; r += groupRows {
		rows := min(groupRows, t.hi-r)
		at, ld, row := (r*b.h.Query+head)*d, b.h.Query*d, (r-t.lo)*b.block
		for i := range rows {
			from[i], to[i] = int32(max(0, int(b.first[r+i])-zero)), int32(min(hi, r+i+1)-zero)
		}
		most := (min(hi, r+rows) - zero + 15) &^ 15 // columns that this group needs
		for j := start; j < most; j += panel {
			cols := min(panel, most-j)
			b.g.product(rows, cols, d, b.q[at:], ld, 1, b.kt[keys+(zero+j)*d:], panel, s[row+j:], b.block, false)
			b.g.product(rows, cols, d, b.dout[at:], ld, 1, b.vt[keys+(zero+j)*d:], panel, ds[row+j:], b.block, false)
		}
		i := head*b.n + r
		b.rows.softmaxBackTile(rows, end, s[row:], ds[row:], b.block, from[:], to[:], b.lse[i:], b.delta[i:], b.h.Scale)
	}
}

// queries writes the block's share of dq for the queries of t: queries before
// the block's end have it as their first and write it to dq, others to the
// shares.
func (b *backward) queries(ds []float32, t tile, keys keysOf, lo, head, slot int) {
	d, ld := b.h.Dim, b.h.KV*b.h.Dim
	k, n := b.k[lo*ld+head/(b.h.Query/b.h.KV)*d:], min(keys.hi, t.hi)-lo
	ds = ds[lo-keys.lo:]
	own := max(0, min(t.hi, keys.hi)-t.lo)
	if own > 0 {
		b.g.product(own, d, n, ds, b.block, 1, k, ld, b.dq[(t.lo*b.h.Query+head)*d:], b.h.Query*d, false)
	}
	if rest := t.hi - t.lo - own; rest > 0 {
		to := b.shares[slot*b.share+keys.share+(t.lo+own-keys.hi)*d:]
		b.g.product(rest, d, n, ds[own*b.block:], b.block, 1, k, ld, to, d, false)
	}
}

// joinQueries adds the shares to dq in the order of the blocks.
func (b *backward) joinQueries(head0, heads int) {
	d := b.h.Dim
	b.g.spanRows(b.n, heads*d, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			for _, keys := range b.blocks[int(b.first[t])/b.block : t/b.block] {
				for slot := range heads {
					share := slot*b.share + keys.share + (t-keys.hi)*d
					b.rows.add(b.dq[(t*b.h.Query+head0+slot)*d:], b.shares[share:share+d])
				}
			}
		}
	})
}

// joinKeys adds dk and dv up over the heads that share them.
func (b *backward) joinKeys(head0, heads int) {
	d, group := b.h.Dim, b.h.Query/b.h.KV
	b.g.spanRows(b.n, 2*heads*d, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			for slot := range heads {
				at := (t*b.h.KV + (head0+slot)/group) * d
				for i, dst := range [][]float32{b.dk[at : at+d], b.dv[at : at+d]} {
					src := b.sums[((2*slot+i)*b.n+t)*d:][:d]
					if (head0+slot)%group == 0 {
						copy(dst, src)
					} else {
						b.rows.add(dst, src)
					}
				}
			}
		}
	})
}
