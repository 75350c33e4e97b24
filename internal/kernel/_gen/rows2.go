package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The loops over rows for AVX2 and FMA. They take whole vectors of 8 numbers; what
// is left over is the caller's, in plain Go.

// rowsAVX2 writes them.
func rowsAVX2() {
	elementwiseAVX2()
	reductionsAVX2()
	layerNormAVX2()
	rotationAVX2()
	activationsAVX2()
	geluAVX2()
	lossAVX2()
	softmaxTileAVX2()
	softmaxBackTileAVX2()
	dropoutAVX2()
}

// eight is a vector of one float32 in memory.
func eight(v float64) Mem { return words8(math.Float32bits(float32(v))) }

func words8(bits uint32) Mem {
	name := fmt.Sprintf("y32_%08x", bits)
	if _, ok := constants[name]; !ok {
		m := GLOBL(name, RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(bits))
		}
		constants[name] = m
	}
	return constants[name]
}

// expAVX2 sets x to exp(x) as exponential.exp does; 2ⁿ comes in two factors,
// since n goes beyond the exponents on both sides.
func expAVX2(x reg.VecVirtual) {
	limit, n, p := YMM(), YMM(), YMM()
	VMOVUPS(eight(-150), limit)
	VMAXPS(x, limit, x)
	VMOVUPS(eight(100), limit)
	VMINPS(x, limit, x)
	VMULPS(eight(math.Log2E), x, n)
	VROUNDPS(U8(8), n, n)
	VFNMADD231PS(eight(0.693359375), n, x)
	VFNMADD231PS(eight(math.Ln2-0.693359375), n, x)
	VMOVUPS(eight(0.0013814596), p)
	for _, c := range []float64{0.0083687175, 0.04166839, 0.16666521, 0.49999994, 1, 1} {
		VFMADD213PS(eight(c), x, p)
	}
	VCVTPS2DQ(n, n)
	VPSRAD(U8(1), n, x)
	VPSUBD(x, n, n)
	for _, half := range []reg.VecVirtual{x, n} {
		VPADDD(words8(127), half, half)
		VPSLLD(U8(23), half, half)
	}
	VMULPS(p, x, x)
	VMULPS(n, x, x)
}

// vectors8 runs body over n numbers, a multiple of 8 and not 0.
func vectors8(n reg.GPVirtual, pointers []reg.GPVirtual, body func()) {
	loop := fmt.Sprintf("loop%d", labels)
	labels++
	Label(loop)
	body()
	for _, p := range pointers {
		ADDQ(U8(32), p)
	}
	SUBQ(U8(8), n)
	JNZ(LabelRef(loop))
}

func load8(m Mem) reg.VecVirtual {
	r := YMM()
	VMOVUPS(m, r)
	return r
}

func zero8() reg.VecVirtual {
	r := YMM()
	VXORPS(r, r, r)
	return r
}

// scalar8 broadcasts an argument.
func scalar8(name string) reg.VecVirtual {
	r, x := YMM(), XMM()
	Load(Param(name), x)
	VBROADCASTSS(x, r)
	return r
}

// fold8 folds a vector of float32 into its lowest number.
func fold8(r reg.VecVirtual, op func(a, b, dst Op)) {
	h := XMM()
	VEXTRACTF128(U8(1), r, h)
	op(h, r.AsX(), r.AsX())
	VPERMILPD(U8(1), r.AsX(), h)
	op(h, r.AsX(), r.AsX())
	VMOVSHDUP(r.AsX(), h)
	op(h, r.AsX(), r.AsX())
}

// widen8 returns the float64 halves of the numbers at m.
func widen8(m Mem) (lo, hi reg.VecVirtual) {
	lo, hi = YMM(), YMM()
	VCVTPS2PD(m, lo)
	VCVTPS2PD(m.Offset(16), hi)
	return lo, hi
}

// sum64 adds two vectors of float64 up and returns the total as a result.
func sum64(a, b reg.VecVirtual, result int) {
	h := XMM()
	VADDPD(b, a, a)
	VEXTRACTF128(U8(1), a, h)
	VADDPD(h, a.AsX(), a.AsX())
	VPERMILPD(U8(1), a.AsX(), h)
	VADDPD(h, a.AsX(), a.AsX())
	Store(a.AsX(), ReturnIndex(result))
}

