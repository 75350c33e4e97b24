package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

var constants = map[string]Mem{}

// c32 broadcasts a float32 constant to a new register.
func c32(v float64) reg.VecVirtual {
	r := ZMM()
	VBROADCASTSS(constant32(math.Float32bits(float32(v))), r)
	return r
}

// i32 broadcasts a word to a new register.
func i32(v uint32) reg.VecVirtual {
	r := ZMM()
	VPBROADCASTD(constant32(v), r)
	return r
}

// c64 broadcasts a float64 constant to a new register.
func c64(v float64) reg.VecVirtual {
	name := fmt.Sprintf("f64_%016x", math.Float64bits(v))
	if _, ok := constants[name]; !ok {
		constants[name] = ConstData(name, U64(math.Float64bits(v)))
	}
	r := ZMM()
	VBROADCASTSD(constants[name], r)
	return r
}

func constant32(bits uint32) Mem {
	name := fmt.Sprintf("w32_%08x", bits)
	if _, ok := constants[name]; !ok {
		constants[name] = ConstData(name, U32(bits))
	}
	return constants[name]
}

// exponential holds the constants of exp in registers.
type exponential struct {
	low, high, log2e, ln2hi, ln2lo, one reg.VecVirtual
	c                                   [5]reg.VecVirtual
}

// newExponential loads them. exp(x) = 2ⁿ·e^r with n = round(x/ln 2) and
// r = x − n·ln 2, |r| ≤ ln 2 / 2, ln 2 in two parts (Cody & Waite 1980).
// e^r ≈ 1 + r + r²·(c₂ + … + c₆r⁴), fitted for the least relative error: 3.1e-9.
func newExponential() exponential {
	e := exponential{
		low: c32(-150), high: c32(100), log2e: c32(math.Log2E),
		ln2hi: c32(0.693359375), ln2lo: c32(math.Ln2 - 0.693359375), one: c32(1),
	}
	for i, v := range []float64{0.49999994, 0.16666521, 0.04166839, 0.0083687175, 0.0013814596} {
		e.c[i] = c32(v)
	}
	return e
}

// exp sets x to exp(x). The clamps keep NaN, since MAXPS and MINPS return their
// second source then, and let VSCALEFPS make 0 and +Inf.
func (e exponential) exp(x reg.VecVirtual) {
	n, p := ZMM(), ZMM()
	VMAXPS(x, e.low, x)
	VMINPS(x, e.high, x)
	VMULPS(e.log2e, x, n)
	VRNDSCALEPS(U8(8), n, n)
	VFNMADD231PS(e.ln2hi, n, x)
	VFNMADD231PS(e.ln2lo, n, x)
	VMOVAPS(e.c[4], p)
	for i := 3; i >= 0; i-- {
		VFMADD213PS(e.c[i], x, p)
	}
	VFMADD213PS(e.one, x, p)
	VFMADD213PS(e.one, x, p)
	VSCALEFPS(n, p, x)
}

// vectors runs body over n numbers, 16 at a time, and at last over what is left
// with a mask; it advances the pointers. body gets mask nil for whole vectors.
func vectors(n reg.GPVirtual, pointers []reg.GPVirtual, body func(mask reg.Register)) {
	id := labels
	labels++
	loop, tail, done := fmt.Sprintf("loop%d", id), fmt.Sprintf("tail%d", id), fmt.Sprintf("done%d", id)
	Label(loop)
	CMPQ(n, U8(16))
	JB(LabelRef(tail))
	body(nil)
	for _, p := range pointers {
		ADDQ(U8(64), p)
	}
	SUBQ(U8(16), n)
	JMP(LabelRef(loop))
	Label(tail)
	TESTQ(n, n)
	JZ(LabelRef(done))
	k := maskOf(n)
	body(k)
	Label(done)
}

var labels int

// maskOf returns a mask of the first n lanes, n ≤ 16.
func maskOf(n reg.GPVirtual) reg.Register {
	ones, k := GP32(), K()
	MOVL(U32(math.MaxUint32), ones)
	BZHIL(n.As32(), ones, ones)
	KMOVW(ones, k)
	return k
}

// load reads a vector, zero where the mask is.
func load(m Mem, mask reg.Register) reg.VecVirtual {
	r := ZMM()
	if mask == nil {
		VMOVUPS(m, r)
	} else {
		VMOVUPS_Z(m, mask, r)
	}
	return r
}

func store(r reg.Register, m Mem, mask reg.Register) {
	if mask == nil {
		VMOVUPS(r, m)
	} else {
		VMOVUPS(r, mask, m)
	}
}

// at is the memory a pointer points to.
func at(p reg.GPVirtual) Mem { return Mem{Base: p} }

// reduce folds a vector with a pairwise operation into its lowest number.
func reduce(r reg.VecVirtual, op func(a, b, dst Op)) {
	h := ZMM()
	VEXTRACTF64X4(U8(1), r, h.AsY())
	op(h.AsY(), r.AsY(), r.AsY())
	VEXTRACTF32X4(U8(1), r.AsY(), h.AsX())
	op(h.AsX(), r.AsX(), r.AsX())
	VPERMILPD(U8(1), r.AsX(), h.AsX())
	op(h.AsX(), r.AsX(), r.AsX())
}

// reduce32 is reduce for float32, which needs one step more.
func reduce32(r reg.VecVirtual, op func(a, b, dst Op)) {
	reduce(r, op)
	h := XMM()
	VMOVSHDUP(r.AsX(), h)
	op(h, r.AsX(), r.AsX())
}
