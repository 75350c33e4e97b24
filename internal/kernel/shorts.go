package kernel

import (
	"math"
	"unsafe"

	"afina/internal/quant"
)

// Products of whole numbers, for levels that multiply 16-bit pairs of them (VPMADDWD)
// and have no bfloat16. An activation is a whole number up to 32767 with a scale for
// each 32 of a row: 15 bits of the largest. Forward, it multiplies the whole numbers
// that packed weights are; their scales, and minima times the sums of activations,
// come in as float32. Backward, where sums run over the rows of weights and so over
// their scales, weights are rounded to 12 bits of the largest of 32 in a column.
// With 4-bit weights in matrices marked Coarse an activation is a whole number up to
// 127 (VPMADDUBSW). Sums of 32 products fit into the integers they are added up in:
// what is rounded is the activations, the weights in the backward, and no sum within
// a block; so any order of the 32 gives the same bits.

const (
	topShort  = math.MaxInt16 // of activations
	topByte   = math.MaxInt8  // of activations
	topColumn = 1<<11 - 1     // of weights in the backward: 32·32767·2047 < 2³¹

	panelRows   = 96 // of activations that stay in the second cache
	panelGroup  = 6  // panels that they are multiplied by there
	panelDepth  = 12 // blocks of a panel that stay in the first cache
	panelParts  = 4  // of as many blocks, unpacked together in the backward
	laneMost    = 4  // rows that a panelLane takes
	lanesUpTo   = 8  // rows for which weights are not unpacked first
	blockExtras = 4  // words of a block of activations beside its numbers
)

// A panelTile computes c = x·Wᵀ, or adds it to c when add is 1, for one tile after
// another downwards and nblk blocks of a panel.
//
//	b (nblk, panel words), see panelLoops
//	a (tiles*height, nblk, block words), see panelLoops; rows rs words apart
//	c (tiles*height, 16), rows ldc numbers apart
type panelTile func(tiles, nblk int, b, a *uint32, rs int, c *float32, ldc, add int)

// A panelLane computes the same as panelTiles, the same bits, for a few rows and np
// packed panels that follow each other. Its arguments are a wholeTile's, but for a.
type panelLane = wholeTile

// panelLoops are the loops on whole numbers of 16 or of 8 bits. Arrays are indexed by
// rows.
//
// A block of 32 activations takes words words of numbers, pairs in the order of
// wholeOrder or fours, and four more: its scale, and scale times sum, as float32; -8
// and -128 times the sum. A block of 16 columns of weights takes 16 times words words
// of numbers in the same order along the block, unsigned where they are fours, and
// 16 scales and 16 minima as float32.
type panelLoops struct {
	words            int
	heights          *heights
	tile, minTile    [maxHeight + 1]panelTile
	zero4, zero8     [laneMost + 1]panelLane
	min4, min8       [laneMost + 1]panelLane
	round            func(nblk int, x *float32, dst *uint32)               // makes a row of activations
	unpack4, unpack8 func(nblk int, qs *byte, ds, ms *uint16, dst *uint32) // makes blocks of a panel; ms is nil without minima
	columns          func(nblk int, src *float32, dst *uint32, step int)   // makes, of (32·nblk, 32) floats, blocks of two panels step words apart
}

// block and panel are the words of a block of activations and of a panel.
func (l *panelLoops) block() int { return l.words + blockExtras }
func (l *panelLoops) panel() int { return (l.words + 2) * narrow }

// genericShorts is the definition of the loops on 16 bits.
func genericShorts() *panelLoops {
	l := &panelLoops{words: block / 2, round: roundShortsGeneric, unpack4: unpackShorts4Generic, unpack8: unpackShorts8Generic, columns: columnShortsGeneric}
	l.fill(shortTileGeneric)
	return l
}

// genericBytes is the definition of the loops on 8 bits, which have no 8-bit weights.
func genericBytes() *panelLoops {
	l := &panelLoops{words: block / 4, round: roundBytesGeneric, unpack4: unpackBytesGeneric}
	l.fill(byteTileGeneric)
	return l
}

// fill sets the tiles, and the lanes that follow from them.
func (l *panelLoops) fill(tile func(h int, minima bool) panelTile) {
	l.heights = heightsTo6
	for h := 1; h <= maxHeight; h++ {
		l.tile[h], l.minTile[h] = tile(h, false), tile(h, true)
	}
	for h := 1; h <= laneMost; h++ {
		l.zero4[h], l.min4[h] = panelLaneGeneric(l, l.unpack4, 4, l.tile[h], false), panelLaneGeneric(l, l.unpack4, 4, l.minTile[h], true)
		if l.unpack8 != nil {
			l.zero8[h], l.min8[h] = panelLaneGeneric(l, l.unpack8, 8, l.tile[h], false), panelLaneGeneric(l, l.unpack8, 8, l.minTile[h], true)
		}
	}
}