func elementwiseAVX2() {
	p := text("addAVX2", "func(dst, x *float32, n int)", "implements addGeneric.", "dst", "x", "n")
	vectors8(p[2], p[:2], func() {
		a := load8(at(p[0]))
		VADDPS(at(p[1]), a, a)
		VMOVUPS(a, at(p[0]))
	})
	done()

	p = text("scaleAVX2", "func(dst, x *float32, n int, f float32)", "implements scaleGeneric.", "dst", "x", "n")
	f := scalar8("f")
	vectors8(p[2], p[:2], func() {
		a := YMM()
		VMULPS(at(p[1]), f, a)
		VMOVUPS(a, at(p[0]))
	})
	done()

	p = text("rmsApplyAVX2", "func(dst, x, w *float32, n int, r float32)", "writes dst = x·r·w.", "dst", "x", "w", "n")
	r := scalar8("r")
	vectors8(p[3], p[:3], func() {
		a := YMM()
		VMULPS(at(p[1]), r, a)
		VMULPS(at(p[2]), a, a)
		VMOVUPS(a, at(p[0]))
	})
	done()

	p = text("rmsBackApplyAVX2", "func(dx, dy, x, w *float32, n int, a, b float32)", "adds a·dy·w − b·x to dx.", "dx", "dy", "x", "w", "n")
	a, b := scalar8("a"), scalar8("b")
	vectors8(p[4], p[:4], func() {
		d := YMM()
		VMULPS(at(p[1]), a, d)
		VMULPS(at(p[3]), d, d)
		VFNMADD231PS(at(p[2]), b, d)
		VADDPS(at(p[0]), d, d)
		VMOVUPS(d, at(p[0]))
	})
	done()
}

func reductionsAVX2() {
	p := text("dotAVX2", "func(x, y *float32, n int) float32", "returns Σ x·y.", "x", "y", "n")
	sum := zero8()
	vectors8(p[2], p[:2], func() { VFMADD231PS(at(p[1]), load8(at(p[0])), sum) })
	fold8(sum, func(a, b, d Op) { VADDPS(a, b, d) })
	Store(sum.AsX(), ReturnIndex(0))
	done()

	p = text("sumSquaresAVX2", "func(x *float32, n int) float64", "returns Σ x².", "x", "n")
	a, b := zero8(), zero8()
	vectors8(p[1], p[:1], func() {
		lo, hi := widen8(at(p[0]))
		VFMADD231PD(lo, lo, a)
		VFMADD231PD(hi, hi, b)
	})
	sum64(a, b, 0)
	done()

	p = text("sumProductAVX2", "func(x, y, w *float32, n int) float64", "returns Σ x·y·w.", "x", "y", "w", "n")
	a, b = zero8(), zero8()
	vectors8(p[3], p[:3], func() {
		xl, xh := widen8(at(p[0]))
		yl, yh := widen8(at(p[1]))
		wl, wh := widen8(at(p[2]))
		VMULPD(wl, yl, yl)
		VMULPD(wh, yh, yh)
		VFMADD231PD(xl, yl, a)
		VFMADD231PD(xh, yh, b)
	})
	sum64(a, b, 0)
	done()
}

// sigmaAVX2 returns 1 + exp(-x), the denominator of σ(x).
func sigmaAVX2(x reg.VecVirtual) reg.VecVirtual {
	d := YMM()
	VXORPS(words8(1<<31), x, d)
	expAVX2(d)
	VADDPS(eight(1), d, d)
	return d
}

func activationsAVX2() {
	p := text("swiGLUAVX2", "func(dst, gate, up *float32, n int)", "implements swiGLUGeneric.", "dst", "gate", "up", "n")
	vectors8(p[3], p[:3], func() {
		x := load8(at(p[1]))
		VDIVPS(sigmaAVX2(x), x, x)
		VMULPS(at(p[2]), x, x)
		VMOVUPS(x, at(p[0]))
	})
	done()

	p = text("swiGLUBackAVX2", "func(dgate, dup, dy, gate, up *float32, n int)", "implements swiGLUBackGeneric.", "dgate", "dup", "dy", "gate", "up", "n")
	vectors8(p[5], p[:5], func() {
		dgate, dup := swiGLUGradients(load8(at(p[2])), load8(at(p[3])), load8(at(p[4])))
		VMOVUPS(dup, at(p[1]))
		VMOVUPS(dgate, at(p[0]))
	})
	done()
}

