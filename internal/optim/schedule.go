package optim

import (
	"fmt"
	"math"
)

// Schedule gives the factor of the learning rate at a step, 0-based, as the
// schedulers of transformers do (get_linear_schedule_with_warmup and its cosine
// sibling).
type Schedule struct {
	Kind          string // "linear", "cosine", "constant"
	Warmup, Total int    // steps
}

// Factor returns the multiplier in [0,1] for the update number step: up from 0
// over the warm-up, then down to 0 at Total, or level.
func (s Schedule) Factor(step int) float64 {
	if step < s.Warmup {
		return float64(step) / float64(max(1, s.Warmup))
	}
	done := float64(step-s.Warmup) / float64(max(1, s.Total-s.Warmup))
	switch s.Kind {
	case "linear":
		return max(0, float64(s.Total-step)/float64(max(1, s.Total-s.Warmup)))
	case "cosine":
		return max(0, 0.5*(1+math.Cos(math.Pi*done)))
	case "constant":
		return 1
	}
	panic(fmt.Sprintf("optim: no schedule is called %q", s.Kind))
}