func shortTileGeneric(h int, minima bool) panelTile {
	return panelTileGeneric(h, block/2, minima, func(x, u uint32) int32 {
		return int32(int16(x))*int32(int16(u)) + (int32(x)>>16)*(int32(u)>>16)
	})
}

func byteTileGeneric(h int, minima bool) panelTile {
	return panelTileGeneric(h, block/4, minima, func(x, u uint32) (sum int32) {
		for range 4 {
			sum += int32(int8(x)) * int32(u&0xff)
			x, u = x>>8, u>>8
		}
		return sum
	})
}

// panelTileGeneric makes a tile of the product of two words.
func panelTileGeneric(h, words int, minima bool, product func(x, u uint32) int32) panelTile {
	l := panelLoops{words: words}
	return func(tiles, nblk int, b, a *uint32, rs int, c *float32, ldc, add int) {
		for r := range tiles * h {
			out := unsafe.Slice(at(c, r*ldc), narrow)
			if add == 0 {
				clear(out)
			}
			for i := range nblk {
				x, panel := unsafe.Slice(at(a, r*rs+i*l.block()), l.block()), unsafe.Slice(at(b, i*l.panel()), l.panel())
				scale, total := math.Float32frombits(x[words]), math.Float32frombits(x[words+1])
				for j := range out {
					var sum int32
					if words == block/4 && !minima {
						sum = int32(x[words+2]) // as fours are unsigned
					}
					for k, w := range x[:words] {
						sum += product(w, panel[k*narrow+j])
					}
					out[j] += float32(sum) * (scale * math.Float32frombits(panel[words*narrow+j]))
					if minima {
						out[j] += math.Float32frombits(panel[(words+1)*narrow+j]) * total
					}
				}
			}
		}
	}
}

// panelLaneGeneric unpacks the panels and leaves the rest to a tile.
func panelLaneGeneric(l *panelLoops, unpack func(nblk int, qs *byte, ds, ms *uint16, dst *uint32), bits int, tile panelTile, minima bool) panelLane {
	return func(np, nblk int, qs *byte, ds, ms *uint16, a *uint32, rs int, c *float32, ldc int) {
		panel := make([]uint32, nblk*l.panel())
		for p := range np {
			n := p * nblk
			if !minima {
				ms = nil
			}
			unpack(nblk, at(qs, n*blockBytes(bits)), at(ds, n*narrow), at(ms, n*narrow), &panel[0])
			tile(1, nblk, &panel[0], a, rs, at(c, p*narrow), ldc, 0)
		}
	}
}

func roundShortsGeneric(nblk int, x *float32, dst *uint32) {
	roundWordsGeneric(nblk, x, dst, topShort, block/2, func(q *[block]int32, i int) uint32 {
		return uint32(q[wholeOrder[2*i]])&0xffff | uint32(q[wholeOrder[2*i+1]])<<16
	})
}

func roundBytesGeneric(nblk int, x *float32, dst *uint32) {
	roundWordsGeneric(nblk, x, dst, topByte, block/4, func(q *[block]int32, i int) (w uint32) {
		for e := range 4 {
			w |= uint32(q[4*i+e]) & 0xff << (8 * e)
		}
		return w
	})
}

// roundWordsGeneric makes a row of activations of words put together by word.
func roundWordsGeneric(nblk int, x *float32, dst *uint32, top float32, words int, word func(q *[block]int32, i int) uint32) {
	for l := range nblk {
		values, out := unsafe.Slice(at(x, l*block), block), unsafe.Slice(at(dst, l*(words+blockExtras)), words+blockExtras)
		scale, inverse := shortScale(values, 1, top)
		var sum int32
		var q [block]int32
		for i, v := range values {
			q[i] = nearest(v * inverse)
			sum += q[i]
		}
		for i := range words {
			out[i] = word(&q, i)
		}
		out[words], out[words+1] = math.Float32bits(scale), math.Float32bits(scale*float32(sum))
		out[words+2], out[words+3] = uint32(-zero4*sum), uint32(-zero8*sum)
	}
}

func nearest(v float32) int32 { return int32(math.RoundToEven(float64(v))) }

// shortScale returns the scale of every step-th of the 32 numbers, of which the
// largest becomes top, and what to multiply them by.
func shortScale(x []float32, step int, top float32) (scale, inverse float32) {
	var largest float32
	for i := range block {
		largest = max(largest, max(x[i*step], -x[i*step]))
	}
	if largest < leastTop {
		return 0, 0 // a NaN is not less, and makes the scale a NaN
	}
	return largest * (1 / top), top / largest
}

