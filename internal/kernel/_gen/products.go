package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// products writes the matrix products.
func products() {
	peaks()
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
