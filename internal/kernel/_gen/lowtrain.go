package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// This file writes the loops of low-rank products on tiles, on physical registers.

// lowTiles writes them.
func lowTiles() {
	dropPairs()
	dropBackPairs("dropOverPairs", "as fresh", false)
	dropBackPairs("dropOntoPairs", "added", true)
	weavePairs()
}

// maskRegisters loads the arguments of the masks into z20-z26.
func maskRegisters() {
	for i, name := range []string{"index", "k1", "threshold", "k0"} {
		word := GP32()
		Load(Param(name), word)
		VPBROADCASTD(word, []reg.VecPhysical{z[20], z[21], z[22], z[0]}[i])
	}
	VBROADCASTSS(slot("scale"), z[23])
	fill(16, z[24])
	fill(0x7feb352d, z[25])
	fill(0x846ca68b, z[26])
	VPSRLD(U8(1), z[20], z[20])
	VPADDD(z[0], z[20], z[20])
	VPADDD(lanesOf(), z[20], z[20])
}

// nextMasks writes the factors of the next 32 numbers to z0 and z1: see masks.
func nextMasks() {
	word, other := z[1], z[0]
	mix := func() {
		for i, shift := range []uint8{16, 15, 16} {
			VPSRLD(U8(shift), word, other)
			VPXORD(other, word, word)
			if i < 2 {
				VPMULLD(z[25+i], word, word)
			}
		}
	}
	VMOVDQA32(z[20], word)
	VPADDD(z[24], z[20], z[20])
	mix()
	VPXORD(z[21], word, word)
	mix()
	VPSLLD(U8(16), word, other)
	for i := range 2 {
		VPCMPUD(U8(5), z[22], z[i], reg.K1) // bits >= threshold
		VMOVAPS_Z(z[23], reg.K1, z[i])
	}
}

// maskedPairs writes the masked numbers of x as pairs.
func maskedPairs(pairs, x reg.GPVirtual) {
	for i := range 2 {
		VMULPS(Mem{Base: x, Disp: 64 * i}, z[i], z[2+i])
	}
	VCVTNE2PS2BF16(z[2], z[3], z[4])
	VMOVUPS(z[4], Mem{Base: pairs})
}

func dropPairs() {
	TEXT("dropPairs", NOSPLIT, "func(pairs *uint32, x *float32, n int, index, k0, k1, threshold uint32, scale float32)")
	Pragma("noescape")
	Doc("dropPairs is Dropout of 32n numbers, rounded to pairs of bfloat16.")
	pairs, x, n := param("pairs"), param("x"), param("n")
	maskRegisters()
	Label("loop")
	nextMasks()
	maskedPairs(pairs, x)
	ADDQ(U8(64), pairs)
	SUBQ(I8(-128), x)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func dropBackPairs(name, how string, add bool) {
	TEXT(name, NOSPLIT, "func(pairs *uint32, x, dx, dy *float32, n int, index, k0, k1, threshold uint32, scale float32)")
	Pragma("noescape")
	Doc(name + " is dropPairs, and writes to dx the numbers of dy with the same mask, " + how + ".")
	pairs, x, dx, dy, n := param("pairs"), param("x"), param("dx"), param("dy"), param("n")
	maskRegisters()
	Label("loop")
	nextMasks()
	maskedPairs(pairs, x)
	for i := range 2 {
		VMULPS(Mem{Base: dy, Disp: 64 * i}, z[i], z[i])
		if add {
			VADDPS(Mem{Base: dx, Disp: 64 * i}, z[i], z[i])
		}
		VMOVUPS(z[i], Mem{Base: dx, Disp: 64 * i})
	}
	ADDQ(U8(64), pairs)
	for _, p := range []reg.GPVirtual{x, dx, dy} {
		SUBQ(I8(-128), p)
	}
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

var woven Mem

// wovenTable is the order that takes numbers of two registers in turn.
func wovenTable() Mem {
	if woven.Base == nil {
		woven = GLOBL("woven", RODATA|NOPTR)
		for i := range 32 {
			DATA(4*i, U32(uint32(i)|uint32(32+i)<<16))
		}
	}
	return woven
}

func weavePairs() {
	TEXT("weavePairs", NOSPLIT, "func(n int, x0, x1, dst *uint32, step int)")
	Pragma("noescape")
	Doc("weavePairs makes of two rows of 32n numbers of bfloat16 pairs along the rows: 32 at dst, the next 32 step words on.")
	n, x0, x1, dst, step := param("n"), param("x0"), param("x1"), param("dst"), param("step")
	table := wovenTable()
	SHLQ(U8(2), step)
	VMOVDQU32(table, z[30])
	VMOVDQU32(table.Offset(64), z[31])
	Label("loop")
	VMOVDQU32(Mem{Base: x0}, z[0])
	VMOVDQU32(Mem{Base: x1}, z[1])
	for i := range 2 {
		VMOVDQA32(z[30+i], z[2+i])
		VPERMI2W(z[1], z[0], z[2+i])
		VMOVDQU32(z[2+i], Mem{Base: dst, Disp: 64 * i})
	}
	ADDQ(U8(64), x0)
	ADDQ(U8(64), x1)
	ADDQ(step, dst)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
