package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"afina/internal/kernel"
)

// numbers are inputs that go wrong more easily than random ones.
var numbers = map[string]func(rng *rand.Rand) float32{
	"random": func(rng *rand.Rand) float32 { return float32(rng.NormFloat64()) },
	"zeros":  func(*rand.Rand) float32 { return 0 },
	"equal":  func(*rand.Rand) float32 { return 0.3 },
	"signs":  func(rng *rand.Rand) float32 { return float32(rng.IntN(3) - 1) },
	"large":  func(rng *rand.Rand) float32 { return float32(rng.IntN(2)*2-1) * 6e4 },
	"sparse": func(rng *rand.Rand) float32 { return float32(rng.IntN(20)/19) * 100 },
	"spread": func(rng *rand.Rand) float32 { return float32(min(1e9, math.Exp(6*rng.NormFloat64()))) / 1e6 },
}

func TestTwins(t *testing.T) {
	for _, level := range kernel.Available() {
		for name, number := range numbers {
			for _, shape := range [][2]int{{1, 1}, {1, 2}, {2, 3}, {3, 18}, {5, 5}} {
				t.Run(fmt.Sprintf("%s/%s/%v", level, name, shape), func(t *testing.T) {
					rng := rand.New(rand.NewPCG(5, 6))
					err := kernel.Compare(level, shape[0], shape[1], 7, func() float32 { return number(rng) }, guarded(t))
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func FuzzTwins(f *testing.F) {
	f.Add(uint8(1), uint8(1), uint64(1))
	f.Add(uint8(4), uint8(40), uint64(2))
	f.Fuzz(func(t *testing.T, np, nblk uint8, seed uint64) {
		for _, level := range kernel.Available() {
			if err := kernel.Compare(level, int(np%6)+1, int(nblk%48)+1, seed, nil, guarded(t)); err != nil {
				t.Errorf("%s: %v", level, err)
			}
		}
	})
}

// Activations that are not numbers, or hardly, must not be hidden by int8.
func TestQuantiseExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, level := range kernel.Available() {
		for _, c := range []struct {
			name  string
			value float32
			check func(scale float32) bool
		}{
			{"subnormal", 1e-40, func(s float32) bool { return s == 0 }},
			{"tiny", 1e-31, func(s float32) bool { return s == 0 }},
			{"largest", math.MaxFloat32, func(s float32) bool { return s > 2e36 && s < inf }},
			{"infinite", inf, func(s float32) bool { return s == inf }},
			{"no number", nan, func(s float32) bool { return s != s }},
		} {
			t.Run(fmt.Sprintf("%s/%s", level, c.name), func(t *testing.T) {
				for place := range 32 {
					x := make([]float32, 32)
					for i := range x {
						x[i] = c.value / 4
					}
					x[place] = c.value
					for i, got := range kernel.ScalesOf(level, x) {
						if !c.check(got) {
							t.Fatalf("place %d, form %d: scale %g", place, i, got)
						}
					}
				}
			})
		}
	}
}
