package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tileRows are the tile heights; together they make any number of rows.
var tileRows = []int{12, 8, 6, 4, 3, 2, 1}

// attention writes the loops on tiles of keys and queries.
func attention() {
	for _, vectors := range []int{2, 1} {
		for _, rows := range tileRows {
			tile(rows, vectors, false)
			tile(rows, vectors, true)
		}
	}
	softmaxTile()
	softmaxBackTile()
	transposeRows()
	scaleRow()
	dot()
}

// tile: c (rows, 16·vectors) = or += a·b. b is k rows of 16·vectors numbers, ldb
// apart. a is rows of k numbers, lda apart; flipped, k rows of rows numbers, lda
// apart. Every number of c is one chain of FMAs over k in order: it does not
// depend on the height of the tile. Strides are in numbers.
func tile(rows, vectors int, flipped bool) {
	name := fmt.Sprintf("tile%dx%d", rows, 16*vectors)
	if flipped {
		name = fmt.Sprintf("tileT%dx%d", rows, 16*vectors)
	}
	p := text(name, "func(k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, add bool)",
		"computes a tile of a matrix product, see gen.", "k", "a", "lda", "b", "ldb", "c", "ldc")
	k, a, lda, b, ldb, c, ldc := p[0], p[1], p[2], p[3], p[4], p[5], p[6]
	for _, stride := range []reg.GPVirtual{lda, ldb, ldc} {
		SHLQ(U8(2), stride)
	}
	acc := func(row, v int) reg.VecPhysical { return z[row*vectors+v] }
	add := Load(Param("add"), GP8())
	cc := GP64()
	TESTB(add, add)
	JNZ(LabelRef("load"))
	for i := range rows * vectors {
		VPXORD(z[i], z[i], z[i])
	}
	JMP(LabelRef("start"))
	Label("load")
	MOVQ(c, cc)
	for row := range rows {
		for v := range vectors {
			VMOVUPS(Mem{Base: cc, Disp: 64 * v}, acc(row, v))
		}
		ADDQ(ldc, cc)
	}
	Label("start")
	step := advance(a, lda, flipped)
	at := rowAddresses(rows, a, lda, flipped)
	ahead := GP64() // rows of b further on, into the first cache
	LEAQ(Mem{Base: b, Index: ldb, Scale: 8}, ahead)
	TESTQ(k, k)
	JZ(LabelRef("end"))
	Label("loop")
	for v := range vectors {
		PREFETCHT0(Mem{Base: ahead, Disp: 64 * v})
	}
	for v := range vectors {
		VMOVUPS(Mem{Base: b, Disp: 64 * v}, z[24+v])
	}
	for row := range rows {
		x := z[28+row%4]
		VBROADCASTSS(at.of[row], x)
		for v := range vectors {
			VFMADD231PS(x, z[24+v], acc(row, v))
		}
	}
	for _, base := range at.bases {
		ADDQ(step, base)
	}
	ADDQ(ldb, b)
	ADDQ(ldb, ahead)
	DECQ(k)
	JNZ(LabelRef("loop"))
	Label("end")
	for row := range rows {
		for v := range vectors {
			VMOVUPS(acc(row, v), Mem{Base: c, Disp: 64 * v})
		}
		if row+1 < rows {
			ADDQ(ldc, c)
		}
	}
	done()
}

// advance is what one step along k adds to the addresses of a.
func advance(a, lda reg.GPVirtual, flipped bool) Op {
	if flipped {
		return lda
	}
	return U8(4)
}

// addresses are where the rows of a are: one base register for three rows.
type addresses struct {
	of    []Mem
	bases []reg.GPVirtual
}

func rowAddresses(rows int, a, lda reg.GPVirtual, flipped bool) addresses {
	at := addresses{of: make([]Mem, rows)}
	if flipped {
		at.bases = []reg.GPVirtual{a}
		for row := range rows {
			at.of[row] = Mem{Base: a, Disp: 4 * row}
		}
		return at
	}
	for row := range rows {
		if row%3 == 0 {
			base := a
			if row > 0 {
				prev := at.bases[len(at.bases)-1]
				base = GP64()
				LEAQ(Mem{Base: prev, Index: lda, Scale: 2}, base)
				ADDQ(lda, base)
			}
			at.bases = append(at.bases, base)
		}
		at.of[row] = Mem{Base: at.bases[row/3]}
		if row%3 > 0 {
			at.of[row] = Mem{Base: at.bases[row/3], Index: lda, Scale: uint8(row % 3)}
		}
	}
	return at
}

// seen writes the mask of the columns idx that a row sees: from ≤ idx < to.
func seen(idx, from, to reg.VecVirtual) reg.Register {
	behind, k := K(), K()
	VPCMPD(U8(5), from, idx, behind)  // idx >= from
	VPCMPD(U8(1), to, idx, behind, k) // idx < to
	return k
}

