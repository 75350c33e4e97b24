//go:build amd64 && !purego

package kernel

import "math"

// avx2Rows are the loops of generated assembly for AVX2. It takes whole vectors of
// 8 numbers; the rest is plain Go, and so is the rotation of heads that are not made
// of whole vectors.
func avx2Rows() rowKernels {
	k := genericRows()
	k.add = func(dst, x []float32) {
		n := whole(len(x))
		if n > 0 {
			addAVX2(&dst[0], &x[0], n)
		}
		addGeneric(dst[n:], x[n:])
	}
	k.scale = func(dst, x []float32, f float32) {
		n := whole(len(dst))
		if n > 0 {
			scaleAVX2(&dst[0], &x[0], n, f)
		}
		scaleGeneric(dst[n:], x[n:], f)
	}
	k.dot = func(x, y []float32) float32 {
		n, sum := whole(len(x)), float32(0)
		if n > 0 {
			sum = dotAVX2(&x[0], &y[0], n)
		}
		return sum + dotGeneric(x[n:], y[n:])
	}
	k.dropout = func(dst, x []float32, index, k0, k1, threshold uint32, scale float32) {
		n := len(x) &^ 31
		if n > 0 {
			dropoutAVX2(&dst[0], &x[0], n, index, k0, k1, threshold, scale)
		}
		dropoutGeneric(dst[n:], x[n:], index+uint32(n), k0, k1, threshold, scale)
	}
	k.rmsNorm, k.rmsNormBack = rmsNormWith2, rmsNormBackWith2
	k.layerNorm, k.layerNormBack = layerNormWith2, layerNormBackWith2
	k.swiGLU = func(dst, gate, up []float32) {
		n := whole(len(gate))
		if n > 0 {
			swiGLUAVX2(&dst[0], &gate[0], &up[0], n)
		}
		swiGLUGeneric(dst[n:], gate[n:], up[n:])
	}
	k.swiGLUBack = func(dgate, dup, dy, gate, up []float32) {
		n := whole(len(gate))
		if n > 0 {
			swiGLUBackAVX2(&dgate[0], &dup[0], &dy[0], &gate[0], &up[0], n)
		}
		swiGLUBackGeneric(dgate[n:], dup[n:], dy[n:], gate[n:], up[n:])
	}
	k.gelu = func(dst, x []float32) {
		n := whole(len(x))
		if n > 0 {
			geluAVX2(&dst[0], &x[0], n)
		}
		geluGeneric(dst[n:], x[n:])
	}
	k.geluBack = func(dx, dy, x []float32) {
		n := whole(len(x))
		if n > 0 {
			geluBackAVX2(&dx[0], &dy[0], &x[0], n)
		}
		geluBackGeneric(dx[n:], dy[n:], x[n:])
	}
	softmaxWith2(&k)
	rotateWith2(&k)
	return k
}

// rotateWith2 sets the loops of the rotation.
func rotateWith2(k *rowKernels) {
	k.sincos = func(cos, sin []float32, turns []float64, p float64) {
		n := whole(len(turns))
		if n > 0 {
			sincosAVX2(&cos[0], &sin[0], &turns[0], n, p)
		}
		sincosGeneric(cos[n:], sin[n:], turns[n:], p)
	}
	k.rotateHalves = func(x []float32, dim int, cos, sin []float32) {
		if len(cos)%8 != 0 {
			rotateHalvesGeneric(x, dim, cos, sin)
			return
		}
		rotateHalvesAVX2(&x[0], len(x)/dim, dim, &cos[0], &sin[0], len(cos))
	}
	k.rotatePairs = func(x []float32, dim int, cos, sin []float32) {
		if len(cos)%4 != 0 {
			rotatePairsGeneric(x, dim, cos, sin)
			return
		}
		rotatePairsAVX2(&x[0], len(x)/dim, dim, &cos[0], &sin[0], 2*len(cos))
	}
}

