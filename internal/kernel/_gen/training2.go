package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The loops that only training needs, for AVX2. They take whole vectors, like those
// of rows2.go.

func adamWAVX2() {
	p := text("adamWAVX2", adamSignature, "implements adamWGeneric for multiples of 8 numbers.", "w", "grad", "m", "v", "n")
	scale, keep, one, beta2 := scalar8("scale"), scalar8("keep"), scalar8("one"), scalar8("beta2")
	two, root, eps, rate := scalar8("two"), scalar8("root"), scalar8("eps"), scalar8("rate")
	vectors8(p[4], p[:4], func() {
		w, g, m, v, t := load8(at(p[0])), load8(at(p[1])), load8(at(p[2])), load8(at(p[3])), YMM()
		VMULPS(scale, g, g)
		VSUBPS(m, g, t)
		VMULPS(one, t, t)
		VADDPS(t, m, m)
		VMULPS(two, g, t)
		VMULPS(g, t, t)
		VMULPS(beta2, v, v)
		VADDPS(t, v, v)
		VMOVUPS(m, at(p[2]))
		VMOVUPS(v, at(p[3]))
		VSQRTPS(v, v)
		VDIVPS(root, v, v)
		VADDPS(eps, v, v)
		VMULPS(rate, m, m)
		VDIVPS(v, m, m)
		VMULPS(keep, w, w)
		VSUBPS(m, w, w)
		VMOVUPS(w, at(p[0]))
	})
	done()
}

// dropoutBackAVX2 masks two arrays with one mask.
func dropoutBackAVX2(name, doc string, add bool) {
	p := text(name, "func(masked, x, dx, dy *float32, n int, index, k0, k1, threshold uint32, scale float32)",
		doc, "masked", "x", "dx", "dy", "n")
	m, x := newMasks8(), YMM()
	Label("loop")
	m.each(func(offset int, f reg.VecVirtual) {
		there := func(base reg.Register) Mem { return Mem{Base: base, Disp: offset} }
		VMULPS(there(p[1]), f, x)
		VMOVUPS(x, there(p[0]))
		VMULPS(there(p[3]), f, f) // rounded before it is added, as two calls would
		if add {
			VADDPS(there(p[2]), f, f)
		}
		VMOVUPS(f, there(p[2]))
	})
	for _, pointer := range p[:4] {
		SUBQ(I8(-128), pointer)
	}
	SUBQ(U8(32), p[4])
	JNZ(LabelRef("loop"))
	done()
}

// swiGLUPairsAVX2 writes SwiGLU with its arguments kept as pairs of bfloat16.
func swiGLUPairsAVX2() {
	p := text("swiGLUKeepAVX2", "func(y *float32, pairs *uint32, gate, up *float32, n int)",
		"implements swiGLUKeepGeneric for multiples of 8 numbers.", "y", "pairs", "gate", "up", "n")
	vectors8(p[4], p[:4], func() {
		x, up := load8(at(p[2])), load8(at(p[3]))
		g, u := roundAVX2(x), roundAVX2(up)
		VPSRLD(U8(16), g, g)
		VPBLENDW(U8(0xaa), u, g, g)
		VMOVDQU(g, at(p[1]))
		VDIVPS(sigmaAVX2(x), x, x)
		VMULPS(up, x, x)
		VMOVUPS(x, at(p[0]))
	})
	done()

	p = text("swiGLUKeptAVX2", "func(y *float32, pairs *uint32, n int)",
		"implements swiGLUKeptGeneric for multiples of 8 numbers.", "y", "pairs", "n")
	vectors8(p[2], p[:2], func() {
		x, up := unpairedAVX2(at(p[1]))
		VDIVPS(sigmaAVX2(x), x, x)
		VMULPS(up, x, x)
		VMOVUPS(x, at(p[0]))
	})
	done()

	p = text("swiGLUBackKeptAVX2", "func(dgate, dup, dy *float32, pairs *uint32, n int)",
		"implements swiGLUBackKeptGeneric for multiples of 8 numbers.", "dgate", "dup", "dy", "pairs", "n")
	vectors8(p[4], p[:4], func() {
		x, up := unpairedAVX2(at(p[3]))
		dgate, dup := swiGLUGradients(load8(at(p[2])), x, up)
		VMOVUPS(dup, at(p[1]))
		VMOVUPS(dgate, at(p[0]))
	})
	done()
}

// roundAVX2 returns x rounded to bfloat16, in the upper half; a NaN stays one.
func roundAVX2(x reg.VecVirtual) reg.VecVirtual {
	r, none, quiet := YMM(), YMM(), YMM()
	VPSRLD(U8(16), x, r)
	VPAND(words8(1), r, r)
	VPADDD(words8(0x7fff), r, r)
	VPADDD(x, r, r)
	VCMPPS(U8(3), x, x, none)
	VPOR(words8(0x400000), x, quiet)
	VBLENDVPS(none, quiet, r, r)
	return r
}

// unpairedAVX2 are the numbers in the lower and the upper halves of words.
func unpairedAVX2(pairs Mem) (lower, upper reg.VecVirtual) {
	lower, upper = load8(pairs), YMM()
	VPAND(words8(0xffff0000), lower, upper)
	VPSLLD(U8(16), lower, lower)
	return lower, upper
}
