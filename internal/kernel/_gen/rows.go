package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rows writes the loops over rows: elementwise, norms, rotation, loss, attention.
func rows() {
	addition()
	dropout()
	reductions()
	normApply()
	activations()
	rotation()
	loss()
	attention()
	rowsAVX2()
}

// text opens a function for AVX-512 and loads its pointer and integer arguments.
func text(name, signature, doc string, params ...string) []reg.GPVirtual {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + " " + doc)
	out := make([]reg.GPVirtual, len(params))
	for i, p := range params {
		out[i] = Load(Param(p), GP64()).(reg.GPVirtual)
	}
	return out
}

// scalar broadcasts a float32 argument.
func scalar(name string) reg.VecVirtual {
	r, x := ZMM(), XMM()
	Load(Param(name), x)
	VBROADCASTSS(x, r)
	return r
}

func done() {
	VZEROUPPER()
	RET()
}

func addition() {
	p := text("add512", "func(dst, x *float32, n int)", "implements addGeneric.", "dst", "x", "n")
	vectors(p[2], p[:2], func(mask reg.Register) {
		a, b := load(at(p[0]), mask), load(at(p[1]), mask)
		VADDPS(b, a, a)
		store(a, at(p[0]), mask)
	})
	done()
}

// dropout: 16 words of random bits serve 32 numbers; see dropoutFactor.
func dropout() {
	p := text("dropout512", "func(dst, x *float32, n int, index, k0, k1, threshold uint32, scale float32)",
		"implements dropoutGeneric.", "dst", "x", "n")
	word := func(name string) reg.VecVirtual {
		g, r := GP32(), ZMM()
		Load(Param(name), g)
		VPBROADCASTD(g, r)
		return r
	}
	h0, k1, threshold, scale := word("index"), word("k1"), word("threshold"), scalar("scale")
	VPSRLD(U8(1), h0, h0)
	VPADDD(word("k0"), h0, h0)
	VPADDD(lanesOf(), h0, h0)
	step, m0, m1 := i32(16), i32(0x7feb352d), i32(0x846ca68b)
	h, t := ZMM(), ZMM()
	mix := func() {
		for i, shift := range []uint8{16, 15, 16} {
			VPSRLD(U8(shift), h, t)
			VPXORD(t, h, h)
			if i < 2 {
				VPMULLD([]reg.VecVirtual{m0, m1}[i], h, h)
			}
		}
	}
	words := func() {
		VMOVDQA32(h0, h)
		VPADDD(step, h0, h0)
		mix()
		VPXORD(k1, h, h)
		mix()
	}
	apply := func(half int, bits reg.VecVirtual, mask reg.Register) {
		x, f, keep := load(Mem{Base: p[1], Disp: 64 * half}, mask), ZMM(), K()
		VPCMPUD(U8(5), threshold, bits, keep) // bits >= threshold
		VMOVAPS_Z(scale, keep, f)
		VMULPS(f, x, x)
		store(x, Mem{Base: p[0], Disp: 64 * half}, mask)
	}
	low := ZMM()
	Label("loop")
	CMPQ(p[2], U8(32))
	JB(LabelRef("tail"))
	words()
	VPSLLD(U8(16), h, low)
	apply(0, low, nil)
	apply(1, h, nil)
	SUBQ(I8(-128), p[0])
	SUBQ(I8(-128), p[1])
	SUBQ(U8(32), p[2])
	JMP(LabelRef("loop"))
	Label("tail")
	TESTQ(p[2], p[2])
	JZ(LabelRef("done"))
	words()
	VPSLLD(U8(16), h, low)
	ones, first, second := GP32(), K(), K()
	MOVL(U32(math.MaxUint32), ones)
	BZHIL(p[2].As32(), ones, ones)
	KMOVD(ones, first)
	KSHIFTRD(U8(16), first, second)
	apply(0, low, first)
	apply(1, h, second)
	Label("done")
	done()
}

var laneNumbers Mem

// lanesOf is the vector 0, 1, … 15.
func lanesOf() Mem {
	if laneNumbers.Base == nil {
		laneNumbers = GLOBL("lanes", RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(i))
		}
	}
	return laneNumbers
}

// widen returns the float64 halves of a vector.
func widen(r reg.VecVirtual) (lo, hi reg.VecVirtual) {
	lo, hi = ZMM(), ZMM()
	VCVTPS2PD(r.AsY(), lo)
	VEXTRACTF64X4(U8(1), r, hi.AsY())
	VCVTPS2PD(hi.AsY(), hi)
	return lo, hi
}

