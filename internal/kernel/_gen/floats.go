package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rowSet are the rowSet of h rows, a distance apart: three share a register.
type rowSet struct {
	at    []Mem
	bases []reg.GPVirtual
}

// rowsFrom makes registers for h rows from a on.
func rowsFrom(a, distance reg.GPVirtual, h int) *rowSet {
	r := &rowSet{at: make([]Mem, h)}
	for i := 0; i < h; i += 3 {
		p := GP64()
		if i == 0 {
			MOVQ(a, p)
		} else {
			LEAQ(Mem{Base: r.bases[i/3-1], Index: distance, Scale: 2}, p)
			ADDQ(distance, p)
		}
		r.bases = append(r.bases, p)
		for j := i; j < min(i+3, h); j++ {
			r.at[j] = Mem{Base: p}
			if j > i {
				r.at[j].Index, r.at[j].Scale = distance, uint8(j-i)
			}
		}
	}
	return r
}

// floatTile writes floatTile<h>x<16·nv>. The accumulators are z0-23, the panel
// z24-25, the row of a z28-31.
func floatTile(h, nv int) {
	name := fmt.Sprintf("floatTile%dx%d", h, 16*nv)
	TEXT(name, NOSPLIT, "func(tiles, k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc int, alpha float32, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the floatTile of height %d on %d columns: see floatTileGeneric.", name, h, 16*nv))
	rs, ks, ldb, ldc := param("rs"), param("ks"), param("ldb"), param("ldc")
	for _, r := range []reg.GPVirtual{rs, ks, ldb, ldc} {
		SHLQ(U8(2), r)
	}
	c := param("c")
	Label("tile")
	a, b, k := GP64(), GP64(), GP64()
	Load(Param("a"), a)
	x := rowsFrom(a, rs, h)
	fetchRows(c, ldc, h, nv)
	Load(Param("b"), b)
	Load(Param("k"), k)
	sums := make([]reg.VecPhysical, h*nv)
	for i := range sums {
		sums[i] = z[i]
		VPXORD(z[i], z[i], z[i])
	}
	Label("loop")
	for v := range nv {
		VMOVUPS(Mem{Base: b, Disp: 64 * v}, z[24+v])
	}
	for v := range nv {
		PREFETCHT0(Mem{Base: b, Index: ldb, Scale: 8, Disp: 64 * v})
	}
	for m := range h {
		if nv == 1 {
			VFMADD231PS_BCST(x.at[m], z[24], sums[m])
			continue
		}
		VBROADCASTSS(x.at[m], z[28+m%4])
		for v := range nv {
			VFMADD231PS(z[28+m%4], z[24+v], sums[m*nv+v])
		}
	}
	for _, p := range x.bases {
		ADDQ(ks, p)
	}
	ADDQ(ldb, b)
	DECQ(k)
	JNZ(LabelRef("loop"))
	VBROADCASTSS(slot("alpha").(Mem), z[28])
	storeRows(c, ldc, h, nv, sums, true)
	next := GP64()
	MOVQ(rs, next)
	IMUL3Q(U8(uint8(h)), next, next)
	ADDQ(next, slot("a"))
	DECQ(slot("tiles"))
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// pairTile writes pairTile<h>: 32 columns of pairs of bfloat16.
func pairTile(h int) {
	name := fmt.Sprintf("pairTile%d", h)
	TEXT(name, NOSPLIT, "func(tiles, k2 int, a *uint32, rs int, b *uint32, c *float32, ldc int, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the pairTile of height %d: see pairTileGeneric.", name, h))
	const nv = 2
	rs, ldc, c, k := param("rs"), param("ldc"), param("c"), GP64()
	SHLQ(U8(2), rs)
	SHLQ(U8(2), ldc)
	Label("tile")
	a, b := GP64(), GP64()
	Load(Param("a"), a)
	x := rowsFrom(a, rs, h)
	fetchRows(c, ldc, h, nv)
	Load(Param("b"), b)
	Load(Param("k2"), k)
	sums := make([]reg.VecPhysical, h*nv)
	for i := range sums {
		sums[i] = z[i]
		VPXORD(z[i], z[i], z[i])
	}
	Label("loop")
	for v := range nv {
		VMOVUPS(Mem{Base: b, Disp: 64 * v}, z[24+v])
	}
	for v := range nv {
		PREFETCHT0(Mem{Base: b, Disp: 1024 + 64*v})
	}
	for m := range h {
		VBROADCASTSS(x.at[m], z[28+m%4])
		for v := range nv {
			VDPBF16PS(z[28+m%4], z[24+v], sums[m*nv+v])
		}
	}
	for _, p := range x.bases {
		ADDQ(U8(4), p)
	}
	ADDQ(U32(64*nv), b)
	DECQ(k)
	JNZ(LabelRef("loop"))
	storeRows(c, ldc, h, nv, sums, false)
	next := GP64()
	MOVQ(rs, next)
	IMUL3Q(U8(uint8(h)), next, next)
	ADDQ(next, slot("a"))
	DECQ(slot("tiles"))
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// fetchRows asks for the h rows of c that will be needed at the end.
func fetchRows(c, ldc reg.GPVirtual, h, nv int) {
	p := GP64()
	MOVQ(c, p)
	for m := range h {
		for v := range nv {
			PREFETCHT0(Mem{Base: p, Disp: 64 * v})
		}
		if m+1 < h {
			ADDQ(ldc, p)
		}
	}
}

