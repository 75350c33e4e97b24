package kernel_test

import (
	"fmt"
	"testing"

	"afina/internal/kernel"
)

// TestAttentionPairs: attention in bfloat16 against float64. Weights and inputs are
// rounded to 8 bits, which moves a sum by some 2⁻⁸ of its terms.
func TestAttentionPairs(t *testing.T) {
	plain, fast := twins(t, 2)
	g, ok := fast[kernel.AMX]
	if !ok {
		t.Skip("no tiles of bfloat16 on this machine")
	}
	for _, c := range scenes {
		t.Run(c.name, func(t *testing.T) {
			a := newArena(t, 21)
			want := newScene(a, c.h, c.first)
			want.forward(plain)
			got := want.again(a)
			got.precision = kernel.Fast
			got.forward(g)
			for name, x := range want.results() {
				if name == "out" || name == "lse" {
					compare(t, fmt.Sprint(name), got.results()[name], x, 0, 0.02*norm(x))
				}
			}
		})
	}
}

// TestAttentionLoops compares the loops with their twins, in memory that ends where
// they may not read.
func TestAttentionLoops(t *testing.T) {
	_, fast := twins(t, 1)
	g, ok := fast[kernel.AMX]
	if !ok {
		t.Skip("no tiles of bfloat16 on this machine")
	}
	for _, n := range []int{1, 2, 4, 5, 9} {
		for _, d := range []int{1, 2, 3, 8} {
			if err := g.CompareAttention(n, d, uint64(n*10+d), guarded(t)); err != nil {
				t.Error(err)
			}
		}
	}
}
