package kernel

import (
	"math"
	"unsafe"

	"afina/internal/quant"
)

// Products on AMX tiles. A tile is a register of up to 16 rows of 64 bytes; one
// instruction multiplies 16 rows of 16 pairs of bfloat16 by 16 pairs of 16 columns.
// It adds the products of even and of odd places up apart and their sum to the
// result, whatever the number of rows, so that a row has the same result in every
// company (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2,
// TDPBF16PS).
//
// Quantised weights are multiplied as whole numbers up to eight bits, which
// bfloat16 holds as they are; the scale of a block of 32 multiplies its sum in
// float32. Minima are multiplied by the sums of the activations, both as two
// numbers of bfloat16 that add up to them but for 2⁻¹⁷.

const (
	tileRows  = 16
	tileWords = tileRows * 16 // of a tile: 32-bit words

	tileGroup = 128       // rows that go through a group of panels together
	tileRoom  = 128 << 10 // bytes of unpacked weights at a time
	tileDepth = 320       // numbers along k of a panel that stays in the first cache
	laneRows  = 4         // so few rows are computed without tiles
)

// tileConfig are the shapes of the tiles, as LDTILECFG reads them.
type tileConfig [64]byte

func newTileConfig(rows [8]int) (c tileConfig) {
	c[0] = 1
	for i, n := range rows {
		c[16+2*i], c[48+i] = 64, byte(n)
	}
	return c
}

// pairConfigs are for products of so many rows in two tiles, blockConfigs for
// those in one.
var pairConfigs, blockConfigs = func() (p [2*tileRows + 1]tileConfig, b [tileRows + 1]tileConfig) {
	for n := 1; n <= 2*tileRows; n++ {
		first, second := min(n, tileRows), max(n-tileRows, 1)
		p[n] = newTileConfig([8]int{first, first, second, second, first, second, tileRows, tileRows})
	}
	for n := 1; n <= tileRows; n++ {
		b[n] = newTileConfig([8]int{n, n, n, n, n, n, tileRows, tileRows})
	}
	return p, b
}()

// A tilePairs computes c = a·b, or adds it to c when add is 1, for np panels.
//
//	a (rows, k2), rows rs pairs apart; k2 is a multiple of 16
//	b (np, k2, 32), panels bs words apart
//	c (rows, np*32), rows ldc numbers apart
type tilePairs func(np, groups, k2 int, a *uint32, rs int, b *uint32, bs int, c *float32, ldc int, add int, config *byte)

// A tileBlocks is an element of tileLoops.blocks.
type tileBlocks func(np, nblk, extra, groups, rows int, b *uint32, ds *uint16, a *uint32, rs int, c *float32, ldc int, sums *float32, config *byte)

// A tileStream is an element of tileLoops.stream4 and stream8.
//
//	qs, ds, ms as in a wholeTile; a, c and sums as in a tileBlocks
//	room for eight blocks and the minima
type tileStream func(np, nblk, extra, rows int, qs *byte, ds, ms *uint16, a *uint32, rs int, c *float32, ldc int, room, sums *float32, config *byte)

// A tileLane is an element of tileLoops.lanes4 and lanes8.
//
//	qs, ds, ms as in a wholeTile
//	a  rows rs numbers apart: floats of the pairs, and (h, l) of the sum of a block
type tileLane func(np, nblk, extra int, qs *byte, ds, ms *uint16, a *float32, rs int, c *float32, ldc int)

