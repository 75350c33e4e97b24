package kernel_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"afina/internal/kernel"
)

// scene is one attention with random inputs.
type scene struct {
	h             kernel.Heads
	precision     kernel.Precision // Exact
	first         []int32
	q, k, v, dout []float32
	out, lse      []float32
	dq, dk, dv    []float32
}

// A kind is a level and a precision that compute attention in a way of their own.
type kind struct {
	level     kernel.Level
	precision kernel.Precision
	gang      *kernel.Gang
}

func (k kind) String() string {
	if k.precision == kernel.Fast {
		return string(k.level) + " in bfloat16"
	}
	return string(k.level)
}

// kinds are all that this machine has, on so many workers.
func kinds(t *testing.T, workers int) (all []kind) {
	plain, fast := twins(t, workers)
	fast[kernel.Generic] = plain
	for level, g := range fast {
		all = append(all, kind{level, kernel.Exact, g})
		if level == kernel.AMX {
			all = append(all, kind{level, kernel.Fast, g})
		}
	}
	return all
}

// packed lays conversations of the given lengths one after the other.
func packed(lengths ...int) (first []int32) {
	for _, n := range lengths {
		first = append(first, slices.Repeat([]int32{int32(len(first))}, n)...)
	}
	return first
}

// window is a row whose tokens see only the last size tokens.
func window(n, size int) []int32 {
	first := make([]int32, n)
	for t := range first {
		first[t] = int32(max(0, t-size+1))
	}
	return first
}

func heads(query, kv, dim int) kernel.Heads {
	return kernel.Heads{Query: query, KV: kv, Dim: dim, Scale: float32(1 / math.Sqrt(float64(dim)))}
}

func newScene(a *arena, h kernel.Heads, first []int32) *scene {
	n := len(first)
	return &scene{h: h, precision: kernel.Exact, first: first,
		q: a.numbers(n * h.Query * h.Dim), dout: a.numbers(n * h.Query * h.Dim),
		k: a.numbers(n * h.KV * h.Dim), v: a.numbers(n * h.KV * h.Dim),
		out: a.zeros(n * h.Query * h.Dim), lse: a.zeros(n * h.Query),
		dq: a.zeros(n * h.Query * h.Dim), dk: a.zeros(n * h.KV * h.Dim), dv: a.zeros(n * h.KV * h.Dim)}
}

func (s *scene) forward(g *kernel.Gang) {
	g.Attention(s.out, s.lse, s.q, s.k, s.v, s.first, s.h, s.precision)
}

func (s *scene) backward(g *kernel.Gang) {
	g.AttentionBack(s.dq, s.dk, s.dv, s.dout, s.out, s.lse, s.q, s.k, s.v, s.first, s.h, s.precision)
}

func (s *scene) results() map[string][]float32 {
	return map[string][]float32{"out": s.out, "lse": s.lse, "dq": s.dq, "dk": s.dk, "dv": s.dv}
}

// again is the same inputs with fresh results.
func (s *scene) again(a *arena) *scene {
	c := *s
	c.out, c.lse, c.dq, c.dk, c.dv = a.zeros(len(s.out)), a.zeros(len(s.lse)), a.zeros(len(s.dq)), a.zeros(len(s.dk)), a.zeros(len(s.dv))
	return &c
}

var scenes = []struct {
	name  string
	h     kernel.Heads
	first []int32
}{
	{"one token", heads(1, 1, 16), packed(1)},
	{"two tokens", heads(2, 1, 16), packed(2)},
	{"tile and a half", heads(2, 2, 32), packed(70)},
	{"block and one", heads(3, 1, 16), packed(129)},
	{"smollm", heads(9, 3, 64), packed(200)},
	{"smollm packed", heads(9, 3, 64), packed(31, 1, 100, 1, 1, 130, 48)},
	{"phi-2", heads(4, 4, 80), packed(90, 75)},
	{"qwen", heads(7, 1, 128), packed(60)},
	{"gemma", heads(2, 1, 256), packed(40, 30)},
	{"window", heads(2, 1, 16), window(300, 37)},
	{"long", heads(2, 1, 16), packed(1100, 1300)},
	{"dim the tiles do not take", heads(4, 2, 20), packed(20, 33)},
}

