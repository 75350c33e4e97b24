package kernel

import (
	"unsafe"

	"afina/internal/quant"
)

// This file defines how packed weights are turned back into numbers, block of
// columns by block of columns, for the backward product.

func expand4Generic(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *uint32) {
	expandGeneric(np, 4, zero4, unpack4, qs, qstep, ds, ms, dstep, dst)
}

func expand8Generic(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *uint32) {
	expandGeneric(np, 8, zero8, unpack8, qs, qstep, ds, ms, dstep, dst)
}

func expandGeneric(np, bits int, zero float32, unpack func(*[block]int32, []byte, int), qs *byte, qstep int, ds, ms *uint16, dstep int, dst *uint32) {
	out := unsafe.Slice(dst, np*8*wide)
	var rows [narrow * block]float32
	for p := range np {
		expandBlock(rows[:], bits, zero, unpack, at(qs, p*qstep), at(ds, p*dstep), at(ms, p*dstep))
		for i := range narrow / 2 {
			for k := range block {
				out[(p*8+i)*wide+k] = pair(rows[2*i*block+k], rows[(2*i+1)*block+k])
			}
		}
	}
}

func spread4Generic(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *float32) {
	for p := range np {
		rows := unsafe.Slice(at(dst, p*narrow*block), narrow*block)
		expandBlock(rows, 4, zero4, unpack4, at(qs, p*qstep), at(ds, p*dstep), at(ms, p*dstep))
	}
}

func spread8Generic(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *float32) {
	for p := range np {
		rows := unsafe.Slice(at(dst, p*narrow*block), narrow*block)
		expandBlock(rows, 8, zero8, unpack8, at(qs, p*qstep), at(ds, p*dstep), at(ms, p*dstep))
	}
}

// expandBlock writes one block of a panel as numbers: rows is (16, 32).
func expandBlock(rows []float32, bits int, zero float32, unpack func(*[block]int32, []byte, int), qs *byte, ds, ms *uint16) {
	weights, scales := unsafe.Slice(qs, blockBytes(bits)), unsafe.Slice(ds, narrow)
	var u [block]int32
	for j := range narrow {
		unpack(&u, weights, j)
		d := quant.F16ToF32(scales[j])
		m := -zero * d
		if ms != nil {
			m = quant.F16ToF32(unsafe.Slice(ms, narrow)[j])
		}
		for k, q := range u {
			rows[j*block+k] = float32(q)*d + m
		}
	}
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
