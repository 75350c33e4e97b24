package kernel

import (
	"math"
	"unsafe"

	"afina/internal/quant"
)

// Four-bit weights times bfloat16 activations. The weights of a block, without
// their scale, are whole numbers up to 15, which bfloat16 holds as they are: what
// is rounded is the activations alone, and the scale of a block multiplies its
// sum in float32. That is as fast as weights and scales rounded to bfloat16 and
// kept so would be, at a quarter of the memory.

// wholeBlock is how many words a block of activations takes: 16 pairs, and their
// sum as a float32.
const wholeBlock = block/2 + 1

// A wholeTile computes c = x·Wᵀ for a tile of bfloat16 activations and np panels
// of 4-bit weights that follow each other, each nblk blocks long.
//
//	qs (np, nblk) blocks, see Matrix; ds, ms (np, nblk, 16) float16: weights
//	   stand for (u-8)·d, or for u·d + m in a tile with minima
//	a  (height, nblk, 17): of each block 16 pairs, in the order of wholeOrder, and
//	   their sum; rows rs words apart
//	c  (height, np*16), rows ldc numbers apart
type wholeTile func(np, nblk int, qs *byte, ds, ms *uint16, a *uint32, rs int, c *float32, ldc int)

// wholeOrder is the order of the 32 activations of a block in their pairs.
var wholeOrder = [block]int{
	0, 2, 4, 6, 1, 3, 5, 7,
	8, 10, 12, 14, 9, 11, 13, 15,
	16, 18, 20, 22, 17, 19, 21, 23,
	24, 26, 28, 30, 25, 27, 29, 31,
}

func wholeTileGeneric(h int, minima bool) wholeTile {
	return func(np, nblk int, qs *byte, ds, ms *uint16, a *uint32, rs int, c *float32, ldc int) {
		size := blockBytes(4)
		weights, scales := unsafe.Slice(qs, np*nblk*size), unsafe.Slice(ds, np*nblk*narrow)
		acts, out := unsafe.Slice(a, (h-1)*rs+nblk*wholeBlock), unsafe.Slice(c, (h-1)*ldc+np*narrow)
		zero := float32(zero4)
		if minima {
			zero = 0
		}
		var u [block]int32
		for j := range np * narrow {
			var acc [maxHeight]float32
			for b := range nblk {
				at := j/narrow*nblk + b
				unpack4(&u, weights[at*size:][:size], j%narrow)
				d := quant.F16ToF32(scales[at*narrow+j%narrow])
				for r := range h {
					x := acts[r*rs+b*wholeBlock:][:wholeBlock]
					var sum float32
					for i := range block / 2 {
						x0, x1 := unpair(x[i])
						sum += x0*(float32(u[wholeOrder[2*i]])-zero) + x1*(float32(u[wholeOrder[2*i+1]])-zero)
					}
					acc[r] += sum * d
					if minima {
						least := unsafe.Slice(ms, np*nblk*narrow)[at*narrow+j%narrow]
						acc[r] += quant.F16ToF32(least) * math.Float32frombits(x[wholeBlock-1])
					}
				}
			}
			for r := range h {
				out[r*ldc+j] = acc[r]
			}
		}
	}
}

// roundWholeGeneric makes a row of activations of nblk blocks of x.
func roundWholeGeneric(nblk int, x *float32, dst *uint32) {
	src, out := unsafe.Slice(x, nblk*block), unsafe.Slice(dst, nblk*wholeBlock)
	for b := range nblk {
		values, words := src[b*block:][:block], out[b*wholeBlock:][:wholeBlock]
		var lanes [block / 2]float32 // summed as a register of 16 is
		for i := range lanes {
			words[i] = pair(values[wholeOrder[2*i]], values[wholeOrder[2*i+1]])
			even, odd := unpair(pair(values[2*i], values[2*i+1]))
			lanes[i] = even + odd
		}
		for n := len(lanes) / 2; n > 0; n /= 2 {
			for i := range n {
				lanes[i] += lanes[i+n]
			}
		}
		words[wholeBlock-1] = math.Float32bits(lanes[0])
	}
}

// wholes makes the form of op that wholeTile reads.
func (g *Gang) wholes(op *Operand) {
	op.lock.Lock()
	defer op.lock.Unlock()
	if op.hasWholes {
		return
	}
	blocks := op.cols / block
	op.words = grow(op.words, op.n*blocks*wholeBlock)
	g.pool.Run((op.n+rowsPerChunk-1)/rowsPerChunk, func(chunk int) {
		for i := chunk * rowsPerChunk; i < min(op.n, (chunk+1)*rowsPerChunk); i++ {
			g.kit.roundWhole(blocks, &op.x[i*op.cols], &op.words[i*blocks*wholeBlock])
		}
	})
	op.hasWholes = true
}

// matMulWholes multiplies bfloat16 activations by 4-bit weights.
func (g *Gang) matMulWholes(dst []float32, x *Operand, w *Matrix) {
	tiles, rs := &g.kit.wholeZero, w.blocks*wholeBlock
	if w.form.minima() {
		tiles = &g.kit.wholeMin
	}
	g.narrowTiles(dst, x.n, w, g.kit.wholeHeights, func(h, p0, p1, i int, c *float32, ldc int) {
		q, d := w.offsets(p0, 0)
		tiles[h](p1-p0, w.blocks, &w.qs[q], &w.ds[d], w.minima(d), &x.words[i*rs], rs, c, ldc)
	})
}
