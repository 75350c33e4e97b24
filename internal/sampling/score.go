package sampling

import (
	"math"
	"slices"
)

// Scored is a token and the natural logarithm of its probability.
type Scored struct {
	ID      int32
	Logprob float32
}

// Scores are the log-probabilities of one row of logits.
type Scores struct {
	Top []Scored // likeliest first; of equal ones the lower token

	all []float32
	lse float64
}

// Score computes the log-softmax of logits and the top likeliest tokens. A logit
// that is not finite has no part in it. It copies logits, for Of.
func Score(logits []float32, top int) Scores {
	s := Scores{all: slices.Clone(logits), lse: logSumExp(logits)}
	for _, c := range largest(logits, top) {
		s.Top = append(s.Top, Scored{ID: c.token, Logprob: float32(float64(c.logit) - s.lse)})
	}
	return s
}

// Of is the log-probability of a token.
func (s *Scores) Of(id int32) float32 { return float32(float64(s.all[id]) - s.lse) }

// logSumExp is the logarithm of the sum of e^x over the finite numbers of x.
func logSumExp(x []float32) float64 {
	best := argmax(x)
	if best < 0 {
		return math.Inf(-1)
	}
	top, sum := x[best], 0.0
	for _, v := range x {
		if v <= top { // neither infinite upwards nor NaN
			sum += exp(float64(v - top))
		}
	}
	return float64(top) + math.Log(sum)
}

// largest returns the n largest finite logits in order: a short list of the best
// so far, whose last is the bar that nearly all are under.
func largest(logits []float32, n int) []candidate {
	if n <= 0 {
		return nil
	}
	best := make([]candidate, 0, n+1)
	bar := float32(-math.MaxFloat32)
	for i := 0; i < len(logits); i += stride {
		if i+stride <= len(logits) && !anyAbove((*[stride]float32)(logits[i:]), bar) {
			continue
		}
		for j, v := range logits[i:min(i+stride, len(logits))] {
			if !(v >= bar && v <= math.MaxFloat32) {
				continue
			}
			c := candidate{token: int32(i + j), logit: v}
			at, _ := slices.BinarySearchFunc(best, c, likelier)
			if at == n {
				continue
			}
			best = slices.Insert(best, at, c)
			if len(best) > n {
				best = best[:n]
			}
			if len(best) == n {
				bar = best[n-1].logit
			}
		}
	}
	return best
}
