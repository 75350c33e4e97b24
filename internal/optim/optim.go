// Package optim holds the optimiser and the learning-rate schedules. It sees
// parameters as slices of float32 and nothing else.
package optim

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
func NewAdamW(decay float64) *AdamW { panic("sketch") }

// Step applies one update at rate lr and leaves the gradients as they were.
func (a *AdamW) Step(params []Param, lr float64) { panic("sketch") }

// GradNorm is the global L2 norm of the gradients.
func GradNorm(params []Param) float64 { panic("sketch") }

// Scale multiplies every gradient by f.
func Scale(params []Param, f float32) { panic("sketch") }

// Zero clears every gradient.
func Zero(params []Param) { panic("sketch") }

// Schedule gives the factor of the learning rate at a step, 0-based, as the
// schedulers of transformers do (get_linear_schedule_with_warmup and its cosine
// sibling).
type Schedule struct {
	Kind          string // "linear", "cosine", "constant"
	Warmup, Total int    // steps
}

// Factor returns the multiplier in [0,1] for the update number step.
func (s Schedule) Factor(step int) float64 { panic("sketch") }
