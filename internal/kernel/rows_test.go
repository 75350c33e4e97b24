package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"afina/internal/kernel"
	"afina/internal/parallel"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// twins are a gang per level beyond the generic one, and that one.
func twins(t testing.TB, workers int) (plain *kernel.Gang, fast map[kernel.Level]*kernel.Gang) {
	t.Helper()
	pool := parallel.New(workers)
	t.Cleanup(pool.Close)
	fast = map[kernel.Level]*kernel.Gang{}
	for _, level := range kernel.Available() {
		g, err := kernel.NewGang(pool, level)
		if err != nil {
			t.Fatal(err)
		}
		if level == kernel.Generic {
			plain = g
		} else {
			fast[level] = g
		}
	}
	return plain, fast
}

// arena hands out numbers that end where a page begins that may not be touched.
type arena struct {
	alloc  func(bytes int) []byte
	rng    *rand.Rand
	number func(*rand.Rand) float32
}

func newArena(t *testing.T, seed uint64) *arena {
	return &arena{guarded(t), rand.New(rand.NewPCG(seed, 1)), func(r *rand.Rand) float32 { return float32(r.NormFloat64()) }}
}

func (a *arena) numbers(n int) []float32 {
	x := a.zeros(n)
	for i := range x {
		x[i] = a.number(a.rng)
	}
	return x
}

func (a *arena) zeros(n int) []float32 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(a.alloc(4*n)))), n)
}

func (a *arena) clone(x []float32) []float32 {
	y := a.zeros(len(x))
	copy(y, x)
	return y
}

// compare checks got against want: |got - want| ≤ rel·|want| + abs; NaN and
// infinities must be the same.
func compare(t *testing.T, what string, got, want []float32, rel, abs float64) {
	t.Helper()
	bad := 0
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		if math.IsNaN(w) && math.IsNaN(g) || g == w {
			continue
		}
		if !(math.Abs(g-w) <= rel*math.Abs(w)+abs) {
			if bad++; bad <= 3 {
				t.Errorf("%s[%d] = %v, want %v (off by %.3g)", what, i, g, w, math.Abs(g-w))
			}
		}
	}
	if bad > 3 {
		t.Errorf("%s: %d of %d are wrong", what, bad, len(want))
	}
}

// unary are the elementwise functions and norms: every one writes out given
// inputs of n rows of cols numbers and is compared level by level.
var unary = []struct {
	name     string
	rel, abs float64
	run      func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32
}{
	{"Add", 0, 0, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		y := a.clone(in[0])
		g.Add(y, in[1])
		return y
	}},
	{"AddRows", 0, 0, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		y := a.clone(in[0])
		g.AddRows(y, n, cols, in[3])
		return y
	}},
	{"Dropout", 0, 0, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		y := a.zeros(n * cols)
		g.Dropout(y, in[0], 0.3, 77)
		return y
	}},
	{"RMSNorm", 3e-7, 0, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		y := a.zeros(n * cols)
		g.RMSNorm(y, in[0], n, cols, in[3], 1e-5)
		return y
	}},
	{"RMSNormBack", 1e-6, 2e-6, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		y := a.clone(in[2])
		g.RMSNormBack(y, in[1], in[0], n, cols, in[3], 1e-5)
		return y
	}},
	{"LayerNorm", 1e-6, 1e-6, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		y := a.zeros(n * cols)
		g.LayerNorm(y, in[0], n, cols, in[3], in[4], 1e-5)
		return y
	}},
	{"LayerNormBack", 1e-6, 2e-6, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		y := a.clone(in[2])
		g.LayerNormBack(y, in[1], in[0], n, cols, in[3], 1e-5)
		return y
	}},
	{"SwiGLU", 2e-6, 1e-36, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		y := a.zeros(n * cols)
		g.SwiGLU(y, in[0], in[1])
		return y
	}},
	{"SwiGLUBack", 2e-6, 2e-6, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		dgate, dup := a.clone(in[0]), a.clone(in[1])
		g.SwiGLUBack(dgate, dup, in[2], dgate, dup)
		return append(dgate, dup...)
	}},
	{"GELU", 3e-6, 1e-36, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		y := a.zeros(n * cols)
		g.GELU(y, in[0])
		return y
	}},
	{"GELUBack", 2e-6, 2e-6, func(g *kernel.Gang, a *arena, in [][]float32, n, cols int) []float32 {
		dy := a.clone(in[1])
		g.GELUBack(dy, dy, in[0])
		return dy
	}},
}