// swiGLUGradients are those of SwiGLU at gate x, see swiGLUBackGeneric.
func swiGLUGradients(dy, x, up reg.VecVirtual) (dgate, dup reg.VecVirtual) {
	s, t := YMM(), YMM()
	VMOVUPS(eight(1), s)
	VDIVPS(sigmaAVX2(x), s, s)
	VMOVUPS(eight(1), t)
	VSUBPS(s, t, t)
	VFMADD213PS(eight(1), x, t) // 1 + x(1-s)
	VMULPS(s, t, t)
	VMULPS(up, t, t)
	VMULPS(dy, t, t)
	VMULPS(x, s, s)
	VMULPS(dy, s, s)
	return t, s
}

func geluAVX2() {
	argument := func(x reg.VecVirtual) reg.VecVirtual { // z = scale·x·(1 + cube·x²)
		z := YMM()
		VMULPS(x, x, z)
		VMULPS(eight(geluCube), z, z)
		VADDPS(eight(1), z, z)
		VMULPS(x, z, z)
		VMULPS(eight(geluScale), z, z)
		return z
	}
	p := text("geluAVX2", "func(dst, x *float32, n int)", "implements geluGeneric.", "dst", "x", "n")
	vectors8(p[2], p[:2], func() {
		x := load8(at(p[1]))
		VDIVPS(sigmaAVX2(argument(x)), x, x)
		VMOVUPS(x, at(p[0]))
	})
	done()

	p = text("geluBackAVX2", "func(dx, dy, x *float32, n int)", "implements geluBackGeneric.", "dx", "dy", "x", "n")
	none := zero8()
	vectors8(p[3], p[:3], func() {
		x, s, c, t, live := load8(at(p[2])), YMM(), YMM(), YMM(), YMM()
		VMOVUPS(eight(1), s)
		VDIVPS(sigmaAVX2(argument(x)), s, s)
		VMOVUPS(eight(1), c)
		VSUBPS(s, c, c)
		VMULPS(s, c, c)              // s(1-s), 0 where x² may overflow
		VCMPPS(U8(4), none, c, live) // not equal, or NaN
		VMULPS(x, x, t)
		VMULPS(eight(3*geluCube), t, t)
		VADDPS(eight(1), t, t)
		VMULPS(x, t, t)
		VMULPS(eight(geluScale), t, t)
		VMULPS(c, t, t)
		VANDPS(live, t, t)
		VADDPS(t, s, s)
		VMULPS(at(p[1]), s, s)
		VMOVUPS(s, at(p[0]))
	})
	done()
}

func lossAVX2() {
	p := text("maximumAVX2", "func(x *float32, n int) float32", "implements maximumGeneric, but may pass over NaN.", "x", "n")
	top := load8(eight(math.Inf(-1)))
	vectors8(p[1], p[:1], func() { VMAXPS(at(p[0]), top, top) })
	fold8(top, func(a, b, d Op) { VMAXPS(a, b, d) })
	Store(top.AsX(), ReturnIndex(0))
	done()

	p = text("sumExpAVX2", "func(x *float32, n int, top float32) float64", "implements sumExpGeneric.", "x", "n")
	m, a, b := scalar8("top"), zero8(), zero8()
	vectors8(p[1], p[:1], func() {
		x, lo, hi := load8(at(p[0])), YMM(), YMM()
		VSUBPS(m, x, x)
		expAVX2(x)
		VCVTPS2PD(x.AsX(), lo)
		VEXTRACTF128(U8(1), x, x.AsX())
		VCVTPS2PD(x.AsX(), hi)
		VADDPD(lo, a, a)
		VADDPD(hi, b, b)
	})
	sum64(a, b, 0)
	done()

	p = text("expScaleAVX2", "func(x *float32, n int, top, scale float32)", "implements expScaleGeneric.", "x", "n")
	m = scalar8("top")
	s := scalar8("scale")
	vectors8(p[1], p[:1], func() {
		x := load8(at(p[0]))
		VSUBPS(m, x, x)
		expAVX2(x)
		VMULPS(s, x, x)
		VMOVUPS(x, at(p[0]))
	})
	done()
}

