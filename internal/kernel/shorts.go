package kernel

import (
	"math"
	"unsafe"

	"afina/internal/quant"
)

// Products of 16-bit whole numbers, for levels that multiply pairs of them
// (VPMADDWD) and have no bfloat16. An activation is a whole number up to 32767 with
// a scale for each 32 of a row: 15 bits of the largest. Forward, it multiplies the
// whole numbers that packed weights are; their scales, and minima times the sums of
// activations, come in as float32. Backward, where sums run over the rows of
// weights and so over their scales, weights are rounded to 12 bits of the largest
// of 32 in a column. Sums of 32 products fit into 32 bits as they are: what is
// rounded is the activations, the weights in the backward, and no sum within a
// block; so any order of the 32 gives the same bits.

const (
	// shortBlock is how many words a block of activations takes: 16 pairs in the
	// order of wholeOrder, the scale and scale times sum as float32, and -8 and -128
	// times the sum.
	shortBlock = block/2 + 4

	// panelBlock is how many words an unpacked block of 16 columns takes: (16, 16)
	// pairs along the block in the order of wholeOrder, 16 scales and 16 minima as
	// float32.
	panelBlock = (block/2 + 2) * narrow

	topShort       = math.MaxInt16 // of activations
	topColumn      = 1<<11 - 1     // of weights in the backward: 32·32767·2047 < 2³¹
	shortRows      = 96            // of activations that stay in the second cache
	shortPanels    = 6             // that they are multiplied by there
	shortDepth     = 12            // blocks of a panel that stay in the first cache
	shortParts     = 4             // of as many blocks, unpacked together in the backward
	shortLaneRows  = 4             // the most that a shortLane takes
	shortLanesUpTo = 8             // rows for which weights are not unpacked first
)

// A shortTile computes c = x·Wᵀ, or adds it to c when add is 1, for one tile after
// another downwards and nblk blocks of a panel.
//
//	b (nblk, panelBlock), see there
//	a (tiles*height, nblk, shortBlock), see there; rows rs words apart
//	c (tiles*height, 16), rows ldc numbers apart
type shortTile func(tiles, nblk int, b, a *uint32, rs int, c *float32, ldc, add int)

// A shortLane computes the same as shortTiles, the same bits, for a few rows and np
// packed panels that follow each other. Its arguments are a wholeTile's, but for a.
type shortLane = wholeTile

// shortLoops are the loops on 16-bit whole numbers. Arrays are indexed by rows.
type shortLoops struct {
	heights          *heights
	tile, minTile    [maxHeight + 1]shortTile
	zero4, zero8     [shortLaneRows + 1]shortLane
	min4, min8       [shortLaneRows + 1]shortLane
	round            func(nblk int, x *float32, dst *uint32)               // makes a row of activations
	unpack4, unpack8 func(nblk int, qs *byte, ds, ms *uint16, dst *uint32) // makes blocks of a panel; ms is nil without minima
	columns          func(nblk int, src *float32, dst *uint32, step int)   // makes, of (32·nblk, 32) floats, blocks of two panels step words apart
}

// genericShorts is the definition of the loops.
func genericShorts() *shortLoops {
	s := &shortLoops{heights: heightsTo4, round: roundShortsGeneric, unpack4: unpackShorts4Generic, unpack8: unpackShorts8Generic, columns: columnShortsGeneric}
	for h := 1; h <= maxHeight; h++ {
		s.tile[h], s.minTile[h] = shortTileGeneric(h, false), shortTileGeneric(h, true)
	}
	for h := 1; h <= shortLaneRows; h++ {
		s.zero4[h], s.zero8[h] = shortLaneGeneric(h, 4, false), shortLaneGeneric(h, 8, false)
		s.min4[h], s.min8[h] = shortLaneGeneric(h, 4, true), shortLaneGeneric(h, 8, true)
	}
	return s
}

func shortTileGeneric(h int, minima bool) shortTile {
	return func(tiles, nblk int, b, a *uint32, rs int, c *float32, ldc, add int) {
		panel := unsafe.Slice(b, nblk*panelBlock)
		for r := range tiles * h {
			row, out := unsafe.Slice(at(a, r*rs), nblk*shortBlock), unsafe.Slice(at(c, r*ldc), narrow)
			if add == 0 {
				clear(out)
			}
			for l := range nblk {
				addShorts(out, row[l*shortBlock:], panel[l*panelBlock:], minima)
			}
		}
	}
}