func unpackShorts4Generic(nblk int, qs *byte, ds, ms *uint16, dst *uint32) {
	unpackShortsGeneric(4, nblk, qs, ds, ms, dst)
}

func unpackShorts8Generic(nblk int, qs *byte, ds, ms *uint16, dst *uint32) {
	unpackShortsGeneric(8, nblk, qs, ds, ms, dst)
}

func unpackShortsGeneric(bits, nblk int, qs *byte, ds, ms *uint16, dst *uint32) {
	zero := int32(zero4)
	if bits == 8 {
		zero = zero8
	}
	if ms != nil {
		zero = 0
	}
	unpackWordsGeneric(bits, nblk, qs, ds, ms, dst, block/2, func(u *[block]int32, i int) uint32 {
		return uint32(u[wholeOrder[2*i]]-zero)&0xffff | uint32(u[wholeOrder[2*i+1]]-zero)<<16
	})
}

func unpackBytesGeneric(nblk int, qs *byte, ds, ms *uint16, dst *uint32) {
	unpackWordsGeneric(4, nblk, qs, ds, ms, dst, block/4, func(u *[block]int32, i int) (w uint32) {
		for e := range 4 {
			w |= uint32(u[4*i+e]) << (8 * e)
		}
		return w
	})
}

// unpackWordsGeneric makes blocks of a panel of words put together by word.
func unpackWordsGeneric(bits, nblk int, qs *byte, ds, ms *uint16, dst *uint32, words int, word func(u *[block]int32, i int) uint32) {
	size, unpack, panel := blockBytes(bits), unpack4, (words+2)*narrow
	if bits == 8 {
		unpack = unpack8
	}
	var u [block]int32
	for l := range nblk {
		out := unsafe.Slice(at(dst, l*panel), panel)
		scales := out[words*narrow:]
		for j := range narrow {
			unpack(&u, unsafe.Slice(at(qs, l*size), size), j)
			for i := range words {
				out[i*narrow+j] = word(&u, i)
			}
			scales[j] = math.Float32bits(quant.F16ToF32(*at(ds, l*narrow+j)))
			if ms != nil {
				scales[narrow+j] = math.Float32bits(quant.F16ToF32(*at(ms, l*narrow+j)))
			}
		}
	}
}

func columnShortsGeneric(nblk int, src *float32, dst *uint32, step int) {
	const panel = (block/2 + 2) * narrow
	for l := range nblk {
		for j := range block {
			column := unsafe.Slice(at(src, l*block*block+j), (block-1)*block+1)
			words := unsafe.Slice(at(dst, j/narrow*step+l*panel), panel)
			scale, inverse := shortScale(column, block, topColumn)
			word := func(i int) uint32 { return uint32(nearest(column[wholeOrder[i]*block] * inverse)) }
			for i := range block / 2 {
				words[i*narrow+j%narrow] = word(2*i)&0xffff | word(2*i+1)<<16
			}
			words[block/2*narrow+j%narrow] = math.Float32bits(scale)
		}
	}
}

// rowForm is an operand as rows that panelLoops.round made.
type rowForm struct {
	made   bool
	words  []uint32 // (n, stride)
	stride int
}

// wordRows makes the form of op that l reads, with zeros up to the next multiple of
// 32 columns.
func (g *Gang) wordRows(op *Operand, f *rowForm, l *panelLoops) {
	op.lock.Lock()
	defer op.lock.Unlock()
	if f.made {
		return
	}
	whole, rest := op.cols/block, op.cols%block
	f.stride = (op.cols + block - 1) / block * l.block()
	f.words = grow(f.words, op.n*f.stride)
	g.span(op.n, rowsPerChunk, func(lo, hi int) {
		var tail [block]float32
		for i := lo; i < hi; i++ {
			row := f.words[i*f.stride:]
			if whole > 0 {
				l.round(whole, &op.x[i*op.cols], &row[0])
			}
			if rest > 0 {
				copy(tail[:], op.x[i*op.cols+whole*block:][:rest])
				l.round(1, &tail[0], &row[whole*l.block()])
			}
		}
	})
	f.made = true
}

