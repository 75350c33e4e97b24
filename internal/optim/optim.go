// Package optim holds the optimiser and the learning-rate schedules. It sees
// parameters as slices of float32 and nothing else.
//
// Everything is computed in one fixed order, so that equal gradients give equal
// bits on every run; the state that must outlive a process is AdamW's exported
// fields.
package optim

import (
	"fmt"
	"math"
)

// Param is one trained tensor and its gradient, of equal length.
type Param struct {
	Name  string
	Value []float32
	Grad  []float32
}

// AdamW is Adam with decoupled weight decay (Loshchilov & Hutter 2019), as in
// PyTorch.
type AdamW struct {
	Beta1, Beta2, Eps, WeightDecay float64

	Steps int         // updates made so far
	M, V  [][]float32 // first and second moments, one per parameter
}

// NewAdamW returns an optimiser with PyTorch's defaults and the given decay.
func NewAdamW(decay float64) *AdamW {
	return &AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: decay}
}

// Step applies one update at rate lr and leaves the gradients as they were. The
// parameters must be the same, in the same order, at every step.
//
//	w ← w·(1 - lr·decay)
//	m ← m + (1-β₁)·(g - m)
//	v ← β₂·v + (1-β₂)·g²
//	w ← w - lr/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)
func (a *AdamW) Step(params []Param, lr float64) {
	a.fit(params)
	a.Steps++
	t := float64(a.Steps)
	u := update{
		keep:  float32(1 - lr*a.WeightDecay),
		one:   float32(1 - a.Beta1),
		beta2: float32(a.Beta2),
		two:   float32(1 - a.Beta2),
		root:  float32(math.Sqrt(1 - math.Pow(a.Beta2, t))),
		eps:   float32(a.Eps),
		rate:  float32(lr / (1 - math.Pow(a.Beta1, t))),
	}
	for i, p := range params {
		u.apply(p.Value, p.Grad, a.M[i], a.V[i])
	}
}

// fit makes the moments at the first step, and panics when the parameters are
// not those of the moments.
func (a *AdamW) fit(params []Param) {
	if a.M == nil && a.V == nil {
		a.M, a.V = make([][]float32, len(params)), make([][]float32, len(params))
		for i, p := range params {
			a.M[i], a.V[i] = make([]float32, len(p.Value)), make([]float32, len(p.Value))
		}
	}
	if len(a.M) != len(params) || len(a.V) != len(params) {
		panic(fmt.Sprintf("optim: %d parameters, moments of %d and %d", len(params), len(a.M), len(a.V)))
	}
	for i, p := range params {
		if n := len(p.Value); len(p.Grad) != n || len(a.M[i]) != n || len(a.V[i]) != n {
			panic(fmt.Sprintf("optim: %s has %d numbers, gradient %d, moments %d and %d",
				p.Name, n, len(p.Grad), len(a.M[i]), len(a.V[i])))
		}
	}
}

// update is the numbers of one step, in the precision PyTorch uses them.
type update struct {
	keep, one, beta2, two, root, eps, rate float32
}

// apply updates one tensor. Products are rounded on their own, so that no
// compiler fuses them with the sums.
func (u *update) apply(w, g, m, v []float32) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for i, x := range w {
		gi := g[i]
		m[i] += float32(u.one * (gi - m[i]))
		v[i] = float32(v[i]*u.beta2) + float32(float32(u.two*gi)*gi)
		denom := float32(math.Sqrt(float64(v[i])))/u.root + u.eps
		w[i] = float32(x*u.keep) - float32(u.rate*m[i])/denom
	}
}

// GradNorm is the global L2 norm of the gradients.
func GradNorm(params []Param) float64 {
	var sum [4]float64
	for _, p := range params {
		g := p.Grad
		for ; len(g) >= 4; g = g[4:] {
			a, b, c, d := float64(g[0]), float64(g[1]), float64(g[2]), float64(g[3])
			sum[0] += a * a
			sum[1] += b * b
			sum[2] += c * c
			sum[3] += d * d
		}
		for _, x := range g {
			sum[0] += float64(x) * float64(x)
		}
	}
	return math.Sqrt((sum[0] + sum[1]) + (sum[2] + sum[3]))
}

// Scale multiplies every gradient by f.
func Scale(params []Param, f float32) {
	for _, p := range params {
		for i := range p.Grad {
			p.Grad[i] *= f
		}
	}
}

// Zero clears every gradient.
func Zero(params []Param) {
	for _, p := range params {
		clear(p.Grad)
	}
}
