package kernel

// rowKernels are the loops inside the methods, at one level. The generic set is
// the definition; every other set is compared to it by table and by fuzz.
type rowKernels struct {
	add           func(dst, x []float32)
	dropout       func(dst, x []float32, index, k0, k1, threshold uint32, scale float32)
	rmsNorm       func(dst, x, w []float32, eps float32)
	rmsNormBack   func(dx, dy, x, w []float32, eps float32)
	layerNorm     func(dst, x, w, b []float32, eps float32)
	layerNormBack func(dx, dy, x, w []float32, eps float32)
	sincos        func(cos, sin []float32, turns []float64, p float64)
	rotateHalves  func(x []float32, dim int, cos, sin []float32)
	rotatePairs   func(x []float32, dim int, cos, sin []float32)
	swiGLU        func(dst, gate, up []float32)
	swiGLUBack    func(dgate, dup, dy, gate, up []float32)
	gelu          func(dst, x []float32)
	geluBack      func(dx, dy, x []float32)
	maximum       func(x []float32) float32
	sumExp        func(x []float32, top float32) float64
	expScale      func(x []float32, top, scale float32)

	// For attention in tiles, see softmax.go.
	softmaxTile     func(rows, cols int, s []float32, lds int, from, to []int32, top, sum, acc []float32, dim int, scale float32)
	softmaxBackTile func(rows, cols int, s, ds []float32, ld int, from, to []int32, lse, delta []float32, scale float32)
	scale           func(dst, x []float32, f float32)
	dot             func(x, y []float32) float32
}

func genericRows() rowKernels {
	return rowKernels{
		add:           addGeneric,
		dropout:       dropoutGeneric,
		rmsNorm:       rmsNormGeneric,
		rmsNormBack:   rmsNormBackGeneric,
		layerNorm:     layerNormGeneric,
		layerNormBack: layerNormBackGeneric,
		sincos:        sincosGeneric,
		rotateHalves:  rotateHalvesGeneric,
		rotatePairs:   rotatePairsGeneric,
		swiGLU:        swiGLUGeneric,
		swiGLUBack:    swiGLUBackGeneric,
		gelu:          geluGeneric,
		geluBack:      geluBackGeneric,
		maximum:       maximumGeneric,
		sumExp:        sumExpGeneric,
		expScale:      expScaleGeneric,

		softmaxTile:     softmaxTileGeneric,
		softmaxBackTile: softmaxBackTileGeneric,
		scale:           scaleGeneric,
		dot:             dotGeneric,
	}
}
