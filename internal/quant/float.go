package quant

import (
	"encoding/binary"
	"math"
)

// F16ToF32 widens an IEEE half.
func F16ToF32(h uint16) float32 {
	sign, exp, frac := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0: // zero or subnormal: frac · 2⁻²⁴, exact
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*(1.0/(1<<24))))
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// F32ToF16 rounds to nearest even, keeping infinities and quiet NaNs.
func F32ToF16(f float32) uint16 {
	u := math.Float32bits(f)
	sign, abs := uint16(u>>16&0x8000), u&0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN
		return sign | 0x7e00 | uint16(abs>>13&0x1ff)
	case abs >= 0x477ff000: // 65520 and more rounds to infinity
		return sign | 0x7c00
	case abs >= 0x38800000: // normal in half: 2⁻¹⁴ and more
		abs += 0xfff + abs>>13&1
		return sign | uint16(abs>>13-(127-15)<<10)
	}
	// Subnormal: adding 1/2 puts the unit of the sum at 2⁻²⁴, and the addition
	// rounds to nearest even.
	sum := math.Float32frombits(abs) + 0.5
	return sign | uint16(math.Float32bits(sum)-math.Float32bits(0.5))
}

// BF16ToF32 widens a bfloat16.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 rounds to nearest even, keeping NaNs quiet.
func F32ToBF16(f float32) uint16 {
	u := math.Float32bits(f)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

func half(b []byte) float32 { return F16ToF32(binary.LittleEndian.Uint16(b)) }

func unpackF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func unpackF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = half(src[2*i:])
	}
}

func unpackBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func finite32(b []byte) bool {
	const exp = 0x7f800000
	for ; len(b) >= 4; b = b[4:] {
		if binary.LittleEndian.Uint32(b)&exp == exp {
			return false
		}
	}
	return true
}

func finite16(b []byte, exp uint16) bool {
	for ; len(b) >= 2; b = b[2:] {
		if binary.LittleEndian.Uint16(b)&exp == exp {
			return false
		}
	}
	return true
}