// tileLoops are the loops on tiles.
type tileLoops struct {
	// pairs32 and pairs16 are for groups of 32 or 16 rows, or for one of as many as
	// the configuration says.
	pairs32, pairs16 tilePairs

	// blocks computes c = x·Wᵀ for groups of as many rows as its index, or for one
	// group of rows rows, and np panels of weights.
	//
	//	b  (np, nblk+extra, 16, 16) pairs that unpack4 or unpack8 made
	//	ds (np, nblk, 16) float16
	//	a  rows that round made, rs words apart
	//	c  (rows, np*16), rows ldc numbers apart
	//	sums room for four tiles
	blocks [tileRows + 1]tileBlocks

	// stream4 and stream8 compute the same, the same bits, for at most as many rows
	// as their index, 8 or 16, from packed weights: each block is unpacked shortly
	// before it is multiplied.
	stream4, stream8 [tileRows + 1]tileStream

	// lanes4 and lanes8 compute the same, the same bits, for as few rows as their
	// index, from packed weights and from activations as floats made.
	lanes4, lanes8 [laneRows + 1]tileLane

	// floats turns n times 16 pairs into the 16 floats at even places and the 16 at
	// odd ones.
	floats func(n int, words *uint32, dst *float32)

	// round makes a row of activations from nblk blocks of x: dst (nblk, 16) pairs
	// in the order of wholeOrder, and extra (nblk, 2), twice the pair of a block's
	// sum: rounded, and what that leaves.
	round func(nblk int, x *float32, dst, extra *uint32)

	// unpack4 and unpack8 write blocks as tiles of whole numbers, pairs in the order
	// of wholeOrder, and behind those of a panel, in extra tiles, the minima: of a
	// block two rows of pairs, twice the rounded minimum and twice what that leaves.
	// Without minima extra is 0 and ms nil.
	unpack4, unpack8 func(np, nblk, extra int, qs *byte, ms *uint16, dst *uint32)

	// dense4 and dense8 write blocks of a panel as the numbers they stand for: pairs,
	// (16·nblk, 16) in rows of 32. ms is nil without minima.
	dense4, dense8 func(nblk int, qs *byte, ds, ms *uint16, dst *uint32)

	low *lowLoops
}

func tilePairsGeneric(h int) tilePairs {
	return func(np, groups, k2 int, a *uint32, rs int, b *uint32, bs int, c *float32, ldc int, add int, config *byte) {
		rows := groups * h
		if groups == 1 {
			shapes := (*tileConfig)(unsafe.Pointer(config))
			rows = int(shapes[48]) // of the first tile
			if rows == tileRows && h == 2*tileRows {
				rows += int(shapes[50])
			}
		}
		for p := range np {
			pairTileGeneric(1)(rows, k2, a, rs, at(b, p*bs), at(c, p*wide), ldc, add)
		}
	}
}

func tileBlocksGeneric(h int) tileBlocks {
	return func(np, nblk, extra, groups, rows int, b *uint32, ds *uint16, a *uint32, rs int, c *float32, ldc int, _ *float32, _ *byte) {
		if groups > 1 {
			rows = groups * h
		}
		weights, scales := unsafe.Slice(b, np*(nblk+extra)*tileWords), unsafe.Slice(ds, np*nblk*narrow)
		acts, out := unsafe.Slice(a, (rows-1)*rs+(nblk+extra)*narrow), unsafe.Slice(c, (rows-1)*ldc+np*narrow)
		for j := range np * narrow {
			p, lane := j/narrow, j%narrow
			for r := range rows {
				var total float32
				for t := range nblk + extra {
					var even, odd float32
					for i := range tileRows {
						w := weights[(p*(nblk+extra)+t)*tileWords+i*narrow+lane]
						x0, x1 := unpair(acts[r*rs+t*narrow+i])
						w0, w1 := unpair(w)
						even, odd = even+x0*w0, odd+x1*w1
					}
					d := float32(1)
					if t < nblk {
						d = quant.F16ToF32(scales[(p*nblk+t)*narrow+lane])
					}
					total += (even + odd) * d
				}
				out[r*ldc+j] = total
			}
		}
	}
}

func roundTilesGeneric(nblk int, x *float32, dst, extra *uint32) {
	words := make([]uint32, nblk*wholeBlock)
	roundWholeGeneric(nblk, x, &words[0])
	out, sums := unsafe.Slice(dst, nblk*block/2), unsafe.Slice(extra, 2*nblk)
	for b := range nblk {
		copy(out[b*block/2:], words[b*wholeBlock:][:block/2])
		first, second := split(math.Float32frombits(words[b*wholeBlock+block/2]))
		sums[2*b] = pair(first, second)
		sums[2*b+1] = sums[2*b]
	}
}

// split returns v rounded to bfloat16, and what that leaves.
func split(v float32) (first, rest float32) {
	first, _ = unpair(pair(v, 0))
	return first, v - first
}

