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

func unpacking(bits int) func(u *[block]int32, qs []byte, j int) {
	if bits == 4 {
		return unpack4
	}
	return unpack8
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

func zeroTileGeneric(h, bits, parts int) zeroTile {
	unpack := unpacking(bits)
	return func(np, nblk int, qs *byte, ds *uint16, a *int8, s *float32, init *int32, c *float32, ldc int) {
		size := blockBytes(bits)
		weights, scales := unsafe.Slice(qs, np*nblk*size), unsafe.Slice(ds, np*nblk*narrow)
		rows := parts * h
		acts, steps := unsafe.Slice(a, nblk*block*rows), unsafe.Slice(s, nblk*rows)
		inits, out := unsafe.Slice(init, nblk*rows), unsafe.Slice(c, (h-1)*ldc+np*narrow)
		var u [block]int32
		var sums [2 * maxHeight]int32
		for j := range np * narrow {
			var acc [maxHeight]float32
			for b := range nblk {
				at := j/narrow*nblk + b
				unpack(&u, weights[at*size:][:size], j%narrow)
				dots(sums[:rows], &u, acts[b*block*rows:])
				d := quant.F16ToF32(scales[at*narrow+j%narrow])
				for m := range rows {
					acc[m/parts] += float32(sums[m]+inits[b*rows+m]) * (d * steps[b*rows+m])
				}
			}
			for m := range h {
				out[m*ldc+j] = acc[m]
			}
		}
	}
}

func minTileGeneric(h, bits, parts int) minTile {
	unpack := unpacking(bits)
	return func(np, nblk int, qs *byte, ds, ms *uint16, a *int8, s, sum *float32, c *float32, ldc int) {
		size := blockBytes(bits)
		weights := unsafe.Slice(qs, np*nblk*size)
		scales, minima := unsafe.Slice(ds, np*nblk*narrow), unsafe.Slice(ms, np*nblk*narrow)
		rows := parts * h
		acts, steps := unsafe.Slice(a, nblk*block*rows), unsafe.Slice(s, nblk*rows)
		totals, out := unsafe.Slice(sum, nblk*rows), unsafe.Slice(c, (h-1)*ldc+np*narrow)
		var u [block]int32
		var sums [2 * maxHeight]int32
		for j := range np * narrow {
			var acc [maxHeight]float32
			for b := range nblk {
				at := j/narrow*nblk + b
				unpack(&u, weights[at*size:][:size], j%narrow)
				dots(sums[:rows], &u, acts[b*block*rows:])
				d, m := quant.F16ToF32(scales[at*narrow+j%narrow]), quant.F16ToF32(minima[at*narrow+j%narrow])
				for r := range rows {
					acc[r/parts] += float32(sums[r]) * (d * steps[b*rows+r])
					if r%parts == 0 {
						acc[r/parts] += m * totals[b*rows+r]
					}
				}
			}
			for m := range h {
				out[m*ldc+j] = acc[m]
			}
		}
	}
}

func floatTileGeneric(h, width int) floatTile {
	return func(tiles, k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc int, alpha float32, add int) {
		rows := tiles * h
		left := unsafe.Slice(a, (rows-1)*rs+(k-1)*ks+1)
		right := unsafe.Slice(b, (k-1)*ldb+width)
		out := unsafe.Slice(c, (rows-1)*ldc+width)
		var acc [4][4]float32
		for i := 0; i < rows; i += 4 {
			n := min(4, rows-i)
			for j := 0; j < width; j += 4 {
				if n == 4 {
					square(&acc, k, left[i*rs:], rs, ks, right[j:], ldb)
				} else {
					slivers(&acc, n, k, left[i*rs:], rs, ks, right[j:], ldb)
				}
				for r := range n {
					for e, sum := range acc[r] {
						if to := &out[(i+r)*ldc+j+e]; add == 0 {
							*to = alpha * sum
						} else {
							*to += alpha * sum
						}
					}
				}
			}
		}
	}
}

// square sums four rows times four columns, in registers.
func square(acc *[4][4]float32, k int, a []float32, rs, ks int, b []float32, ldb int) {
	var s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33 float32
	a1, a2, a3 := a[rs:], a[2*rs:], a[3*rs:]
	for l := range k {
		row := b[l*ldb:][:4]
		b0, b1, b2, b3 := row[0], row[1], row[2], row[3]
		x := a[l*ks]
		s00, s01, s02, s03 = s00+x*b0, s01+x*b1, s02+x*b2, s03+x*b3
		x = a1[l*ks]
		s10, s11, s12, s13 = s10+x*b0, s11+x*b1, s12+x*b2, s13+x*b3
		x = a2[l*ks]
		s20, s21, s22, s23 = s20+x*b0, s21+x*b1, s22+x*b2, s23+x*b3
		x = a3[l*ks]
		s30, s31, s32, s33 = s30+x*b0, s31+x*b1, s32+x*b2, s33+x*b3
	}
	*acc = [4][4]float32{{s00, s01, s02, s03}, {s10, s11, s12, s13}, {s20, s21, s22, s23}, {s30, s31, s32, s33}}
}

// slivers is square for n < 4 rows.
func slivers(acc *[4][4]float32, n, k int, a []float32, rs, ks int, b []float32, ldb int) {
	for r := range n {
		var s0, s1, s2, s3 float32
		for l := range k {
			x, row := a[r*rs+l*ks], b[l*ldb:][:4]
			s0, s1, s2, s3 = s0+x*row[0], s1+x*row[1], s2+x*row[2], s3+x*row[3]
		}
		acc[r] = [4]float32{s0, s1, s2, s3}
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

// finer is the ratio of the two scales of an activation: what the coarse row
// leaves is at most half a step, and half of 254 steps are 127.
const finer = 254

// quantiseGeneric returns the quantise of intTiles of so many parts.
func quantiseGeneric(parts int) func(nblk, height int, x *float32, a *int8, s *float32, init4, init8 *int32, sum *float32) {
	return func(nblk, height int, x *float32, a *int8, s *float32, init4, init8 *int32, sum *float32) {
		rows := parts * height
		src, dst := unsafe.Slice(x, nblk*block), unsafe.Slice(a, (nblk*8-1)*4*rows+4*parts)
		n := (nblk-1)*rows + parts
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
			var sums [2]int32
			for e, v := range src[b*block:][:block] {
				left := float32(v * inverse)
				for p := range parts {
					q := math.RoundToEven(float64(left))
					sums[p] += int32(q)
					dst[(b*8+e/4)*4*rows+4*p+e%4] = int8(q)
					left = float32(left-float32(q)) * finer
				}
			}
			totals[b*rows] = 0
			for p := range parts {
				at := b*rows + p
				scales[at] = scale
				totals[b*rows] += float32(scale * float32(sums[p]))
				inits4[at], inits8[at] = -zero4*sums[p], -zero8*sums[p]
				scale *= 1.0 / finer
			}
		}
	}
}

func roundGeneric(n int, x *float32, dst *uint32) {
	src, out := unsafe.Slice(x, n*32), unsafe.Slice(dst, n*16)
	for i := range out {
		out[i] = pair(src[2*i], src[2*i+1])
	}
}