// softmaxWith2 sets the loops of softmax.
func softmaxWith2(k *rowKernels) {
	k.maximum = func(x []float32) float32 {
		n := whole(len(x))
		top := maximumGeneric(x[n:])
		if n > 0 {
			top = max(top, maximumAVX2(&x[0], n))
		}
		return top
	}
	k.sumExp = func(x []float32, top float32) float64 {
		n := whole(len(x))
		sum := sumExpGeneric(x[n:], top)
		if n > 0 {
			sum += sumExpAVX2(&x[0], n, top)
		}
		return sum
	}
	k.expScale = func(x []float32, top, scale float32) {
		n := whole(len(x))
		if n > 0 {
			expScaleAVX2(&x[0], n, top, scale)
		}
		expScaleGeneric(x[n:], top, scale)
	}
	k.softmaxTile = func(rows, cols int, s []float32, lds int, from, to []int32, top, sum, acc []float32, dim int, scale float32) {
		softmaxTileAVX2(rows, cols, &s[0], lds, &from[0], &to[0], &top[0], &sum[0], &acc[0], dim, scale)
	}
	k.softmaxBackTile = func(rows, cols int, s, ds []float32, ld int, from, to []int32, lse, delta []float32, scale float32) {
		softmaxBackTileAVX2(rows, cols, &s[0], &ds[0], ld, &from[0], &to[0], &lse[0], &delta[0], scale)
	}
}

// whole is how many of n numbers fill vectors of 8.
func whole(n int) int { return n &^ 7 }

// rootMean2 returns 1/sqrt(mean(x²)+eps).
func rootMean2(x []float32, eps float32) float64 {
	n := whole(len(x))
	sum := sumSquares(x[n:])
	if n > 0 {
		sum += sumSquaresAVX2(&x[0], n)
	}
	return 1 / math.Sqrt(sum/float64(len(x))+float64(eps))
}

func rmsNormWith2(dst, x, w []float32, eps float32) {
	n, r := whole(len(x)), float32(rootMean2(x, eps))
	if n > 0 {
		rmsApplyAVX2(&dst[0], &x[0], &w[0], n, r)
	}
	for i := n; i < len(x); i++ {
		dst[i] = x[i] * r * w[i]
	}
}

func rmsNormBackWith2(dx, dy, x, w []float32, eps float32) {
	n, r, dot := whole(len(x)), rootMean2(x, eps), 0.0
	if n > 0 {
		dot = sumProductAVX2(&x[0], &dy[0], &w[0], n)
	}
	for i := n; i < len(x); i++ {
		dot += float64(dy[i]) * float64(w[i]) * float64(x[i])
	}
	a, b := float32(r), float32(r*r*r/float64(len(x))*dot)
	if n > 0 {
		rmsBackApplyAVX2(&dx[0], &dy[0], &x[0], &w[0], n, a, b)
	}
	for i := n; i < len(x); i++ {
		dx[i] += a*dy[i]*w[i] - b*x[i]
	}
}

// moments2 is moments with the loops for AVX2.
func moments2(x []float32, eps float32) (mean, r float64) {
	n, cols := whole(len(x)), float64(len(x))
	for _, v := range x[n:] {
		mean += float64(v)
	}
	if n > 0 {
		mean += sumAVX2(&x[0], n)
	}
	mean /= cols
	variance := 0.0
	for _, v := range x[n:] {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	if n > 0 {
		variance += sumDeviationsAVX2(&x[0], n, mean)
	}
	return mean, 1 / math.Sqrt(variance/cols+float64(eps))
}

func layerNormWith2(dst, x, w, b []float32, eps float32) {
	mean, r := moments2(x, eps)
	n := whole(len(x))
	if n > 0 {
		layerApplyAVX2(&dst[0], &x[0], &w[0], &b[0], n, mean, r)
	}
	for i := n; i < len(x); i++ {
		dst[i] = float32((float64(x[i])-mean)*r)*w[i] + b[i]
	}
}

func layerNormBackWith2(dx, dy, x, w []float32, eps float32) {
	mean, r := moments2(x, eps)
	n, cols := whole(len(x)), float64(len(x))
	var sum, dot float64
	if n > 0 {
		sum, dot = sumGradientsAVX2(&dy[0], &w[0], &x[0], n, mean)
	}
	for i := n; i < len(x); i++ {
		g := float64(dy[i]) * float64(w[i])
		sum += g
		dot += g * (float64(x[i]) - mean)
	}
	sum, dot = sum/cols, dot*r*r/cols
	if n > 0 {
		layerBackApplyAVX2(&dx[0], &dy[0], &x[0], &w[0], n, mean, r, sum, dot)
	}
	for i := n; i < len(x); i++ {
		dx[i] += float32(r * (float64(dy[i])*float64(w[i]) - sum - (float64(x[i])-mean)*dot))
	}
}
