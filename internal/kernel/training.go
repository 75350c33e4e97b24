package kernel

import "math"

// trainingKernels are the loops that only training needs, at one level.
type trainingKernels struct {
	adamW       func(w, g, m, v []float32, u Update)
	sumSquares  func(x []float32) float64
	dropoutBack func(masked, x, dx, dy []float32, fresh bool, index, k0, k1, threshold uint32, scale float32)

	swiGLUKeep     func(y []float32, pairs []uint32, gate, up []float32)
	swiGLUKept     func(y []float32, pairs []uint32)
	swiGLUBackKept func(dgate, dup, dy []float32, pairs []uint32)
}

func genericTraining() trainingKernels {
	return trainingKernels{
		adamW:          adamWGeneric,
		sumSquares:     sumSquares,
		dropoutBack:    dropoutBackGeneric,
		swiGLUKeep:     swiGLUKeepGeneric,
		swiGLUKept:     swiGLUKeptGeneric,
		swiGLUBackKept: swiGLUBackKeptGeneric,
	}
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
	g.span(n, grain, func(lo, hi int) { eachKey(lo, hi, p, seed, f) })
}

// eachKey runs f over the pieces of lo … hi-1 that have a key of their own: it
// changes every 2³² numbers.
func eachKey(lo, hi int, p float32, seed uint64, f func(lo, hi int, k0, k1, threshold uint32, scale float32)) {
	scale, threshold := 1/(1-p), uint32(math.Round(float64(p)*(1<<16)))<<16
	for lo < hi {
		end := min(hi, (lo>>32+1)<<32)
		k0, k1 := dropoutKeys(seed, uint64(lo)>>32)
		f(lo, end, k0, k1, threshold, scale)
		lo = end
	}
}

// dropoutBackGeneric rounds what it masks before it adds it, as Dropout and Add do.
func dropoutBackGeneric(masked, x, dx, dy []float32, fresh bool, index, k0, k1, threshold uint32, scale float32) {
	for i, v := range x {
		f := dropoutFactor(index+uint32(i), k0, k1, threshold, scale)
		masked[i] = v * f
		d := float32(dy[i] * f)
		if !fresh {
			d += dx[i]
		}
		dx[i] = d
	}
}

// part is how many numbers are taken apart at a time.
const part = 512

// SwiGLUKeep is SwiGLU that keeps gate and up, rounded to bfloat16, in pairs: half
// the memory for the backward. y may be gate or up.
func (g *Gang) SwiGLUKeep(y []float32, pairs []uint32, gate, up []float32) {
	mustHold("y of SwiGLUKeep", len(y), len(gate))
	mustHold("pairs of SwiGLUKeep", len(pairs), len(gate))
	mustHold("up of SwiGLUKeep", len(up), len(gate))
	f := g.training().swiGLUKeep
	g.span(len(gate), grain, func(lo, hi int) { f(y[lo:hi], pairs[lo:hi], gate[lo:hi], up[lo:hi]) })
}

// SwiGLUKept is SwiGLU of what SwiGLUKeep has kept.
func (g *Gang) SwiGLUKept(y []float32, pairs []uint32) {
	mustHold("y of SwiGLUKept", len(y), len(pairs))
	f := g.training().swiGLUKept
	g.span(len(pairs), grain, func(lo, hi int) { f(y[lo:hi], pairs[lo:hi]) })
}

// SwiGLUBackKept writes the gradients of SwiGLU at what SwiGLUKeep has kept.
func (g *Gang) SwiGLUBackKept(dgate, dup, dy []float32, pairs []uint32) {
	mustHold("dgate of SwiGLUBackKept", len(dgate), len(pairs))
	mustHold("dup of SwiGLUBackKept", len(dup), len(pairs))
	mustHold("dy of SwiGLUBackKept", len(dy), len(pairs))
	f := g.training().swiGLUBackKept
	g.span(len(pairs), grain, func(lo, hi int) { f(dgate[lo:hi], dup[lo:hi], dy[lo:hi], pairs[lo:hi]) })
}

func swiGLUKeepGeneric(y []float32, pairs []uint32, gate, up []float32) {
	for i, x := range gate {
		pairs[i] = pair(x, up[i])
	}
	swiGLUGeneric(y, gate, up)
}

func swiGLUKeptGeneric(y []float32, pairs []uint32) {
	var gate, up [part]float32
	for lo := 0; lo < len(pairs); lo += part {
		n := unpairs(gate[:], up[:], pairs[lo:])
		swiGLUGeneric(y[lo:lo+n], gate[:n], up[:n])
	}
}

func swiGLUBackKeptGeneric(dgate, dup, dy []float32, pairs []uint32) {
	var gate, up [part]float32
	for lo := 0; lo < len(pairs); lo += part {
		n := unpairs(gate[:], up[:], pairs[lo:])
		swiGLUBackGeneric(dgate[lo:lo+n], dup[lo:lo+n], dy[lo:lo+n], gate[:n], up[:n])
	}
}

// unpairs takes the first pairs apart, as many as there is room for, and says how
// many that were.
func unpairs(lo, hi []float32, pairs []uint32) int {
	n := min(len(lo), len(pairs))
	for i, p := range pairs[:n] {
		lo[i], hi[i] = unpair(p)
	}
	return n
}
