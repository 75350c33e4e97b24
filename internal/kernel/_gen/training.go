package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// training writes the loops that only training needs.
func training() {
	adamW()
	adamWAVX2()
	dropoutBack("dropoutOver512", "implements dropoutBackGeneric, fresh.", false)
	dropoutBack("dropoutOnto512", "implements dropoutBackGeneric, not fresh.", true)
	swiGLUPairs()
	dropoutBackAVX2("dropoutOverAVX2", "implements dropoutBackGeneric, fresh, for multiples of 32 numbers.", false)
	dropoutBackAVX2("dropoutOntoAVX2", "implements dropoutBackGeneric, not fresh, for multiples of 32 numbers.", true)
	swiGLUPairsAVX2()
}

const adamSignature = "func(w, grad, m, v *float32, n int, scale, keep, one, beta2, two, root, eps, rate float32)"

// adamW rounds every product on its own, as its twin does: same bits.
func adamW() {
	p := text("adamW512", adamSignature, "implements adamWGeneric.", "w", "grad", "m", "v", "n")
	scale, keep, one, beta2 := scalar("scale"), scalar("keep"), scalar("one"), scalar("beta2")
	two, root, eps, rate := scalar("two"), scalar("root"), scalar("eps"), scalar("rate")
	vectors(p[4], p[:4], func(mask reg.Register) {
		w, g, m, v, t := load(at(p[0]), mask), load(at(p[1]), mask), load(at(p[2]), mask), load(at(p[3]), mask), ZMM()
		VMULPS(scale, g, g)
		VSUBPS(m, g, t)
		VMULPS(one, t, t)
		VADDPS(t, m, m)
		VMULPS(two, g, t)
		VMULPS(g, t, t)
		VMULPS(beta2, v, v)
		VADDPS(t, v, v)
		store(m, at(p[2]), mask)
		store(v, at(p[3]), mask)
		VSQRTPS(v, v)
		VDIVPS(root, v, v)
		VADDPS(eps, v, v)
		VMULPS(rate, m, m)
		VDIVPS(v, m, m)
		VMULPS(keep, w, w)
		VSUBPS(m, w, w)
		store(w, at(p[0]), mask)
	})
	done()
}

// masks are the random bits of dropout: 16 words serve 32 numbers, see
// dropoutFactor.
type masks struct {
	h0, k1, threshold, scale reg.VecVirtual
	step, m0, m1             reg.VecVirtual
	word, other              reg.VecVirtual
}

// newMasks loads the arguments index, k0, k1, threshold and scale.
func newMasks() *masks {
	word := func(name string) reg.VecVirtual {
		g, r := GP32(), ZMM()
		Load(Param(name), g)
		VPBROADCASTD(g, r)
		return r
	}
	m := &masks{
		h0: word("index"), k1: word("k1"), threshold: word("threshold"), scale: scalar("scale"),
		step: i32(16), m0: i32(0x7feb352d), m1: i32(0x846ca68b), word: ZMM(), other: ZMM(),
	}
	VPSRLD(U8(1), m.h0, m.h0)
	VPADDD(word("k0"), m.h0, m.h0)
	VPADDD(lanesOf(), m.h0, m.h0)
	return m
}

func (m *masks) mix() {
	for i, shift := range []uint8{16, 15, 16} {
		VPSRLD(U8(shift), m.word, m.other)
		VPXORD(m.other, m.word, m.word)
		if i < 2 {
			VPMULLD([]reg.VecVirtual{m.m0, m.m1}[i], m.word, m.word)
		}
	}
}

// next returns the factors of the next 32 numbers: scale or 0.
func (m *masks) next() [2]reg.VecVirtual {
	VMOVDQA32(m.h0, m.word)
	VPADDD(m.step, m.h0, m.h0)
	m.mix()
	VPXORD(m.k1, m.word, m.word)
	m.mix()
	VPSLLD(U8(16), m.word, m.other)
	var factors [2]reg.VecVirtual
	for i, bits := range []reg.VecVirtual{m.other, m.word} {
		keep := K()
		factors[i] = ZMM()
		VPCMPUD(U8(5), m.threshold, bits, keep) // bits >= threshold
		VMOVAPS_Z(m.scale, keep, factors[i])
	}
	return factors
}

