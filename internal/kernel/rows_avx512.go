//go:build amd64 && !purego

package kernel

import "math"

// rows returns the loops of g's level.
func (g *Gang) rows() rowKernels {
	switch g.level {
	case AVX512, AMX:
		return avx512Rows()
	case AVX2:
		return avx2Rows()
	}
	return genericRows()
}

// avx512Rows are the loops of generated assembly. Slices keep the lengths of
// their first argument; none is empty.
func avx512Rows() rowKernels {
	return rowKernels{
		add: func(dst, x []float32) { add512(&dst[0], &x[0], len(x)) },
		dropout: func(dst, x []float32, index, k0, k1, threshold uint32, scale float32) {
			dropout512(&dst[0], &x[0], len(x), index, k0, k1, threshold, scale)
		},
		rmsNorm:       rmsNorm512,
		rmsNormBack:   rmsNormBack512,
		layerNorm:     layerNorm512,
		layerNormBack: layerNormBack512,
		sincos: func(cos, sin []float32, turns []float64, p float64) {
			sincos512(&cos[0], &sin[0], &turns[0], len(turns), p)
		},
		rotateHalves: func(x []float32, dim int, cos, sin []float32) {
			rotateHalves512(&x[0], len(x)/dim, dim, &cos[0], &sin[0], len(cos))
		},
		rotatePairs: func(x []float32, dim int, cos, sin []float32) {
			rotatePairs512(&x[0], len(x)/dim, dim, &cos[0], &sin[0], 2*len(cos))
		},
		swiGLU: func(dst, gate, up []float32) { swiGLU512(&dst[0], &gate[0], &up[0], len(gate)) },
		swiGLUBack: func(dgate, dup, dy, gate, up []float32) {
			swiGLUBack512(&dgate[0], &dup[0], &dy[0], &gate[0], &up[0], len(gate))
		},
		gelu:     func(dst, x []float32) { gelu512(&dst[0], &x[0], len(x)) },
		geluBack: func(dx, dy, x []float32) { geluBack512(&dx[0], &dy[0], &x[0], len(x)) },
		maximum:  func(x []float32) float32 { return maximum512(&x[0], len(x)) },
		sumExp:   func(x []float32, top float32) float64 { return sumExp512(&x[0], len(x), top) },
		expScale: func(x []float32, top, scale float32) { expScale512(&x[0], len(x), top, scale) },

		softmaxTile: func(rows, cols int, s []float32, lds int, from, to []int32, top, sum, acc []float32, dim int, scale float32) {
			softmaxTile512(rows, cols, &s[0], lds, &from[0], &to[0], &top[0], &sum[0], &acc[0], dim, scale)
		},
		softmaxBackTile: func(rows, cols int, s, ds []float32, ld int, from, to []int32, lse, delta []float32, scale float32) {
			softmaxBackTile512(rows, cols, &s[0], &ds[0], ld, &from[0], &to[0], &lse[0], &delta[0], scale)
		},
		scale: func(dst, x []float32, f float32) { scaleRow512(&dst[0], &x[0], len(dst), f) },
		dot:   func(x, y []float32) float32 { return dot512(&x[0], &y[0], len(x)) },
	}
}

func rmsNorm512(dst, x, w []float32, eps float32) {
	n := len(x)
	r := 1 / math.Sqrt(sumSquares512(&x[0], n)/float64(n)+float64(eps))
	rmsApply512(&dst[0], &x[0], &w[0], n, float32(r))
}

func rmsNormBack512(dx, dy, x, w []float32, eps float32) {
	n := len(x)
	r := 1 / math.Sqrt(sumSquares512(&x[0], n)/float64(n)+float64(eps))
	dot := sumProduct512(&x[0], &dy[0], &w[0], n)
	rmsBackApply512(&dx[0], &dy[0], &x[0], &w[0], n, float32(r), float32(r*r*r/float64(n)*dot))
}

func moments512(x []float32, eps float32) (mean, r float64) {
	n := float64(len(x))
	mean = sum512(&x[0], len(x)) / n
	return mean, 1 / math.Sqrt(sumDeviations512(&x[0], len(x), mean)/n+float64(eps))
}

func layerNorm512(dst, x, w, b []float32, eps float32) {
	mean, r := moments512(x, eps)
	layerApply512(&dst[0], &x[0], &w[0], &b[0], len(x), mean, r)
}

func layerNormBack512(dx, dy, x, w []float32, eps float32) {
	n := float64(len(x))
	mean, r := moments512(x, eps)
	sum, dot := sumGradients512(&dy[0], &w[0], &x[0], len(x), mean)
	layerBackApply512(&dx[0], &dy[0], &x[0], &w[0], len(x), mean, r, sum/n, dot*r*r/n)
}