func TestAttentionTwins(t *testing.T) {
	plain, fast := twins(t, 2)
	for _, c := range scenes {
		for _, spread := range []float64{1, 8} {
			if spread > 1 && len(c.first) > 150 {
				continue // the plain twin takes its time
			}
			t.Run(fmt.Sprintf("%s/%v", c.name, spread), func(t *testing.T) {
				a := newArena(t, 11)
				want := newScene(a, c.h, c.first)
				for i := range want.q {
					want.q[i] *= float32(spread)
				}
				want.forward(plain)
				want.backward(plain)
				for level, g := range fast {
					got := want.again(a)
					got.forward(g)
					got.backward(g)
					for name, x := range want.results() {
						compare(t, fmt.Sprint(level, " ", name), got.results()[name], x, 4e-6, 4e-6*spread*norm(x))
					}
				}
			})
		}
	}
}

// norm is the root of the mean square, at least 1.
func norm(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return max(1, math.Sqrt(s/float64(len(x))))
}

// TestAttentionWorkers: any number of workers gives the same bits.
func TestAttentionWorkers(t *testing.T) {
	for _, of := range kinds(t, 1) {
		if of.level == kernel.Generic {
			continue
		}
		t.Run(of.String(), func(t *testing.T) {
			a := newArena(t, 12)
			s := newScene(a, heads(6, 2, 64), packed(150, 170, 600))
			s.precision = of.precision
			keep := keeping(s.h, true)
			var lanes []kernel.Lane
			var q []float32
			var want map[string][]float32
			for _, workers := range []int{1, 2, 5} {
				_, fast := twins(t, workers)
				g := fast[of.level]
				got := s.again(a)
				got.forward(g)
				got.backward(g)
				if lanes == nil {
					lanes, q = history(a, g, keep, 2100, 3, 5)
				}
				cached := a.zeros(len(q))
				g.AttentionCached(cached, q, lanes, 1, keep)
				results := got.results()
				results["cached"] = cached
				if want == nil {
					want = results
				}
				for name, x := range results {
					if !slices.Equal(x, want[name]) {
						t.Errorf("%s differs with %d workers", name, workers)
					}
				}
			}
		})
	}
}

// TestAttentionIsolation changes one conversation, to NaN even: the others keep
// every bit, forward and backward. Then it changes the future of a token.
func TestAttentionIsolation(t *testing.T) {
	for _, level := range kinds(t, 2) {
		a, g := newArena(t, 13), level.gang
		h := heads(3, 1, 32)
		s := newScene(a, h, packed(33, 50, 90))
		s.precision = level.precision
		s.forward(g)
		s.backward(g)
		other := s.again(a)
		other.q, other.k, other.v, other.dout = a.clone(s.q), a.clone(s.k), a.clone(s.v), a.clone(s.dout)
		for t := 33; t < 83; t++ {
			for _, x := range [][]float32{other.q, other.k, other.v, other.dout} {
				cols := len(x) / len(s.first)
				x[t*cols] = []float32{nan, inf, 7}[t%3]
			}
		}
		other.forward(g)
		other.backward(g)
		for name, x := range s.results() {
			y := other.results()[name]
			rows := 1
			if name == "lse" {
				rows = h.Query
			}
			for r := range rows {
				n := len(x) / rows / len(s.first)
				x, y := x[r*n*len(s.first):], y[r*n*len(s.first):]
				if !slices.Equal(x[:33*n], y[:33*n]) || !slices.Equal(x[83*n:173*n], y[83*n:173*n]) {
					t.Errorf("%s: %s of a conversation depends on another", level, name)
				}
				if slices.Equal(x[33*n:83*n], y[33*n:83*n]) {
					t.Errorf("%s: %s of the changed conversation did not change", level, name)
				}
			}
		}
		future := s.again(a)
		future.k, future.v = a.clone(s.k), a.clone(s.v)
		for i := 120 * 32; i < len(future.k); i++ {
			future.k[i], future.v[i] = 9, 9
		}
		future.forward(g)
		if n := 3 * 32; !slices.Equal(future.out[:120*n], s.out[:120*n]) || slices.Equal(future.out[120*n:], s.out[120*n:]) {
			t.Errorf("%s: a token depends on the future, or not on itself", level)
		}
	}
}