func TestRowTwins(t *testing.T) {
	plain, fast := twins(t, 2)
	for level, g := range fast {
		for _, f := range unary {
			t.Run(fmt.Sprintf("%s/%s", level, f.name), func(t *testing.T) {
				a := newArena(t, 3)
				for _, shape := range [][2]int{{1, 1}, {3, 7}, {2, 16}, {5, 17}, {4, 64}, {3, 80}, {2, 576}, {1, 1000}, {60, 1537}} {
					n, cols := shape[0], shape[1]
					in := [][]float32{a.numbers(n * cols), a.numbers(n * cols), a.numbers(n * cols), a.numbers(cols), a.numbers(cols)}
					want := f.run(plain, a, in, n, cols)
					compare(t, fmt.Sprint(f.name, shape), f.run(g, a, in, n, cols), want, f.rel, f.abs)
				}
			})
		}
	}
}

// special are numbers at which functions break.
var special = []float32{
	0, float32(math.Copysign(0, -1)), 1e-45, -1e-45, 1e-38, 1e-20, 1, -1, 0.5, 8, -8, 16.6, -16.6, 20, -20, 50, -50, 87.3, -87.3,
	88.7, -88.7, 89, -89, 103, -103, 104.5, -104.5, 500, -500, 1e10, -1e10, 1e20, -1e20, math.MaxFloat32, -math.MaxFloat32,
}

// TestSpecials runs the activations over special numbers, then the same with
// NaN and infinities among them, which must show in the same places.
func TestSpecials(t *testing.T) {
	plain, fast := twins(t, 1)
	for level, g := range fast {
		for _, f := range unary {
			if slices.Contains([]string{"RMSNorm", "RMSNormBack", "LayerNorm", "LayerNormBack"}, f.name) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", level, f.name), func(t *testing.T) {
				a := newArena(t, 4)
				x := append(slices.Clone(special), nan, inf, -inf)
				ones := slices.Repeat([]float32{1}, len(x))
				in := [][]float32{x, ones, ones, ones, ones}
				want := f.run(plain, a, in, 1, len(x))
				compare(t, f.name, f.run(g, a, in, 1, len(x)), want, f.rel, max(f.abs, 1e-37))
				if !math.IsNaN(float64(want[len(special)])) {
					t.Errorf("NaN became %v", want[len(special)])
				}
			})
		}
	}
}

// TestNormsShowNaN puts one NaN or infinity into a row: its whole row must not
// look sound, the other rows must be untouched.
func TestNormsShowNaN(t *testing.T) {
	plain, fast := twins(t, 1)
	fast[kernel.Generic] = plain
	for level, g := range fast {
		for _, bad := range []float32{nan, inf, -inf} {
			for _, f := range unary[3:7] {
				t.Run(fmt.Sprintf("%s/%s/%v", level, f.name, bad), func(t *testing.T) {
					a := newArena(t, 5)
					in := [][]float32{a.numbers(300), a.numbers(300), a.numbers(300), a.numbers(100), a.numbers(100)}
					clean := f.run(g, a, in, 3, 100)
					in[0][142] = bad
					got := f.run(g, a, in, 3, 100)
					if !slices.Equal(got[:100], clean[:100]) || !slices.Equal(got[200:], clean[200:]) {
						t.Error("another row changed")
					}
					if v := float64(got[142]); !math.IsNaN(v) && !math.IsInf(v, 0) {
						t.Errorf("%v became %v", bad, v)
					}
				})
			}
		}
	}
}

