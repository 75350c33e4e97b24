package kernel

import (
	"math"
	"unsafe"
)

// attendLoops are the loops of attention in bfloat16 on AMX tiles. Tokens go in
// strips of 32, those that are not there being zeros, and every number is in whole
// tiles of 16 rows of 16 words which follow each other:
//
//	rows          (dim/32, 2) tiles of a strip x: word (r, i) of tile (l, half) is
//	              the pair x[16·half+r][32l+2i, 32l+2i+1]
//	pairs         (dim/16) tiles: word (i, c) of tile j is the pair
//	              x[2i, 2i+1][16j+c]
//	turned        the same tiles transposed
//
// dim counts as the next multiple of 32, so that all take dim·16 words. Scores
// are made transposed, keys by queries. d is dim/32; scale multiplies scores and
// is log₂ e times that of attention: weights are powers of 2.
type attendLoops struct {
	layRows, layRowsTurned, layPairs, layPairsTurned func(cols int, x *float32, ldx int, dst *uint32)

	// roundedDots writes Σ x·y of rows ld numbers apart, with x in bfloat16.
	roundedDots func(rows, cols int, x, y *float32, ld int, dst *float32)

	// keepWords writes src (rows, 16) and mask (16) to dst.
	keepWords func(rows int, src, mask, dst *uint32)

	// attend brings 32 queries over strips strips of keys, few the first 16 of them,
	// with the same result. Key j of strip s has the
	// number key+32s+j; a query sees those from … to-1, and all of strips free0 …
	// free1-1.
	//
	//	q rows turned; k rows and v pairs turned, a pointer for each strip
	//	out (32d, 32): Σ 2^(s - lse)·v of each query; lse (32): log₂ Σ 2^s
	//	work has attendWork numbers
	attend, few func(strips, free0, free1, d int, q *uint32, k, v **uint32, from, to *int32, key int, scale float32, work, out, lse *float32, config *byte)

	// back brings one strip of keys, from number key on, over strips strips of
	// queries. With p = 2^(s - lse), it writes ds = p·(dout·v - delta), without the
	// scale, and adds Σ p·dout to dv and Σ ds·q to dk, or writes them when add is 0.
	//
	//	k, v rows; q, dout (strips) rows turned; qp, dp (strips) pairs of q and dout
	//	lse (in powers of 2), delta, from, to (strips, 32)
	//	ds  (32 keys, 32 queries) of each strip, as pairs, step words apart
	//	dk, dv (32, 32d)
	//	work has 2048 + 1024·strips numbers
	back func(strips, free0, free1, d int, k, v, q, dout, qp, dp *uint32, lse, delta *float32, from, to *int32, key int, scale float32, work *float32, ds *uint32, step int, dk, dv *float32, add int, config *byte)

	// queries writes Σ ds·k of 32 queries over strips of keys, or adds it.
	//
	//	k (strips) pairs turned; ds (strips) as back makes it; out (32d, 32)
	queries func(strips, d int, k, ds *uint32, out *float32, add int, config *byte)
}

// attendWork is how many numbers attend needs to work with: four strips of
// scores, and of weights.
const attendWork = 4 * (1024 + 512)

// wholeTiles are eight whole tiles.
var wholeTiles = newTileConfig([8]int{16, 16, 16, 16, 16, 16, 16, 16})

// genericAttention is the definition. No level computes with it.
func genericAttention() *attendLoops {
	return &attendLoops{
		layRows: layGeneric(rowWord), layRowsTurned: layGeneric(turnedRowWord),
		layPairs: layGeneric(pairWord), layPairsTurned: layGeneric(turnedPairWord),
		roundedDots: roundedDotsGeneric,
		keepWords:   keepWordsGeneric,
		attend:      attendGeneric(32), few: attendGeneric(16), back: attendBackGeneric, queries: attendQueriesGeneric,
	}
}

// rowWord and the others give the words of a number (row, col) of a strip and the
// place of the pair in it: 0 or 1.
func rowWord(row, col int) (word, part int) {
	return col/32*512 + row/16*256 + row%16*16 + col%32/2, col % 2
}

func pairWord(row, col int) (word, part int) {
	return col/16*256 + row/2*16 + col%16, row % 2
}

func turnedRowWord(row, col int) (word, part int)  { return turned(rowWord(row, col)) }
func turnedPairWord(row, col int) (word, part int) { return turned(pairWord(row, col)) }

func turned(word, part int) (int, int) {
	return word&^255 | word%16*16 | word%256/16, part
}

type layout func(row, col int) (word, part int)

func (at layout) get(words []uint32, row, col int) float32 {
	word, part := at(row, col)
	lo, hi := unpair(words[word])
	return [2]float32{lo, hi}[part]
}

func (at layout) set(words []uint32, row, col int, v float32) {
	word, part := at(row, col)
	shift := 16 * part
	words[word] = words[word]&^(0xffff<<shift) | pair(v, 0)<<shift
}

func layGeneric(at layout) func(cols int, x *float32, ldx int, dst *uint32) {
	return func(cols int, x *float32, ldx int, dst *uint32) {
		src := unsafe.Slice(x, 31*ldx+cols)
		last, _ := at(31, cols-1)
		out := unsafe.Slice(dst, (last|255)+1)
		for i := range 32 {
			for j := range cols {
				at.set(out, i, j, src[i*ldx+j])
			}
			if last, _ := at(31, cols); cols%32 != 0 && last < len(out) {
				for j := cols; j < cols+16; j++ {
					at.set(out, i, j, 0)
				}
			}
		}
	}
}

