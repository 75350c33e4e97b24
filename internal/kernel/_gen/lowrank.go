package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// lowAhead is how many bytes ahead the factors of adapters are asked for: they
// are read once per pass, in pieces too short for the hardware to see far.
const lowAhead = 2048

// lowRanks writes the tiles of low-rank products: halfTiles that ask for their
// right operand ahead, downwards over rows and across over panels.
func lowRanks() {
	for _, h := range heights[2:] {
		for _, nv := range []int{2, 1} {
			t := halfTextOf(h, nv)
			t.ahead = lowAhead
			t.write(fmt.Sprintf("downTile%dx%d", h, 16*nv))
		}
		t := halfTextOf(h, 2)
		t.ahead = lowAhead
		t.across(fmt.Sprintf("upTile%d", h))
	}
	for _, h := range []int{3, 2, 1} {
		t := &halfText{h: h, nv: 2, chains: 2, size: 32, sums: y[:4*h], panel: y[12:14], row: y[14:16], alpha: y[15]}
		t.write(fmt.Sprintf("downTile%dx16AVX2", h))
	}
}

// across writes an upTile: one panel of the right operand after another.
func (t *halfText) across(name string) {
	TEXT(name, NOSPLIT, "func(panels, k int, a *float32, rs int, b *uint16, c *float32, ldc int, alpha float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the upTile of height %d: see upTileGeneric.", name, t.h))
	a, rs, b, ldc, ldb := param("a"), param("rs"), param("b"), param("ldc"), GP64()
	SHLQ(U8(2), rs)
	SHLQ(U8(2), ldc)
	MOVQ(U32(t.nv*t.size/2), ldb)
	rows := rowsFrom(a, rs, t.h)
	Label("panel")
	odd := t.sum(rows, b, ldb)
	c := param("c")
	out := &floatsText{h: t.h, nv: t.nv, size: t.size, sums: t.sums[:t.h*t.nv], alpha: t.alpha, c: c, ldc: ldc}
	VBROADCASTSS(slot("alpha").(Mem), t.alpha)
	out.add()
	ADDQ(U32(t.nv*t.size), slot("c"))
	// Back to the beginning of the rows, and on to the next panel.
	back := GP64()
	MOVQ(slot("k"), back)
	SHRQ(U8(1), back)
	SHLQ(U8(3), back)
	for _, p := range rows.bases {
		SUBQ(back, p)
	}
	IMULQ(ldb, odd)
	ADDQ(odd, b)
	DECQ(slot("panels"))
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}
