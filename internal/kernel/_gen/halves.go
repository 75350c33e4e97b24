package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// float16s writes the products whose right operand is float16: keys, values and
// low-rank factors.
func float16s() {
	for _, h := range heights {
		for _, nv := range []int{2, 1} {
			t := &floatsText{h: h, nv: nv, size: 64, half: true, sums: z[:h*nv], panel: z[24 : 24+nv], row: z[28:32], alpha: z[28]}
			t.halfTile(fmt.Sprintf("halfTile%dx%d", h, 16*nv))
		}
	}
	for _, h := range heights[2:] {
		t := &floatsText{h: h, nv: 2, size: 32, half: true, sums: y[:2*h], panel: y[12:14], row: y[14:16], alpha: y[15]}
		t.halfTile(fmt.Sprintf("halfTile%dx16AVX2", h))
	}
	halve()
}

// halfTile writes a halfTile.
func (t *floatsText) halfTile(name string) {
	TEXT(name, NOSPLIT, "func(tiles, k int, a *float32, rs, ks int, b *uint16, ldb int, c *float32, ldc int, alpha float32, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the halfTile of height %d on %d columns: see halfTileGeneric.", name, t.h, t.nv*t.size/4))
	t.rs, t.ldc, t.c = param("rs"), param("ldc"), param("c")
	ks, ldb := param("ks"), param("ldb")
	SHLQ(U8(1), ldb)
	SHLQ(U8(2), t.rs)
	SHLQ(U8(2), ks)
	SHLQ(U8(2), t.ldc)
	t.loops("k", func() {
		PREFETCHT0(Mem{Base: t.b, Disp: 1024})
		for m := range t.h {
			t.multiply(m, func(a, b, sum reg.VecPhysical) { VFMADD231PS(a, b, sum) })
		}
		for _, p := range t.x.bases {
			ADDQ(ks, p)
		}
		ADDQ(ldb, t.b)
	})
}

// halve writes halveAVX2: 8n numbers as float16, to the nearest.
func halve() {
	TEXT("halveAVX2", NOSPLIT, "func(n int, x *float32, dst *uint16)")
	Pragma("noescape")
	Doc("halveAVX2 writes 8n numbers as float16: see halveGeneric.")
	n, x, dst := param("n"), param("x"), param("dst")
	Label("loop")
	VMOVUPS(Mem{Base: x}, y[0])
	VCVTPS2PH(U8(0), y[0], reg.X1)
	VMOVUPS(reg.X1, Mem{Base: dst})
	ADDQ(U32(32), x)
	ADDQ(U32(16), dst)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
