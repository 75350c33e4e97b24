package kernel

import (
	"unsafe"

	"afina/internal/quant"
)

// This file defines how packed weights are turned back into numbers, block of
// columns by block of columns, for the backward product.

func expand4Generic(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *uint32) {
	expandGeneric(np, spread4Generic, qs, qstep, ds, ms, dstep, dst)
}

func expand8Generic(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *uint32) {
	expandGeneric(np, spread8Generic, qs, qstep, ds, ms, dstep, dst)
}

func expandGeneric(np int, spread func(int, *byte, int, *uint16, *uint16, int, *float32), qs *byte, qstep int, ds, ms *uint16, dstep int, dst *uint32) {
	out := unsafe.Slice(dst, np*8*wide)
	var rows [narrow * block]float32
	for p := range np {
		spread(1, at(qs, p*qstep), qstep, at(ds, p*dstep), at(ms, p*dstep), dstep, &rows[0])
		for i := range narrow / 2 {
			for k := range block {
				out[(p*8+i)*wide+k] = pair(rows[2*i*block+k], rows[(2*i+1)*block+k])
			}
		}
	}
}

func spread4Generic(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *float32) {
	for p := range np {
		weights, rows := unsafe.Slice(at(qs, p*qstep), blockBytes(4)), unsafe.Slice(at(dst, p*narrow*block), narrow*block)
		for j := range narrow {
			d, m := scaleOf(zero4, at(ds, p*dstep+j), at(ms, p*dstep+j))
			for i := range 4 {
				row := rows[j*block+8*i:][:8]
				for e, q := range weights[i*64+j*4:][:4] {
					row[e], row[4+e] = float32(q&15)*d+m, float32(q>>4)*d+m
				}
			}
		}
	}
}

func spread8Generic(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *float32) {
	for p := range np {
		weights, rows := unsafe.Slice(at(qs, p*qstep), blockBytes(8)), unsafe.Slice(at(dst, p*narrow*block), narrow*block)
		for j := range narrow {
			d, m := scaleOf(zero8, at(ds, p*dstep+j), at(ms, p*dstep+j))
			for i := range 8 {
				row := rows[j*block+4*i:][:4]
				for e, q := range weights[i*64+j*4:][:4] {
					row[e] = float32(q)*d + m
				}
			}
		}
	}
}

// scaleOf returns what makes numbers q·d + m of the weights of a row; without a
// minimum, zero stands for 0.
func scaleOf(zero float32, scale, minimum *uint16) (d, m float32) {
	d = quant.F16ToF32(*scale)
	if minimum == nil {
		return d, -zero * d
	}
	return d, quant.F16ToF32(*minimum)
}

// at is p moved by n elements; nil stays nil.
func at[T any](p *T, n int) *T {
	if p == nil {
		return nil
	}
	return (*T)(unsafe.Add(unsafe.Pointer(p), n*int(unsafe.Sizeof(*p))))
}

func expandPairsGeneric(np int, src *uint32, step int, dst *uint32) {
	out := unsafe.Slice(dst, np*16*wide)
	for p := range np {
		in := unsafe.Slice(at(src, p*step), 16*wide)
		for i := range wide / 2 {
			for k := range 16 {
				even, odd := in[k*wide+2*i], in[k*wide+2*i+1]
				out[(p*16+i)*wide+2*k] = even&0xffff | odd<<16
				out[(p*16+i)*wide+2*k+1] = even>>16 | odd&^0xffff
			}
		}
	}
}

func transposeGeneric(w, k int, b []float32, ldb int, dst []float32, width int) {
	for l := range k {
		row := dst[l*width:][:width]
		for j := range w {
			row[j] = b[j*ldb+l]
		}
		clear(row[w:])
	}
}
