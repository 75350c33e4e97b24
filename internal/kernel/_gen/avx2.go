package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// This file writes the level for machines without AVX-512.

// avx2 writes the products with AVX2, FMA and F16C.
func avx2() {
	for _, h := range []int{6, 4, 3, 2, 1} {
		floatTileAVX2(h)
	}
	spreadAVX2(4)
	spreadAVX2(8)
	transposeText("AVX2", 8, y, turn8x8)
}

// constant is a 32-byte constant of one 32-bit word.
func constant(name string, word uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(word))
	}
	return m
}

var wordsKnown = map[string]Mem{}

// words returns a 32-byte constant, defined once.
func words(name string, word uint32) Mem {
	if _, ok := wordsKnown[name]; !ok {
		wordsKnown[name] = constant(name, word)
	}
	return wordsKnown[name]
}

// floatTileAVX2 writes a floatTile of 16 columns.
func floatTileAVX2(h int) {
	t := &floatsText{h: h, nv: 2, size: 32, sums: y[:2*h], panel: y[12:14], row: y[14:16], alpha: y[15]}
	t.floats(fmt.Sprintf("floatTile%dx16AVX2", h), func(m int) {
		t.multiply(m, func(a, b, sum reg.VecPhysical) { VFMADD231PS(a, b, sum) })
	})
}

// spreadAVX2 writes spread4AVX2 or spread8AVX2: one block of each of np panels
// as floats, row by row.
func spreadAVX2(bits int) {
	name := fmt.Sprintf("spread%dAVX2", bits)
	TEXT(name, NOSPLIT, "func(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is spread%dGeneric.", name, bits))
	np, qs, qstep := param("np"), param("qs"), param("qstep")
	ds, ms, dstep, dst := param("ds"), param("ms"), param("dstep"), param("dst")
	SHLQ(U8(1), dstep)
	scales, minima := AllocLocal(64), AllocLocal(64)
	zero := words(fmt.Sprintf("zero%d", bits), map[int]uint32{4: 0xc1000000, 8: 0xc3000000}[bits]) // -8, -128
	Label("panel")
	for i := range 2 {
		VCVTPH2PS(Mem{Base: ds, Disp: 16 * i}, y[i])
		VMULPS(zero, y[i], y[2+i])
	}
	TESTQ(ms, ms)
	JZ(LabelRef("ready"))
	for i := range 2 {
		VCVTPH2PS(Mem{Base: ms, Disp: 16 * i}, y[2+i])
	}
	ADDQ(dstep, ms)
	Label("ready")
	for i := range 2 {
		VMOVUPS(y[i], scales.Offset(32*i))
		VMOVUPS(y[2+i], minima.Offset(32*i))
	}
	for row := range 16 {
		gatherRow(bits, row, qs)
		VBROADCASTSS(scales.Offset(4*row), y[8])
		VBROADCASTSS(minima.Offset(4*row), y[9])
		for i, from := range []reg.VecPhysical{reg.X4, reg.X4, reg.X5, reg.X5} {
			if i%2 == 1 {
				VPSRLDQ(U8(8), from, from)
			}
			v := y[10+i]
			VPMOVZXBD(from, v)
			VCVTDQ2PS(v, v)
			VFMADD213PS(y[9], y[8], v)
			VMOVUPS(v, Mem{Base: dst, Disp: 128*row + 32*i})
		}
	}
	ADDQ(qstep, qs)
	ADDQ(dstep, ds)
	ADDQ(U32(2048), dst)
	DECQ(np)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// gatherRow collects the 32 bytes of one row of a block in X4 and X5.
func gatherRow(bits, row int, qs reg.GPVirtual) {
	gather := func(to reg.VecPhysical, first int) {
		at := func(i int) Mem { return Mem{Base: qs, Disp: 64*(first+i) + 4*row} }
		VMOVD(at(0), to)
		for i := 1; i < 4; i++ {
			VPINSRD(U8(uint8(i)), at(i), to, to)
		}
	}
	gather(reg.X4, 0)
	if bits == 8 {
		gather(reg.X5, 4)
		return
	}
	nibbles := words("nibbles", 0x0f0f0f0f)
	VPSRLD(U8(4), reg.X4, reg.X6)
	VPAND(nibbles, reg.X4, reg.X4)
	VPAND(nibbles, reg.X6, reg.X6)
	VPUNPCKHDQ(reg.X6, reg.X4, reg.X5)
	VPUNPCKLDQ(reg.X6, reg.X4, reg.X4)
}

// turn8x8 transposes the 8×8 numbers in y0-7 into y8-15.
func turn8x8() []reg.VecPhysical {
	for i := 0; i < 8; i += 2 {
		VUNPCKLPS(y[i+1], y[i], y[8+i])
		VUNPCKHPS(y[i+1], y[i], y[9+i])
	}
	for i := 0; i < 8; i += 4 { // y[i+j]: lane L holds rows i … i+3 of column 4L+j
		VUNPCKLPD(y[10+i], y[8+i], y[i])
		VUNPCKHPD(y[10+i], y[8+i], y[i+1])
		VUNPCKLPD(y[11+i], y[9+i], y[i+2])
		VUNPCKHPD(y[11+i], y[9+i], y[i+3])
	}
	for j := range 4 {
		VPERM2F128(U8(0x20), y[4+j], y[j], y[8+j])
		VPERM2F128(U8(0x31), y[4+j], y[j], y[12+j])
	}
	return y[8:16]
}
