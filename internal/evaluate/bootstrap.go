package evaluate

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Estimate is a figure and the interval that holds it with a confidence of 95 %,
// by the percentile bootstrap over questions (Efron & Tibshirani 1993, ch. 13).
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// resamples is how often the questions are drawn anew.
const resamples = 2000

// part is what one question adds to the numerator and the denominator.
type part struct{ sum, of float64 }

// ratio is Σ sum / Σ of over the parts at index; ok is false when there is
// nothing to divide by.
func ratio(parts []part, index []int) (_ float64, ok bool) {
	var sum, of float64
	for _, i := range index {
		sum, of = sum+parts[i].sum, of+parts[i].of
	}
	return sum / of, of > 0
}

// estimate is the ratio of all parts with its interval; nil when there is nothing
// to divide by.
func estimate(parts []part, seed int64) *Estimate {
	return bootstrap(len(parts), seed, func(index []int) (float64, bool) { return ratio(parts, index) })
}

// difference is the ratio of a less that of b. The questions are the same in
// both, and are drawn together.
func difference(a, b []part, seed int64) *Estimate {
	return bootstrap(len(a), seed, func(index []int) (float64, bool) {
		x, okX := ratio(a, index)
		y, okY := ratio(b, index)
		return x - y, okX && okY
	})
}

// bootstrap draws n questions of n, resamples times.
func bootstrap(n int, seed int64, figure func(index []int) (float64, bool)) *Estimate {
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	value, ok := figure(index)
	if !ok {
		return nil
	}
	r := rand.New(rand.NewPCG(uint64(seed), 0x626f6f74))
	drawn := make([]float64, 0, resamples)
	for range resamples {
		for i := range index {
			index[i] = r.IntN(n)
		}
		if x, ok := figure(index); ok {
			drawn = append(drawn, x)
		}
	}
	slices.Sort(drawn)
	return &Estimate{Value: value, Low: quantile(drawn, 0.025), High: quantile(drawn, 0.975)}
}

// quantile is that of sorted values, interpolated.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (sorted[high]-sorted[low])*(at-float64(low))
}
