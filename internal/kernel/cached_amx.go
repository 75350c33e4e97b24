package kernel

import (
	"math"
	"unsafe"
)

// AttentionCached in bfloat16 on AMX tiles. Pages hold keys and values as the
// loops of attention read them: a page is a strip. Every query, alone or with
// others, goes through the same loops over the same blocks of keys from key 0 on, and
// a tile computes each of its columns by itself; so a row has the same bits in
// every company.

// pairedPages says whether g keeps keys and values as tiles of bfloat16.
func (g *Gang) pairedPages(k Keeping) bool {
	h := k.Heads
	return k.Half && g.paired(h, Fast) && h.Dim%32 == 0 && h.Query/h.KV <= stripTokens
}

// words is element i of a page of tiles and what follows.
func (p *Page) words(i int) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(&p.half[i])), (len(p.half)-i)/2)
}

// keepPairs keeps one key and one value in a head of a page of tiles: keys as rows,
// values as pairs turned, which is (dim, 32) bfloat16.
func (g *Gang) keepPairs(to []uint16, k, v []float32, slot int, buffer []uint16) {
	d := len(k)
	pairs := unsafe.Slice((*uint32)(unsafe.Pointer(&buffer[0])), d/2)
	g.kit.round(d/32, &k[0], &pairs[0])
	for i := 0; i < d; i += 32 {
		word, _ := rowWord(slot, i)
		copy(to[2*word:][:32], buffer[i:])
	}
	g.kit.round(d/32, &v[0], &pairs[0])
	column := to[d*PageKeys+slot:]
	for b := buffer[:d]; len(b) >= 4; b = b[4:] {
		c := column[: 3*PageKeys+1 : 3*PageKeys+1]
		c[0], c[PageKeys], c[2*PageKeys], c[3*PageKeys] = b[0], b[1], b[2], b[3]
		if len(b) > 4 {
			column = column[4*PageKeys:]
		}
	}
}

// cachedPairs is AttentionCached in bfloat16.
func (g *Gang) cachedPairs(out, q []float32, lanes []Lane, layer int, keep Keeping) {
	h := keep.Heads
	bundles, chunks, parts := bundleLanes(lanes, h, stripTokens)
	scr := g.borrowOwn()
	defer g.giveBack(scr)
	kept := scr.float32s(parts * (h.Dim + 1))
	loops := g.attending()
	g.span(chunks, 1, func(c, _ int) {
		i := len(bundles) - 1
		for bundles[i].chunk > c {
			i--
		}
		b := bundles[i]
		piece, kv := (c-b.chunk)/h.KV, (c-b.chunk)%h.KV
		scr := g.borrow()
		defer g.giveBack(scr)
		rows, logs := g.pairedPiece(scr, loops, q, lanes[b.lo:b.hi], b.lo, piece, kv, layer, keep)
		group := h.Query / h.KV
		if b.pieces == 1 {
			for i := range b.hi - b.lo {
				copy(out[((b.lo+i)*h.Query+kv*group)*h.Dim:][:group*h.Dim], rows[i*group*h.Dim:])
			}
			return
		}
		part := kept[b.at(piece, kv, h)*(h.Dim+1):]
		for r := range (b.hi - b.lo) * group {
			part[r*(h.Dim+1)] = logs[r]
			copy(part[r*(h.Dim+1)+1:][:h.Dim], rows[r*h.Dim:])
		}
	})
	for _, b := range bundles {
		if b.pieces > 1 {
			g.span(h.KV, 1, func(kv, _ int) { b.joinPairs(g.rows(), out, kept, kv, h) })
		}
	}
}

// pairedPiece brings the rows (lane, query head of kv) over one piece of the keys. It
// returns them and the logarithms of their sums, -Inf of those that see nothing
// there.
func (g *Gang) pairedPiece(scr *scratch, loops *attendLoops, q []float32, lanes []Lane, row0, piece, kv, layer int, keep Keeping) (rows, logs []float32) {
	h := keep.Heads
	dim, group := h.Dim, h.Query/h.KV
	n := len(lanes) * group
	floats := scr.float32s(attendWork + 2*dim*stripTokens + stripTokens)
	work, acc, rows, logs := floats[:attendWork], floats[attendWork:], floats[attendWork+dim*stripTokens:], floats[attendWork+2*dim*stripTokens:]
	words := scr.uint32s(2*dim*narrow + 2*stripTokens + narrow)
	queries, tail, sees, mask := words[:dim*narrow], words[dim*narrow:], words[2*dim*narrow:], words[2*dim*narrow+2*stripTokens:]

	clear(sees[:2*stripTokens])
	start, longest, shortest := piece*keyPiece, 0, math.MaxInt
	for i, l := range lanes {
		copy(rows[i*group*dim:], q[((row0+i)*h.Query+kv*group)*dim:][:group*dim])
		longest, shortest = max(longest, l.Len), min(shortest, l.Len)
		for r := range group {
			sees[stripTokens+i*group+r] = uint32(l.Len)
		}
	}
	clear(rows[n*dim : stripTokens*dim])
	loops.layRowsTurned(dim, &rows[0], dim, &queries[0])

	end, at := min(longest, start+keyPiece), keep.at(layer, kv)
	strips := (end - start + stripTokens - 1) / stripTokens
	keys, values := scr.strips(strips)
	for i, p := range lanes[0].Pages[start/PageKeys:][:strips] {
		keys[i], values[i] = &p.words(at)[0], &p.words(at + keep.size())[0]
	}
	if rest := end % stripTokens; rest > 0 { // what lies behind the last key may be no number
		for i := range mask {
			mask[i] = keepMask(rest - 2*i)
		}
		loops.keepWords(dim, values[strips-1], &mask[0], &tail[0])
		values[strips-1] = &tail[0]
	}
	attend, columns := loops.attend, stripTokens
	if n <= narrow {
		attend, columns = loops.few, narrow
	}
	free := max(0, min(shortest, end)-start) / stripTokens
	attend(strips, 0, free, dim/32, &queries[0], &keys[0], &values[0], (*int32)(unsafe.Pointer(&sees[0])), (*int32)(unsafe.Pointer(&sees[stripTokens])),
		start, h.Scale*math.Log2E, &work[0], &acc[0], &logs[0], &wholeTiles[0])
	g.kit.transpose(dim, columns, acc, stripTokens, rows, dim)
	return rows, logs
}

// keepMask keeps the first n of a pair of keys.
func keepMask(n int) uint32 {
	switch {
	case n <= 0:
		return 0
	case n == 1:
		return 0xffff
	}
	return 0xffffffff
}

// joinPairs adds the pieces of a bundle's rows up, in their order. A lane that ends
// before a piece takes nothing from it.
func (b bundle) joinPairs(k rowKernels, out, kept []float32, kv int, h Heads) {
	group, size := h.Query/h.KV, h.Dim+1
	for r := range (b.hi - b.lo) * group {
		at := ((b.lo+r/group)*h.Query + kv*group + r%group) * h.Dim
		dst, top, sum := out[at:at+h.Dim], float32(math.Inf(-1)), float32(0)
		for piece := range b.pieces {
			top = max(top, kept[(b.at(piece, kv, h)+r)*size])
		}
		clear(dst)
		for piece := range b.pieces {
			p := kept[(b.at(piece, kv, h)+r)*size:][:size]
			if math.IsInf(float64(p[0]), -1) {
				continue
			}
			weight := float32(math.Exp2(float64(p[0]) - float64(top)))
			sum += weight
			for i, x := range p[1:] {
				dst[i] += weight * x
			}
		}
		k.scale(dst, dst, 1/sum)
	}
}