// TestAttentionShowsNaN: what is not a number in q, k or v must show in every
// row that sees it.
func TestAttentionShowsNaN(t *testing.T) {
	for _, level := range kinds(t, 1) {
		for _, bad := range []float32{nan, inf} {
			for part := range 3 {
				a := newArena(t, 14)
				s := newScene(a, heads(1, 1, 16), packed(150))
				s.precision = level.precision
				[][]float32{s.q, s.k, s.v}[part][20*16+3] = bad
				s.forward(level.gang)
				for row := range 150 {
					sees := row == 20 || row > 20 && part > 0
					sound := true
					for _, v := range s.out[row*16 : (row+1)*16] {
						sound = sound && !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
					}
					// A key of -Inf·q is a score of -Inf: no weight, which is sound.
					if sees && sound && (bad != inf || part == 2) {
						t.Fatalf("%s: row %d looks sound, %v in %c is hidden", level, row, bad, "qkv"[part])
					}
					// In v it may show in the rows of its tile that do not see it.
					if !sees && row < 20 && !sound && (part < 2 || level.level == kernel.Generic) {
						t.Fatalf("%s: row %d sees the future", level, row)
					}
				}
			}
		}
	}
}

// TestAttentionExtremes: scores of thousands, where exp of any would overflow.
func TestAttentionExtremes(t *testing.T) {
	plain, _ := twins(t, 1)
	for _, level := range kinds(t, 1) {
		for _, size := range []float64{0x1p-100, 0x1p10, 0x1p50} {
			a := newArena(t, 15)
			want := newScene(a, heads(2, 1, 16), packed(140))
			for i := range want.q {
				// Powers of two and few values: the scores are exact.
				want.q[i] = float32(math.Round(float64(want.q[i])) * size)
			}
			for i := range want.k {
				want.k[i] = float32(math.Round(float64(want.k[i])))
			}
			want.forward(plain)
			got := want.again(a)
			got.precision = level.precision
			got.forward(level.gang)
			bound := 1e-5
			if level.precision == kernel.Fast {
				bound = 0x1p-6
			}
			compare(t, fmt.Sprint(level, " out ", size), got.out, want.out, bound, bound)
			compare(t, fmt.Sprint(level, " lse ", size), got.lse, want.lse, 1e-6, 1e-6)
		}
	}
}

// keeping is one layer of heads.
func keeping(h kernel.Heads, half bool) kernel.Keeping {
	return kernel.Keeping{Layers: 2, Heads: h, Half: half}
}

// kept makes pages of n positions of k and v, in layer 1.
func kept(g *kernel.Gang, k, v []float32, n int, keep kernel.Keeping) []*kernel.Page {
	pages := make([]*kernel.Page, (n+kernel.PageKeys-1)/kernel.PageKeys)
	for i := range pages {
		page, err := g.NewPage(keep)
		if err != nil {
			panic(err)
		}
		pages[i] = page
	}
	lanes := make([]kernel.Lane, n)
	for i := range lanes {
		lanes[i] = kernel.Lane{Pages: pages, Len: i + 1}
	}
	g.Remember(k, v, lanes, 1, keep)
	return pages
}

// history makes a cache of length keys of one sequence and lanes on it: the last
// few positions together, as of a piece of a prompt, then others of other
// sequences.
func history(a *arena, g *kernel.Gang, keep kernel.Keeping, length, last, others int) (lanes []kernel.Lane, q []float32) {
	h := keep.Heads
	k, v := a.numbers(length*h.KV*h.Dim), a.numbers(length*h.KV*h.Dim)
	pages := kept(g, k, v, length, keep)
	for i := range last {
		lanes = append(lanes, kernel.Lane{Pages: pages, Len: length - last + i + 1})
	}
	for range others {
		n := 1 + a.rng.IntN(length)
		k, v := a.numbers(n*h.KV*h.Dim), a.numbers(n*h.KV*h.Dim)
		lanes = append(lanes, kernel.Lane{Pages: kept(g, k, v, n, keep), Len: n})
	}
	return lanes, a.numbers(len(lanes) * h.Query * h.Dim)
}

