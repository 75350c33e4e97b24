package quant

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Quantize stores rows*cols numbers as t, with ggml's reference quantiser.
// Supported: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
func Quantize(t Type, x []float32, rows, cols int) (Matrix, error) {
	pack, ok := packer(t)
	switch {
	case !ok:
		return Matrix{}, fmt.Errorf("quantise: %s can be read but not written", t)
	case rows < 0 || cols < 0 || len(x) != rows*cols:
		return Matrix{}, fmt.Errorf("quantise: %d numbers are not (%d, %d)", len(x), rows, cols)
	case cols%t.BlockSize() != 0:
		return Matrix{}, fmt.Errorf("quantise: rows of %d numbers are not whole blocks of %s (%d)", cols, t, t.BlockSize())
	}
	for i, v := range x {
		if v-v != 0 { // infinity or NaN
			return Matrix{}, fmt.Errorf("quantise: number %d is %v", i, v)
		}
	}
	m := Matrix{Type: t, Rows: rows, Cols: cols, Data: make([]byte, len(x)/t.BlockSize()*t.BlockBytes())}
	size, bytes := t.BlockSize(), t.BlockBytes()
	for i, o := 0, 0; i < len(x); i, o = i+size, o+bytes {
		pack(m.Data[o:o+bytes], x[i:i+size])
	}
	if !m.Finite() {
		return Matrix{}, fmt.Errorf("quantise: the numbers are too large for %s", t)
	}
	return m, nil
}

// packer returns the quantiser of one block.
func packer(t Type) (pack func(b []byte, x []float32), ok bool) {
	switch t {
	case F32:
		pack = func(b []byte, x []float32) { binary.LittleEndian.PutUint32(b, math.Float32bits(x[0])) }
	case F16:
		pack = func(b []byte, x []float32) { putHalf(b, x[0]) }
	case BF16:
		pack = func(b []byte, x []float32) { binary.LittleEndian.PutUint16(b, F32ToBF16(x[0])) }
	case Q4_0:
		pack = packQ4_0
	case Q4_1:
		pack = packQ4_1
	case Q5_0:
		pack = packQ5_0
	case Q5_1:
		pack = packQ5_1
	case Q8_0:
		pack = packQ8_0
	}
	return pack, pack != nil
}

func putHalf(b []byte, f float32) { binary.LittleEndian.PutUint16(b, F32ToF16(f)) }

// inverse is 1/d, or 0 for the block of zeros.
func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// peak is the number of largest magnitude, the first of equals, with its sign.
func peak(x []float32) float32 {
	var p float32
	for _, v := range x {
		if abs(v) > abs(p) {
			p = v
		}
	}
	return p
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

func bounds(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x[1:] {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi
}

// level is the integer of x·id + offset (both products of their own), at most top.
func level(x, id, offset float32, top int) byte {
	return byte(min(top, int(float32(x*id)+offset)))
}

func packQ4_0(b []byte, x []float32) {
	d := peak(x) / -8
	id := inverse(d)
	putHalf(b, d)
	for j := range 16 {
		b[2+j] = level(x[j], id, 8.5, 15) | level(x[j+16], id, 8.5, 15)<<4
	}
}

func packQ4_1(b []byte, x []float32) {
	lo, hi := bounds(x)
	d := (hi - lo) / 15
	id := inverse(d)
	putHalf(b, d)
	putHalf(b[2:], lo)
	for j := range 16 {
		b[4+j] = level(x[j]-lo, id, 0.5, 15) | level(x[j+16]-lo, id, 0.5, 15)<<4
	}
}

func packQ5_0(b []byte, x []float32) {
	d := peak(x) / -16
	putHalf(b, d)
	packFive(b[2:], x, 0, inverse(d), 16.5)
}

func packQ5_1(b []byte, x []float32) {
	lo, hi := bounds(x)
	d := (hi - lo) / 31
	putHalf(b, d)
	putHalf(b[2:], lo)
	packFive(b[4:], x, lo, inverse(d), 0.5)
}

// packFive writes 32 fifth bits and 16 bytes of nibbles of (x-lo)·id + offset.
func packFive(b []byte, x []float32, lo, id, offset float32) {
	var high uint32
	for j := range 16 {
		q, r := level(x[j]-lo, id, offset, 31), level(x[j+16]-lo, id, offset, 31)
		b[4+j] = q&15 | r&15<<4
		high |= uint32(q>>4)<<j | uint32(r>>4)<<(j+16)
	}
	binary.LittleEndian.PutUint32(b, high)
}

func packQ8_0(b []byte, x []float32) {
	d := abs(peak(x)) / 127
	id := inverse(d)
	putHalf(b, d)
	for j, v := range x {
		b[2+j] = byte(int8(math.Round(float64(v * id)))) // half away from zero, as roundf
	}
}
