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
	r.gang.LowRankUp(dst, low, b, r.n, l.out, r.rank, r.alpha, r.options.Precision)
}

// lower computes low = dropout(x)·Aᵀ.
func (l *linear) lower(r *run, x, params, low []float32, seed uint64) {
	if l.adapted {
		a, _ := l.pair(params, r.rank)
		r.gang.LowRank(low, x, a, r.n, l.in, r.rank, r.dropout(), l.salted(seed), r.options.Precision)
	}
}

// backward adds the gradient of the layer: to grads always, and to dx (n, in)
// unless that is nil. When dx is fresh, its old content does not count.
//
//	dy is (n, out), x is (n, in), low is (n, rank)
func (l *linear) backward(r *run, dx, dy, x, params, grads, low []float32, seed uint64, fresh bool) {
	op := &r.arena.dy
	r.gang.Prepare(op, dy, r.n, l.out, r.options.Precision)
	switch {
	case l.adapted:
		l.lowerBack(r, dx, op, x, params, grads, low, seed, fresh)
	case fresh:
		clear(dx)
	}
	if dx != nil {
		r.gang.MatMulBack(dx, op, l.frozen.Weight)
	}
}

// lowerBack is the backward of the low-rank product.
func (l *linear) lowerBack(r *run, dx []float32, dy *kernel.Operand, x, params, grads, low []float32, seed uint64, fresh bool) {
	a, b := l.pair(params, r.rank)
	da, db := l.pair(grads, r.rank)
	dlow := r.arena.dlow[:r.n*r.rank]
	r.gang.LowRankUpBack(dlow, db, dy, low, b, r.rank, r.alpha)
	r.gang.LowRankBack(dx, da, dlow, x, a, r.n, l.in, r.rank, r.dropout(), l.salted(seed), fresh, r.options.Precision)
}

// pair cuts A and B out of the parameters of a block, or their gradients.
func (l *linear) pair(of []float32, rank int) (a, b []float32) {
	return of[l.a:l.b], of[l.b : l.b+l.out*rank]
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