// seenAVX2 writes to mask the columns idx that a row sees: from ≤ idx < to.
func seenAVX2(idx, from, to, mask reg.VecVirtual) {
	t := YMM()
	VPCMPGTD(idx, from, t) // from > idx
	VPCMPGTD(idx, to, mask)
	VPANDN(mask, t, mask)
}

func word8(p reg.GPVirtual) reg.VecVirtual {
	r := YMM()
	VBROADCASTSS(at(p), r)
	return r
}

// softmaxTileAVX2 is softmaxTile for 8 columns at a time.
func softmaxTileAVX2() {
	p := text("softmaxTileAVX2", "func(rows, cols int, s *float32, lds int, from, to *int32, top, sum, acc *float32, dim int, scale float32)",
		"implements softmaxTileGeneric.", "rows", "cols", "s", "lds", "from", "to", "top", "sum", "acc", "dim")
	rows, cols, s, lds, from, to, top, sum, acc, dim := p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9]
	SHLQ(U8(2), lds)
	scale, x, n := scalar8("scale"), GP64(), GP64()
	Label("row")
	f, t, old, m, idx, v, mask := word8(from), word8(to), word8(top), YMM(), YMM(), YMM(), YMM()
	least := load8(eight(math.Inf(-1)))
	VMOVAPS(old, m)
	VMOVDQU(lanesOf(), idx)
	MOVQ(s, x)
	MOVQ(cols, n)
	Label("max")
	VMULPS(at(x), scale, v)
	seenAVX2(idx, f, t, mask)
	VBLENDVPS(mask, v, least, v)
	VMOVUPS(v, at(x))
	VMAXPS(v, m, m)
	VPADDD(words8(8), idx, idx)
	ADDQ(U8(32), x)
	SUBQ(U8(8), n)
	JNZ(LabelRef("max"))
	fold8(m, func(a, b, d Op) { VMAXPS(a, b, d) })
	VMOVSS(m.AsX(), at(top))
	VBROADCASTSS(m.AsX(), m)
	// A row that saw nothing yet has m = -Inf: exp(-Inf - 0) keeps it at 0.
	VCMPPS(U8(0), least, m, mask)
	VANDNPS(m, mask, m)
	VSUBPS(m, old, old)
	expAVX2(old) // shrink
	total := zero8()
	MOVQ(s, x)
	MOVQ(cols, n)
	Label("exp")
	w := load8(at(x))
	VSUBPS(m, w, w)
	expAVX2(w)
	VMOVUPS(w, at(x))
	VADDPS(w, total, total)
	ADDQ(U8(32), x)
	SUBQ(U8(8), n)
	JNZ(LabelRef("exp"))
	fold8(total, func(a, b, d Op) { VADDPS(a, b, d) })
	VFMADD231SS(at(sum), old.AsX(), total.AsX())
	VMOVSS(total.AsX(), at(sum))
	MOVQ(dim, n)
	Label("shrink")
	VMULPS(at(acc), old, w)
	VMOVUPS(w, at(acc))
	ADDQ(U8(32), acc)
	SUBQ(U8(8), n)
	JNZ(LabelRef("shrink"))
	for _, q := range []reg.GPVirtual{from, to, top, sum} {
		ADDQ(U8(4), q)
	}
	ADDQ(lds, s)
	DECQ(rows)
	JNZ(LabelRef("row"))
	done()
}

