package kernel

import "fmt"

// Angles are the cosines and sines by which some positions turn, made once for
// all layers. The zero value is ready; it keeps its memory.
type Angles struct {
	n        int
	rotary   Rotary
	cos, sin []float32 // (n, Dims/2)
}

// Turns sets a to the positions.
func (g *Gang) Turns(a *Angles, pos []int32, r Rotary) {
	turns, k, half := r.turns(), g.rows(), r.Dims/2
	a.n, a.rotary = len(pos), r
	a.cos, a.sin = grow(a.cos, len(pos)*half), grow(a.sin, len(pos)*half)
	g.spanRows(len(pos), 4*half, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			k.sincos(a.cos[i*half:(i+1)*half], a.sin[i*half:(i+1)*half], turns, float64(pos[i]))
		}
	})
}

// Turn is Rotate by angles that are there already.
func (g *Gang) Turn(x []float32, n, heads, dim int, a *Angles) {
	mustHold("x of Turn", len(x), n*heads*dim)
	if n > a.n || a.rotary.Dims > dim {
		panic(fmt.Sprintf("kernel: turning %d rows of heads of %d by the angles of %d positions and %d dimensions", n, dim, a.n, a.rotary.Dims))
	}
	k, half, cols := g.rows(), a.rotary.Dims/2, heads*dim
	apply := k.rotatePairs
	if a.rotary.Halves {
		apply = k.rotateHalves
	}
	g.spanRows(n, cols, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			apply(x[i*cols:(i+1)*cols], dim, a.cos[i*half:(i+1)*half], a.sin[i*half:(i+1)*half])
		}
	})
}
