package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// attention writes the loops on tiles of keys and queries.
func attention() {
	softmaxTile()
	softmaxBackTile()
	scaleRow()
	dot()
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

// softmaxTile: for every row, with m = max(top, scale·s of the columns it sees),
// s becomes exp(scale·s - m), 0 where it does not see, sum = sum·shrink + Σ s, and acc
// is scaled by shrink = exp(top - m). cols is a multiple of 16.
func softmaxTile() {
	p := text("softmaxTile512", "func(rows, cols int, s *float32, lds int, from, to *int32, top, sum, acc *float32, dim int, scale float32)",
		"does one step of the running softmax of a tile, see gen.", "rows", "cols", "s", "lds", "from", "to", "top", "sum", "acc", "dim")
	rows, cols, s, lds, from, to, top, sum, acc, dim := p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9]
	SHLQ(U8(2), lds)
	e, least, step, scale := newExponential(), c32(math.Inf(-1)), i32(16), scalar("scale")
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
	VMULPS(at(x), scale, seen(idx, f, t), v)
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

// softmaxBackTile: where a row sees, s becomes p = exp(scale·s - lse) and ds becomes
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
	VFMSUB132PS(scale, l, v)
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
