package sampling_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"afina/internal/sampling"
)

func TestScore(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 7, 8, 9, 1000} {
		logits := make([]float32, n)
		for i := range logits {
			logits[i] = float32(r.IntN(40)) / 3 // with ties
		}
		if n > 8 {
			logits[3], logits[5], logits[6] = nan, inf, -inf
		}
		sum, order := 0.0, []int32{}
		for i, v := range logits {
			if !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) {
				sum += math.Exp(float64(v))
				order = append(order, int32(i))
			}
		}
		slices.SortStableFunc(order, func(a, b int32) int {
			return int(math.Copysign(1, float64(logits[b]-logits[a]))) * same(logits[a], logits[b])
		})
		for _, top := range []int{0, 1, 5, 20} {
			s := sampling.Score(logits, top)
			if len(s.Top) != min(top, len(order)) {
				t.Fatalf("%d of %d: %d alternatives", top, n, len(s.Top))
			}
			for k, c := range s.Top {
				want := float64(logits[order[k]]) - math.Log(sum)
				if c.ID != order[k] || math.Abs(float64(c.Logprob)-want) > 1e-5 || c.Logprob != s.Of(c.ID) {
					t.Errorf("%d of %d: alternative %d is %v, want %d, %.6f", top, n, k, c, order[k], want)
				}
			}
		}
	}
}

// same is 0 for equal numbers, else 1.
func same(a, b float32) int {
	if a == b {
		return 0
	}
	return 1
}

// TestBiasAndPenalties follows OpenAI's formula over several draws.
func TestBiasAndPenalties(t *testing.T) {
	for _, c := range []struct {
		name string
		opts sampling.Options
		want []int32
	}{
		{"none", sampling.Options{}, []int32{0, 0, 0, 0}},
		{"frequency", sampling.Options{FrequencyPenalty: 0.6}, []int32{0, 0, 1, 0}}, // 3, 2.4, 1.8 against 2
		{"presence", sampling.Options{PresencePenalty: 1.5}, []int32{0, 1, 0, 0}},   // 1.5 against 2, then 0.5
		{"both", sampling.Options{FrequencyPenalty: 0.3, PresencePenalty: 0.25}, []int32{0, 0, 0, 1}},
		{"rewarded", sampling.Options{FrequencyPenalty: -1, Bias: map[int32]float32{1: 1.5}}, []int32{1, 1, 1, 1}},
		{"bias", sampling.Options{Bias: map[int32]float32{2: 2.5, 9: 100}}, []int32{2, 2, 2, 2}},
		{"banned", sampling.Options{Bias: map[int32]float32{0: -100}}, []int32{1, 1, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sampling.New(c.opts)
			var got []int32
			for range c.want {
				got = append(got, next(t, s, []float32{3, 2, 1}, got...))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("drew %v, want %v", got, c.want)
			}
		})
	}
}