// row32 broadcasts the next number of an array and moves the pointer on.
func row32(p reg.GPVirtual) reg.VecVirtual {
	r := ZMM()
	VPBROADCASTD(at(p), r)
	return r
}

// softmaxTile: for every row, with m = max(top, s of the columns it sees), s
// becomes exp(s - m), 0 where it does not see, sum = sum·shrink + Σ s, and acc
// is scaled by shrink = exp(top - m). cols is a multiple of 16.
func softmaxTile() {
	p := text("softmaxTile512", "func(rows, cols int, s *float32, lds int, from, to *int32, top, sum, acc *float32, dim int)",
		"does one step of the running softmax of a tile, see gen.", "rows", "cols", "s", "lds", "from", "to", "top", "sum", "acc", "dim")
	rows, cols, s, lds, from, to, top, sum, acc, dim := p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9]
	SHLQ(U8(2), lds)
	e, least, step := newExponential(), c32(math.Inf(-1)), i32(16)
	lanes := ZMM()
	VMOVDQU32(lanesOf(), lanes)
	Label("row")
	f, t, old, m, idx := row32(from), row32(to), row32(top), ZMM(), ZMM()
	VMOVAPS(old, m)
	VMOVDQA32(lanes, idx)
	x, n := GP64(), GP64()
	MOVQ(s, x)
	MOVQ(cols, n)
	Label("max")
	v := ZMM()
	VMOVAPS(least, v)
	VMOVUPS(at(x), seen(idx, f, t), v)
	VMOVUPS(v, at(x))
	VMAXPS(v, m, m)
	VPADDD(step, idx, idx)
	ADDQ(U8(64), x)
	SUBQ(U8(16), n)
	JNZ(LabelRef("max"))
	reduce32(m, func(a, b, d Op) { VMAXPS(a, b, d) })
	VMOVSS(m.AsX(), at(top))
	VBROADCASTSS(m.AsX(), m)
	// A row that saw nothing yet has m = -Inf: exp(-Inf - 0) keeps it at 0.
	nothing := K()
	VCMPPS(U8(0), least, m, nothing)
	none := zero()
	VMOVAPS(none, nothing, m)
	VSUBPS(m, old, old)
	e.exp(old) // shrink
	total := zero()
	MOVQ(s, x)
	MOVQ(cols, n)
	Label("exp")
	w := ZMM()
	VMOVUPS(at(x), w)
	VSUBPS(m, w, w)
	e.exp(w)
	VMOVUPS(w, at(x))
	VADDPS(w, total, total)
	ADDQ(U8(64), x)
	SUBQ(U8(16), n)
	JNZ(LabelRef("exp"))
	reduce32(total, func(a, b, d Op) { VADDPS(a, b, d) })
	VFMADD231SS(at(sum), old.AsX(), total.AsX())
	VMOVSS(total.AsX(), at(sum))
	MOVQ(dim, n)
	Label("shrink")
	VMULPS(at(acc), old, w)
	VMOVUPS(w, at(acc))
	ADDQ(U8(64), acc)
	SUBQ(U8(16), n)
	JNZ(LabelRef("shrink"))
	for _, q := range []reg.GPVirtual{from, to, top, sum} {
		ADDQ(U8(4), q)
	}
	ADDQ(lds, s)
	DECQ(rows)
	JNZ(LabelRef("row"))
	done()
}

// softmaxBackTile: where a row sees, s becomes p = exp(s - lse) and ds becomes
// scale·p·(ds - delta); elsewhere both become 0. cols is a multiple of 16.
func softmaxBackTile() {
	p := text("softmaxBackTile512", "func(rows, cols int, s, ds *float32, ld int, from, to *int32, lse, delta *float32, scale float32)",
		"turns scores of a tile to weights and their gradients, see gen.", "rows", "cols", "s", "ds", "ld", "from", "to", "lse", "delta")
	rows, cols, s, ds, ld, from, to, lse, delta := p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8]
	SHLQ(U8(2), ld)
	e, scale, step := newExponential(), scalar("scale"), i32(16)
	lanes := ZMM()
	VMOVDQU32(lanesOf(), lanes)
	Label("row")
	f, t, l, d, idx := row32(from), row32(to), row32(lse), row32(delta), ZMM()
	VMOVDQA32(lanes, idx)
	x, y, n := GP64(), GP64(), GP64()
	MOVQ(s, x)
	MOVQ(ds, y)
	MOVQ(cols, n)
	Label("vector")
	k, v, g := seen(idx, f, t), ZMM(), ZMM()
	VMOVUPS(at(x), v)
	VSUBPS(l, v, v)
	e.exp(v)
	VMOVAPS_Z(v, k, v)
	VMOVUPS(v, at(x))
	VMOVUPS(at(y), g)
	VSUBPS(d, g, g)
	VMULPS(scale, g, g)
	VMULPS_Z(v, g, k, g)
	VMOVUPS(g, at(y))
	VPADDD(step, idx, idx)
	ADDQ(U8(64), x)
	ADDQ(U8(64), y)
	SUBQ(U8(16), n)
	JNZ(LabelRef("vector"))
	for _, q := range []reg.GPVirtual{from, to, lse, delta} {
		ADDQ(U8(4), q)
	}
	ADDQ(ld, s)
	ADDQ(ld, ds)
	DECQ(rows)
	JNZ(LabelRef("row"))
	done()
}

