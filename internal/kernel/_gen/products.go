package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// heights are the numbers of rows for which there is a tile; fine int8 has no 12.
var heights = []int{12, 8, 6, 4, 3, 2, 1}

// products writes the matrix products.
func products() {
	peaks()
	for parts := 2; parts > 0; parts-- {
		for _, h := range heights[parts-1:] {
			for _, bits := range []int{4, 8} {
				intTile(h, bits, parts, false)
				intTile(h, bits, parts, true)
			}
		}
		quantise(parts)
	}
	for _, h := range heights {
		floatTile(h, 2)
		floatTile(h, 1)
		pairTile(h)
	}
	for _, h := range wholeHeights {
		wholeTile(h, false)
		wholeTile(h, true)
	}
	roundWhole()
	round()
	expand(4)
	expand(8)
	expandPairs()
	transposeText("AVX512", 16, z, turn16)
	avx2()
}

// peaks writes loops on registers only, 24 independent chains of one
// instruction: what a benchmark is measured against.
func peaks() {
	for _, op := range []string{"FMA", "BF16", "VNNI"} {
		TEXT("peak"+op+"512", NOSPLIT, "func(n int)")
		Pragma("noescape")
		Doc("peak" + op + "512 runs n rounds of 24 independent 512-bit instructions.")
		n := Load(Param("n"), GP64())
		for i := range z {
			VPXORD(z[i], z[i], z[i])
		}
		Label("loop")
		for i := range 24 {
			switch op {
			case "FMA":
				VFMADD231PS(z[24], z[25], z[i])
			case "BF16":
				VDPBF16PS(z[24], z[25], z[i])
			case "VNNI":
				VPDPBUSD(z[24], z[25], z[i])
			}
		}
		DECQ(n)
		JNZ(LabelRef("loop"))
		VZEROUPPER()
		RET()
	}
}

// load reads a parameter into a register of its own.
func param(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

// slot is the place of a parameter on the stack, used as a variable.
func slot(name string) Op {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// fill broadcasts a 32-bit constant.
func fill(value uint32, to reg.VecPhysical) {
	r := GP32()
	MOVL(U32(value), r)
	VPBROADCASTD(r, to)
}
