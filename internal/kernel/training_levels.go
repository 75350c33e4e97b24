//go:build amd64 && !purego

package kernel

// training returns the loops of g's level.
func (g *Gang) training() trainingKernels {
	switch g.level {
	case AVX512, AMX:
		return avx512Training()
	case AVX2:
		return avx2Training()
	}
	return genericTraining()
}

func avx512Training() trainingKernels {
	return trainingKernels{
		adamW: func(w, g, m, v []float32, u Update) {
			adamW512(&w[0], &g[0], &m[0], &v[0], len(w), u.Scale, u.Keep, u.One, u.Beta2, u.Two, u.Root, u.Eps, u.Rate)
		},
		sumSquares: func(x []float32) float64 { return sumSquares512(&x[0], len(x)) },
		dropoutBack: func(masked, x, dx, dy []float32, fresh bool, index, k0, k1, threshold uint32, scale float32) {
			f := dropoutOnto512
			if fresh {
				f = dropoutOver512
			}
			f(&masked[0], &x[0], &dx[0], &dy[0], len(x), index, k0, k1, threshold, scale)
		},
		swiGLUKeep: func(y []float32, pairs []uint32, gate, up []float32) {
			swiGLUKeep512(&y[0], &pairs[0], &gate[0], &up[0], len(gate))
		},
		swiGLUKept: func(y []float32, pairs []uint32) { swiGLUKept512(&y[0], &pairs[0], len(pairs)) },
		swiGLUBackKept: func(dgate, dup, dy []float32, pairs []uint32) {
			swiGLUBackKept512(&dgate[0], &dup[0], &dy[0], &pairs[0], len(pairs))
		},
	}
}

// avx2Training are the loops of generated assembly for AVX2. It takes whole vectors;
// the rest is plain Go.
func avx2Training() trainingKernels {
	return trainingKernels{
		adamW:          adamWWith2,
		sumSquares:     sumSquaresWith2,
		dropoutBack:    dropoutBackWith2,
		swiGLUKeep:     swiGLUKeepWith2,
		swiGLUKept:     swiGLUKeptWith2,
		swiGLUBackKept: swiGLUBackKeptWith2,
	}
}

func adamWWith2(w, g, m, v []float32, u Update) {
	n := whole(len(w))
	if n > 0 {
		adamWAVX2(&w[0], &g[0], &m[0], &v[0], n, u.Scale, u.Keep, u.One, u.Beta2, u.Two, u.Root, u.Eps, u.Rate)
	}
	adamWGeneric(w[n:], g[n:], m[n:], v[n:], u)
}

func sumSquaresWith2(x []float32) float64 {
	n, sum := whole(len(x)), 0.0
	if n > 0 {
		sum = sumSquaresAVX2(&x[0], n)
	}
	return sum + sumSquares(x[n:])
}

func dropoutBackWith2(masked, x, dx, dy []float32, fresh bool, index, k0, k1, threshold uint32, scale float32) {
	f, n := dropoutOntoAVX2, len(x)&^31
	if fresh {
		f = dropoutOverAVX2
	}
	if n > 0 {
		f(&masked[0], &x[0], &dx[0], &dy[0], n, index, k0, k1, threshold, scale)
	}
	dropoutBackGeneric(masked[n:], x[n:], dx[n:], dy[n:], fresh, index+uint32(n), k0, k1, threshold, scale)
}

func swiGLUKeepWith2(y []float32, pairs []uint32, gate, up []float32) {
	n := whole(len(gate))
	if n > 0 {
		swiGLUKeepAVX2(&y[0], &pairs[0], &gate[0], &up[0], n)
	}
	swiGLUKeepGeneric(y[n:], pairs[n:], gate[n:], up[n:])
}

func swiGLUKeptWith2(y []float32, pairs []uint32) {
	n := whole(len(pairs))
	if n > 0 {
		swiGLUKeptAVX2(&y[0], &pairs[0], n)
	}
	swiGLUKeptGeneric(y[n:], pairs[n:])
}

func swiGLUBackKeptWith2(dgate, dup, dy []float32, pairs []uint32) {
	n := whole(len(pairs))
	if n > 0 {
		swiGLUBackKeptAVX2(&dgate[0], &dup[0], &dy[0], &pairs[0], n)
	}
	swiGLUBackKeptGeneric(dgate[n:], dup[n:], dy[n:], pairs[n:])
}