// TestNormsLarge: squares that no float32 holds.
func TestNormsLarge(t *testing.T) {
	plain, fast := twins(t, 1)
	for _, g := range fast {
		a := newArena(t, 6)
		a.number = func(r *rand.Rand) float32 { return float32(r.NormFloat64() * 1e25) }
		in := [][]float32{a.numbers(128), nil, nil, slices.Repeat([]float32{1}, 64), make([]float32, 64)}
		for _, f := range unary[3:6:6] {
			if f.name == "RMSNormBack" {
				continue
			}
			compare(t, f.name, f.run(g, a, in, 2, 64), f.run(plain, a, in, 2, 64), 1e-6, 1e-6)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint16(33), uint8(0))
	f.Add(uint64(2), uint8(1), uint16(600), uint8(4))
	f.Fuzz(func(t *testing.T, seed uint64, rows uint8, width uint16, wild uint8) {
		plain, fast := twins(t, 2)
		n, cols := int(rows%5)+1, int(width%700)+1
		a := newArena(t, seed)
		a.number = func(r *rand.Rand) float32 {
			if r.IntN(256) < int(wild%8) {
				return special[r.IntN(len(special))]
			}
			return float32(r.NormFloat64())
		}
		gate := a.numbers(n * cols)
		a.number = func(r *rand.Rand) float32 { return float32(r.NormFloat64()) }
		in := [][]float32{gate, a.numbers(n * cols), a.numbers(n * cols), a.numbers(cols), a.numbers(cols)}
		for level, g := range fast {
			for _, f := range unary {
				if wild%8 > 0 && f.name != "GELU" && f.name != "SwiGLU" && f.name != "Dropout" && f.name != "Add" {
					continue // sums of numbers of any size agree to no digit
				}
				want := f.run(plain, a, in, n, cols)
				compare(t, fmt.Sprint(level, " ", f.name), f.run(g, a, in, n, cols), want, 3*f.rel, 3*max(f.abs, 1e-37))
			}
		}
	})
}

func TestRotate(t *testing.T) {
	plain, fast := twins(t, 2)
	for level, g := range fast {
		for _, c := range []struct {
			name       string
			heads, dim int
			r          kernel.Rotary
		}{
			{"llama", 9, 64, kernel.Rotary{Dims: 64, Base: 10000}},
			{"phi-2", 4, 80, kernel.Rotary{Dims: 32, Base: 10000, Halves: true}},
			{"qwen", 2, 128, kernel.Rotary{Dims: 128, Base: 1e6, Halves: true}},
			{"gemma", 1, 256, kernel.Rotary{Dims: 256, Base: 1e6, Halves: true}},
			{"wide pairs", 2, 320, kernel.Rotary{Dims: 310, Base: 1e4}},
			{"small pairs", 3, 6, kernel.Rotary{Dims: 2, Base: 100}},
			{"small halves", 3, 10, kernel.Rotary{Dims: 6, Base: 100, Halves: true}},
			{"factors", 2, 8, kernel.Rotary{Dims: 8, Base: 500, Factors: []float32{1, 2, 4, 8.5}}},
		} {
			t.Run(fmt.Sprintf("%s/%s", level, c.name), func(t *testing.T) {
				a := newArena(t, 7)
				pos := []int32{0, 1, 2, 3, 17, 100, 511, 4095, 131071, 1 << 20}
				x := a.numbers(len(pos) * c.heads * c.dim)
				for _, inverse := range []bool{false, true} {
					want, got := a.clone(x), a.clone(x)
					plain.Rotate(want, len(pos), c.heads, c.dim, pos, c.r, inverse)
					g.Rotate(got, len(pos), c.heads, c.dim, pos, c.r, inverse)
					compare(t, "rotated", got, want, 0, 2e-6)
					g.Rotate(got, len(pos), c.heads, c.dim, pos, c.r, !inverse)
					compare(t, "turned back", got, x, 0, 2e-6)
				}
			})
		}
	}
}

// TestRotateByHand checks the definition itself on one pair of each kind.
func TestRotateByHand(t *testing.T) {
	plain, fast := twins(t, 1)
	fast[kernel.Generic] = plain
	for level, g := range fast {
		for _, halves := range []bool{false, true} {
			x := []float32{1, 0, 0, 0}
			g.Rotate(x, 1, 1, 4, []int32{3}, kernel.Rotary{Dims: 4, Base: 16, Halves: halves}, false)
			want := []float32{float32(math.Cos(3)), float32(math.Sin(3)), 0, 0}
			if halves {
				want[1], want[2] = 0, want[1]
			}
			compare(t, fmt.Sprint(level, halves), x, want, 0, 1e-7)
			x = []float32{0, 0, 1, 0} // the second pair of neighbours turns 16^(-1/2) as fast
			if halves {
				x = []float32{0, 1, 0, 0}
			}
			g.Rotate(x, 1, 1, 4, []int32{3}, kernel.Rotary{Dims: 4, Base: 16, Halves: halves}, false)
			want = []float32{0, 0, float32(math.Cos(0.75)), float32(math.Sin(0.75))}
			if halves {
				want[1], want[2] = want[2], 0
			}
			compare(t, fmt.Sprint(level, halves), x, want, 0, 1e-7)
		}
	}
}

func TestDropout(t *testing.T) {
	plain, fast := twins(t, 2)
	fast[kernel.Generic] = plain
	const n = 200000
	ones := slices.Repeat([]float32{1}, n)
	for level, g := range fast {
		for _, p := range []float32{0, 0.05, 0.5, 0.9} {
			t.Run(fmt.Sprintf("%s/%v", level, p), func(t *testing.T) {
				a, b, other := make([]float32, n), slices.Clone(ones), make([]float32, n)
				g.Dropout(a, ones, p, 5)
				g.Dropout(b, b, p, 5)
				g.Dropout(other, ones, p, 6)
				if !slices.Equal(a, b) {
					t.Error("the same seed gave two masks")
				}
				dropped, both := 0.0, 0.0
				for i := range a {
					if a[i] == 0 {
						dropped++
						if other[i] == 0 {
							both++
						}
					} else if a[i] != 1/(1-p) {
						t.Fatalf("kept number became %v", a[i])
					}
				}
				within := func(what string, got, p float64) {
					if math.Abs(got-n*p) > 4*math.Sqrt(n*p*(1-p)) {
						t.Errorf("%s: %v of %v, want about %v", what, got, n, n*p)
					}
				}
				within("dropped", dropped, float64(p))
				within("dropped with both of two near seeds", both, float64(p)*float64(p))
			})
		}
	}
}

func TestCrossEntropy(t *testing.T) {
	plain, fast := twins(t, 2)
	for level, g := range fast {
		for _, c := range []struct {
			name     string
			n, vocab int
			number   func(*rand.Rand) float32
		}{
			{"one", 1, 1, func(r *rand.Rand) float32 { return 3 }},
			{"ragged", 7, 1003, func(r *rand.Rand) float32 { return float32(3 * r.NormFloat64()) }},
			{"smollm", 5, 49152, func(r *rand.Rand) float32 { return float32(3 * r.NormFloat64()) }},
			{"gemma", 2, 262144, func(r *rand.Rand) float32 { return float32(3 * r.NormFloat64()) }},
			{"huge", 3, 500, func(r *rand.Rand) float32 { return float32(1e4 * r.NormFloat64()) }},
			{"far from zero", 3, 500, func(r *rand.Rand) float32 { return 1e6 + float32(r.IntN(9)) }},
			{"forbidden tokens", 2, 40000, func(r *rand.Rand) float32 {
				if r.IntN(3) > 0 {
					return -inf
				}
				return float32(r.NormFloat64())
			}},
		} {
			t.Run(fmt.Sprintf("%s/%s", level, c.name), func(t *testing.T) {
				a := newArena(t, 8)
				a.number = c.number
				x := a.numbers(c.n * c.vocab)
				targets := make([]int32, c.n)
				for i := range targets {
					targets[i] = int32(a.rng.IntN(c.vocab))
					x[i*c.vocab+int(targets[i])] = max(x[i*c.vocab+int(targets[i])], -1e5)
				}
				want, got := a.clone(x), a.clone(x)
				ws, _ := plain.CrossEntropy(want, c.n, c.vocab, targets)
				gs, _ := g.CrossEntropy(got, c.n, c.vocab, targets)
				if math.Abs(ws-gs) > 1e-6*math.Abs(ws)+1e-7 {
					t.Errorf("loss %v, want %v", gs, ws)
				}
				compare(t, "gradient", got, want, 1e-6, 1e-9)
				for i := range c.n {
					sum := 0.0
					for _, v := range want[i*c.vocab : (i+1)*c.vocab] {
						sum += float64(v)
					}
					if math.Abs(sum) > 1e-4 {
						t.Errorf("the gradient of row %d sums to %v", i, sum)
					}
				}
			})
		}
	}
}

// TestCrossEntropyRight: a row is right when its target is what a greedy reader
// would pick, the first of the largest logits. Vocabularies are of one block, of
// several and of a ragged last one.
func TestCrossEntropyRight(t *testing.T) {
	plain, fast := twins(t, 2)
	fast[kernel.Generic] = plain
	for level, g := range fast {
		for _, vocab := range []int{1, 2, 67, 1 << 14, 1<<14 + 1, 49152, 50001} {
			rng := rand.New(rand.NewPCG(uint64(vocab), 1))
			const n = 40
			x, targets, want := make([]float32, n*vocab), make([]int32, n), 0
			for i := range n {
				row := x[i*vocab : (i+1)*vocab]
				for j := range row {
					row[j] = float32(rng.IntN(50)) // many are equal
				}
				first := 0
				for j, v := range row {
					if v > row[first] {
						first = j
					}
				}
				switch targets[i] = int32(first); i % 4 {
				case 1: // another of the largest, if there is one
					for j, v := range row {
						if v == row[first] {
							targets[i] = int32(j)
						}
					}
				case 2:
					targets[i] = int32(rng.IntN(vocab))
				case 3: // the last of all, alone
					row[vocab-1], targets[i], first = 60, int32(vocab-1), vocab-1
				}
				if int(targets[i]) == first {
					want++
				}
			}
			if _, got := g.CrossEntropy(x, n, vocab, targets); got != want {
				t.Errorf("%s: %d of %d rows of %d are right, want %d", level, got, n, vocab, want)
			}
		}
		for name, row := range map[string][]float32{"NaN": {1, nan, 0}, "NaN first": {nan, 1, 0}, "a tie behind": {0, 2, 2}, "a tie before": {2, 2, 0}} {
			want := 0
			if name == "a tie behind" {
				want = 1
			}
			if _, got := g.CrossEntropy(slices.Clone(row), 1, 3, []int32{1}); got != want {
				t.Errorf("%s: %s: %d right, want %d", level, name, got, want)
			}
		}
	}
}

func TestCrossEntropyShowsNaN(t *testing.T) {
	plain, fast := twins(t, 1)
	fast[kernel.Generic] = plain
	for level, g := range fast {
		for name, c := range map[string]struct {
			bad  float32
			at   int
			want float64
		}{
			"NaN":         {nan, 30001, math.NaN()},
			"+Inf":        {inf, 5, math.NaN()},
			"NaN target":  {nan, 2, math.NaN()},
			"-Inf target": {-inf, 2, math.Inf(1)},
		} {
			x := make([]float32, 40000)
			x[c.at] = c.bad
			got, _ := g.CrossEntropy(x, 1, len(x), []int32{2})
			if got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
				t.Errorf("%s: %s gave the loss %v, want %v", level, name, got, c.want)
			}
		}
	}
}

// TestExp measures the exponential of each level against float64 through
// CrossEntropy's gradient: softmax of (0, x) at 0 is near 1 for negative x, so
// the gradient at x is exp(x) / (1 + exp(x)).
func TestExp(t *testing.T) {
	_, fast := twins(t, 1)
	for level, g := range fast {
		worst := 0.0
		rng := rand.New(rand.NewPCG(9, 9))
		for range 200 {
			x := make([]float32, 1000)
			for i := 1; i < len(x); i++ {
				x[i] = float32(-87 * rng.Float64())
			}
			total := 0.0
			for _, v := range x {
				total += math.Exp(float64(v))
			}
			y := slices.Clone(x)
			g.CrossEntropy(y, 1, len(y), []int32{0})
			for i := 1; i < len(x); i++ {
				want := math.Exp(float64(x[i])) / total
				if want > 1.2e-38 {
					worst = max(worst, math.Abs(float64(y[i])/want-1))
				}
			}
		}
		t.Logf("%s: greatest relative error of exp·scale %.3g", level, worst)
		if worst > 2.5e-7 {
			t.Errorf("%s: exp is off by %.3g", level, worst)
		}
	}
}
