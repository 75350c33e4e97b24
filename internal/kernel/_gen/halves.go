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
	for _, h := range heights[2:] {
		for _, nv := range []int{2, 1} {
			halfTextOf(h, nv).write(fmt.Sprintf("halfTile%dx%d", h, 16*nv))
		}
	}
	for _, h := range []int{3, 2, 1} {
		for _, nv := range []int{4, 2} {
			t := &halfText{h: h, nv: nv, chains: 1, size: 32, sums: y[:h*nv], panel: y[12:13], row: y[13:16], alpha: y[15]}
			t.write(fmt.Sprintf("halfTile%dx%dAVX2", h, 8*nv))
		}
	}
	halve()
	fetch()
}

// halfText is a halfTile being written: h rows of nv registers. With two chains each
// is there twice, for even and for odd steps along k, so that a step need not wait
// for the last.
type halfText struct {
	h, nv, chains    int
	size             int // of a register in bytes
	sums, panel, row []reg.VecPhysical
	alpha            reg.VecPhysical
	ahead            int // bytes of b that are asked for ahead
}

// halfTextOf is a tile of AVX-512.
func halfTextOf(h, nv int) *halfText {
	return &halfText{h: h, nv: nv, chains: 2, size: 64, sums: z[:2*h*nv], panel: z[24 : 24+nv], row: z[28:32], alpha: z[28]}
}

func (t *halfText) write(name string) {
	TEXT(name, NOSPLIT, "func(tiles, k int, a *float32, rs int, b *uint16, ldb int, c *float32, ldc int, alpha float32, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is the halfTile of height %d on %d columns: see halfTileGeneric.", name, t.h, t.nv*t.size/4))
	rs, ldc, c, ldb := param("rs"), param("ldc"), param("c"), param("ldb")
	SHLQ(U8(1), ldb)
	SHLQ(U8(2), rs)
	SHLQ(U8(2), ldc)
	Label("tile")
	a, b := GP64(), GP64()
	Load(Param("a"), a)
	rows := rowsFrom(a, rs, t.h)
	Load(Param("b"), b)
	t.sum(rows, b, ldb)
	n := t.h * t.nv
	out := &floatsText{h: t.h, nv: t.nv, size: t.size, sums: t.sums[:n], alpha: t.alpha, c: c, ldc: ldc}
	out.store()
	next := GP64()
	IMUL3Q(U8(uint8(t.h)), rs, next)
	ADDQ(next, slot("a"))
	DECQ(slot("tiles"))
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// sum writes the sums over k, of rows at b that are ldb bytes apart. It moves the
// rows and b behind the last pair of steps; odd is 1 when one step is left over.
func (t *halfText) sum(rows *rowSet, b, ldb reg.GPVirtual) (odd reg.GPVirtual) {
	k, odd := GP64(), GP64()
	Load(Param("k"), k)
	for _, sum := range t.sums {
		VXORPS(sum, sum, sum)
	}
	MOVQ(k, odd)
	ANDQ(U8(1), odd)
	SHRQ(U8(1), k)
	JZ(LabelRef("rest"))
	Label("loop")
	for line := 0; t.ahead > 0 && line < t.nv; line++ {
		PREFETCHT0(Mem{Base: b, Disp: t.ahead + 64*line})
	}
	t.step(0, rows, Mem{Base: b})
	t.step(1, rows, Mem{Base: b, Index: ldb, Scale: 1})
	for _, p := range rows.bases {
		ADDQ(U8(8), p)
	}
	LEAQ(Mem{Base: b, Index: ldb, Scale: 2}, b)
	DECQ(k)
	JNZ(LabelRef("loop"))
	Label("rest")
	TESTQ(odd, odd)
	JZ(LabelRef("sum"))
	t.step(0, rows, Mem{Base: b})
	Label("sum")
	if n := t.h * t.nv; t.chains == 2 {
		for i := range n {
			VADDPS(t.sums[n+i], t.sums[i], t.sums[i])
		}
	}
	return odd
}

// step writes one step along k: row b of the right operand, element e of each row
// of the left one. Where there are registers for all rows, the columns come one
// after the other, else the rows do.
func (t *halfText) step(e int, rows *rowSet, b Mem) {
	column := func(v int) reg.VecPhysical {
		at, p := b, t.panel[v%len(t.panel)]
		at.Disp = t.size / 2 * v
		VCVTPH2PS(at, p)
		return p
	}
	row := func(m int) reg.VecPhysical {
		at, x := rows.at[m], t.row[m%len(t.row)]
		at.Disp = 4 * e
		VBROADCASTSS(at, x)
		return x
	}
	multiply := func(m, v int, p, x reg.VecPhysical) {
		VFMADD231PS(p, x, t.sums[(e%t.chains*t.h+m)*t.nv+v])
	}
	if len(t.panel) < t.nv {
		for m := range t.h {
			row(m)
		}
		for v := range t.nv {
			p := column(v)
			for m := range t.h {
				multiply(m, v, p, t.row[m])
			}
		}
		return
	}
	for v := range t.nv {
		column(v)
	}
	for m := range t.h {
		x := row(m)
		for v, p := range t.panel {
			multiply(m, v, p, x)
		}
	}
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

// fetch writes fetchLines.
func fetch() {
	TEXT("fetchLines", NOSPLIT, "func(n int, p *uint16)")
	Pragma("noescape")
	Doc("fetchLines asks for 8n cache lines from p on.")
	n, p := param("n"), param("p")
	Label("loop")
	for i := range 8 {
		PREFETCHT0(Mem{Base: p, Disp: 64 * i})
	}
	ADDQ(U32(512), p)
	DECQ(n)
	JNZ(LabelRef("loop"))
	RET()
}
