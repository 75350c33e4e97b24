// Package optim holds the optimiser and the learning-rate schedules. It sees
// parameters as slices of float32 and nothing else; the arithmetic is a gang's.
//
// Everything is computed in one fixed order, so that equal gradients give equal
// bits on every run; the state that must outlive a process is AdamW's exported
// fields.
package optim

import (
	"fmt"
	"math"

	"afina/internal/kernel"
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

	gang *kernel.Gang
}

// NewAdamW returns an optimiser with PyTorch's defaults and the given decay.
func NewAdamW(gang *kernel.Gang, decay float64) *AdamW {
	return &AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: decay, gang: gang}
}

// Step applies one update at rate lr for the gradients times scale, and leaves
// the gradients as they were. The parameters must be the same, in the same order,
// at every step.
//
//	g ← g·scale
//	w ← w·(1 - lr·decay)
//	m ← m + (1-β₁)·(g - m)
//	v ← β₂·v + (1-β₂)·g²
//	w ← w - lr/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)
func (a *AdamW) Step(params []Param, lr, scale float64) {
	a.fit(params)
	a.Steps++
	t := float64(a.Steps)
	a.gang.AdamW(values(params), gradients(params), a.M, a.V, kernel.Update{
		Scale: float32(scale),
		Keep:  float32(1 - lr*a.WeightDecay),
		One:   float32(1 - a.Beta1),
		Beta2: float32(a.Beta2),
		Two:   float32(1 - a.Beta2),
		Root:  float32(math.Sqrt(1 - math.Pow(a.Beta2, t))),
		Eps:   float32(a.Eps),
		Rate:  float32(lr / (1 - math.Pow(a.Beta1, t))),
	})
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

// GradNorm is the global L2 norm of the gradients.
func GradNorm(gang *kernel.Gang, params []Param) float64 {
	return math.Sqrt(gang.SumSquares(gradients(params)))
}

// Zero clears every gradient.
func Zero(gang *kernel.Gang, params []Param) { gang.Clear(gradients(params)) }

func values(params []Param) [][]float32 {
	all := make([][]float32, len(params))
	for i, p := range params {
		all[i] = p.Value
	}
	return all
}

func gradients(params []Param) [][]float32 {
	all := make([][]float32, len(params))
	for i, p := range params {
		all[i] = p.Grad
	}
	return all
}
