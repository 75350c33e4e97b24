package quant

import "encoding/binary"

// The blocks of 32 numbers. The low nibble of byte j is number j, the high one
// is number j+16.

// block Q4_0: f16 d; 16 bytes of nibbles. y = (q-8)·d
func unpackQ4_0(dst []float32, b []byte) {
	d, qs := half(b), b[2:18]
	dst = dst[:32]
	for j, q := range qs {
		dst[j] = float32(int(q&15)-8) * d
		dst[j+16] = float32(int(q>>4)-8) * d
	}
}

// block Q4_1: f16 d; f16 m; 16 bytes of nibbles. y = q·d + m
func unpackQ4_1(dst []float32, b []byte) {
	d, m, qs := half(b), half(b[2:]), b[4:20]
	dst = dst[:32]
	for j, q := range qs {
		dst[j] = float32(float32(q&15)*d) + m
		dst[j+16] = float32(float32(q>>4)*d) + m
	}
}

// block Q5_0: f16 d; 32 fifth bits; 16 bytes of nibbles. y = (q-16)·d
func unpackQ5_0(dst []float32, b []byte) {
	d, high, qs := half(b), binary.LittleEndian.Uint32(b[2:]), b[6:22]
	dst = dst[:32]
	for j, q := range qs {
		lo := int(q&15) | int(high>>j&1)<<4
		hi := int(q>>4) | int(high>>(j+16)&1)<<4
		dst[j] = float32(lo-16) * d
		dst[j+16] = float32(hi-16) * d
	}
}

// block Q5_1: f16 d; f16 m; 32 fifth bits; 16 bytes of nibbles. y = q·d + m
func unpackQ5_1(dst []float32, b []byte) {
	d, m, high, qs := half(b), half(b[2:]), binary.LittleEndian.Uint32(b[4:]), b[8:24]
	dst = dst[:32]
	for j, q := range qs {
		lo := int(q&15) | int(high>>j&1)<<4
		hi := int(q>>4) | int(high>>(j+16)&1)<<4
		dst[j] = float32(float32(lo)*d) + m
		dst[j+16] = float32(float32(hi)*d) + m
	}
}

// block Q8_0: f16 d; 32 signed bytes. y = q·d
func unpackQ8_0(dst []float32, b []byte) {
	d, qs := half(b), b[2:34]
	dst = dst[:32]
	for j, q := range qs {
		dst[j] = float32(int8(q)) * d
	}
}

// levels are the sixteen values of the non-linear four-bit formats.
var levels = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// block IQ4_NL: f16 d; 16 bytes of nibbles. y = d·levels[q]
func unpackIQ4_NL(dst []float32, b []byte) {
	unpackLevels(dst, b[2:18], half(b))
}

// unpackLevels writes 32 numbers of nibbles that index levels.
func unpackLevels(dst []float32, qs []byte, d float32) {
	dst = dst[:32]
	for j, q := range qs {
		dst[j] = d * levels[q&15]
		dst[j+16] = d * levels[q>>4]
	}
}

// block IQ4_XS: f16 d; 8 × 2 high bits of scales; 8 × 4 low bits; 8 × 16 bytes
// of nibbles. y = d·(scale-32)·levels[q]
func unpackIQ4_XS(dst []float32, b []byte) {
	d, high, low := half(b), binary.LittleEndian.Uint16(b[2:]), b[4:8]
	for s := range 8 {
		scale := int(low[s/2]>>(4*(s%2))&15) | int(high>>(2*s)&3)<<4
		unpackLevels(dst[32*s:], b[8+16*s:24+16*s], d*float32(scale-32))
	}
}
