package kernel

import (
	"fmt"
	"math"
)

// Rotary is a rotary position embedding (Su et al. 2021).
type Rotary struct {
	Dims    int       // how many leading numbers of each head rotate
	Base    float32   // theta
	Halves  bool      // pairs (i, i+Dims/2) as in NeoX; else (2i, 2i+1)
	Factors []float32 // (Dims/2): theta_i is divided by these; nil means 1
}

// turns returns the turns per position of each pair: theta_i / 2π with
// theta_i = Base^(-2i/Dims) / Factors[i].
func (r Rotary) turns() []float64 {
	t := make([]float64, r.Dims/2)
	step := math.Pow(float64(r.Base), -2/float64(r.Dims))
	for i, theta := 0, 1/(2*math.Pi); i < len(t); i, theta = i+1, theta*step {
		t[i] = theta
		if r.Factors != nil {
			t[i] /= float64(r.Factors[i])
		}
	}
	return t
}

// Rotate turns x (n, heads*dim) in place by the positions; inverse turns back,
// which is the gradient. Angles are reduced in float64, so that far positions
// are as exact as near ones.
func (g *Gang) Rotate(x []float32, n, heads, dim int, pos []int32, r Rotary, inverse bool) {
	mustHold("x of Rotate", len(x), n*heads*dim)
	mustHold("pos of Rotate", len(pos), n)
	if r.Dims < 2 || r.Dims%2 != 0 || r.Dims > dim {
		panic(fmt.Sprintf("kernel: %d rotary dimensions of a head of %d", r.Dims, dim))
	}
	if r.Factors != nil {
		mustHold("Factors of Rotary", len(r.Factors), r.Dims/2)
	}
	turns, k, half := r.turns(), g.rows(), r.Dims/2
	apply := k.rotatePairs
	if r.Halves {
		apply = k.rotateHalves
	}
	cols := heads * dim
	g.spanRows(n, 2*cols, func(lo, hi int) {
		table := make([]float32, 2*half)
		cos, sin := table[:half], table[half:]
		for i := lo; i < hi; i++ {
			p := float64(pos[i])
			if inverse {
				p = -p
			}
			k.sincos(cos, sin, turns, p)
			apply(x[i*cols:(i+1)*cols], dim, cos, sin)
		}
	})
}

// sincosGeneric writes cos and sin of 2π·p·turns.
func sincosGeneric(cos, sin []float32, turns []float64, p float64) {
	for i, t := range turns {
		t *= p
		s, c := math.Sincos(2 * math.Pi * (t - math.RoundToEven(t)))
		cos[i], sin[i] = float32(c), float32(s)
	}
}

// rotateHalvesGeneric turns the pairs (i, i+half) of every head in x.
func rotateHalvesGeneric(x []float32, dim int, cos, sin []float32) {
	half := len(cos)
	for ; len(x) > 0; x = x[dim:] {
		lo, hi := x[:half], x[half:2*half]
		for i, c := range cos {
			a, b, s := lo[i], hi[i], sin[i]
			lo[i], hi[i] = a*c-b*s, a*s+b*c
		}
	}
}

// rotatePairsGeneric turns the pairs (2i, 2i+1) of every head in x.
func rotatePairsGeneric(x []float32, dim int, cos, sin []float32) {
	for ; len(x) > 0; x = x[dim:] {
		for i, c := range cos {
			a, b, s := x[2*i], x[2*i+1], sin[i]
			x[2*i], x[2*i+1] = a*c-b*s, a*s+b*c
		}
	}
}
