package kernel

import (
	"fmt"
	"math"
)

// checkRows compares the loops of a level with the plain ones on a few numbers,
// so that a machine that computes something else is found when it starts.
func checkRows(k rowKernels) error {
	const n = 53 // whole vectors and a rest
	plain := genericRows()
	x, y, w := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i] = float32(math.Sin(float64(i))) * 3
		y[i], w[i] = float32(math.Cos(float64(3*i))), float32(i%7)-2.5
	}
	for _, c := range []struct {
		name string
		run  func(k rowKernels, a, b []float32)
	}{
		{"add", func(k rowKernels, a, b []float32) { k.add(a, x) }},
		{"dropout", func(k rowKernels, a, b []float32) { k.dropout(a, x, 64, 1, 2, 1<<31, 2) }},
		{"rmsNorm", func(k rowKernels, a, b []float32) { k.rmsNorm(a, x, w, 1e-5); k.rmsNormBack(b, y, x, w, 1e-5) }},
		{"layerNorm", func(k rowKernels, a, b []float32) {
			k.layerNorm(a, x, w, y, 1e-5)
			k.layerNormBack(b, y, x, w, 1e-5)
		}},
		{"rotate", func(k rowKernels, a, b []float32) {
			var cos, sin [13]float32
			k.sincos(cos[:], sin[:], []float64{0, .01, .02, .03, .1, .2, .3, .4, .5, .6, .7, .8, .9}, 12345)
			copy(a, x)
			copy(b, x)
			k.rotateHalves(a[:52], 26, cos[:8], sin[:])
			k.rotatePairs(b[:52], 26, cos[:12], sin[:])
		}},
		{"swiGLU", func(k rowKernels, a, b []float32) { k.swiGLU(a, x, y); k.swiGLUBack(a, b, a, x, w) }},
		{"gelu", func(k rowKernels, a, b []float32) { k.gelu(a, x); k.geluBack(b, y, x) }},
		{"softmax", func(k rowKernels, a, b []float32) {
			a[0], a[1] = k.maximum(x), float32(k.sumExp(x, 2))
			copy(b, x)
			k.expScale(b, 2, 0.5)
		}},
		{"softmaxTile", func(k rowKernels, a, b []float32) {
			copy(a, x[:48])
			copy(b, y[:48])
			top, sum := []float32{-1, 5, 0}, []float32{1, 2, 3}
			k.softmaxTile(3, 16, a, 16, []int32{0, 3, 9}, []int32{16, 7, 9}, top, sum, b, 16, 0.5)
			copy(b[48:], []float32{top[0], top[1], sum[0], sum[1], sum[2]})
		}},
		{"softmaxBackTile", func(k rowKernels, a, b []float32) {
			copy(a, x[:48])
			copy(b, y[:48])
			k.softmaxBackTile(3, 16, a, b, 16, []int32{0, 3, 9}, []int32{16, 7, 9}, []float32{1, 2, 3}, []float32{0, 1, 2}, 0.5)
		}},
		{"scale", func(k rowKernels, a, b []float32) { k.scale(a, x, 3); b[0] = k.dot(x, y) }},
	} {
		got, want := [2][]float32{make([]float32, n), make([]float32, n)}, [2][]float32{make([]float32, n), make([]float32, n)}
		c.run(k, got[0], got[1])
		c.run(plain, want[0], want[1])
		for part, w := range want {
			for i, v := range w {
				if d := math.Abs(float64(got[part][i] - v)); !(d <= 1e-5*(1+math.Abs(float64(v)))) {
					return fmt.Errorf("%s gives %v where plain Go gives %v", c.name, got[part][i], v)
				}
			}
		}
	}
	return nil
}