func zero() reg.VecVirtual {
	r := ZMM()
	VPXORD(r, r, r)
	return r
}

// add64 adds the two accumulators up and returns the total.
func add64(a, b reg.VecVirtual, result int) {
	VADDPD(b, a, a)
	reduce(a, func(x, y, d Op) { VADDPD(x, y, d) })
	Store(a.AsX(), ReturnIndex(result))
}

// reductions writes the sums of the norms, in float64.
func reductions() {
	p := text("sumSquares512", "func(x *float32, n int) float64", "returns Σ x².", "x", "n")
	a, b := zero(), zero()
	vectors(p[1], p[:1], func(mask reg.Register) {
		lo, hi := widen(load(at(p[0]), mask))
		VFMADD231PD(lo, lo, a)
		VFMADD231PD(hi, hi, b)
	})
	add64(a, b, 0)
	done()

	p = text("sumProduct512", "func(x, y, w *float32, n int) float64", "returns Σ x·y·w.", "x", "y", "w", "n")
	a, b = zero(), zero()
	vectors(p[3], p[:3], func(mask reg.Register) {
		x, y := load(at(p[0]), mask), load(at(p[1]), mask)
		VMULPS(load(at(p[2]), mask), y, y)
		xl, xh := widen(x)
		yl, yh := widen(y)
		VFMADD231PD(xl, yl, a)
		VFMADD231PD(xh, yh, b)
	})
	add64(a, b, 0)
	done()

	p = text("sum512", "func(x *float32, n int) float64", "returns Σ x.", "x", "n")
	a, b = zero(), zero()
	vectors(p[1], p[:1], func(mask reg.Register) {
		lo, hi := widen(load(at(p[0]), mask))
		VADDPD(lo, a, a)
		VADDPD(hi, b, b)
	})
	add64(a, b, 0)
	done()

	sumDeviations()
	sumGradients()
}

// double broadcasts a float64 argument.
func double(name string) reg.VecVirtual {
	r, x := ZMM(), XMM()
	Load(Param(name), x)
	VBROADCASTSD(x, r)
	return r
}

// halves splits a 16-lane mask into those of the float64 halves.
func halves(mask reg.Register) (lo, hi reg.Register) {
	if mask == nil {
		return nil, nil
	}
	k := K()
	KSHIFTRW(U8(8), mask, k)
	return mask, k
}

// subtract sets r -= c in the lanes of the mask and zero elsewhere.
func subtract(c, r reg.VecVirtual, mask reg.Register) {
	if mask == nil {
		VSUBPD(c, r, r)
	} else {
		VSUBPD_Z(c, r, mask, r)
	}
}

func sumDeviations() {
	p := text("sumDeviations512", "func(x *float32, n int, mean float64) float64", "returns Σ (x-mean)².", "x", "n")
	a, b, mean := zero(), zero(), double("mean")
	vectors(p[1], p[:1], func(mask reg.Register) {
		lo, hi := widen(load(at(p[0]), mask))
		ml, mh := halves(mask)
		subtract(mean, lo, ml)
		subtract(mean, hi, mh)
		VFMADD231PD(lo, lo, a)
		VFMADD231PD(hi, hi, b)
	})
	add64(a, b, 0)
	done()
}

func sumGradients() {
	p := text("sumGradients512", "func(dy, w, x *float32, n int, mean float64) (sum, dot float64)",
		"returns Σ dy·w and Σ dy·w·(x-mean).", "dy", "w", "x", "n")
	a, b, c, d, mean := zero(), zero(), zero(), zero(), double("mean")
	vectors(p[3], p[:3], func(mask reg.Register) {
		gl, gh := widen(load(at(p[0]), mask))
		wl, wh := widen(load(at(p[1]), mask))
		xl, xh := widen(load(at(p[2]), mask))
		VMULPD(wl, gl, gl)
		VMULPD(wh, gh, gh)
		VADDPD(gl, a, a)
		VADDPD(gh, b, b)
		VSUBPD(mean, xl, xl) // masked lanes have g = 0
		VSUBPD(mean, xh, xh)
		VFMADD231PD(gl, xl, c)
		VFMADD231PD(gh, xh, d)
	})
	add64(a, b, 0)
	add64(c, d, 1)
	done()
}