func roundedDotsGeneric(rows, cols int, x, y *float32, ld int, dst *float32) {
	n := (rows-1)*ld + cols
	left, right, out := unsafe.Slice(x, n), unsafe.Slice(y, n), unsafe.Slice(dst, rows)
	for i := range out {
		sum := 0.0
		for j, v := range left[i*ld:][:cols] {
			sum += float64(rounded(v)) * float64(right[i*ld+j])
		}
		out[i] = float32(sum)
	}
}

// strips of a tensor of count strips.
func stripsOf(words *uint32, count, d int) func(s int) []uint32 {
	all := unsafe.Slice(words, count*d*512)
	return func(s int) []uint32 { return all[s*d*512:][:d*512] }
}

// scoreGeneric is a score or its gradient: key j of a by query i of b.
func scoreGeneric(a, b []uint32, j, i, d int) float32 {
	var sum float32
	for c := range 32 * d {
		sum += layout(rowWord).get(a, j, c) * layout(turnedRowWord).get(b, i, c)
	}
	return sum
}

func rounded(v float32) float32 {
	v, _ = unpair(pair(v, 0))
	return v
}

func power2(x float32) float32 { return float32(math.Exp2(float64(x))) }

// stripsAt are strips by their pointers.
func stripsAt(words **uint32, count, d int) func(s int) []uint32 {
	all := unsafe.Slice(words, count)
	return func(s int) []uint32 { return unsafe.Slice(all[s], d*512) }
}

func keepWordsGeneric(rows int, src, mask, dst *uint32) {
	from, keep, to := unsafe.Slice(src, 16*rows), unsafe.Slice(mask, 16), unsafe.Slice(dst, 16*rows)
	for i, w := range from {
		to[i] = w & keep[i%16]
	}
}

func attendGeneric(n int) func(strips, free0, free1, d int, q *uint32, k, v **uint32, from, to *int32, key int, scale float32, work, out, lse *float32, config *byte) {
	return func(strips, free0, free1, d int, q *uint32, k, v **uint32, from, to *int32, key int, scale float32, work, out, lse *float32, config *byte) {
		keys, values := stripsAt(k, strips, d), stripsAt(v, strips, d)
		lo, hi := unsafe.Slice(from, 32), unsafe.Slice(to, 32)
		acc, logs := unsafe.Slice(out, 1024*d), unsafe.Slice(lse, 32)
		for i := range n {
			scores, top := make([]float32, 32*strips), float32(math.Inf(-1))
			for j := range scores {
				s, at := j/32, key+j
				scores[j] = scale * scoreGeneric(keys(s), unsafe.Slice(q, d*512), j%32, i, d)
				if (s < free0 || s >= free1) && (at < int(lo[i]) || at >= int(hi[i])) {
					scores[j] = float32(math.Inf(-1))
				}
				top = max(top, scores[j])
			}
			var sum float32
			for c := range 32 * d {
				acc[c*32+i] = 0
			}
			for j, s := range scores {
				if s == float32(math.Inf(-1)) {
					continue
				}
				p := power2(s - top)
				sum += p
				for c := range 32 * d {
					acc[c*32+i] += rounded(p) * layout(turnedPairWord).get(values(j/32), j%32, c)
				}
			}
			logs[i] = top + float32(math.Log2(float64(sum)))
			for c := range 32 * d {
				acc[c*32+i] /= sum
			}
		}
	}
}

func attendBackGeneric(strips, free0, free1, d int, k, v, q, dout, qp, dp *uint32, lse, delta *float32, from, to *int32, key int, scale float32, work *float32, ds *uint32, step int, dk, dv *float32, add int, config *byte) {
	keys, values := unsafe.Slice(k, d*512), unsafe.Slice(v, d*512)
	queries, gradients := stripsOf(q, strips, d), stripsOf(dout, strips, d)
	queryPairs, gradientPairs := stripsOf(qp, strips, d), stripsOf(dp, strips, d)
	n := strips * 32
	logs, deltas, lo, hi := unsafe.Slice(lse, n), unsafe.Slice(delta, n), unsafe.Slice(from, n), unsafe.Slice(to, n)
	pairs, sumK, sumV := unsafe.Slice(ds, (strips-1)*step+512), unsafe.Slice(dk, 1024*d), unsafe.Slice(dv, 1024*d)
	if add == 0 {
		clear(sumK)
		clear(sumV)
	}
	for i := range n {
		s := i / 32
		for j := range 32 {
			p, g := float32(0), float32(0)
			if s >= free0 && s < free1 || key+j >= int(lo[i]) && key+j < int(hi[i]) {
				p = power2(scale*scoreGeneric(keys, queries(s), j, i%32, d) - logs[i])
				g = p * (scoreGeneric(values, gradients(s), j, i%32, d) - deltas[i])
			}
			layout(pairWord).set(pairs[s*step:], j, i%32, g)
			for c := range 32 * d {
				sumV[j*32*d+c] += rounded(p) * layout(pairWord).get(gradientPairs(s), i%32, c)
				sumK[j*32*d+c] += rounded(g) * layout(pairWord).get(queryPairs(s), i%32, c)
			}
		}
	}
}

func attendQueriesGeneric(strips, d int, k, ds *uint32, out *float32, add int, config *byte) {
	keys, pairs, sums := stripsOf(k, strips, d), unsafe.Slice(ds, strips*512), unsafe.Slice(out, 1024*d)
	if add == 0 {
		clear(sums)
	}
	for j := range 32 * strips {
		for c := range 32 * d {
			x := layout(turnedPairWord).get(keys(j/32), j%32, c)
			for i := range 32 {
				sums[c*32+i] += x * layout(pairWord).get(pairs[j/32*512:], j%32, i)
			}
		}
	}
}
