package quant

// The K formats: blocks of 256 numbers in sub-blocks with scales of their own.
// Most keep number e at half e/128, group e%128/32 and place e%32 of its group;
// one byte then holds the same place of several groups.

// block Q2_K: 16 bytes, scale and minimum of each 16 numbers in its nibbles;
// 64 bytes of 2 bits; f16 d; f16 dmin. y = d·scale·q - dmin·min
func unpackQ2_K(dst []float32, b []byte) {
	scales, d, dmin := b[:16], half(b[80:]), half(b[82:])
	for s, sc := range scales { // sub-block s: 16 numbers
		scale, min := d*float32(sc&15), dmin*float32(sc>>4)
		h, g, w := s/8, s%8/2, s%2*16
		qs := b[16+32*h+w:][:16]
		y := dst[16*s:][:16]
		for j, q := range qs {
			y[j] = float32(scale*float32(q>>(2*g)&3)) - min
		}
	}
}

// block Q3_K: 32 bytes of third bits; 64 bytes of 2 bits; 12 bytes of 16 6-bit
// scales; f16 d. y = d·(scale-32)·(q-4)
func unpackQ3_K(dst []float32, b []byte) {
	packed, d := b[96:108], half(b[108:])
	for s := range 16 {
		low := packed[s%8] >> (4 * (s / 8)) & 15
		high := packed[8+s%4] >> (2 * (s / 4)) & 3
		scale := d * float32(int(low|high<<4)-32)
		h, g, w := s/8, s%8/2, s%2*16
		thirds, qs := b[w:][:16], b[32+32*h+w:][:16]
		y := dst[16*s:][:16]
		for j, q := range qs {
			third := thirds[j] >> (4*h + g) & 1
			y[j] = scale * float32(int(q>>(2*g)&3|third<<2)-4)
		}
	}
}

// scaleMin returns the 6-bit scale and minimum of sub-block s from the 12 bytes
// that hold eight of each (Q4_K and Q5_K).
func scaleMin(p []byte, s int) (scale, min float32) {
	if s < 4 {
		return float32(p[s] & 63), float32(p[s+4] & 63)
	}
	return float32(p[s+4]&15 | p[s-4]>>6<<4), float32(p[s+4]>>4 | p[s]>>6<<4)
}

// block Q4_K: f16 d; f16 dmin; 12 bytes of scales and minima; 128 bytes of
// nibbles, sub-blocks 2i and 2i+1 in the low and high ones.
// y = d·scale·q - dmin·min
func unpackQ4_K(dst []float32, b []byte) {
	d, dmin, packed := half(b), half(b[2:]), b[4:16]
	for s := range 8 {
		scale, min := scaleMin(packed, s)
		scale, min = d*scale, dmin*min
		y := dst[32*s:][:32]
		for j, q := range b[16+32*(s/2):][:32] {
			y[j] = float32(scale*float32(q>>(4*(s%2))&15)) - min
		}
	}
}

// block Q5_K: as Q4_K, with 32 bytes of fifth bits, bit s for sub-block s,
// before the nibbles.
func unpackQ5_K(dst []float32, b []byte) {
	d, dmin, packed, fifths := half(b), half(b[2:]), b[4:16], b[16:48]
	for s := range 8 {
		scale, min := scaleMin(packed, s)
		scale, min = d*scale, dmin*min
		y := dst[32*s:][:32]
		for j, q := range b[48+32*(s/2):][:32] {
			q = q>>(4*(s%2))&15 | fifths[j]>>s&1<<4
			y[j] = float32(scale*float32(q)) - min
		}
	}
}

// block Q6_K: 128 bytes of low nibbles; 64 bytes of 2 high bits; 16 signed
// scales; f16 d. y = d·scale·(q-32)
func unpackQ6_K(dst []float32, b []byte) {
	d := half(b[208:])
	for s := range 16 {
		scale := d * float32(int8(b[192+s]))
		h, g, w := s/8, s%8/2, s%2*16
		lows, highs := b[64*h+32*(g%2)+w:][:16], b[128+32*h+w:][:16]
		y := dst[16*s:][:16]
		for j, q := range lows {
			q = q>>(4*(g/2))&15 | highs[j]>>(2*g)&3<<4
			y[j] = scale * float32(int(q)-32)
		}
	}
}
