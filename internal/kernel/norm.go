package kernel

import "math"

// RMSNorm computes dst = x / sqrt(mean(x²)+eps) · w per row (Zhang & Sennrich
// 2019). dst may be x.
func (g *Gang) RMSNorm(dst, x []float32, n, cols int, w []float32, eps float32) {
	mustHold("dst of RMSNorm", len(dst), n*cols)
	mustHold("x of RMSNorm", len(x), n*cols)
	mustHold("w of RMSNorm", len(w), cols)
	norm := g.rows().rmsNorm
	g.spanRows(n, cols, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			norm(dst[i*cols:(i+1)*cols], x[i*cols:(i+1)*cols], w[:cols], eps)
		}
	})
}

func rmsNormGeneric(dst, x, w []float32, eps float32) {
	r := float32(1 / math.Sqrt(sumSquares(x)/float64(len(x))+float64(eps)))
	for i, v := range x {
		dst[i] = v * r * w[i]
	}
}

// RMSNormBack adds the gradient of RMSNorm with respect to x to dx.
func (g *Gang) RMSNormBack(dx, dy, x []float32, n, cols int, w []float32, eps float32) {
	mustHold("dx of RMSNormBack", len(dx), n*cols)
	mustHold("dy of RMSNormBack", len(dy), n*cols)
	mustHold("x of RMSNormBack", len(x), n*cols)
	mustHold("w of RMSNormBack", len(w), cols)
	back := g.rows().rmsNormBack
	g.spanRows(n, cols, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			a, b := i*cols, (i+1)*cols
			back(dx[a:b], dy[a:b], x[a:b], w[:cols], eps)
		}
	})
}

// rmsNormBackGeneric: with r = 1/sqrt(mean(x²)+eps) and gᵢ = dyᵢ·wᵢ,
//
//	dxᵢ += r·gᵢ − r³/cols · xᵢ·Σ gⱼxⱼ
func rmsNormBackGeneric(dx, dy, x, w []float32, eps float32) {
	cols := float64(len(x))
	r := 1 / math.Sqrt(sumSquares(x)/cols+float64(eps))
	dot := 0.0
	for i, v := range x {
		dot += float64(dy[i]) * float64(w[i]) * float64(v)
	}
	a, b := float32(r), float32(r*r*r/cols*dot)
	for i, v := range x {
		dx[i] += a*dy[i]*w[i] - b*v
	}
}

// LayerNorm computes dst = (x-mean)/sqrt(var+eps) · w + b per row (Ba et al.
// 2016). dst may be x.
func (g *Gang) LayerNorm(dst, x []float32, n, cols int, w, b []float32, eps float32) {
	mustHold("dst of LayerNorm", len(dst), n*cols)
	mustHold("x of LayerNorm", len(x), n*cols)
	mustHold("w of LayerNorm", len(w), cols)
	mustHold("b of LayerNorm", len(b), cols)
	norm := g.rows().layerNorm
	g.spanRows(n, cols, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			norm(dst[i*cols:(i+1)*cols], x[i*cols:(i+1)*cols], w[:cols], b[:cols], eps)
		}
	})
}

func layerNormGeneric(dst, x, w, b []float32, eps float32) {
	mean, r := moments(x, eps)
	for i, v := range x {
		dst[i] = float32((float64(v)-mean)*r)*w[i] + b[i]
	}
}

// LayerNormBack adds the gradient of LayerNorm with respect to x to dx.
func (g *Gang) LayerNormBack(dx, dy, x []float32, n, cols int, w []float32, eps float32) {
	mustHold("dx of LayerNormBack", len(dx), n*cols)
	mustHold("dy of LayerNormBack", len(dy), n*cols)
	mustHold("x of LayerNormBack", len(x), n*cols)
	mustHold("w of LayerNormBack", len(w), cols)
	back := g.rows().layerNormBack
	g.spanRows(n, cols, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			a, b := i*cols, (i+1)*cols
			back(dx[a:b], dy[a:b], x[a:b], w[:cols], eps)
		}
	})
}

// layerNormBackGeneric: with x̂ = (x-mean)·r and gᵢ = dyᵢ·wᵢ,
//
//	dxᵢ += r·(gᵢ − mean(g) − x̂ᵢ·mean(g·x̂))
func layerNormBackGeneric(dx, dy, x, w []float32, eps float32) {
	mean, r := moments(x, eps)
	var sum, dot float64
	for i, v := range x {
		gi := float64(dy[i]) * float64(w[i])
		sum += gi
		dot += gi * (float64(v) - mean) * r
	}
	sum /= float64(len(x))
	dot /= float64(len(x))
	for i, v := range x {
		gi := float64(dy[i]) * float64(w[i])
		dx[i] += float32(r * (gi - sum - (float64(v)-mean)*r*dot))
	}
}

func sumSquares(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return s
}

// moments returns the mean of x and 1/sqrt(var+eps), with the biased variance.
func moments(x []float32, eps float32) (mean, r float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	variance := 0.0
	for _, v := range x {
		d := float64(v) - mean
		variance += d * d
	}
	return mean, 1 / math.Sqrt(variance/float64(len(x))+float64(eps))
}