// dropoutBack masks two arrays with one mask.
func dropoutBack(name, doc string, add bool) {
	p := text(name, "func(masked, x, dx, dy *float32, n int, index, k0, k1, threshold uint32, scale float32)",
		doc, "masked", "x", "dx", "dy", "n")
	n, m := p[4], newMasks()
	body := func(tail [2]reg.Register) {
		factors := m.next()
		for i, f := range factors {
			there := func(base reg.Register) Mem { return Mem{Base: base, Disp: 64 * i} }
			x, dy := load(there(p[1]), tail[i]), load(there(p[3]), tail[i])
			VMULPS(f, x, x)
			store(x, there(p[0]), tail[i])
			if add {
				dx := load(there(p[2]), tail[i])
				VMULPS(f, dy, dy) // rounded before it is added, as two calls would
				VADDPS(dx, dy, dy)
			} else {
				VMULPS(f, dy, dy)
			}
			store(dy, there(p[2]), tail[i])
		}
	}
	Label("loop")
	CMPQ(n, U8(32))
	JB(LabelRef("tail"))
	body([2]reg.Register{})
	for _, pointer := range p[:4] {
		SUBQ(I8(-128), pointer)
	}
	SUBQ(U8(32), n)
	JMP(LabelRef("loop"))
	Label("tail")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	ones, first, second := GP32(), K(), K()
	MOVL(U32(1<<32-1), ones)
	BZHIL(n.As32(), ones, ones)
	KMOVD(ones, first)
	KSHIFTRD(U8(16), first, second)
	body([2]reg.Register{first, second})
	Label("done")
	done()
}

// swiGLUPairs writes SwiGLU with its arguments kept as pairs of bfloat16.
func swiGLUPairs() {
	p := text("swiGLUKeep512", "func(y *float32, pairs *uint32, gate, up *float32, n int)", "implements swiGLUKeepGeneric.",
		"y", "pairs", "gate", "up", "n")
	e, sign, half, low, high := newExponential(), i32(1<<31), i32(0x7fff), i32(1), i32(0xffff0000)
	quiet := i32(0x400000)
	round := func(x reg.VecVirtual) reg.VecVirtual { // to bfloat16 in the upper half; a NaN stays one
		r, odd, none := ZMM(), ZMM(), K()
		VPSRLD(U8(16), x, odd)
		VPANDD(low, odd, odd)
		VPADDD(half, odd, odd)
		VPADDD(x, odd, r)
		VCMPPS(U8(3), x, x, none)
		VPORD(quiet, x, none, r)
		return r
	}
	vectors(p[4], p[:4], func(mask reg.Register) {
		x, up := load(at(p[2]), mask), load(at(p[3]), mask)
		g, u := round(x), round(up)
		VPSRLD(U8(16), g, g)
		VPANDD(high, u, u)
		VPORD(u, g, g)
		store(g, at(p[1]), mask)
		VDIVPS(sigmoidDenominator(e, sign, x), x, x)
		VMULPS(up, x, x)
		store(x, at(p[0]), mask)
	})
	done()

	p = text("swiGLUKept512", "func(y *float32, pairs *uint32, n int)", "implements swiGLUKeptGeneric.", "y", "pairs", "n")
	e, sign, high = newExponential(), i32(1<<31), i32(0xffff0000)
	vectors(p[2], p[:2], func(mask reg.Register) {
		x, up := unpaired(load(at(p[1]), mask), high)
		VDIVPS(sigmoidDenominator(e, sign, x), x, x)
		VMULPS(up, x, x)
		store(x, at(p[0]), mask)
	})
	done()

	p = text("swiGLUBackKept512", "func(dgate, dup, dy *float32, pairs *uint32, n int)", "implements swiGLUBackKeptGeneric.",
		"dgate", "dup", "dy", "pairs", "n")
	e, sign, high = newExponential(), i32(1<<31), i32(0xffff0000)
	vectors(p[4], p[:4], func(mask reg.Register) {
		dy, s, t := load(at(p[2]), mask), ZMM(), ZMM()
		x, up := unpaired(load(at(p[3]), mask), high)
		VDIVPS(sigmoidDenominator(e, sign, x), e.one, s)
		VSUBPS(s, e.one, t)
		VFMADD213PS(e.one, x, t) // 1 + x(1-s)
		VMULPS(s, t, t)
		VMULPS(up, t, t)
		VMULPS(dy, t, t)
		VMULPS(x, s, s)
		VMULPS(dy, s, s)
		store(s, at(p[1]), mask)
		store(t, at(p[0]), mask)
	})
	done()
}

// unpaired are the numbers in the lower and the upper halves of words.
func unpaired(pairs, high reg.VecVirtual) (lower, upper reg.VecVirtual) {
	lower, upper = ZMM(), ZMM()
	VPSLLD(U8(16), pairs, lower)
	VPANDD(high, pairs, upper)
	return lower, upper
}
