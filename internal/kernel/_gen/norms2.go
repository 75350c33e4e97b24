package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// layerNormAVX2 writes the sums and second passes of the layer norm, in float64.
func layerNormAVX2() {
	p := text("sumAVX2", "func(x *float32, n int) float64", "returns Σ x.", "x", "n")
	a, b := zero8(), zero8()
	vectors8(p[1], p[:1], func() {
		lo, hi := widen8(at(p[0]))
		VADDPD(lo, a, a)
		VADDPD(hi, b, b)
	})
	sum64(a, b, 0)
	done()

	p = text("sumDeviationsAVX2", "func(x *float32, n int, mean float64) float64", "returns Σ (x-mean)².", "x", "n")
	mean := double8("mean")
	a, b = zero8(), zero8()
	vectors8(p[1], p[:1], func() {
		lo, hi := widen8(at(p[0]))
		VSUBPD(mean, lo, lo)
		VSUBPD(mean, hi, hi)
		VFMADD231PD(lo, lo, a)
		VFMADD231PD(hi, hi, b)
	})
	sum64(a, b, 0)
	done()

	p = text("sumGradientsAVX2", "func(dy, w, x *float32, n int, mean float64) (sum, dot float64)",
		"returns Σ dy·w and Σ dy·w·(x-mean).", "dy", "w", "x", "n")
	mean = double8("mean")
	a, b = zero8(), zero8()
	c, d := zero8(), zero8()
	vectors8(p[3], p[:3], func() {
		gl, gh := widen8(at(p[0]))
		wl, wh := widen8(at(p[1]))
		xl, xh := widen8(at(p[2]))
		VMULPD(wl, gl, gl)
		VMULPD(wh, gh, gh)
		VADDPD(gl, a, a)
		VADDPD(gh, b, b)
		VSUBPD(mean, xl, xl)
		VSUBPD(mean, xh, xh)
		VFMADD231PD(gl, xl, c)
		VFMADD231PD(gh, xh, d)
	})
	sum64(a, b, 0)
	sum64(c, d, 1)
	done()

	p = text("layerApplyAVX2", "func(dst, x, w, b *float32, n int, mean, r float64)", "writes dst = (x-mean)·r·w + b.", "dst", "x", "w", "b", "n")
	mean = double8("mean")
	r := double8("r")
	vectors8(p[4], p[:4], func() {
		lo, hi := widen8(at(p[1]))
		for _, h := range []reg.VecVirtual{lo, hi} {
			VSUBPD(mean, h, h)
			VMULPD(r, h, h)
		}
		x := narrow8(lo, hi)
		VMULPS(at(p[2]), x, x)
		VADDPS(at(p[3]), x, x)
		VMOVUPS(x, at(p[0]))
	})
	done()

	p = text("layerBackApplyAVX2", "func(dx, dy, x, w *float32, n int, mean, r, sum, dot float64)",
		"adds r·(dy·w − sum − (x-mean)·dot) to dx.", "dx", "dy", "x", "w", "n")
	mean = double8("mean")
	r = double8("r")
	sum, dot := double8("sum"), double8("dot")
	vectors8(p[4], p[:4], func() {
		gl, gh := widen8(at(p[1]))
		xl, xh := widen8(at(p[2]))
		wl, wh := widen8(at(p[3]))
		for i, g := range []reg.VecVirtual{gl, gh} {
			x, w := []reg.VecVirtual{xl, xh}[i], []reg.VecVirtual{wl, wh}[i]
			VMULPD(w, g, g)
			VSUBPD(sum, g, g)
			VSUBPD(mean, x, x)
			VFNMADD231PD(dot, x, g)
			VMULPD(r, g, g)
		}
		d := narrow8(gl, gh)
		VADDPS(at(p[0]), d, d)
		VMOVUPS(d, at(p[0]))
	})
	done()
}

// double8 broadcasts a float64 argument.
func double8(name string) reg.VecVirtual {
	r, x := YMM(), XMM()
	Load(Param(name), x)
	VBROADCASTSD(x, r)
	return r
}

// narrow8 joins two float64 vectors to one of float32, in place of the first.
func narrow8(lo, hi reg.VecVirtual) reg.VecVirtual {
	VCVTPD2PSY(lo, lo.AsX())
	VCVTPD2PSY(hi, hi.AsX())
	VINSERTF128(U8(1), hi.AsX(), lo, lo)
	return lo
}