func TestAttentionCached(t *testing.T) {
	plain, fast := twins(t, 2)
	for level, g := range fast {
		for _, c := range []struct {
			name                 string
			h                    kernel.Heads
			length, last, others int
		}{
			{"one key", heads(9, 3, 64), 1, 1, 0},
			{"few keys", heads(9, 3, 64), 17, 2, 2},
			{"page", heads(9, 3, 64), 32, 1, 1},
			{"page and one", heads(9, 3, 64), 33, 2, 1},
			{"block", heads(9, 3, 64), 128, 1, 1},
			{"block and one", heads(4, 4, 80), 129, 1, 1},
			{"prompt", heads(9, 3, 64), 300, 100, 1},
			{"pieces", heads(9, 3, 64), 2500, 40, 3},
			{"lanes on both sides of a piece", heads(3, 1, 32), 1030, 12, 0},
			{"as many query heads as a strip", heads(32, 1, 32), 50, 5, 1},
			{"many query heads", heads(48, 1, 16), 50, 5, 1},
			{"too many query heads", heads(64, 1, 16), 50, 5, 1},
			{"dim the tiles do not take", heads(4, 2, 20), 50, 5, 1},
		} {
			for _, half := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/half=%v", level, c.name, half), func(t *testing.T) {
					a := newArena(t, 16)
					keep := keeping(c.h, half)
					lanes, q := history(a, g, keep, c.length, c.last, c.others)
					want, got := a.zeros(len(q)), a.zeros(len(q))
					plain.AttentionCached(want, q, lanes, 1, keep)
					g.AttentionCached(got, q, lanes, 1, keep)
					if level == kernel.AMX && half && c.h.Dim%32 == 0 { // the twin reads the same keys and values
						near(t, "out", got, want)
					} else {
						compare(t, "out", got, want, 3e-6, 2e-6)
					}
					// Alone, every lane gets the same bits.
					size := c.h.Query * c.h.Dim
					for i := range lanes {
						alone := a.zeros(size)
						g.AttentionCached(alone, q[i*size:(i+1)*size], lanes[i:i+1], 1, keep)
						if !slices.Equal(alone, got[i*size:(i+1)*size]) {
							t.Fatalf("lane %d depends on its company", i)
						}
					}
				})
			}
		}
	}
}

// TestStalePages: what a page held before, even if it is no number, does not
// reach those who do not see it.
func TestStalePages(t *testing.T) {
	_, fast := twins(t, 2)
	for level, g := range fast {
		for _, half := range []bool{false, true} {
			a := newArena(t, 18)
			keep := keeping(heads(9, 3, 64), half)
			k, v := a.numbers(192*64), a.numbers(192*64)
			bad := slices.Repeat([]float32{nan}, 192*64)
			pages := kept(g, bad, bad, 64, keep)
			lanes := make([]kernel.Lane, 45)
			for i := range lanes {
				lanes[i] = kernel.Lane{Pages: pages, Len: i + 1}
			}
			g.Remember(k, v, lanes, 1, keep)
			q := a.numbers(len(lanes) * 9 * 64)
			got, want := a.zeros(len(q)), a.zeros(len(q))
			g.AttentionCached(got, q, lanes, 1, keep)
			clean := kept(g, k, v, 45, keep)
			for i := range lanes {
				lanes[i].Pages = clean
			}
			g.AttentionCached(want, q, lanes, 1, keep)
			if !slices.Equal(got, want) {
				t.Errorf("%s: stale keys or values reach a token", level)
			}
		}
	}
}