// normApply writes the second passes of the norms.
func normApply() {
	p := text("rmsApply512", "func(dst, x, w *float32, n int, r float32)", "writes dst = x·r·w.", "dst", "x", "w", "n")
	r := scalar("r")
	vectors(p[3], p[:3], func(mask reg.Register) {
		x := load(at(p[1]), mask)
		VMULPS(r, x, x)
		VMULPS(load(at(p[2]), mask), x, x)
		store(x, at(p[0]), mask)
	})
	done()

	p = text("rmsBackApply512", "func(dx, dy, x, w *float32, n int, a, b float32)", "adds a·dy·w − b·x to dx.", "dx", "dy", "x", "w", "n")
	a, b := scalar("a"), scalar("b")
	vectors(p[4], p[:4], func(mask reg.Register) {
		dx, dy := load(at(p[0]), mask), load(at(p[1]), mask)
		VMULPS(a, dy, dy)
		VMULPS(load(at(p[3]), mask), dy, dy)
		VFNMADD231PS(b, load(at(p[2]), mask), dy)
		VADDPS(dy, dx, dx)
		store(dx, at(p[0]), mask)
	})
	done()

	p = text("layerApply512", "func(dst, x, w, b *float32, n int, mean, r float64)", "writes dst = (x-mean)·r·w + b.", "dst", "x", "w", "b", "n")
	mean, r64 := double("mean"), double("r")
	vectors(p[4], p[:4], func(mask reg.Register) {
		lo, hi := widen(load(at(p[1]), mask))
		x := ZMM()
		for _, h := range []reg.VecVirtual{lo, hi} {
			VSUBPD(mean, h, h)
			VMULPD(r64, h, h)
		}
		narrow(lo, hi, x)
		VFMADD213PS(load(at(p[3]), mask), load(at(p[2]), mask), x)
		store(x, at(p[0]), mask)
	})
	done()

	p = text("layerBackApply512", "func(dx, dy, x, w *float32, n int, mean, r, sum, dot float64)",
		"adds r·(dy·w − sum − (x-mean)·dot) to dx.", "dx", "dy", "x", "w", "n")
	mean, r64, sum, dot := double("mean"), double("r"), double("sum"), double("dot")
	vectors(p[4], p[:4], func(mask reg.Register) {
		gl, gh := widen(load(at(p[1]), mask))
		xl, xh := widen(load(at(p[2]), mask))
		wl, wh := widen(load(at(p[3]), mask))
		for i, g := range []reg.VecVirtual{gl, gh} {
			x, w := []reg.VecVirtual{xl, xh}[i], []reg.VecVirtual{wl, wh}[i]
			VMULPD(w, g, g)
			VSUBPD(sum, g, g)
			VSUBPD(mean, x, x)
			VFNMADD231PD(dot, x, g)
			VMULPD(r64, g, g)
		}
		d := ZMM()
		narrow(gl, gh, d)
		VADDPS(load(at(p[0]), mask), d, d)
		store(d, at(p[0]), mask)
	})
	done()
}

// narrow joins two float64 vectors to one of float32.
func narrow(lo, hi, dst reg.VecVirtual) {
	h := YMM()
	VCVTPD2PS(lo, dst.AsY())
	VCVTPD2PS(hi, h)
	VINSERTF64X4(U8(1), h, dst, dst)
}

// sigmoid returns the denominator 1 + exp(-x) of σ(x).
func sigmoidDenominator(e exponential, sign, x reg.VecVirtual) reg.VecVirtual {
	d := ZMM()
	VPXORD(sign, x, d)
	e.exp(d)
	VADDPS(e.one, d, d)
	return d
}

func activations() {
	p := text("swiGLU512", "func(dst, gate, up *float32, n int)", "implements swiGLUGeneric.", "dst", "gate", "up", "n")
	e, sign := newExponential(), i32(1<<31)
	vectors(p[3], p[:3], func(mask reg.Register) {
		x := load(at(p[1]), mask)
		VDIVPS(sigmoidDenominator(e, sign, x), x, x)
		VMULPS(load(at(p[2]), mask), x, x)
		store(x, at(p[0]), mask)
	})
	done()

	p = text("swiGLUBack512", "func(dgate, dup, dy, gate, up *float32, n int)", "implements swiGLUBackGeneric.", "dgate", "dup", "dy", "gate", "up", "n")
	e, sign = newExponential(), i32(1<<31)
	vectors(p[5], p[:5], func(mask reg.Register) {
		dy, x, s, t := load(at(p[2]), mask), load(at(p[3]), mask), ZMM(), ZMM()
		VDIVPS(sigmoidDenominator(e, sign, x), e.one, s)
		VSUBPS(s, e.one, t)
		VFMADD213PS(e.one, x, t) // 1 + x(1-s)
		VMULPS(s, t, t)
		VMULPS(load(at(p[4]), mask), t, t)
		VMULPS(dy, t, t)
		VMULPS(x, s, s)
		VMULPS(dy, s, s)
		store(s, at(p[1]), mask)
		store(t, at(p[0]), mask)
	})
	done()
	gelu()
}

