package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func rotation() {
	sincos()
	rotateHalves()
	rotatePairs()
}

// sin 2πw = w·Σ sineTurns[i]·w²ⁱ and cos 2πw = 1 + w²·Σ cosineTurns[i]·w²ⁱ for
// |w| ≤ 1/8, fitted for the least error (sin 1.7e-12, cos 5.4e-11).
var (
	sineTurns   = []float64{2 * math.Pi, -41.3417, 81.60518, -76.695816, 41.414555}
	cosineTurns = []float64{-19.739208, 64.93932, -85.44373, 59.24576}
)

// sincos: turns are reduced to a quadrant and the rest w, |w| ≤ 1/8, in
// float64; then sin and cos of 2πw by polynomials.
func sincos() {
	p := text("sincos512", "func(cos, sin *float32, turns *float64, n int, p float64)", "implements sincosGeneric.", "cos", "sin", "turns", "n")
	position, four, quarter := double("p"), c64(4), c64(0.25)
	one, two, one32 := i32(1), i32(2), c32(1)
	var sc, cc []reg.VecVirtual
	for _, v := range sineTurns {
		sc = append(sc, c32(v))
	}
	for _, v := range cosineTurns {
		cc = append(cc, c32(v))
	}
	vectors(p[3], p[:2], func(mask reg.Register) {
		ml, mh := halves(mask)
		quadrant, w := ZMM(), ZMM()
		var q, t [2]reg.VecVirtual
		for i, m := range []reg.Register{ml, mh} {
			q[i], t[i] = ZMM(), ZMM()
			src := Mem{Base: p[2], Disp: 64 * i}
			if m == nil {
				VMOVUPD(src, t[i])
			} else {
				VMOVUPD_Z(src, m, t[i])
			}
			VMULPD(position, t[i], t[i])
			VMULPD(four, t[i], q[i])
			VRNDSCALEPD(U8(8), q[i], q[i])
			VFNMADD231PD(quarter, q[i], t[i])
			// The quadrant modulo 4, small enough for an int32.
			r := ZMM()
			VMULPD(quarter, q[i], r)
			VRNDSCALEPD(U8(8), r, r)
			VFNMADD231PD(four, r, q[i])
		}
		narrow(t[0], t[1], w)
		narrow(q[0], q[1], quadrant)
		VCVTPS2DQ(quadrant, quadrant)
		s, c, w2 := ZMM(), ZMM(), ZMM()
		VMULPS(w, w, w2)
		VMOVAPS(sc[4], s)
		VMOVAPS(cc[3], c)
		for i := 3; i >= 0; i-- {
			VFMADD213PS(sc[i], w2, s)
			if i > 0 {
				VFMADD213PS(cc[i-1], w2, c)
			}
		}
		VMULPS(w, s, s)
		VFMADD213PS(one32, w2, c)
		turnQuadrant(s, c, quadrant, one, two)
		store(c, at(p[0]), mask)
		store(s, at(p[1]), mask)
		if mask == nil {
			ADDQ(U8(64), p[2])
			ADDQ(U8(64), p[2])
		}
	})
	done()
}

// turnQuadrant: odd quadrants swap sin and cos; sin changes sign in 2 and 3, cos
// in 1 and 2.
func turnQuadrant(s, c, quadrant, one, two reg.VecVirtual) {
	odd, t, u := K(), ZMM(), ZMM()
	VPTESTMD(one, quadrant, odd)
	VMOVAPS(s, t)
	VMOVAPS(c, odd, s)
	VMOVAPS(t, odd, c)
	VPADDD(one, quadrant, u)
	for _, x := range [][2]reg.VecVirtual{{quadrant, s}, {u, c}} {
		VPANDD(two, x[0], x[0])
		VPSLLD(U8(30), x[0], x[0])
		VPXORD(x[0], x[1], x[1])
	}
}

func rotateHalves() {
	p := text("rotateHalves512", "func(x *float32, heads, dim int, cos, sin *float32, half int)", "implements rotateHalvesGeneric.", "x", "heads", "dim", "half")
	SHLQ(U8(2), p[2])
	off := GP64()
	MOVQ(p[3], off)
	SHLQ(U8(2), off)
	Label("head")
	cos, sin := Load(Param("cos"), GP64()).(reg.GPVirtual), Load(Param("sin"), GP64()).(reg.GPVirtual)
	x, n := GP64(), GP64()
	MOVQ(p[0], x)
	MOVQ(p[3], n)
	vectors(n, []reg.GPVirtual{x, cos, sin}, func(mask reg.Register) {
		hi := Mem{Base: x, Index: off, Scale: 1}
		a, b := load(at(x), mask), load(hi, mask)
		c, s := load(at(cos), mask), load(at(sin), mask)
		t, u := ZMM(), ZMM()
		VMULPS(c, a, t)
		VFNMADD231PS(s, b, t)
		VMULPS(s, a, u)
		VFMADD231PS(c, b, u)
		store(t, at(x), mask)
		store(u, hi, mask)
	})
	ADDQ(p[2], p[0])
	DECQ(p[1])
	JNZ(LabelRef("head"))
	done()
}

// rotatePairs reads 8 numbers of the tables for 16 of x and doubles each.
func rotatePairs() {
	p := text("rotatePairs512", "func(x *float32, heads, dim int, cos, sin *float32, dims int)", "implements rotatePairsGeneric for dims numbers of each head.", "x", "heads", "dim", "dims")
	SHLQ(U8(2), p[2])
	twice := GLOBL("twice", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(i/2))
	}
	double := ZMM()
	VMOVDQU32(twice, double)
	Label("head")
	cos, sin := Load(Param("cos"), GP64()).(reg.GPVirtual), Load(Param("sin"), GP64()).(reg.GPVirtual)
	x, n := GP64(), GP64()
	MOVQ(p[0], x)
	MOVQ(p[3], n)
	vectors(n, []reg.GPVirtual{x}, func(mask reg.Register) {
		a, swapped, c, s := load(at(x), mask), ZMM(), ZMM(), ZMM()
		if mask == nil {
			VMOVUPS(at(cos), c.AsY())
			VMOVUPS(at(sin), s.AsY())
			ADDQ(U8(32), cos)
			ADDQ(U8(32), sin)
		} else {
			SHRQ(U8(1), n)
			half := maskOf(n)
			VMOVUPS_Z(at(cos), half, c)
			VMOVUPS_Z(at(sin), half, s)
		}
		VPERMPS(c, double, c)
		VPERMPS(s, double, s)
		VPERMILPS(U8(0xb1), a, swapped)
		VMULPS(s, swapped, swapped)
		VFMADDSUB132PS(c, swapped, a) // even: a·c − b·s, odd: b·c + a·s
		store(a, at(x), mask)
	})
	ADDQ(p[2], p[0])
	DECQ(p[1])
	JNZ(LabelRef("head"))
	done()
}
