package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// wholeHeights are the numbers of rows for which there is a wholeTile.
var wholeHeights = []int{6, 4, 3, 2, 1}

// wholes is a wholeTile being written.
//
// z0-11 hold the floats of up to two panels, z12-23 the sums of the block.
type wholes struct {
	h, nv            int
	minima           bool
	qs, ds, ms, c    reg.GPVirtual
	qstep, dstep, rs reg.GPVirtual // bytes to the next panel, to the next row
	ldc, end         reg.GPVirtual
	x                *rowSet
	table            reg.VecPhysical
}

// wholeTile writes wholeTile<h>, or with minima wholeMinTile<h>: panels two at a
// time, for few rows one, and the odd one at the end alone.
func wholeTile(h int, minima bool) {
	name := fmt.Sprintf("wholeTile%d", h)
	if minima {
		name = fmt.Sprintf("wholeMinTile%d", h)
	}
	TEXT(name, NOSPLIT, "func(np, nblk int, qs *byte, ds, ms *uint16, a *uint32, rs int, c *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the wholeTile of height %d: see wholeTileGeneric.", name, h))
	w := &wholes{h: h, minima: minima, table: z[30]}
	w.qs, w.ds, w.c, w.rs, w.ldc = param("qs"), param("ds"), param("c"), param("rs"), param("ldc")
	if minima {
		w.ms = param("ms")
	}
	SHLQ(U8(2), w.rs)
	SHLQ(U8(2), w.ldc)
	w.qstep = param("nblk")
	w.dstep = GP64()
	MOVQ(w.qstep, w.dstep)
	SHLQ(U8(8), w.qstep)
	SHLQ(U8(5), w.dstep)
	zero := 8
	if minima {
		zero = 0
	}
	VMOVDQU32(wholeTable(zero), w.table)
	most := 2
	if most == 2 {
		CMPQ(slot("np"), U8(2))
		JLT(LabelRef("one"))
		Label("two")
		w.nv = 2
		w.panels("two")
		SUBQ(U8(2), slot("np"))
		CMPQ(slot("np"), U8(2))
		JGE(LabelRef("two"))
		CMPQ(slot("np"), U8(0))
		JEQ(LabelRef("done"))
	}
	Label("one")
	w.nv = 1
	w.panels("one")
	if most == 1 {
		DECQ(slot("np"))
		JNZ(LabelRef("one"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// wholeTables are the tables written, by their zero.
var wholeTables = map[int]Mem{}

// wholeTable holds the bfloat16 of 0-zero … 15-zero, twice: an index of five
// bits whose highest is anything.
func wholeTable(zero int) Mem {
	if m, ok := wholeTables[zero]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("wholes%d", zero), RODATA|NOPTR)
	wholeTables[zero] = m
	bf16 := func(i int) uint32 { return math.Float32bits(float32(i%16-zero)) >> 16 }
	for i := range 16 {
		DATA(4*i, U32(bf16(2*i)|bf16(2*i+1)<<16))
	}
	return m
}

// panels writes the product with the next nv panels.
func (w *wholes) panels(name string) {
	a, n := GP64(), GP64()
	Load(Param("a"), a)
	w.x = rowsFrom(a, w.rs, w.h)
	Load(Param("nblk"), n)
	totals, sums := z[:w.h*w.nv], z[12:12+w.h*w.nv]
	for _, t := range totals {
		VPXORD(t, t, t)
	}
	Label(name + "block")
	for _, s := range sums {
		VPXORD(s, s, s)
	}
	for i := range 4 {
		w.pairs(i, sums)
	}
	w.scale(totals, sums)
	for _, p := range w.x.bases {
		ADDQ(U8(68), p)
	}
	ADDQ(U32(256), w.qs)
	ADDQ(U8(32), w.ds)
	if w.minima {
		ADDQ(U8(32), w.ms)
	}
	DECQ(n)
	JNZ(LabelRef(name + "block"))
	row := GP64()
	MOVQ(w.c, row)
	for m := range w.h {
		for v := range w.nv {
			VMOVUPS(totals[m*w.nv+v], Mem{Base: row, Disp: 64 * v})
		}
		if m+1 < w.h {
			ADDQ(w.ldc, row)
		}
	}
	ADDQ(U32(uint32(64*w.nv)), w.c)
	if w.nv == 2 {
		ADDQ(w.qstep, w.qs)
		ADDQ(w.dstep, w.ds)
		if w.minima {
			ADDQ(w.dstep, w.ms)
		}
	}
}

// panelAt is a place of panel v.
func panelAt(base, step reg.GPVirtual, v, disp int) Mem {
	m := Mem{Base: base, Disp: disp}
	if v == 1 {
		m.Index, m.Scale = step, 1
	}
	return m
}

// pairs multiplies eight columns of the block: a register holds their nibbles,
// two of which at a time, as an index into the table, become a pair.
func (w *wholes) pairs(i int, sums []reg.VecPhysical) {
	raw, pair, row := z[28:30], z[24:26], z[26:28]
	for v := range w.nv {
		VMOVDQU32(panelAt(w.qs, w.qstep, v, 64*i), raw[v])
		PREFETCHT0(panelAt(w.qs, w.qstep, v, 64*i+ahead))
	}
	for s := range 4 {
		for v := range w.nv {
			if s > 0 {
				VPSRLW(U8(4), raw[v], raw[v])
			}
			VPERMW(w.table, raw[v], pair[v])
		}
		for m := range w.h {
			at := w.x.at[m]
			at.Disp = 4 * (4*i + s)
			VBROADCASTSS(at, row[m%2])
			for v := range w.nv {
				VDPBF16PS(row[m%2], pair[v], sums[m*w.nv+v])
			}
		}
	}
}

// scale adds the block to the totals.
func (w *wholes) scale(totals, sums []reg.VecPhysical) {
	d, least := z[24:26], z[28:30]
	for v := range w.nv {
		VCVTPH2PS(panelAt(w.ds, w.dstep, v, 0), d[v])
		if w.minima {
			VCVTPH2PS(panelAt(w.ms, w.dstep, v, 0), least[v])
		}
	}
	for m := range w.h {
		at := w.x.at[m]
		at.Disp = 64
		for v := range w.nv {
			t := totals[m*w.nv+v]
			VFMADD231PS(sums[m*w.nv+v], d[v], t)
			if w.minima {
				VFMADD231PS_BCST(at, least[v], t)
			}
		}
	}
}

// wholeOrder is the order in which roundWhole lays the numbers of a block: the
// nibbles of a word of weights, and the word two columns on, give the pairs.
func wholeOrder() [32]int {
	var order [32]int
	for i := range 4 {
		for s, first := range [4]int{0, 4, 1, 5} {
			order[2*(4*i+s)] = 8*i + first
			order[2*(4*i+s)+1] = 8*i + first + 2
		}
	}
	return order
}

var order Mem

// orderTable is wholeOrder as indices of words.
func orderTable() Mem {
	if order.Base == nil {
		order = GLOBL("wholeorder", RODATA|NOPTR)
		for i, o := 0, wholeOrder(); i < 16; i++ {
			DATA(4*i, U32(uint32(o[2*i])|uint32(o[2*i+1])<<16))
		}
	}
	return order
}

// roundBlock writes a block of activations as pairs in the order of z31, and their
// sum to X4; z30 is 0xffff0000.
func roundBlock(x, dst reg.GPVirtual) {
	VMOVUPS(Mem{Base: x}, z[0])
	VMOVUPS(Mem{Base: x, Disp: 64}, z[1])
	VCVTNE2PS2BF16(z[0], z[1], z[2])
	VPERMW(z[2], z[31], z[3])
	VMOVUPS(z[3], Mem{Base: dst})
	VPSLLD(U8(16), z[2], z[4]) // the numbers at even places, and those at odd
	VPANDD(z[2], z[30], z[5])
	VADDPS(z[4], z[5], z[4])
	VEXTRACTF32X8(U8(1), z[4], y[5])
	VADDPS(y[4], y[5], y[4])
	VEXTRACTF128(U8(1), reg.Y4, reg.X5)
	VADDPS(reg.X4, reg.X5, reg.X4)
	fold(func(a, b, dst Op) { VADDPS(a, b, dst) }, reg.X4, reg.X5)
}

// roundWhole writes roundWholeAVX512.
func roundWhole() {
	TEXT("roundWholeAVX512", NOSPLIT, "func(nblk int, x *float32, dst *uint32)")
	Pragma("noescape")
	Doc("roundWholeAVX512 is roundWholeGeneric.")
	n, x, dst := param("nblk"), param("x"), param("dst")
	VMOVDQU32(orderTable(), z[31])
	fill(0xffff0000, z[30])
	Label("loop")
	roundBlock(x, dst)
	VMOVSS(reg.X4, Mem{Base: dst, Disp: 64})
	ADDQ(U32(128), x)
	ADDQ(U32(68), dst)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