func unpackTilesGeneric(bits int) func(np, nblk, extra int, qs *byte, ms *uint16, dst *uint32) {
	unpack := unpacking(bits)
	return func(np, nblk, extra int, qs *byte, ms *uint16, dst *uint32) {
		weights := unsafe.Slice(qs, np*nblk*blockBytes(bits))
		out := unsafe.Slice(dst, np*(nblk+extra)*tileWords)
		zero := float32(0)
		if extra == 0 {
			zero = map[int]float32{4: zero4, 8: zero8}[bits]
		}
		var u [block]int32
		for p := range np {
			tiles := out[p*(nblk+extra)*tileWords:][:(nblk+extra)*tileWords]
			for b := range nblk {
				for j := range narrow {
					unpack(&u, weights[(p*nblk+b)*blockBytes(bits):][:blockBytes(bits)], j)
					for i := range tileRows {
						tiles[b*tileWords+i*narrow+j] = pair(float32(u[wholeOrder[2*i]])-zero, float32(u[wholeOrder[2*i+1]])-zero)
					}
				}
			}
			if extra == 0 {
				continue
			}
			tiles = tiles[nblk*tileWords:]
			clear(tiles)
			for i, m := range unsafe.Slice(ms, np*nblk*narrow)[p*nblk*narrow:][:nblk*narrow] {
				first, rest := split(quant.F16ToF32(m))
				at := i/narrow*2*narrow + i%narrow
				tiles[at], tiles[at+narrow] = pair(first, first), pair(rest, rest)
			}
		}
	}
}

func denseGeneric(bits int) func(nblk int, qs *byte, ds, ms *uint16, dst *uint32) {
	unpack, zero := unpacking(bits), map[int]float32{4: zero4, 8: zero8}[bits]
	return func(nblk int, qs *byte, ds, ms *uint16, dst *uint32) {
		out := unsafe.Slice(dst, (nblk*tileRows-1)*wide+narrow)
		var u [block]int32
		for b := range nblk {
			for j := range narrow {
				unpack(&u, unsafe.Slice(at(qs, b*blockBytes(bits)), blockBytes(bits)), j)
				d := quant.F16ToF32(*at(ds, b*narrow+j))
				m := float32(-zero * d)
				if ms != nil {
					m = quant.F16ToF32(*at(ms, b*narrow+j))
				}
				number := func(i int) float32 { return float32(math.FMA(float64(u[i]), float64(d), float64(m))) }
				for i := range tileRows {
					out[(b*tileRows+i)*wide+j] = pair(number(2*i), number(2*i+1))
				}
			}
		}
	}
}

// genericTiles is the definition of the loops on tiles. No level computes with it.
func genericTiles() *tileLoops {
	t := &tileLoops{
		pairs32: tilePairsGeneric(32), pairs16: tilePairsGeneric(16),
		round:  roundTilesGeneric,
		dense4: denseGeneric(4), dense8: denseGeneric(8),
		low:     genericLow(),
		unpack4: unpackTilesGeneric(4), unpack8: unpackTilesGeneric(8),
	}
	for _, h := range tileHeights {
		t.blocks[h] = tileBlocksGeneric(h)
	}
	return t
}

// tileHeights are the numbers of rows for which there are loops over blocks.
var tileHeights = []int{1, 2, 4, 8, 16}

// pairRows multiplies rows i0 … i1-1 of a by np panels of 32 columns.
func (t *tileLoops) pairRows(np, k2 int, a []uint32, rs int, b *uint32, bs int, c []float32, ldc, i0, i1, add int) {
	if whole := (i1 - i0) / 32; whole > 0 {
		t.pairs32(np, whole, k2, &a[i0*rs], rs, b, bs, &c[i0*ldc], ldc, add, &pairConfigs[32][0])
		i0 += whole * 32
	}
	switch rest := i1 - i0; {
	case rest > tileRows:
		t.pairs32(np, 1, k2, &a[i0*rs], rs, b, bs, &c[i0*ldc], ldc, add, &pairConfigs[rest][0])
	case rest > 0:
		t.pairs16(np, 1, k2, &a[i0*rs], rs, b, bs, &c[i0*ldc], ldc, add, &pairConfigs[rest][0])
	}
}

// blockRows multiplies n rows of a by np unpacked panels.
func (t *tileLoops) blockRows(np, nblk, extra, n int, b *uint32, ds *uint16, a []uint32, rs int, c []float32, ldc int, sums *float32) {
	if whole := n / tileRows; whole > 0 {
		t.blocks[tileRows](np, nblk, extra, whole, tileRows, b, ds, &a[0], rs, &c[0], ldc, sums, &blockConfigs[tileRows][0])
	}
	if rest := n % tileRows; rest > 0 {
		h := 1
		for h < rest {
			h *= 2
		}
		i := n - rest
		t.blocks[h](np, nblk, extra, 1, rest, b, ds, &a[i*rs], rs, &c[i*ldc], ldc, sums, &blockConfigs[rest][0])
	}
}

// tileForm is an operand as tileLoops.blocks reads it.
type tileForm struct {
	made  bool
	words []uint32 // rows rs apart: pairs, and behind them the sums
	rs    int

	floats []float32 // of at most laneRows rows, twice rs apart
}