// matMulWords multiplies whole numbers by packed weights.
func (g *Gang) matMulWords(dst []float32, x *Operand, w *Matrix) {
	l, f := g.kit.shorts, &x.shorts
	if w.Coarse && w.form.bits() == 4 {
		l, f = g.kit.bytes, &x.bytes
	}
	g.wordRows(x, f, l)
	if x.n <= lanesUpTo {
		lanes := l.lanes(w.form)
		g.narrowTiles(dst, x.n, w, heightsTo4, func(h, p0, p1, i int, c *float32, ldc int) {
			q, d := w.offsets(p0, 0)
			lanes[h](p1-p0, w.blocks, &w.qs[q], &w.ds[d], w.minima(d), &f.words[i*f.stride], f.stride, c, ldc)
		})
		return
	}
	unpack, tiles := l.unpack4, &l.tile
	if w.form.bits() == 8 {
		unpack = l.unpack8
	}
	if w.form.minima() {
		tiles = &l.minTile
	}
	parts := (w.blocks + panelDepth - 1) / panelDepth
	step := max(1, min(panelGroup, w.panels/16))
	g.run(newGrid(w.panels, step, x.n, panelRows), func(p0, p1, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		panel := s.uint32s(panelDepth * l.panel())
		for p := p0; p < p1; p++ {
			for part := range parts {
				from, to := part*w.blocks/parts, (part+1)*w.blocks/parts
				q, d := w.offsets(p, from)
				unpack(to-from, &w.qs[q], &w.ds[d], w.minima(d), &panel[0])
				l.rows(s, tiles, to-from, panel, f.words[from*l.block():], f.stride,
					dst[p*narrow:], w.Rows, i0, i1, w.Rows-p*narrow, min(part, 1))
			}
		}
	})
}

// lanes are the loops for a few rows and weights of a form.
func (l *panelLoops) lanes(f form) *[laneMost + 1]panelLane {
	switch f {
	case zeroForm4:
		return &l.zero4
	case minForm4:
		return &l.min4
	case zeroForm8:
		return &l.zero8
	}
	return &l.min8
}

// rows multiplies rows i0 … i1-1 of a by nblk blocks of a panel, of which cols
// columns are wanted.
func (l *panelLoops) rows(s *scratch, tiles *[maxHeight + 1]panelTile, nblk int, panel, a []uint32, rs int, c []float32, ldc, i0, i1, cols, add int) {
	for i := i0; i < i1; {
		h := l.heights.next(i1 - i)
		n := l.heights.same(i1-i, h)
		if cols >= narrow {
			tiles[h](n, nblk, &panel[0], &a[i*rs], rs, &c[i*ldc], ldc, add)
		} else {
			n = 1
			if add == 1 {
				put(s.tile[:], narrow, c[i*ldc:], ldc, h, cols)
			}
			tiles[h](1, nblk, &panel[0], &a[i*rs], rs, &s.tile[0], narrow, add)
			put(c[i*ldc:], ldc, s.tile[:], narrow, h, cols)
		}
		i += n * h
	}
}

// backWords multiplies 16-bit gradients. Every chunk turns one block of 32 columns
// of w, some rows at a time, into two panels.
func (g *Gang) backWords(dx []float32, dy *Operand, w *Matrix) {
	l, f := g.kit.shorts, &dy.shorts
	g.wordRows(dy, f, l)
	blocks, half := (w.Rows+block-1)/block, panelDepth*l.panel()
	g.run(newGrid(w.blocks, 1, dy.n, backRows), func(b, _, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		room := s.uint32s(panelParts * 2 * half)
		for from := 0; from < blocks; from += panelParts * panelDepth {
			end := min(blocks, from+panelParts*panelDepth)
			for r := from; r < end; r += panelDepth {
				g.columns(s, w, b, r, min(r+panelDepth, end), room[(r-from)/panelDepth*2*half:], half)
			}
			for i := i0; i < i1; i += panelRows {
				for r := from; r < end; r += panelDepth {
					for h := range (min(block, w.Cols-b*block) + narrow - 1) / narrow {
						col, panel := b*block+h*narrow, room[((r-from)/panelDepth*2+h)*half:]
						l.rows(s, &l.tile, min(panelDepth, end-r), panel, f.words[r*l.block():], f.stride,
							dx[col:], w.Cols, i, min(i+panelRows, i1), w.Cols-col, 1)
					}
				}
			}
		}
	})
}

// columns writes blocks from … end-1 of the rows of column block b of w as two
// panels, step words apart.
func (g *Gang) columns(s *scratch, w *Matrix, b, from, end int, panels []uint32, step int) {
	first, last := from*block, min(end*block, w.Rows)
	values := s.float32s(panelDepth * block * block)
	g.kit.spread(values, w, b, first, last)
	clear(values[(last-first)*block : (end-from)*block*block])
	g.kit.shorts.columns(end-from, &values[0], &panels[0], step)
}