// scaleRow: x ·= scale.
func scaleRow() {
	p := text("scaleRow512", "func(dst, x *float32, n int, scale float32)", "writes dst = x·scale.", "dst", "x", "n")
	scale := scalar("scale")
	vectors(p[2], p[:2], func(mask reg.Register) {
		x := load(at(p[1]), mask)
		VMULPS(scale, x, x)
		store(x, at(p[0]), mask)
	})
	done()
}

// transposeRows: dst (cols, 16) = scale · src (16, cols)ᵀ, 16 columns at a time.
// Where there are fewer than 16 rows the last is repeated.
func transposeRows() {
	p := text("transpose512", "func(dst *float32, ldd int, src *float32, lds, rows, cols int, scale float32)",
		"writes dst[c][r] = scale·src[r][c] for 16 rows, of which the first rows exist and the last is repeated; cols is a multiple of 16.",
		"dst", "ldd", "src", "lds", "rows", "cols")
	dst, ldd, src, lds, rows, cols := p[0], p[1], p[2], p[3], p[4], p[5]
	SHLQ(U8(2), ldd)
	SHLQ(U8(2), lds)
	x := XMM()
	Load(Param("scale"), x)
	scale := z[31]
	VBROADCASTSS(x, scale)
	left, row, step, none := GP64(), GP64(), GP64(), GP64()
	XORQ(none, none)
	Label("block")
	MOVQ(rows, left)
	MOVQ(src, row)
	for i := range 16 {
		VMULPS(Mem{Base: row}, scale, z[i])
		MOVQ(lds, step)
		DECQ(left)
		CMOVQLE(none, step)
		ADDQ(step, row)
	}
	transpose16()
	for i := range 16 {
		VMOVUPS(z[i], Mem{Base: dst})
		ADDQ(ldd, dst)
	}
	ADDQ(U8(64), src)
	SUBQ(U8(16), cols)
	JNZ(LabelRef("block"))
	done()
}

// transpose16 transposes z[0:16] in place with the help of z[16:31]: pairs,
// then fours within the 128-bit parts, then the parts.
func transpose16() {
	for i := 0; i < 16; i += 4 { // a: rows i…i+3 → 4 vectors of column fours
		a, b, c, d := z[i], z[i+1], z[i+2], z[i+3]
		t := z[16:20]
		VUNPCKLPS(b, a, t[0])
		VUNPCKHPS(b, a, t[1])
		VUNPCKLPS(d, c, t[2])
		VUNPCKHPS(d, c, t[3])
		VUNPCKLPD(t[2], t[0], a)
		VUNPCKHPD(t[2], t[0], b)
		VUNPCKLPD(t[3], t[1], c)
		VUNPCKHPD(t[3], t[1], d)
	}
	// z[4g+j] holds, in part q, rows 4g…4g+3 of column 4q+j.
	for j := range 4 {
		a, b, c, d := z[j], z[4+j], z[8+j], z[12+j]
		t := z[16:20]
		VSHUFF32X4(U8(0x44), b, a, t[0]) // a0 a1 b0 b1
		VSHUFF32X4(U8(0xee), b, a, t[1]) // a2 a3 b2 b3
		VSHUFF32X4(U8(0x44), d, c, t[2])
		VSHUFF32X4(U8(0xee), d, c, t[3])
		VSHUFF32X4(U8(0x88), t[2], t[0], a) // a0 b0 c0 d0: column j
		VSHUFF32X4(U8(0xdd), t[2], t[0], b) // column 4+j
		VSHUFF32X4(U8(0x88), t[3], t[1], c)
		VSHUFF32X4(U8(0xdd), t[3], t[1], d)
	}
}

// dot: Σ x·y of float32, in 16 chains.
func dot() {
	p := text("dot512", "func(x, y *float32, n int) float32", "returns Σ x·y.", "x", "y", "n")
	sum := zero()
	vectors(p[2], p[:2], func(mask reg.Register) {
		VFMADD231PS(load(at(p[0]), mask), load(at(p[1]), mask), sum)
	})
	reduce32(sum, func(a, b, d Op) { VADDPS(a, b, d) })
	Store(sum.AsX(), ReturnIndex(0))
	done()
}