// softmaxBackTileAVX2 is softmaxBackTile for 8 columns at a time.
func softmaxBackTileAVX2() {
	p := text("softmaxBackTileAVX2", "func(rows, cols int, s, ds *float32, ld int, from, to *int32, lse, delta *float32, scale float32)",
		"implements softmaxBackTileGeneric.", "rows", "cols", "s", "ds", "ld", "from", "to", "lse", "delta")
	rows, cols, s, ds, ld, from, to, lse, delta := p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8]
	SHLQ(U8(2), ld)
	scale, off, n := scalar8("scale"), GP64(), GP64()
	Label("row")
	f, t, l, d, idx, mask := word8(from), word8(to), word8(lse), word8(delta), YMM(), YMM()
	VMOVDQU(lanesOf(), idx)
	XORQ(off, off)
	MOVQ(cols, n)
	Label("vector")
	v, g := load8(Mem{Base: s, Index: off, Scale: 1}), load8(Mem{Base: ds, Index: off, Scale: 1})
	VFMSUB132PS(scale, l, v)
	expAVX2(v)
	seenAVX2(idx, f, t, mask)
	VANDPS(mask, v, v)
	VMOVUPS(v, Mem{Base: s, Index: off, Scale: 1})
	VSUBPS(d, g, g)
	VMULPS(scale, g, g)
	VMULPS(v, g, g)
	VANDPS(mask, g, g)
	VMOVUPS(g, Mem{Base: ds, Index: off, Scale: 1})
	VPADDD(words8(8), idx, idx)
	ADDQ(U8(32), off)
	SUBQ(U8(8), n)
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

// dropoutAVX2 is dropout for 32 numbers at a time: two vectors of words.
func dropoutAVX2() {
	p := text("dropoutAVX2", "func(dst, x *float32, n int, index, k0, k1, threshold uint32, scale float32)",
		"implements dropoutGeneric for multiples of 32 numbers.", "dst", "x", "n")
	m := newMasks8()
	Label("loop")
	m.each(func(offset int, f reg.VecVirtual) {
		VMULPS(Mem{Base: p[1], Disp: offset}, f, f)
		VMOVUPS(f, Mem{Base: p[0], Disp: offset})
	})
	SUBQ(I8(-128), p[0])
	SUBQ(I8(-128), p[1])
	SUBQ(U8(32), p[2])
	JNZ(LabelRef("loop"))
	done()
}

// masks8 are the random bits of dropout for AVX2: see dropoutFactor.
type masks8 struct {
	h0, k1, threshold, scale reg.VecVirtual
	word, other, factor      reg.VecVirtual
}

// newMasks8 loads the arguments index, k0, k1, threshold and scale.
func newMasks8() *masks8 {
	word := func(name string) reg.VecVirtual {
		g, x, r := GP32(), XMM(), YMM()
		Load(Param(name), g)
		MOVD(g, x)
		VPBROADCASTD(x, r)
		return r
	}
	m := &masks8{
		h0: word("index"), k1: word("k1"), threshold: word("threshold"), scale: scalar8("scale"),
		word: YMM(), other: YMM(), factor: YMM(),
	}
	VPSRLD(U8(1), m.h0, m.h0)
	VPADDD(word("k0"), m.h0, m.h0)
	VPADDD(lanesOf(), m.h0, m.h0)
	return m
}

func (m *masks8) mix() {
	for i, shift := range []uint8{16, 15, 16} {
		VPSRLD(U8(shift), m.word, m.other)
		VPXOR(m.other, m.word, m.word)
		if i < 2 {
			VPMULLD(words8([]uint32{0x7feb352d, 0x846ca68b}[i]), m.word, m.word)
		}
	}
}

// each calls f for the next 32 numbers, 8 at a time: with the offset of their first
// byte and their factors, scale or 0, in a register that f may change.
func (m *masks8) each(f func(offset int, factors reg.VecVirtual)) {
	for i := range 2 {
		VMOVDQA(m.h0, m.word)
		VPADDD(words8(8), m.h0, m.h0)
		m.mix()
		VPXOR(m.k1, m.word, m.word)
		m.mix()
		VPSLLD(U8(16), m.word, m.other)
		for j, bits := range []reg.VecVirtual{m.other, m.word} {
			VPMAXUD(m.threshold, bits, m.factor)
			VPCMPEQD(bits, m.factor, m.factor) // bits >= threshold
			VANDPS(m.scale, m.factor, m.factor)
			f(32*i+64*j, m.factor)
		}
	}
}