const (
	geluScale = 2 * 0.7978845608028654
	geluCube  = 0.044715
)

func gelu() {
	p := text("gelu512", "func(dst, x *float32, n int)", "implements geluGeneric.", "dst", "x", "n")
	e, sign, scale, cube := newExponential(), i32(1<<31), c32(geluScale), c32(geluCube)
	argument := func(x reg.VecVirtual) reg.VecVirtual { // z = scale·x·(1 + cube·x²)
		z := ZMM()
		VMULPS(x, x, z)
		VFMADD213PS(e.one, cube, z)
		VMULPS(x, z, z)
		VMULPS(scale, z, z)
		return z
	}
	vectors(p[2], p[:2], func(mask reg.Register) {
		x := load(at(p[1]), mask)
		VDIVPS(sigmoidDenominator(e, sign, argument(x)), x, x)
		store(x, at(p[0]), mask)
	})
	done()

	p = text("geluBack512", "func(dx, dy, x *float32, n int)", "implements geluBackGeneric.", "dx", "dy", "x", "n")
	e, sign, scale, cube = newExponential(), i32(1<<31), c32(geluScale), c32(geluCube)
	cube3 := c32(3 * geluCube)
	vectors(p[3], p[:3], func(mask reg.Register) {
		x, s, c, t, live := load(at(p[2]), mask), ZMM(), ZMM(), ZMM(), K()
		VDIVPS(sigmoidDenominator(e, sign, argument(x)), e.one, s)
		VSUBPS(s, e.one, c)
		VMULPS(s, c, c) // s(1-s), 0 where x² may overflow
		none := zero()
		VCMPPS(U8(4), none, c, live) // not equal, or NaN
		VMULPS(x, x, t)
		VFMADD213PS(e.one, cube3, t)
		VMULPS(x, t, t)
		VMULPS(scale, t, t)
		VMULPS_Z(c, t, live, t)
		VADDPS(t, s, s)
		VMULPS(load(at(p[1]), mask), s, s)
		store(s, at(p[0]), mask)
	})
	done()
}

// loss writes the row loops of softmax and cross-entropy.
func loss() {
	p := text("maximum512", "func(x *float32, n int) float32", "implements maximumGeneric, but may pass over NaN.", "x", "n")
	top := c32(math.Inf(-1))
	vectors(p[1], p[:1], func(mask reg.Register) {
		if mask == nil {
			VMAXPS(at(p[0]), top, top)
			return
		}
		VMAXPS(load(at(p[0]), mask), top, mask, top)
	})
	reduce32(top, func(a, b, d Op) { VMAXPS(a, b, d) })
	Store(top.AsX(), ReturnIndex(0))
	done()

	p = text("sumExp512", "func(x *float32, n int, top float32) float64", "implements sumExpGeneric.", "x", "n")
	e, m, a, b := newExponential(), scalar("top"), zero(), zero()
	vectors(p[1], p[:1], func(mask reg.Register) {
		x := load(at(p[0]), mask)
		VSUBPS(m, x, x)
		e.exp(x)
		if mask != nil {
			VMOVAPS_Z(x, mask, x)
		}
		lo, hi := widen(x)
		VADDPD(lo, a, a)
		VADDPD(hi, b, b)
	})
	add64(a, b, 0)
	done()

	p = text("expScale512", "func(x *float32, n int, top, scale float32)", "implements expScaleGeneric.", "x", "n")
	e, m = newExponential(), scalar("top")
	s := scalar("scale")
	vectors(p[1], p[:1], func(mask reg.Register) {
		x := load(at(p[0]), mask)
		VSUBPS(m, x, x)
		e.exp(x)
		VMULPS(s, x, x)
		store(x, at(p[0]), mask)
	})
	done()
}
