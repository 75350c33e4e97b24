package kernel_test

import (
	"math"
	"slices"
	"strings"
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
	for _, c := range append(slices.Clone(scenes), []struct {
		name  string
		h     kernel.Heads
		first []int32
	}{
		{"waves", heads(16, 1, 16), packed(40, 800)},
		{"waves of a window", heads(16, 1, 16), window(900, 400)},
		{"half a tile", heads(4, 2, 48), packed(100, 31, 33)},
	}...) {
		t.Run(c.name, func(t *testing.T) {
			a := newArena(t, 21)
			want := newScene(a, c.h, c.first)
			want.forward(plain)
			want.backward(plain)
			got := want.again(a)
			got.precision = kernel.Fast
			got.forward(g)
			got.backward(g)
			for name, x := range want.results() {
				near(t, name, got.results()[name], x)
			}
			if n := g.Waves(c.first, c.h); strings.Contains(c.name, "waves") && n < 2 {
				t.Errorf("the backward took %d wave, this is about several", n)
			}
		})
	}
}

// near checks sums whose terms were rounded to 8 bits: they are off by less than
// 2⁻⁷ of their root mean square, or of an eighth, and none by more than eight times that.
func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	var off, all float64
	for i, w := range want {
		off += float64(got[i]-w) * float64(got[i]-w)
		all += float64(w) * float64(w)
	}
	n := float64(len(want))
	if off, all = math.Sqrt(off/n), math.Sqrt(all/n); !(off <= 0x1p-7*max(all, 0x1p-3)) {
		t.Errorf("%s is off by %.2g, its root mean square is %.2g", what, off, all)
	}
	compare(t, what, got, want, 0, 0x1p-4*norm(want))
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