// storeRows writes sums to c, or adds them when the parameter add is not zero,
// and moves c past its h rows. With scaled, sums are multiplied by z28 first.
func storeRows(c, ldc reg.GPVirtual, h, nv int, sums []reg.VecPhysical, scaled bool) {
	CMPQ(slot("add"), U8(0))
	JNE(LabelRef("add"))
	each := func(f func(at Mem, sum reg.VecPhysical)) {
		for m := range h {
			for v := range nv {
				f(Mem{Base: c, Disp: 64 * v}, sums[m*nv+v])
			}
			ADDQ(ldc, c)
		}
	}
	each(func(at Mem, sum reg.VecPhysical) {
		if scaled {
			VMULPS(z[28], sum, sum)
		}
		VMOVUPS(sum, at)
	})
	JMP(LabelRef("stored"))
	Label("add")
	each(func(at Mem, sum reg.VecPhysical) {
		if scaled {
			VFMADD213PS(at, z[28], sum)
		} else {
			VADDPS(at, sum, sum)
		}
		VMOVUPS(sum, at)
	})
	Label("stored")
}

// round writes roundAVX512.
func round() {
	TEXT("roundAVX512", NOSPLIT, "func(n int, x *float32, dst *uint32)")
	Pragma("noescape")
	Doc("roundAVX512 is roundGeneric.")
	n, x, dst := param("n"), param("x"), param("dst")
	Label("loop")
	VMOVUPS(Mem{Base: x}, z[0])
	VMOVUPS(Mem{Base: x, Disp: 64}, z[1])
	VCVTNE2PS2BF16(z[0], z[1], z[2])
	VMOVUPS(z[2], Mem{Base: dst})
	ADDQ(U32(128), x)
	ADDQ(U32(64), dst)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// transpose writes transposeAVX512: n blocks of 16 columns of w ≤ 16 rows. Rows
// that are missing repeat the last.
func transpose() {
	TEXT("transposeAVX512", NOSPLIT, "func(w, n int, b *float32, ldb int, dst *float32, width int)")
	Pragma("noescape")
	Doc("transposeAVX512 copies b (w, 16n), rows ldb apart, to dst (16n, 16), rows width apart.",
		"Columns w to 15 repeat column w-1.")
	w, n, b, ldb, dst, width := param("w"), param("n"), param("b"), param("ldb"), param("dst"), param("width")
	SHLQ(U8(2), ldb)
	SHLQ(U8(2), width)
	row, step, still := GP64(), GP64(), GP64()
	XORQ(still, still)
	Label("loop")
	MOVQ(b, row)
	for i := range 16 {
		VMOVUPS(Mem{Base: row}, z[i])
		if i < 15 {
			MOVQ(ldb, step)
			CMPQ(w, U8(uint8(i+2)))
			CMOVQLT(still, step)
			ADDQ(step, row)
		}
	}
	turn16()
	for i := range 16 {
		VMOVUPS(z[i], Mem{Base: dst})
		ADDQ(width, dst)
	}
	ADDQ(U32(64), b)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// turn16 transposes the 16×16 numbers in z0-15; z16-31 are used.
func turn16() {
	for i := 0; i < 16; i += 2 {
		VUNPCKLPS(z[i+1], z[i], z[16+i])
		VUNPCKHPS(z[i+1], z[i], z[17+i])
	}
	for i := 0; i < 16; i += 4 { // z[i+j]: lane L holds rows i … i+3 of column 4L+j
		VUNPCKLPD(z[18+i], z[16+i], z[i])
		VUNPCKHPD(z[18+i], z[16+i], z[i+1])
		VUNPCKLPD(z[19+i], z[17+i], z[i+2])
		VUNPCKHPD(z[19+i], z[17+i], z[i+3])
	}
	for j := range 4 {
		VSHUFF32X4(U8(0x88), z[4+j], z[j], z[16+j])    // columns j, 8+j; rows 0-7
		VSHUFF32X4(U8(0xdd), z[4+j], z[j], z[20+j])    // columns 4+j, 12+j
		VSHUFF32X4(U8(0x88), z[12+j], z[8+j], z[24+j]) // the same; rows 8-15
		VSHUFF32X4(U8(0xdd), z[12+j], z[8+j], z[28+j])
	}
	for j := range 4 {
		VSHUFF32X4(U8(0x88), z[24+j], z[16+j], z[j])
		VSHUFF32X4(U8(0xdd), z[24+j], z[16+j], z[8+j])
		VSHUFF32X4(U8(0x88), z[28+j], z[20+j], z[4+j])
		VSHUFF32X4(U8(0xdd), z[28+j], z[20+j], z[12+j])
	}
}