// addShorts adds the product of a block of activations and one of a panel.
func addShorts(out []float32, x, panel []uint32, minima bool) {
	scale, total := math.Float32frombits(x[block/2]), math.Float32frombits(x[block/2+1])
	scales := panel[block/2*narrow:]
	for j := range out {
		var sum int32
		for i, w := range x[:block/2] {
			u := panel[i*narrow+j]
			sum += int32(int16(w))*int32(int16(u)) + (int32(w)>>16)*(int32(u)>>16)
		}
		out[j] += float32(sum) * (scale * math.Float32frombits(scales[j]))
		if minima {
			out[j] += math.Float32frombits(scales[narrow+j]) * total
		}
	}
}

// shortLaneGeneric unpacks the panels and leaves the rest to shortTileGeneric.
func shortLaneGeneric(h, bits int, minima bool) shortLane {
	unpack, tile := unpackShorts4Generic, shortTileGeneric(h, minima)
	if bits == 8 {
		unpack = unpackShorts8Generic
	}
	return func(np, nblk int, qs *byte, ds, ms *uint16, a *uint32, rs int, c *float32, ldc int) {
		panel := make([]uint32, nblk*panelBlock)
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
	for l := range nblk {
		values, words := unsafe.Slice(at(x, l*block), block), unsafe.Slice(at(dst, l*shortBlock), shortBlock)
		scale, inverse := shortScale(values, 1, topShort)
		var sum int32
		var q [block]int32
		for i, v := range values {
			q[i] = nearest(v * inverse)
			sum += q[i]
		}
		for i := range block / 2 {
			words[i] = uint32(q[wholeOrder[2*i]])&0xffff | uint32(q[wholeOrder[2*i+1]])<<16
		}
		words[block/2], words[block/2+1] = math.Float32bits(scale), math.Float32bits(scale*float32(sum))
		words[block/2+2], words[block/2+3] = uint32(-zero4*sum), uint32(-zero8*sum)
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
	size, unpack, zero := blockBytes(bits), unpack4, int32(zero4)
	if bits == 8 {
		unpack, zero = unpack8, zero8
	}
	if ms != nil {
		zero = 0
	}
	var u [block]int32
	for l := range nblk {
		words := unsafe.Slice(at(dst, l*panelBlock), panelBlock)
		scales := words[block/2*narrow:]
		for j := range narrow {
			unpack(&u, unsafe.Slice(at(qs, l*size), size), j)
			for i := range block / 2 {
				words[i*narrow+j] = uint32(u[wholeOrder[2*i]]-zero)&0xffff | uint32(u[wholeOrder[2*i+1]]-zero)<<16
			}
			scales[j] = math.Float32bits(quant.F16ToF32(*at(ds, l*narrow+j)))
			if ms != nil {
				scales[narrow+j] = math.Float32bits(quant.F16ToF32(*at(ms, l*narrow+j)))
			}
		}
	}
}

func columnShortsGeneric(nblk int, src *float32, dst *uint32, step int) {
	for l := range nblk {
		for j := range block {
			column := unsafe.Slice(at(src, l*block*block+j), (block-1)*block+1)
			words := unsafe.Slice(at(dst, j/narrow*step+l*panelBlock), panelBlock)
			scale, inverse := shortScale(column, block, topColumn)
			word := func(i int) uint32 { return uint32(nearest(column[wholeOrder[i]*block] * inverse)) }
			for i := range block / 2 {
				words[i*narrow+j%narrow] = word(2*i)&0xffff | word(2*i+1)<<16
			}
			words[block/2*narrow+j%narrow] = math.Float32bits(scale)
		}
	}
}

// shorts makes the form of op that a shortTile reads, with zeros up to the next
// multiple of 32 columns.
func (g *Gang) shorts(op *Operand) {
	op.lock.Lock()
	defer op.lock.Unlock()
	if op.hasShorts {
		return
	}
	whole, rest := op.cols/block, op.cols%block
	op.shortStride = (op.cols + block - 1) / block * shortBlock
	op.shorts = grow(op.shorts, op.n*op.shortStride)
	g.span(op.n, rowsPerChunk, func(lo, hi int) {
		var tail [block]float32
		for i := lo; i < hi; i++ {
			row := op.shorts[i*op.shortStride:]
			if whole > 0 {
				g.kit.shorts.round(whole, &op.x[i*op.cols], &row[0])
			}
			if rest > 0 {
				copy(tail[:], op.x[i*op.cols+whole*block:][:rest])
				g.kit.shorts.round(1, &tail[0], &row[whole*shortBlock])
			}
		}
	})
	op.hasShorts = true
}

// matMulShorts multiplies 16-bit activations by packed weights.
func (g *Gang) matMulShorts(dst []float32, x *Operand, w *Matrix) {
	if x.n <= shortLanesUpTo {
		lanes := g.kit.shorts.lanes(w.form)
		g.narrowTiles(dst, x.n, w, heightsTo4, func(h, p0, p1, i int, c *float32, ldc int) {
			q, d := w.offsets(p0, 0)
			lanes[h](p1-p0, w.blocks, &w.qs[q], &w.ds[d], w.minima(d), &x.shorts[i*x.shortStride], x.shortStride, c, ldc)
		})
		return
	}
	unpack, tiles := g.kit.shorts.unpack4, &g.kit.shorts.tile
	if w.form.bits() == 8 {
		unpack = g.kit.shorts.unpack8
	}
	if w.form.minima() {
		tiles = &g.kit.shorts.minTile
	}
	parts := (w.blocks + shortDepth - 1) / shortDepth
	step := max(1, min(shortPanels, w.panels/16))
	g.run(newGrid(w.panels, step, x.n, shortRows), func(p0, p1, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		panel := s.uint32s(shortDepth * panelBlock)
		for p := p0; p < p1; p++ {
			for part := range parts {
				from, to := part*w.blocks/parts, (part+1)*w.blocks/parts
				q, d := w.offsets(p, from)
				unpack(to-from, &w.qs[q], &w.ds[d], w.minima(d), &panel[0])
				g.shortTiles(s, tiles, to-from, panel, x.shorts[from*shortBlock:], x.shortStride,
					dst[p*narrow:], w.Rows, i0, i1, w.Rows-p*narrow, min(part, 1))
			}
		}
	})
}

// lanes are the loops for a few rows and weights of a form.
func (s *shortLoops) lanes(f form) *[shortLaneRows + 1]shortLane {
	switch f {
	case zeroForm4:
		return &s.zero4
	case minForm4:
		return &s.min4
	case zeroForm8:
		return &s.zero8
	}
	return &s.min8
}

// shortTiles multiplies rows i0 … i1-1 of a by nblk blocks of a panel, of which cols
// columns are wanted.
func (g *Gang) shortTiles(s *scratch, tiles *[maxHeight + 1]shortTile, nblk int, panel, a []uint32, rs int, c []float32, ldc, i0, i1, cols, add int) {
	heights := g.kit.shorts.heights
	for i := i0; i < i1; {
		h := heights.next(i1 - i)
		n := heights.same(i1-i, h)
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

// backShorts multiplies 16-bit gradients. Every chunk turns one block of 32 columns
// of w, some rows at a time, into two panels.
func (g *Gang) backShorts(dx []float32, dy *Operand, w *Matrix) {
	const part = 2 * shortDepth * panelBlock // words
	blocks := (w.Rows + block - 1) / block
	g.run(newGrid(w.blocks, 1, dy.n, backRows), func(b, _, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		panels := s.uint32s(shortParts * part)
		for from := 0; from < blocks; from += shortParts * shortDepth {
			end := min(blocks, from+shortParts*shortDepth)
			for l := from; l < end; l += shortDepth {
				g.columns(s, w, b, l, min(l+shortDepth, end), panels[(l-from)/shortDepth*part:])
			}
			for i := i0; i < i1; i += shortRows {
				for l := from; l < end; l += shortDepth {
					for half := range (min(block, w.Cols-b*block) + narrow - 1) / narrow {
						col := b*block + half*narrow
						g.shortTiles(s, &g.kit.shorts.tile, min(shortDepth, end-l), panels[(l-from)/shortDepth*part+half*part/2:],
							dy.shorts[l*shortBlock:], dy.shortStride, dx[col:], w.Cols, i, min(i+shortRows, i1), w.Cols-col, 1)
					}
				}
			}
		}
	})
}

// columns writes blocks from … end-1 of the rows of column block b of w as two
// panels.
func (g *Gang) columns(s *scratch, w *Matrix, b, from, end int, panels []uint32) {
	first, last := from*block, min(end*block, w.Rows)
	values := s.float32s(shortDepth * block * block)
	g.kit.spread(values, w, b, first, last)
	clear(values[(last-first)*block : (end-from)*block*block])
	g.kit.shorts.columns(end-from, &values[0], &panels[0], shortDepth*panelBlock)
}
