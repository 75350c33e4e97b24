package graph

import "afina/internal/kernel"

// forward computes dst = y of the layer for the n rows of x, which op holds
// ready, and leaves the low-rank product in low (n, rank).
//
//	dst is (n, out), x is (n, in)
func (l *linear) forward(r *run, dst []float32, op *kernel.Operand, x, params, low []float32, seed uint64) {
	r.gang.MatMul(dst, op, l.frozen.Weight)
	if l.frozen.Bias != nil {
		r.gang.AddRows(dst, r.n, l.out, l.frozen.Bias)
	}
	if !l.adapted {
		return
	}
	l.lower(r, x, params, low, seed)
	_, b := l.pair(params, r.rank)
	r.gang.Gemm(false, true, r.n, l.out, r.rank, r.alpha, low, b, 1, dst)
}

// lower computes low = dropout(x)·Aᵀ.
func (l *linear) lower(r *run, x, params, low []float32, seed uint64) {
	if l.adapted {
		a, _ := l.pair(params, r.rank)
		r.gang.Gemm(false, true, r.n, r.rank, l.in, 1, l.masked(r, x, seed), a, 0, low)
	}
}

// backward adds the gradient of the layer: to grads always, and to dx (n, in)
// unless that is nil. When dx is fresh, its old content does not count.
//
//	dy is (n, out), x is (n, in), low is (n, rank)
func (l *linear) backward(r *run, dx, dy, x, params, grads, low []float32, seed uint64, fresh bool) {
	switch {
	case l.adapted:
		l.lowerBack(r, dx, dy, x, params, grads, low, seed, fresh)
	case fresh:
		clear(dx)
	}
	if dx != nil {
		r.gang.MatMulBack(dx, dy, r.n, l.frozen.Weight, r.options.Precision)
	}
}

// lowerBack is the backward of the low-rank product.
func (l *linear) lowerBack(r *run, dx, dy, x, params, grads, low []float32, seed uint64, fresh bool) {
	a, b := l.pair(params, r.rank)
	da, db := l.pair(grads, r.rank)
	dlow := r.arena.dlow[:r.n*r.rank]
	r.gang.Gemm(false, false, r.n, r.rank, l.out, r.alpha, dy, b, 0, dlow)
	r.gang.Gemm(true, false, l.out, r.rank, r.n, r.alpha, dy, low, 1, db)
	masked := x
	switch p := r.dropout(); {
	case dx == nil:
		masked = l.masked(r, x, seed)
	case p == 0:
		beta := float32(1)
		if fresh {
			beta = 0
		}
		r.gang.Gemm(false, false, r.n, l.in, r.rank, 1, dlow, a, beta, dx)
	default:
		masked = r.arena.drop[:r.n*l.in]
		dmasked := dx
		if !fresh {
			dmasked = r.arena.ddrop[:r.n*l.in]
		}
		r.gang.Gemm(false, false, r.n, l.in, r.rank, 1, dlow, a, 0, dmasked)
		r.gang.DropoutBack(masked, x, dx, dmasked, fresh, p, l.salted(seed))
	}
	r.gang.Gemm(true, false, r.rank, l.in, r.n, 1, dlow, masked, 1, da)
}

// pair cuts A and B out of the parameters of a block, or their gradients.
func (l *linear) pair(of []float32, rank int) (a, b []float32) {
	return of[l.a:l.b], of[l.b : l.b+l.out*rank]
}

// masked is x after dropout, in scratch that the next call reuses.
func (l *linear) masked(r *run, x []float32, seed uint64) []float32 {
	p := r.dropout()
	if p == 0 {
		return x
	}
	dst := r.arena.drop[:r.n*l.in]
	r.gang.Dropout(dst, x, p, l.salted(seed))
	return dst
}

// salted gives each layer of a block a mask of its own, as PEFT does.
func (l *linear) salted(seed uint64) uint64 { return mix(seed + uint64(l.index) + 1) }

// mix is SplitMix64 (Steele et al. 2014): neighbours in, strangers out.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
