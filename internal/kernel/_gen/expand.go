package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// interleave is the order of words that puts those of the low half at even and
// those of the high half at odd places.
func interleave(name string) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(uint32(i)|uint32(16+i)<<16))
	}
	return m
}

// expand writes expand4AVX512 or expand8AVX512: one block of each of np panels
// becomes 8 pairs of rows times 32 columns.
//
// A panel holds four columns of a row side by side. Transposing 4×4 dwords in
// every lane makes 16, which widen to floats; two rows round to one register.
func expand(bits int) {
	name := fmt.Sprintf("expand%dAVX512", bits)
	TEXT(name, NOSPLIT, "func(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is expand%dGeneric.", name, bits))
	np, qs, qstep := param("np"), param("qs"), param("qstep")
	ds, ms, dstep, dst := param("ds"), param("ms"), param("dstep"), param("dst")
	SHLQ(U8(1), dstep)
	bytes, scales, minima := AllocLocal(256), AllocLocal(64), AllocLocal(64)
	order, mask, zero := z[31], z[30], z[29]
	VMOVDQU32(interleave(fmt.Sprintf("interleave%d", bits)), order)
	fill(0x0f0f0f0f, mask)
	fill(map[int]uint32{4: 0xc1000000, 8: 0xc3000000}[bits], zero) // -8, -128
	Label("panel")
	VCVTPH2PS(Mem{Base: ds}, z[27])
	VMULPS(z[27], zero, z[28])
	TESTQ(ms, ms)
	JZ(LabelRef("ready"))
	VCVTPH2PS(Mem{Base: ms}, z[28])
	ADDQ(dstep, ms)
	Label("ready")
	VMOVUPS(z[27], scales)
	VMOVUPS(z[28], minima)
	for half := range 2 {
		columns16(bits, half, qs, mask)
		for i := range 4 {
			VMOVDQU32(z[i], bytes.Offset(64*i))
		}
		for i := range 8 {
			pair := [2]reg.VecPhysical{z[8+i%4*4], z[9+i%4*4]}
			for r, x := range pair {
				row := 2*i + r
				d := z[10+i%4*4+r]
				VPMOVZXBD(bytes.Offset(row%4*64+row/4*16), x)
				VBROADCASTSS(scales.Offset(4*row), d)
				VCVTDQ2PS(x, x)
				VFMADD213PS_BCST(minima.Offset(4*row), d, x)
			}
			VCVTNE2PS2BF16(pair[0], pair[1], pair[0])
			VPERMW(pair[0], order, pair[0])
			VMOVDQU32(pair[0], Mem{Base: dst, Disp: 128*i + 64*half})
		}
	}
	ADDQ(qstep, qs)
	ADDQ(dstep, ds)
	ADDQ(U32(1024), dst)
	DECQ(np)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// columns16 puts 16 columns of row 4L+j into lane L of z[j], j < 4; z4-7 are
// used.
func columns16(bits, half int, qs reg.GPVirtual, mask reg.VecPhysical) {
	for i := range 4 { // z[i]: columns 16·half + 4i … of 16 rows
		if bits == 8 {
			VMOVDQU32(Mem{Base: qs, Disp: 64 * (4*half + i)}, z[i])
			continue
		}
		VMOVDQU32(Mem{Base: qs, Disp: 64 * (2*half + i/2)}, z[i])
		if i%2 == 1 {
			VPSRLD(U8(4), z[i], z[i])
		}
		VPANDD(z[i], mask, z[i])
	}
	VPUNPCKLDQ(z[1], z[0], z[4])
	VPUNPCKHDQ(z[1], z[0], z[5])
	VPUNPCKLDQ(z[3], z[2], z[6])
	VPUNPCKHDQ(z[3], z[2], z[7])
	VPUNPCKLQDQ(z[6], z[4], z[0])
	VPUNPCKHQDQ(z[6], z[4], z[1])
	VPUNPCKLQDQ(z[7], z[5], z[2])
	VPUNPCKHQDQ(z[7], z[5], z[3])
}

// expandPairs writes expandPairsAVX512: in every two rows of weights the halves
// of the pairs change places; then 8×8 quadwords are transposed.
func expandPairs() {
	TEXT("expandPairsAVX512", NOSPLIT, "func(np int, src *uint32, step int, dst *uint32)")
	Pragma("noescape")
	Doc("expandPairsAVX512 is expandPairsGeneric.")
	np, src, step, dst := param("np"), param("src"), param("step"), param("dst")
	SHLQ(U8(2), step)
	order := GLOBL("halves", RODATA|NOPTR)
	for i := range 4 {
		DATA(16*i, U64(0x0706030205040100))
		DATA(16*i+8, U64(0x0f0e0b0a0d0c0908))
	}
	VMOVDQU32(order, z[31])
	Label("panel")
	for half := range 2 { // 16 rows of weights
		for part := range 2 { // 8 pairs of columns
			for i := range 8 {
				VMOVDQU32(Mem{Base: src, Disp: 128*(8*part+i) + 64*half}, z[i])
				VPSHUFB(z[31], z[i], z[i])
			}
			turn8()
			for i := range 8 {
				VMOVDQU32(z[i], Mem{Base: dst, Disp: 128*(8*half+i) + 64*part})
			}
		}
	}
	ADDQ(step, src)
	ADDQ(U32(2048), dst)
	DECQ(np)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// turn8 transposes the 8×8 quadwords in z0-7; z8-15 are used.
func turn8() {
	for i := 0; i < 8; i += 2 { // z[8+i+j]: lane L holds rows i, i+1 of column 2L+j
		VPUNPCKLQDQ(z[i+1], z[i], z[8+i])
		VPUNPCKHQDQ(z[i+1], z[i], z[9+i])
	}
	for j := range 2 {
		VSHUFI64X2(U8(0x88), z[10+j], z[8+j], z[j])   // columns j, 4+j; rows 0-3
		VSHUFI64X2(U8(0xdd), z[10+j], z[8+j], z[2+j]) // columns 2+j, 6+j
		VSHUFI64X2(U8(0x88), z[14+j], z[12+j], z[4+j])
		VSHUFI64X2(U8(0xdd), z[14+j], z[12+j], z[6+j])
	}
	for j := range 2 {
		VSHUFI64X2(U8(0x88), z[4+j], z[j], z[8+j])
		VSHUFI64X2(U8(0xdd), z[4+j], z[j], z[12+j])
		VSHUFI64X2(U8(0x88), z[6+j], z[2+j], z[10+j])
		VSHUFI64X2(U8(0xdd), z[6+j], z[2+j], z[14+j])
	}
	for i := range 8 {
		VMOVDQA64(z[8+i], z[i])
	}
}