// TestCachedIsAttention: what serving computes token by token is what training
// computed for the whole row, but for the order of some sums.
func TestCachedIsAttention(t *testing.T) {
	_, fast := twins(t, 2)
	for level, g := range fast {
		a := newArena(t, 17)
		s := newScene(a, heads(6, 2, 64), packed(333))
		s.forward(g)
		keep := keeping(s.h, false)
		pages := kept(g, s.k, s.v, len(s.first), keep)
		var lanes []kernel.Lane
		for n := range s.first {
			lanes = append(lanes, kernel.Lane{Pages: pages, Len: n + 1})
		}
		got := a.zeros(len(s.out))
		g.AttentionCached(got, s.q, lanes, 1, keep)
		compare(t, string(level), got, s.out, 1e-6, 1e-6)
	}
}

// TestShapePanics: a shape that cannot be is a programmer's mistake and says so.
func TestShapePanics(t *testing.T) {
	plain, fast := twins(t, 1)
	fast[kernel.Generic] = plain
	x := make([]float32, 64)
	for name, f := range map[string]func(g *kernel.Gang){
		"heads": func(g *kernel.Gang) {
			g.Attention(x, x, x, x, x, []int32{0}, kernel.Heads{Query: 3, KV: 2, Dim: 4}, kernel.Exact)
		},
		"short q":  func(g *kernel.Gang) { g.Attention(x, x, x[:3], x, x, []int32{0}, heads(1, 1, 4), kernel.Exact) },
		"future":   func(g *kernel.Gang) { g.Attention(x, x, x, x, x, []int32{1}, heads(1, 1, 4), kernel.Exact) },
		"falling":  func(g *kernel.Gang) { g.Attention(x, x, x, x, x, []int32{0, 1, 0}, heads(1, 1, 4), kernel.Exact) },
		"no key":   func(g *kernel.Gang) { g.AttentionCached(x, x, []kernel.Lane{{}}, 0, keeping(heads(1, 1, 4), false)) },
		"norm":     func(g *kernel.Gang) { g.RMSNorm(x, x, 2, 33, x, 1e-5) },
		"dropout":  func(g *kernel.Gang) { g.Dropout(x, x, 1, 1) },
		"target":   func(g *kernel.Gang) { g.CrossEntropy(x, 1, 64, []int32{64}) },
		"rotation": func(g *kernel.Gang) { g.Rotate(x, 1, 1, 8, []int32{0}, kernel.Rotary{Dims: 10, Base: 10}, false) },
	} {
		for level, g := range fast {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: %s did not panic", level, name)
					}
				}()
				f(g)
			}()
		}
	}
}

func FuzzAttention(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(1), uint8(4), uint16(100), uint8(30))
	f.Add(uint64(2), uint8(1), uint8(2), uint8(5), uint16(257), uint8(200))
	f.Fuzz(func(t *testing.T, seed uint64, group, kv, dim uint8, n uint16, every uint8) {
		plain, fast := twins(t, 2)
		a := newArena(t, seed)
		h := heads(int(group%4+1)*int(kv%3+1), int(kv%3+1), 16*int(dim%6+1))
		var first []int32
		for t := range int(n%300) + 1 {
			lo := int32(0)
			if t > 0 {
				lo = first[t-1]
			}
			switch a.rng.IntN(int(every) + 2) {
			case 0:
				lo = int32(t)
			case 1:
				lo += int32(a.rng.IntN(t + 1 - int(lo)))
			}
			first = append(first, lo)
		}
		want := newScene(a, h, first)
		want.forward(plain)
		want.backward(plain)
		for level, g := range fast {
			got := want.again(a)
			got.forward(g)
			got.backward(g)
			for name, x := range want.results() {
				compare(t, fmt.Sprint(level, " ", name), got.results()[name], x, 4e-6, 2e-5*norm(x)) // dim 96: sums of 96 products cancel
			}
			if level == kernel.AMX {
				got.precision = kernel.Fast
				got.forward(g)
				got.backward(g)
				for name, x := range want.results() {
					near(t, name, got.results()[name], x)
				}
			}
		}
	})
}
