package kernel

import (
	"encoding/binary"
	"math"

	"afina/internal/quant"
)

// unpacked is 32 numbers of a row as the file has them.
type unpacked struct {
	u    [block]byte
	d, m uint16 // float16; m only in forms with minima
}

// packPanel packs the rows of panel p; false means that a scale is no number.
// Rows over the edge keep the zero scales of new memory.
func (w *Matrix) packPanel(p int) bool {
	if w.form == pairForm {
		w.packPairs(p)
		return true
	}
	values := make([]float32, w.Cols)
	ok := true
	for j := range min(narrow, w.Rows-p*narrow) {
		row := w.source.Row(p*narrow + j)
		if requantised(w.Type) {
			w.source.Dequantize(values, p*narrow+j)
		}
		for b := range w.blocks {
			var x unpacked
			if requantised(w.Type) {
				x.requantise(values[b*block:][:block])
			} else {
				x.read(w.Type, row, b)
			}
			ok = ok && finite(x.d) && finite(x.m)
			w.place(&x, p, b, j)
		}
	}
	return ok
}

func finite(h uint16) bool { return h&0x7c00 != 0x7c00 }

// place writes the numbers of row j of panel p, block b.
func (w *Matrix) place(x *unpacked, p, b, j int) {
	q, d := w.offsets(p, b)
	w.ds[d+j] = x.d
	if w.ms != nil {
		w.ms[d+j] = x.m
	}
	if w.form.bits() == 8 {
		for i := range 8 {
			copy(w.qs[q+i*64+j*4:][:4], x.u[4*i:])
		}
		return
	}
	for i := range 4 {
		low, high := binary.LittleEndian.Uint32(x.u[8*i:]), binary.LittleEndian.Uint32(x.u[8*i+4:])
		binary.LittleEndian.PutUint32(w.qs[q+i*64+j*4:], low|high<<4)
	}
}

// packPairs packs the 32 rows of panel p as bfloat16.
func (w *Matrix) packPairs(p int) {
	values := make([]float32, w.blocks*block)
	panel := w.pairs[p*w.blocks*block/2*wide:]
	for j := range min(wide, w.Rows-p*wide) {
		w.source.Dequantize(values[:w.Cols], p*wide+j)
		for i := range w.blocks * block / 2 {
			panel[i*wide+j] = pair(values[2*i], values[2*i+1])
		}
	}
}

// requantised reports whether numbers of t are read as floats and rounded to 8
// bits, because their scales are per 16.
func requantised(t quant.Type) bool {
	return t == quant.Q2_K || t == quant.Q3_K || t == quant.Q6_K
}

// requantise rounds 32 numbers. The scale is rounded up, so that none is cut.
func (x *unpacked) requantise(values []float32) {
	var top float32
	for _, v := range values {
		top = max(top, max(v, -v))
	}
	x.d = quant.F32ToF16(top / 127)
	if quant.F16ToF32(x.d)*127 < top {
		x.d++
	}
	d := quant.F16ToF32(x.d)
	for i, v := range values {
		x.u[i] = zero8
		if d > 0 {
			x.u[i] = byte(zero8 + int(math.RoundToEven(float64(v/d))))
		}
	}
}

// read takes numbers 32b … 32b+31 of a row; package quant has the layouts.
func (x *unpacked) read(t quant.Type, row []byte, b int) {
	super := row[b*block/t.BlockSize()*t.BlockBytes():]
	s := b % (t.BlockSize() / block) // the sub-block of 32 in a block of 256
	x.d = binary.LittleEndian.Uint16(super)
	switch t {
	case quant.Q4_0:
		x.nibbles(super[2:])
	case quant.Q4_1:
		x.m = binary.LittleEndian.Uint16(super[2:])
		x.nibbles(super[4:])
	case quant.Q5_0:
		x.nibbles(super[6:])
		x.fifths(binary.LittleEndian.Uint32(super[2:]), zero8-16)
	case quant.Q5_1:
		x.m = binary.LittleEndian.Uint16(super[2:])
		x.nibbles(super[8:])
		x.fifths(binary.LittleEndian.Uint32(super[4:]), 0)
	case quant.Q8_0:
		for i, q := range super[2:34] {
			x.u[i] = q + zero8
		}
	case quant.IQ4_NL:
		x.nibbles(super[2:])
		x.levels()
	case quant.IQ4_XS:
		scale := int(super[4+s/2]>>(4*(s%2))&15) | int(binary.LittleEndian.Uint16(super[2:])>>(2*s)&3)<<4
		x.d = times(x.d, float32(scale-32))
		x.nibbles(super[8+16*s:])
		x.levels()
	case quant.Q4_K:
		x.scaleMin(super, s)
		x.half(super[16+32*(s/2):], s%2)
	case quant.Q5_K:
		x.scaleMin(super, s)
		x.half(super[48+32*(s/2):], s%2)
		for i, q := range super[16:48] {
			x.u[i] |= q >> s & 1 << 4
		}
	}
}

// times multiplies a float16 by a whole number.
func times(h uint16, f float32) uint16 { return quant.F32ToF16(quant.F16ToF32(h) * f) }

// nibbles reads numbers i and i+16 from byte i.
func (x *unpacked) nibbles(qs []byte) {
	for i, q := range qs[:16] {
		x.u[i], x.u[i+16] = q&15, q>>4
	}
}

// half reads number i from the low (0) or the high (1) nibble of byte i.
func (x *unpacked) half(qs []byte, high int) {
	for i, q := range qs[:block] {
		x.u[i] = q >> (4 * high) & 15
	}
}

// fifths adds the fifth bits, and then offset.
func (x *unpacked) fifths(bits uint32, offset byte) {
	for i := range x.u {
		x.u[i] = (x.u[i] | byte(bits>>i&1)<<4) + offset
	}
}

// levels replaces the indices of the non-linear formats by their values.
func (x *unpacked) levels() {
	for i, q := range x.u {
		x.u[i] = byte(int(nonLinear[q]) + zero8)
	}
}

var nonLinear = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// scaleMin reads the scale and the minimum of sub-block s of Q4_K and Q5_K.
func (x *unpacked) scaleMin(super []byte, s int) {
	p := super[4:16]
	scale, least := p[s%4]&63, p[s%4+4]&63
	if s >= 4 {
		scale, least = p[s+4]&15|p[s-4]>>6<<4, p[s+4]>>4|p[s]>>6<<4
	}
	x.m = times(binary.LittleEndian.Uint16(super[2:]), -float32(least))
	x.d = times(x.d, float32(scale))
}
