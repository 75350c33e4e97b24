package kernel

import (
	"math"
	"unsafe"

	"afina/internal/quant"
)

// This file defines the tiles: the plain-Go twins of products_amd64.s.

// unpack4 and unpack8 read the 32 weights of column j of a packed block.
func unpack4(u *[block]int32, qs []byte, j int) {
	for i := range 4 {
		for e, q := range qs[i*64+j*4:][:4] {
			u[8*i+e], u[8*i+4+e] = int32(q&15), int32(q>>4)
		}
	}
}

func unpack8(u *[block]int32, qs []byte, j int) {
	for i := range 8 {
		for e, q := range qs[i*64+j*4:][:4] {
			u[4*i+e] = int32(q)
		}
	}
}

// dots computes the int32 products of one block of a tile with one column.
func dots(sums []int32, u *[block]int32, a []int8) {
	h := len(sums)
	for m := range sums {
		var sum int32
		for g := range block / 4 {
			x, w := a[(g*h+m)*4:][:4], u[4*g:][:4]
			sum += w[0]*int32(x[0]) + w[1]*int32(x[1]) + w[2]*int32(x[2]) + w[3]*int32(x[3])
		}
		sums[m] = sum
	}
}

func blockBytes(bits int) int { return bits * block * narrow / 8 }

func zeroTileGeneric(h int, unpack func(*[block]int32, []byte, int)) zeroTile {
	bits := bitsOf(unpack)
	return func(np, nblk int, qs *byte, ds *uint16, a *int8, s *float32, init *int32, c *float32, ldc int) {
		size := blockBytes(bits)
		weights, scales := unsafe.Slice(qs, np*nblk*size), unsafe.Slice(ds, np*nblk*narrow)
		acts, steps := unsafe.Slice(a, nblk*block*h), unsafe.Slice(s, nblk*h)
		inits, out := unsafe.Slice(init, nblk*h), unsafe.Slice(c, (h-1)*ldc+np*narrow)
		var u [block]int32
		var sums [maxHeight]int32
		for j := range np * narrow {
			var acc [maxHeight]float32
			for b := range nblk {
				at := j/narrow*nblk + b
				unpack(&u, weights[at*size:][:size], j%narrow)
				dots(sums[:h], &u, acts[b*block*h:])
				d := quant.F16ToF32(scales[at*narrow+j%narrow])
				for m := range h {
					acc[m] += float32(sums[m]+inits[b*h+m]) * (d * steps[b*h+m])
				}
			}
			for m := range h {
				out[m*ldc+j] = acc[m]
			}
		}
	}
}

func minTileGeneric(h int, unpack func(*[block]int32, []byte, int)) minTile {
	bits := bitsOf(unpack)
	return func(np, nblk int, qs *byte, ds, ms *uint16, a *int8, s, sum *float32, c *float32, ldc int) {
		size := blockBytes(bits)
		weights := unsafe.Slice(qs, np*nblk*size)
		scales, minima := unsafe.Slice(ds, np*nblk*narrow), unsafe.Slice(ms, np*nblk*narrow)
		acts, steps := unsafe.Slice(a, nblk*block*h), unsafe.Slice(s, nblk*h)
		totals, out := unsafe.Slice(sum, nblk*h), unsafe.Slice(c, (h-1)*ldc+np*narrow)
		var u [block]int32
		var sums [maxHeight]int32
		for j := range np * narrow {
			var acc [maxHeight]float32
			for b := range nblk {
				at := j/narrow*nblk + b
				unpack(&u, weights[at*size:][:size], j%narrow)
				dots(sums[:h], &u, acts[b*block*h:])
				d, m := quant.F16ToF32(scales[at*narrow+j%narrow]), quant.F16ToF32(minima[at*narrow+j%narrow])
				for r := range h {
					acc[r] += float32(sums[r]) * (d * steps[b*h+r])
					acc[r] += m * totals[b*h+r]
				}
			}
			for m := range h {
				out[m*ldc+j] = acc[m]
			}
		}
	}
}

