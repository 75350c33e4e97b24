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

// floatsText is a floatTile or a pairTile being written: h rows of nv registers.
type floatsText struct {
	h, nv, size      int               // size of a register in bytes
	sums, panel, row []reg.VecPhysical // accumulators; one row of b; numbers of a
	alpha            reg.VecPhysical   // nil without a factor
	a, b, c          reg.GPVirtual
	rs, ldc          reg.GPVirtual // bytes
	x                *rowSet
}

// floatTile writes floatTile<h>x<16·nv>.
func floatTile(h, nv int) {
	t := &floatsText{h: h, nv: nv, size: 64, sums: z[:h*nv], panel: z[24 : 24+nv], row: z[28:32], alpha: z[28]}
	t.floats(fmt.Sprintf("floatTile%dx%d", h, 16*nv), func(m int) {
		if nv == 1 {
			VFMADD231PS_BCST(t.x.at[m], t.panel[0], t.sums[m])
			return
		}
		t.multiply(m, func(a, b, sum reg.VecPhysical) { VFMADD231PS(a, b, sum) })
	})
}

// floats writes a floatTile of which multiply writes one row and one step.
func (t *floatsText) floats(name string, multiply func(m int)) {
	TEXT(name, NOSPLIT, "func(tiles, k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc int, alpha float32, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the floatTile of height %d on %d columns: see floatTileGeneric.", name, t.h, t.nv*t.size/4))
	t.rs, t.ldc, t.c = param("rs"), param("ldc"), param("c")
	ks, ldb := param("ks"), param("ldb")
	for _, r := range []reg.GPVirtual{t.rs, ks, ldb, t.ldc} {
		SHLQ(U8(2), r)
	}
	t.loops("k", func() {
		for v := 0; v < t.nv*t.size; v += 64 {
			PREFETCHT0(Mem{Base: t.b, Index: ldb, Scale: 8, Disp: v})
		}
		for m := range t.h {
			multiply(m)
		}
		for _, p := range t.x.bases {
			ADDQ(ks, p)
		}
		ADDQ(ldb, t.b)
	})
}

// pairTile writes pairTile<h>: 32 columns of pairs of bfloat16.
func pairTile(h int) {
	name := fmt.Sprintf("pairTile%d", h)
	TEXT(name, NOSPLIT, "func(tiles, k2 int, a *uint32, rs int, b *uint32, c *float32, ldc int, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the pairTile of height %d: see pairTileGeneric.", name, h))
	t := &floatsText{h: h, nv: 2, size: 64, sums: z[:2*h], panel: z[24:26], row: z[28:32]}
	t.rs, t.ldc, t.c = param("rs"), param("ldc"), param("c")
	SHLQ(U8(2), t.rs)
	SHLQ(U8(2), t.ldc)
	t.loops("k2", func() {
		for v := range 2 {
			PREFETCHT0(Mem{Base: t.b, Disp: 1024 + 64*v})
		}
		for m := range h {
			t.multiply(m, func(a, b, sum reg.VecPhysical) { VDPBF16PS(a, b, sum) })
		}
		for _, p := range t.x.bases {
			ADDQ(U8(4), p)
		}
		ADDQ(U32(128), t.b)
	})
}

// multiply writes one step of row m.
func (t *floatsText) multiply(m int, f func(a, b, sum reg.VecPhysical)) {
	a := t.row[m%len(t.row)]
	VBROADCASTSS(t.x.at[m], a)
	for v, b := range t.panel {
		f(a, b, t.sums[m*t.nv+v])
	}
}

// loops writes the loops over tiles and along k, of which step writes the body
// after the row of b is loaded.
func (t *floatsText) loops(depth string, step func()) {
	Label("tile")
	t.a, t.b = GP64(), GP64()
	k := GP64()
	Load(Param("a"), t.a)
	t.x = rowsFrom(t.a, t.rs, t.h)
	t.fetch()
	Load(Param("b"), t.b)
	Load(Param(depth), k)
	for _, sum := range t.sums {
		VXORPS(sum, sum, sum)
	}
	Label("loop")
	for v, b := range t.panel {
		VMOVUPS(Mem{Base: t.b, Disp: t.size * v}, b)
	}
	step()
	DECQ(k)
	JNZ(LabelRef("loop"))
	t.store()
	next := GP64()
	IMUL3Q(U8(uint8(t.h)), t.rs, next)
	ADDQ(next, slot("a"))
	DECQ(slot("tiles"))
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// fetch asks for the rows of c that will be needed at the end.
func (t *floatsText) fetch() {
	p := GP64()
	MOVQ(t.c, p)
	for m := range t.h {
		for v := 0; v < t.nv*t.size; v += 64 {
			PREFETCHT0(Mem{Base: p, Disp: v})
		}
		if m+1 < t.h {
			ADDQ(t.ldc, p)
		}
	}
}

// store writes the sums times alpha to c, or adds them when the parameter add is
// not zero, and moves c past its rows.
func (t *floatsText) store() {
	if t.alpha != nil {
		VBROADCASTSS(slot("alpha").(Mem), t.alpha)
	}
	CMPQ(slot("add"), U8(0))
	JNE(LabelRef("add"))
	t.each(func(_ Mem, sum reg.VecPhysical) {
		if t.alpha != nil {
			VMULPS(t.alpha, sum, sum)
		}
	})
	JMP(LabelRef("stored"))
	Label("add")
	t.add()
	Label("stored")
}

// add adds the sums times alpha to c and moves c past its rows.
func (t *floatsText) add() {
	t.each(func(at Mem, sum reg.VecPhysical) {
		if t.alpha != nil {
			VFMADD213PS(at, t.alpha, sum)
		} else {
			VADDPS(at, sum, sum)
		}
	})
}

// each stores every sum after f has changed it.
func (t *floatsText) each(f func(at Mem, sum reg.VecPhysical)) {
	for m := range t.h {
		for v := range t.nv {
			at, sum := Mem{Base: t.c, Disp: t.size * v}, t.sums[m*t.nv+v]
			f(at, sum)
			VMOVUPS(sum, at)
		}
		ADDQ(t.ldc, t.c)
	}
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

// transposeText writes a function that transposes squares of side rows and
// columns, which turn does in the first registers of v.
func transposeText(suffix string, side int, v []reg.VecPhysical, turn func() []reg.VecPhysical) {
	TEXT("transpose"+suffix, NOSPLIT, "func(w, n int, b *float32, ldb int, dst *float32, width int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("transpose%s copies b (w, %dn), rows ldb apart, to dst (%dn, %d), rows width", suffix, side, side, side),
		fmt.Sprintf("apart. Columns w to %d repeat column w-1.", side-1))
	w, n, b, ldb, dst, width := param("w"), param("n"), param("b"), param("ldb"), param("dst"), param("width")
	SHLQ(U8(2), ldb)
	SHLQ(U8(2), width)
	row, step, still := GP64(), GP64(), GP64()
	XORQ(still, still)
	Label("loop")
	MOVQ(b, row)
	for i := range side {
		VMOVUPS(Mem{Base: row}, v[i])
		if i+1 < side {
			MOVQ(ldb, step)
			CMPQ(w, U8(uint8(i+2)))
			CMOVQLT(still, step)
			ADDQ(step, row)
		}
	}
	for _, r := range turn() {
		VMOVUPS(r, Mem{Base: dst})
		ADDQ(width, dst)
	}
	ADDQ(U32(uint32(4*side)), b)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// turn16 transposes the 16×16 numbers in z0-15; z16-31 are used.
func turn16() []reg.VecPhysical {
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
	return z[:16]
}