// extraTiles is how many tiles the minima of a panel of nblk blocks take.
func extraTiles(nblk int) int { return (2*nblk + tileRows - 1) / tileRows }

// tiledRows makes the form of op that tiles read.
func (g *Gang) tiledRows(op *Operand) {
	op.lock.Lock()
	defer op.lock.Unlock()
	f := &op.tiles
	if f.made {
		return
	}
	blocks := op.cols / block
	f.rs = (blocks+extraTiles(blocks))*narrow | narrow // odd lines apart
	f.words = grow(f.words, op.n*f.rs)
	g.pool.Run((op.n+rowsPerChunk-1)/rowsPerChunk, func(chunk int) {
		for i := chunk * rowsPerChunk; i < min(op.n, (chunk+1)*rowsPerChunk); i++ {
			row := f.words[i*f.rs:][:f.rs]
			sums := row[blocks*narrow:]
			g.kit.tiles.round(blocks, &op.x[i*op.cols], &row[0], &sums[0])
			clear(sums[2*blocks:])
		}
	})
	if op.n <= laneRows {
		f.floats = grow(f.floats, op.n*2*f.rs)
		for i := range op.n {
			words, floats := f.words[i*f.rs:][:f.rs], f.floats[i*2*f.rs:][:2*f.rs]
			g.kit.tiles.floats(blocks, &words[0], &floats[0])
			for b := range blocks {
				floats[blocks*block+2*b], floats[blocks*block+2*b+1] = unpair(words[blocks*narrow+2*b])
			}
		}
	}
	f.made = true
}

// matMulLanes multiplies a few rows of bfloat16 by quantised weights.
func (g *Gang) matMulLanes(dst []float32, x *Operand, w *Matrix) {
	lane, f, extra := g.kit.tiles.lanes4[x.n], &x.tiles, 0
	if w.form.bits() == 8 {
		lane = g.kit.tiles.lanes8[x.n]
	}
	if w.form.minima() {
		extra = extraTiles(w.blocks)
	}
	run := func(p0, p1 int, c *float32, ldc int) {
		q, d := w.offsets(p0, 0)
		lane(p1-p0, w.blocks, extra, &w.qs[q], &w.ds[d], w.minima(d), &f.floats[0], 2*f.rs, c, ldc)
	}
	g.run(newGrid(w.panels, w.sweep(), 1, 1), func(p0, p1, _, _ int) {
		whole := min(p1, w.Rows/narrow)
		if whole > p0 {
			run(p0, whole, &dst[p0*narrow], w.Rows)
		}
		if whole < p1 {
			s := g.borrow()
			defer g.giveBack(s)
			run(whole, p1, &s.tile[0], narrow)
			put(dst[whole*narrow:], w.Rows, s.tile[:], narrow, x.n, w.Rows-whole*narrow)
		}
	})
}

// streamRoom is what a tileStream needs beside its arguments, in numbers.
func streamRoom(extra int) int { return (8 + extra + 4) * tileWords }

// matMulStream multiplies at most tileRows rows of bfloat16 by quantised weights.
func (g *Gang) matMulStream(dst []float32, x *Operand, w *Matrix) {
	h, f, extra := tileRows, &x.tiles, 0
	if x.n <= tileRows/2 {
		h = tileRows / 2
	}
	stream := g.kit.tiles.stream4[h]
	if w.form.bits() == 8 {
		stream = g.kit.tiles.stream8[h]
	}
	if w.form.minima() {
		extra = extraTiles(w.blocks)
	}
	g.run(newGrid(w.panels, w.sweep(), 1, 1), func(p0, p1, _, _ int) {
		s := g.borrow()
		defer g.giveBack(s)
		room := s.float32s(streamRoom(extra) + tileRows*narrow)
		sums, edge := room[:4*tileWords], room[streamRoom(extra):]
		run := func(p0, p1 int, c *float32, ldc int) {
			q, d := w.offsets(p0, 0)
			stream(p1-p0, w.blocks, extra, x.n, &w.qs[q], &w.ds[d], w.minima(d), &f.words[0], f.rs, c, ldc, &room[4*tileWords], &sums[0], &blockConfigs[x.n][0])
		}
		whole := min(p1, w.Rows/narrow)
		if whole > p0 {
			run(p0, whole, &dst[p0*narrow], w.Rows)
		}
		if whole < p1 {
			run(whole, p1, &edge[0], narrow)
			put(dst[whole*narrow:], w.Rows, edge, narrow, x.n, w.Rows-whole*narrow)
		}
	})
}