func bitsOf(unpack func(*[block]int32, []byte, int)) int {
	var u [block]int32
	var probe [blockMax]byte
	probe[64] = 1 // the second group of 8-bit weights, the third of 4-bit ones
	unpack(&u, probe[:], 0)
	if u[4] == 1 {
		return 8
	}
	return 4
}

const blockMax = 8 * block * narrow / 8

func floatTileGeneric(h, width int) floatTile {
	return func(tiles, k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc int, alpha float32, add int) {
		left := unsafe.Slice(a, (tiles*h-1)*rs+(k-1)*ks+1)
		right := unsafe.Slice(b, (k-1)*ldb+width)
		out := unsafe.Slice(c, (tiles*h-1)*ldc+width)
		var acc [wide]float32
		for i := range tiles * h {
			clear(acc[:])
			for l := range k {
				x, row := left[i*rs+l*ks], right[l*ldb:][:width]
				for j, w := range row {
					acc[j] += x * w
				}
			}
			row := out[i*ldc:][:width]
			for j := range row {
				if add == 0 {
					row[j] = alpha * acc[j]
				} else {
					row[j] += alpha * acc[j]
				}
			}
		}
	}
}

func pairTileGeneric(h int) pairTile {
	return func(tiles, k2 int, a *uint32, rs int, b *uint32, c *float32, ldc int, add int) {
		left, right := unsafe.Slice(a, (tiles*h-1)*rs+k2), unsafe.Slice(b, k2*wide)
		out := unsafe.Slice(c, (tiles*h-1)*ldc+wide)
		var acc [wide]float32
		for i := range tiles * h {
			clear(acc[:])
			for l := range k2 {
				x0, x1 := unpair(left[i*rs+l])
				for j, w := range right[l*wide:][:wide] {
					w0, w1 := unpair(w)
					acc[j] += x0*w0 + x1*w1
				}
			}
			row := out[i*ldc:][:wide]
			for j := range row {
				if add == 0 {
					row[j] = acc[j]
				} else {
					row[j] += acc[j]
				}
			}
		}
	}
}

// pair puts two numbers, rounded to bfloat16, into the low and the high half.
func pair(lo, hi float32) uint32 {
	return uint32(quant.F32ToBF16(lo)) | uint32(quant.F32ToBF16(hi))<<16
}

func unpair(p uint32) (lo, hi float32) {
	return math.Float32frombits(p << 16), math.Float32frombits(p &^ 0xffff)
}

// leastTop is the largest number of a block below which it counts as zero.
const leastTop = 0x1p-100

func quantiseGeneric(nblk, height int, x *float32, a *int8, s *float32, init4, init8 *int32, sum *float32) {
	src, dst := unsafe.Slice(x, nblk*block), unsafe.Slice(a, (nblk*8-1)*4*height+4)
	n := (nblk-1)*height + 1
	scales, totals := unsafe.Slice(s, n), unsafe.Slice(sum, n)
	inits4, inits8 := unsafe.Slice(init4, n), unsafe.Slice(init8, n)
	for b := range nblk {
		var top float32
		for _, v := range src[b*block:][:block] {
			top = max(top, max(v, -v))
		}
		scale, inverse := float32(0), float32(0)
		if !(top < leastTop) { // written so that a NaN makes the scale a NaN
			scale, inverse = top*(1.0/127), 127/top
		}
		var total int32
		for e, v := range src[b*block:][:block] {
			q := int32(math.RoundToEven(float64(v * inverse)))
			total += q
			dst[(b*8+e/4)*4*height+e%4] = int8(q)
		}
		scales[b*height], totals[b*height] = scale, scale*float32(total)
		inits4[b*height], inits8[b*height] = -zero4*total, -zero8*total
	}
}

func roundGeneric(n int, x *float32, dst *uint32) {
	src, out := unsafe.Slice(x, n*32), unsafe.Slice(dst, n*16)
	for i := range out {
		out[i] = pair(src[2*i], src[2*i+1])
	}
}
