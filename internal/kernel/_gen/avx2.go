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
		coarseTileAVX2(h, false)
		coarseTileAVX2(h, true)
	}
	quantiseCoarseAVX2()
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

// coarseTileAVX2 writes the coarse zeroTile or minTile of 4-bit weights for 8 columns
// at a time; 8-bit weights, and activations in two parts, go by 16-bit whole numbers.
//
// VPMADDUBSW adds two products in 16 bits. The eight groups of a block fit:
// 8·2·15·127 < 2¹⁵. y0-5 are the floats, y6-11 the sums.
func coarseTileAVX2(h int, minima bool) {
	intText(h, 4, 1, minima, "AVX2")
	nblk, c, ldc, half, n := param("nblk"), param("c"), param("ldc"), GP64(), GP64()
	SHLQ(U8(2), ldc)
	t := &intsAVX2{newWeightPointers(4, minima), newActivationPointers(h, 1)}
	Label("panel")
	MOVQ(U32(2), half)
	Label("half")
	t.restart(minima)
	MOVQ(nblk, n)
	for m := range h {
		VXORPS(y[m], y[m], y[m])
	}
	Label("block")
	t.dots()
	t.scale()
	t.weightPointers.advance()
	t.activationPointers.advance()
	DECQ(n)
	JNZ(LabelRef("block"))
	storePanel(c, ldc, y[:h])
	ADDQ(U32(32), c)
	DECQ(half)
	JZ(LabelRef("next"))
	t.turnBack(nblk)
	JMP(LabelRef("half"))
	Label("next")
	t.columns(-8)
	DECQ(slot("np"))
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// intsAVX2 is an intTileAVX2 being written.
type intsAVX2 struct {
	weightPointers
	activationPointers
}

// turnBack goes to the beginning of the panel, eight columns further right.
func (t *intsAVX2) turnBack(nblk reg.GPVirtual) {
	size := GP64()
	IMUL3Q(U32(uint32(64*t.bits)), nblk, size)
	SUBQ(size, t.qs)
	IMUL3Q(U32(32), nblk, size)
	SUBQ(size, t.ds)
	if t.minima {
		SUBQ(size, t.ms)
	}
	t.columns(8)
}

// columns moves n columns to the right.
func (t *intsAVX2) columns(n int) {
	ADDQ(I32(int32(4*n)), t.qs)
	ADDQ(I32(int32(2*n)), t.ds)
	if t.minima {
		ADDQ(I32(int32(2*n)), t.ms)
	}
}

// dots multiplies the 32 numbers of a block.
func (t *intsAVX2) dots() {
	mask := words("nibbles", 0x0f0f0f0f)
	weights, products := []reg.VecPhysical{y[12], y[13]}, y[14:16]
	for j := range 4 {
		VMOVDQU(Mem{Base: t.qs, Disp: 64 * j}, weights[1])
		VPAND(mask, weights[1], weights[0])
		VPSRLD(U8(4), weights[1], weights[1])
		VPAND(mask, weights[1], weights[1])
		for half, w := range weights {
			g := 2*j + half
			for m := range t.rows {
				p, sum := products[m%2], y[6+m]
				VPBROADCASTD(Mem{Base: t.a, Disp: 4 * (g*t.rows + m)}, p)
				if g == 0 {
					VPMADDUBSW(p, w, sum)
					continue
				}
				VPMADDUBSW(p, w, p)
				VPADDW(p, sum, sum)
			}
		}
	}
}

// scale adds the block to the floats.
func (t *intsAVX2) scale() {
	d, least, v := y[12], y[13], y[14]
	VCVTPH2PS(Mem{Base: t.ds}, d)
	if t.minima {
		VCVTPH2PS(Mem{Base: t.ms}, least)
	}
	for m := range t.rows {
		sum := y[6+m]
		VPMADDWD(words("ones16", 0x00010001), sum, sum)
		if !t.minima {
			VPBROADCASTD(Mem{Base: t.e, Disp: 4 * m}, v)
			VPADDD(v, sum, sum)
		}
		VCVTDQ2PS(sum, sum)
		VBROADCASTSS(Mem{Base: t.s, Disp: 4 * m}, v)
		VMULPS(d, v, v)
		VFMADD231PS(sum, v, y[m])
		if t.minima {
			VBROADCASTSS(Mem{Base: t.e, Disp: 4 * m}, v)
			VFMADD231PS(v, least, y[m])
		}
	}
}

// quantiseCoarseAVX2 writes a row of a tile as int8, as quantise does.
func quantiseCoarseAVX2() {
	r := quantiseText(1, "AVX2")
	Label("block")
	for i := range 4 {
		VMOVUPS(Mem{Base: r.x, Disp: 32 * i}, y[i])
		VPAND(words("magnitude", 0x7fffffff), y[i], y[4+i])
	}
	VPMAXUD(y[4], y[5], y[4]) // as integers, so that a NaN is the largest
	VPMAXUD(y[6], y[7], y[6])
	VPMAXUD(y[4], y[6], y[4])
	VEXTRACTI128(U8(1), y[4], reg.X5)
	VPMAXUD(reg.X4, reg.X5, reg.X4)
	fold(func(a, b, dst Op) { VPMAXUD(a, b, dst) }, reg.X4, reg.X5)
	VPMAXUD(words("leastTop", leastTop), reg.X4, reg.X7)
	VPCMPEQD(reg.X4, reg.X7, reg.X7) // top >= leastTop
	VMULPS(words("inverse127", bitsInverse127), reg.X4, reg.X5)
	VPAND(reg.X7, reg.X5, reg.X5)
	VMOVUPS(words("f127", bits127), reg.X6)
	VDIVPS(reg.X4, reg.X6, reg.X6)
	VPAND(reg.X7, reg.X6, reg.X6)
	VBROADCASTSS(reg.X6, y[6])
	for i := range 4 {
		VMULPS(y[i], y[6], y[i])
		VCVTPS2DQ(y[i], y[i])
	}
	VPACKSSDW(y[1], y[0], y[0])
	VPACKSSDW(y[3], y[2], y[2])
	VPACKSSWB(y[2], y[0], y[0]) // dwords: groups 0 2 4 6 | 1 3 5 7
	VEXTRACTI128(U8(1), y[0], reg.X15)
	r.scatter(0, reg.X0, reg.X15, [8]int{0, 4, 1, 5, 2, 6, 3, 7})
	VMOVDQU(words("ones8", 0x01010101), y[7])
	VPMADDUBSW(y[0], y[7], y[0])
	VPMADDWD(words("ones16", 0x00010001), y[0], y[0])
	VEXTRACTI128(U8(1), y[0], reg.X15)
	VPADDD(reg.X0, reg.X15, reg.X13)
	fold(func(a, b, dst Op) { VPADDD(a, b, dst) }, reg.X13, reg.X15)
	r.totals(0, reg.X13, reg.X5)
	VMOVSS(reg.X13, Mem{Base: r.sum})
	r.next()
	DECQ(r.n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
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
