package kernel

import "math"

// trainingKernels are the loops that only training needs, at one level.
type trainingKernels struct {
	adamW       func(w, g, m, v []float32, u Update)
	sumSquares  func(x []float32) float64
	dropoutBack func(masked, x, dx, dy []float32, fresh bool, index, k0, k1, threshold uint32, scale float32)
}

func genericTraining() trainingKernels {
	return trainingKernels{adamWGeneric, sumSquares, dropoutBackGeneric}
}

// Update is the numbers of one step of AdamW, in the precision PyTorch uses them.
type Update struct {
	Scale float32 // of the gradients
	Keep  float32 // 1 - rate·decay
	One   float32 // 1 - β₁
	Beta2 float32
	Two   float32 // 1 - β₂
	Root  float32 // √(1 - β₂ᵗ)
	Eps   float32
	Rate  float32 // rate / (1 - β₁ᵗ)
}

// AdamW moves the tensors w by their gradients, and their moments m and v.
func (g *Gang) AdamW(w, grad, m, v [][]float32, u Update) {
	for i, x := range w {
		mustHold("grad of AdamW", len(grad[i]), len(x))
		mustHold("m of AdamW", len(m[i]), len(x))
		mustHold("v of AdamW", len(v[i]), len(x))
	}
	f := g.training().adamW
	g.spanTensors(w, func(i, lo, hi int) { f(w[i][lo:hi], grad[i][lo:hi], m[i][lo:hi], v[i][lo:hi], u) })
}

// adamWGeneric rounds products on their own, so that no compiler fuses them with
// the sums.
func adamWGeneric(w, g, m, v []float32, u Update) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for i, x := range w {
		gi := float32(g[i] * u.Scale)
		m[i] += float32(u.One * (gi - m[i]))
		v[i] = float32(v[i]*u.Beta2) + float32(float32(u.Two*gi)*gi)
		denom := float32(math.Sqrt(float64(v[i])))/u.Root + u.Eps
		w[i] = float32(x*u.Keep) - float32(u.Rate*m[i])/denom
	}
}

// SumSquares returns Σ x² over all tensors, in float64 and in one order.
func (g *Gang) SumSquares(tensors [][]float32) (sum float64) {
	f, starts, n := g.training().sumSquares, make([]int, len(tensors)), 0
	for i, x := range tensors {
		starts[i] = n
		n += (len(x) + grain - 1) / grain
	}
	sums := make([]float64, n)
	g.spanTensors(tensors, func(i, lo, hi int) { sums[starts[i]+lo/grain] = f(tensors[i][lo:hi]) })
	for _, s := range sums {
		sum += s
	}
	return sum
}

// Clear writes zeros to all tensors.
func (g *Gang) Clear(tensors [][]float32) {
	g.spanTensors(tensors, func(i, lo, hi int) { clear(tensors[i][lo:hi]) })
}

// spanTensors runs f over pieces of at most grain numbers of every tensor.
func (g *Gang) spanTensors(tensors [][]float32, f func(i, lo, hi int)) {
	type piece struct{ i, lo, hi int }
	var pieces []piece
	for i, x := range tensors {
		for lo := 0; lo < len(x); lo += grain {
			pieces = append(pieces, piece{i, lo, min(len(x), lo+grain)})
		}
	}
	g.span(len(pieces), 1, func(c, _ int) { f(pieces[c].i, pieces[c].lo, pieces[c].hi) })
}

// DropoutBack writes masked = Dropout(x), and adds Dropout(dy) to dx with the same
// mask: the backward of a product that has read Dropout(x), given the gradient of
// what it has read. When dx is fresh, its old content does not count and it may
// be dy.
func (g *Gang) DropoutBack(masked, x, dx, dy []float32, fresh bool, p float32, seed uint64) {
	mustHold("masked of DropoutBack", len(masked), len(x))
	mustHold("dx of DropoutBack", len(dx), len(x))
	mustHold("dy of DropoutBack", len(dy), len(x))
	drop := g.training().dropoutBack
	g.spanDropout(len(x), p, seed, func(lo, hi int, k0, k1, threshold uint32, scale float32) {
		drop(masked[lo:hi], x[lo:hi], dx[lo:hi], dy[lo:hi], fresh, uint32(lo), k0, k1, threshold, scale)
	})
}

// spanDropout runs f over pieces of n numbers, each with the keys of its masks.
func (g *Gang) spanDropout(n int, p float32, seed uint64, f func(lo, hi int, k0, k1, threshold uint32, scale float32)) {
	scale, threshold := 1/(1-p), uint32(math.Round(float64(p)*(1<<16)))<<16
	g.span(n, grain, func(lo, hi int) {
		for lo < hi { // the key changes every 2³² numbers
			end := min(hi, (lo>>32+1)<<32)
			k0, k1 := dropoutKeys(seed, uint64(lo)>>32)
			f(lo, end, k0, k1, threshold, scale)
			lo = end
		}
	})
}

func dropoutBackGeneric(masked, x, dx, dy []float32, fresh bool, index, k0, k1, threshold uint32, scale float32) {
	dropoutBackBy(genericRows(), masked, x, dx, dy, fresh, index, k0, k1, threshold, scale)
}

// dropoutBackBy makes a DropoutBack of the loops of a level.
func dropoutBackBy(k rowKernels, masked, x, dx, dy []float32, fresh bool, index, k0, k1, threshold uint32, scale float32) {
	k.dropout(masked, x, index, k0, k1, threshold, scale)
	if fresh {
		k.dropout(dx, dy, index, k0, k1, threshold, scale)
		return
	}
	var part [512]float32 // a multiple of 32
	for lo := 0; lo < len(dx); lo += len(part) {
		hi := min(len(dx), lo+len(part))
		k.dropout(part[:hi-lo], dy[lo:hi], index+uint32(lo), k0, k1, threshold, scale)
		k.add(dx[lo:hi], part[:hi-lo])
	}
}
