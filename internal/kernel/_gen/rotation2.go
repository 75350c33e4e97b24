package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rotationAVX2 writes the rotation for whole vectors: 8 pairs of halves, 4 of
// neighbours.
func rotationAVX2() {
	sincosAVX2()
	rotateHalvesAVX2()
	rotatePairsAVX2()
}

// four is a vector of one float64 in memory.
func four(v float64) Mem {
	name := fmt.Sprintf("y64_%016x", math.Float64bits(v))
	if _, ok := constants[name]; !ok {
		m := GLOBL(name, RODATA|NOPTR)
		for i := range 4 {
			DATA(8*i, U64(math.Float64bits(v)))
		}
		constants[name] = m
	}
	return constants[name]
}

// sincosAVX2 is sincos for 8 pairs at a time.
func sincosAVX2() {
	p := text("sincosAVX2", "func(cos, sin *float32, turns *float64, n int, p float64)",
		"implements sincosGeneric for multiples of 8 pairs.", "cos", "sin", "turns", "n")
	position := double8("p")
	vectors8(p[3], p[:2], func() {
		var q, t [2]reg.VecVirtual
		for i := range 2 {
			q[i], t[i] = YMM(), YMM()
			VMULPD(Mem{Base: p[2], Disp: 32 * i}, position, t[i])
			VMULPD(four(4), t[i], q[i])
			VROUNDPD(U8(8), q[i], q[i])
			VFNMADD231PD(four(0.25), q[i], t[i])
			// The quadrant modulo 4, small enough for an int32.
			r := YMM()
			VMULPD(four(0.25), q[i], r)
			VROUNDPD(U8(8), r, r)
			VFNMADD231PD(four(4), r, q[i])
		}
		w, quadrant := narrow8(t[0], t[1]), narrow8(q[0], q[1])
		VCVTPS2DQ(quadrant, quadrant)
		w2 := YMM()
		VMULPS(w, w, w2)
		s, c := polynomial8(w2, sineTurns), polynomial8(w2, append([]float64{1}, cosineTurns...))
		VMULPS(w, s, s)
		turnQuadrantAVX2(s, c, quadrant)
		VMOVUPS(c, at(p[0]))
		VMOVUPS(s, at(p[1]))
		ADDQ(U8(64), p[2])
	})
	done()
}

// polynomial8 returns Σ c[i]·xⁱ.
func polynomial8(x reg.VecVirtual, c []float64) reg.VecVirtual {
	last := len(c) - 1
	sum := load8(eight(c[last]))
	for i := last - 1; i >= 0; i-- {
		VFMADD213PS(eight(c[i]), x, sum)
	}
	return sum
}

// turnQuadrantAVX2 is turnQuadrant: odd quadrants swap sin and cos; sin changes
// sign in 2 and 3, cos in 1 and 2.
func turnQuadrantAVX2(s, c, quadrant reg.VecVirtual) {
	odd, t := YMM(), YMM()
	VPSLLD(U8(31), quadrant, odd)
	VMOVAPS(s, t)
	VBLENDVPS(odd, c, s, s)
	VBLENDVPS(odd, t, c, c)
	VPADDD(words8(1), quadrant, t)
	for _, x := range [][2]reg.VecVirtual{{quadrant, s}, {t, c}} {
		VPAND(words8(2), x[0], x[0])
		VPSLLD(U8(30), x[0], x[0])
		VPXOR(x[0], x[1], x[1])
	}
}

func rotateHalvesAVX2() {
	p := text("rotateHalvesAVX2", "func(x *float32, heads, dim int, cos, sin *float32, half int)",
		"implements rotateHalvesGeneric for multiples of 8 pairs.", "x", "heads", "dim", "half")
	SHLQ(U8(2), p[2])
	off := GP64()
	MOVQ(p[3], off)
	SHLQ(U8(2), off)
	Label("head")
	cos, sin := Load(Param("cos"), GP64()).(reg.GPVirtual), Load(Param("sin"), GP64()).(reg.GPVirtual)
	x, n := GP64(), GP64()
	MOVQ(p[0], x)
	MOVQ(p[3], n)
	vectors8(n, []reg.GPVirtual{x, cos, sin}, func() {
		hi := Mem{Base: x, Index: off, Scale: 1}
		a, b, c, s, t := load8(at(x)), load8(hi), load8(at(cos)), load8(at(sin)), YMM()
		VMULPS(s, b, t)
		VFMSUB231PS(c, a, t)
		VMULPS(s, a, a)
		VFMADD231PS(c, b, a)
		VMOVUPS(t, at(x))
		VMOVUPS(a, hi)
	})
	ADDQ(p[2], p[0])
	DECQ(p[1])
	JNZ(LabelRef("head"))
	done()
}

// rotatePairsAVX2 reads 4 numbers of the tables for 8 of x and doubles each.
func rotatePairsAVX2() {
	p := text("rotatePairsAVX2", "func(x *float32, heads, dim int, cos, sin *float32, dims int)",
		"implements rotatePairsGeneric for dims numbers of each head, a multiple of 8.", "x", "heads", "dim", "dims")
	SHLQ(U8(2), p[2])
	twice := GLOBL("twice8", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(i/2))
	}
	double := load8(twice)
	Label("head")
	cos, sin := Load(Param("cos"), GP64()).(reg.GPVirtual), Load(Param("sin"), GP64()).(reg.GPVirtual)
	x, n := GP64(), GP64()
	MOVQ(p[0], x)
	MOVQ(p[3], n)
	vectors8(n, []reg.GPVirtual{x}, func() {
		a, swapped, c, s := load8(at(x)), YMM(), YMM(), YMM()
		VMOVUPS(at(cos), c.AsX())
		VMOVUPS(at(sin), s.AsX())
		ADDQ(U8(16), cos)
		ADDQ(U8(16), sin)
		VPERMPS(c, double, c)
		VPERMPS(s, double, s)
		VPERMILPS(U8(0xb1), a, swapped)
		VMULPS(s, swapped, swapped)
		VFMADDSUB132PS(c, swapped, a) // even: a·c − b·s, odd: b·c + a·s
		VMOVUPS(a, at(x))
	})
	ADDQ(p[2], p[0])
	DECQ(p[1])
	JNZ(LabelRef("head"))
	done()
}