// sweep is how many panels a chunk of one sweep over the weights takes.
func (w *Matrix) sweep() int {
	perPanel := w.blocks * (blockBytes(w.form.bits()) + 4*narrow)
	return max(1, min(w.panels/16, chunkBytes/perPanel))
}

// densePanels is how many panels of 32 columns a chunk of a product with unpacked
// numbers takes, of at most so many panels: few enough for an even number of
// chunks.
func densePanels(panels int) int {
	const most = 8
	chunks := 2 * ((panels + 2*most - 1) / (2 * most))
	return (panels + chunks - 1) / chunks
}

// matMulDense multiplies bfloat16 activations by weights rounded to bfloat16.
func (g *Gang) matMulDense(dst []float32, x *Operand, w *Matrix) {
	t, dense := g.kit.tiles, g.kit.tiles.dense4
	if w.form.bits() == 8 {
		dense = t.dense8
	}
	panels := (w.Rows + wide - 1) / wide
	step := densePanels(panels)
	g.run(newGrid(panels, step, x.n, 1024), func(p0, p1, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		room := s.uint32s(step * tileDepth / 2 * wide)
		for b := 0; b < w.blocks; b += tileDepth / block {
			n := min(tileDepth/block, w.blocks-b)
			k2 := n * tileRows
			for p := 2 * p0; p < 2*p1; p++ {
				to := room[(p/2-p0)*k2*wide+p%2*narrow:]
				if p >= w.panels {
					clearHalf(to, k2)
					continue
				}
				q, d := w.offsets(p, b)
				dense(n, &w.qs[q], &w.ds[d], w.minima(d), &to[0])
			}
			whole := min(p1, w.Rows/wide) - p0
			for i := i0; i < i1; i += tileGroup {
				end, a := min(i+tileGroup, i1), x.pairs[b*narrow:]
				if whole > 0 {
					t.pairRows(whole, k2, a, x.stride, &room[0], k2*wide, dst[p0*wide:], w.Rows, i, end, min(b, 1))
				}
				if p0+whole < p1 {
					g.pairRows(k2, a, x.stride, &room[whole*k2*wide], dst[(p0+whole)*wide:], w.Rows, i, end, w.Rows%wide, min(b, 1))
				}
			}
		}
	})
}

// clearHalf writes zeros to 16 columns of k2 rows of 32.
func clearHalf(x []uint32, k2 int) {
	for i := range k2 {
		clear(x[i*wide:][:narrow])
	}
}

// matMulTiles multiplies bfloat16 activations by quantised weights on tiles.
func (g *Gang) matMulTiles(dst []float32, x *Operand, w *Matrix) {
	switch {
	case x.n <= laneRows:
		g.matMulLanes(dst, x, w)
		return
	case x.n <= tileRows:
		g.matMulStream(dst, x, w)
		return
	}
	t, f, unpack := g.kit.tiles, &x.tiles, g.kit.tiles.unpack4
	if w.form.bits() == 8 {
		unpack = t.unpack8
	}
	extra := 0
	if w.form.minima() {
		extra = extraTiles(w.blocks)
	}
	size := (w.blocks + extra) * tileWords
	const step = 8
	group := max(1, min(step, tileRoom/(4*size)))
	g.run(newGrid(w.panels, step, x.n, 1024), func(p0, p1, i0, i1 int) {
		s := g.borrow()
		defer g.giveBack(s)
		room := s.uint32s(group * size)
		floats := s.float32s(4*tileWords + tileGroup*narrow)
		sums, edge := &floats[0], floats[4*tileWords:]
		for p := p0; p < p1; p += group {
			end := min(p+group, p1)
			whole := min(end, w.Rows/narrow)
			q, d := w.offsets(p, 0)
			unpack(end-p, w.blocks, extra, &w.qs[q], w.minima(d), &room[0])
			for i := i0; i < i1; i += tileGroup {
				n, a := min(tileGroup, i1-i), f.words[i*f.rs:]
				if whole > p {
					t.blockRows(whole-p, w.blocks, extra, n, &room[0], &w.ds[d], a, f.rs, dst[i*w.Rows+p*narrow:], w.Rows, sums)
				}
				if whole < end {
					_, d := w.offsets(whole, 0)
					t.blockRows(1, w.blocks, extra, n, &room[(whole-p)*size], &w.ds[d], a, f.rs, edge, narrow, sums)
					put(dst[i*w.Rows+whole*narrow:], w.Rows, edge, narrow, n, w.Rows-whole*narrow)
				}
			}
		}
	})
}
