package sampling_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"afina/internal/fault"
	"afina/internal/sampling"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

func next(t *testing.T, s *sampling.Sampler, logits []float32, seen ...int32) int32 {
	t.Helper()
	got, err := s.Next(slices.Clone(logits), seen)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestGreedy(t *testing.T) {
	for _, c := range []struct {
		name   string
		logits []float32
		seen   []int32
		opts   sampling.Options
		want   int32
	}{
		{"largest", []float32{1, 3, 2}, nil, sampling.Options{}, 1},
		{"lowest index on ties", []float32{1, 3, 3, 3}, nil, sampling.Options{}, 1},
		{"all negative", []float32{-5, -3, -4}, nil, sampling.Options{}, 1},
		{"NaN is passed over", []float32{nan, 1, nan, 2, nan}, nil, sampling.Options{}, 3},
		{"infinities are passed over", []float32{inf, -inf, 1}, nil, sampling.Options{}, 2},
		{"penalty divides what is positive", []float32{3, 2}, []int32{0, 0, 0}, sampling.Options{RepeatPenalty: 1.4}, 0},
		{"penalty turns the choice", []float32{3, 2}, []int32{0}, sampling.Options{RepeatPenalty: 2}, 1},
		{"penalty multiplies what is negative", []float32{-1, -1.5}, []int32{0}, sampling.Options{RepeatPenalty: 2}, 1},
		{"penalty of tokens outside the vocabulary", []float32{3, 2}, []int32{-1, 7}, sampling.Options{RepeatPenalty: 2}, 0},
		{"top-k of one", []float32{1, 3, 2}, nil, sampling.Options{Temperature: 9, TopK: 1}, 1},
		{"tiny top-p", []float32{1, 3, 2}, nil, sampling.Options{Temperature: 9, TopP: 1e-9}, 1},
		{"min-p of one", []float32{1, 3, 2}, nil, sampling.Options{Temperature: 9, MinP: 1}, 1},
		{"cold", []float32{1, 3, 2.9}, nil, sampling.Options{Temperature: 1e-9}, 1},
		{"negative temperature", []float32{1, 3, 2.9}, nil, sampling.Options{Temperature: -1}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sampling.New(c.opts)
			for range 20 {
				if got := next(t, s, c.logits, c.seen...); got != c.want {
					t.Fatalf("got %d, want %d", got, c.want)
				}
			}
		})
	}
}

func TestNoFiniteLogit(t *testing.T) {
	for _, logits := range [][]float32{nil, {nan}, {nan, inf, -inf}, {-inf, -inf}} {
		for _, temperature := range []float32{0, 1} {
			_, err := sampling.New(sampling.Options{Temperature: temperature}).Next(logits, nil)
			var e *fault.Error
			if !errors.As(err, &e) || e.Kind != fault.Internal || e.Code != "numeric_error" {
				t.Errorf("%v at temperature %v: got %v, want numeric_error", logits, temperature, err)
			}
		}
	}
}

// reference computes the probabilities in the plain way: sort everything.
func reference(logits []float32, seen []int32, o sampling.Options) []float64 {
	x := make([]float64, len(logits))
	for i, v := range logits {
		x[i] = float64(v)
		if math.IsNaN(x[i]) || math.IsInf(x[i], 0) {
			x[i] = math.Inf(-1)
		}
		if o.RepeatPenalty > 0 && slices.Contains(seen, int32(i)) {
			if x[i] > 0 {
				x[i] /= float64(o.RepeatPenalty)
			} else {
				x[i] *= float64(o.RepeatPenalty)
			}
		}
	}
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case x[a] > x[b]:
			return -1
		case x[a] < x[b]:
			return 1
		}
		return 0
	})
	p := make([]float64, len(x))
	for _, i := range order {
		p[i] = math.Exp((x[i] - x[order[0]]) / float64(o.Temperature))
	}
	if o.TopK > 0 && o.TopK < len(order) {
		order = order[:o.TopK]
	}
	if o.MinP > 0 {
		order = slices.DeleteFunc(order, func(i int) bool { return p[i] < float64(o.MinP) })
	}
	total := 0.0
	for _, i := range order {
		total += p[i]
	}
	if o.TopP > 0 && o.TopP < 1 {
		sum := 0.0
		for n, i := range order {
			if sum += p[i]; sum >= float64(o.TopP)*total {
				order, total = order[:n+1], sum
				break
			}
		}
	}
	out := make([]float64, len(x))
	for _, i := range order {
		out[i] = p[i] / total
	}
	return out
}

// TestDistribution draws many times and compares with the plain computation by
// Pearson's chi-square. The seed is fixed, so the test always passes or always
// fails.
func TestDistribution(t *testing.T) {
	logits := []float32{2, 1.5, nan, 1, 0.5, 0, -inf, -0.5, -1, 2, 1.25, -2, inf, 0.75}
	for _, c := range []struct {
		name string
		seen []int32
		opts sampling.Options
	}{
		{"plain", nil, sampling.Options{Temperature: 1}},
		{"hot", nil, sampling.Options{Temperature: 3}},
		{"cool", nil, sampling.Options{Temperature: 0.5}},
		{"top-k", nil, sampling.Options{Temperature: 1, TopK: 4}},
		{"top-k cuts a tie", nil, sampling.Options{Temperature: 1, TopK: 1 + 1}},
		{"top-p", nil, sampling.Options{Temperature: 1, TopP: 0.8}},
		{"min-p", nil, sampling.Options{Temperature: 1, MinP: 0.2}},
		{"penalty", []int32{0, 11, 0}, sampling.Options{Temperature: 1, RepeatPenalty: 1.3}},
		{"all", []int32{0, 7}, sampling.Options{Temperature: 1.2, TopK: 8, TopP: 0.9, MinP: 0.1, RepeatPenalty: 1.1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const draws = 40000
			want := reference(logits, c.seen, c.opts)
			c.opts.Seed = 7
			s := sampling.New(c.opts)
			got := make([]float64, len(logits))
			for range draws {
				got[next(t, s, logits, c.seen...)]++
			}
			chi, free := 0.0, -1.0
			for i, p := range want {
				if p == 0 {
					if got[i] != 0 {
						t.Fatalf("token %d was drawn %v times and has no probability", i, got[i])
					}
					continue
				}
				d := got[i] - p*draws
				chi += d * d / (p * draws)
				free++
			}
			// Mean free, variance 2·free: 4 deviations.
			if limit := free + 4*math.Sqrt(2*free); chi > limit {
				t.Errorf("chi-square %.1f with %v degrees of freedom, limit %.1f\ngot  %v\nwant %v", chi, free, limit, got, want)
			}
		})
	}
}

// TestSupport compares which tokens can be drawn from large vocabularies, where
// the cuts work by buckets, with a full sort.
func TestSupport(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		make func(i int) float32
	}{
		{"normal", func(int) float32 { return float32(3 * rng.NormFloat64()) }},
		{"coarse, so that many tie", func(int) float32 { return float32(rng.IntN(5)) }},
		{"all equal", func(int) float32 { return 1 }},
		{"one far above", func(i int) float32 { return float32(rng.NormFloat64()) + 30*float32(i/2999) }},
		{"two clusters", func(i int) float32 { return float32(20*(i%2)) + float32(rng.Float64()*1e-3) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			logits := make([]float32, 3000)
			for i := range logits {
				logits[i] = c.make(i)
			}
			for range 30 {
				o := sampling.Options{
					Temperature: 0.2 + 2*rng.Float32(), TopK: rng.IntN(100), TopP: rng.Float32(),
					MinP: rng.Float32() * 0.05, Seed: rng.Uint64(),
				}
				want := reference(logits, nil, o)
				s := sampling.New(o)
				for range 40 {
					if got := next(t, s, logits); want[got] == 0 {
						t.Fatalf("%+v: token %d with logit %v cannot be drawn", o, got, logits[got])
					}
				}
			}
		})
	}
}

func TestSeeds(t *testing.T) {
	logits := make([]float32, 1000)
	run := func(seed uint64) (tokens []int32) {
		s := sampling.New(sampling.Options{Temperature: 1, Seed: seed})
		for range 50 {
			tokens = append(tokens, next(t, s, logits))
		}
		return tokens
	}
	if a, b := run(3), run(3); !slices.Equal(a, b) {
		t.Errorf("the same seed gave %v and %v", a, b)
	}
	if a, b := run(3), run(4); slices.Equal(a, b) || slices.Equal(a[1:], b[:49]) {
		t.Errorf("seeds 3 and 4 gave %v and %v", a, b)
	}
}

// TestReuse checks that what was drawn before, and with which
// logits, does not change which tokens can be drawn: buffers are clean.
func TestReuse(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	used := sampling.New(sampling.Options{Temperature: 1, TopK: 5, TopP: 0.9, RepeatPenalty: 1.2, Seed: 9})
	for draws := range 60 {
		logits := make([]float32, 1+rng.IntN(300))
		seen := make([]int32, rng.IntN(50))
		for i := range logits {
			logits[i] = float32(rng.NormFloat64())
		}
		for i := range seen {
			seen[i] = int32(rng.IntN(400))
		}
		fresh := sampling.New(sampling.Options{Temperature: 1, TopK: 5, TopP: 0.9, RepeatPenalty: 1.2, Seed: 9})
		for range draws {
			next(t, fresh, []float32{1, 2})
		}
		if a, b := next(t, used, logits, seen...), next(t, fresh, logits, seen...); a != b {
			t.Fatalf("draw %d: got %d from a used sampler, %d from a fresh one", draws, a, b)
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Add([]byte{0, 1, 2, 255, 128}, float32(1), 3, float32(0.9), float32(0.1), float32(1.1), uint64(1))
	f.Add([]byte{127, 127}, float32(1e30), 1, float32(0), float32(0), float32(1e-30), uint64(2))
	f.Add([]byte{1}, float32(1e-40), 0, float32(1), float32(2), float32(1e38), uint64(3))
	f.Fuzz(func(t *testing.T, raw []byte, temperature float32, k int, topP, minP, penalty float32, seed uint64) {
		special := []float32{nan, inf, -inf, math.MaxFloat32, -math.MaxFloat32, 1e-45}
		logits, finite := make([]float32, len(raw)), false
		for i, b := range raw {
			logits[i] = float32(int8(b)) / 4
			if int(b) < len(special) {
				logits[i] = special[b]
			}
			finite = finite || math.Abs(float64(logits[i])) <= math.MaxFloat32
		}
		s := sampling.New(sampling.Options{Temperature: temperature, TopK: k, TopP: topP, MinP: minP, RepeatPenalty: penalty, Seed: seed})
		kept := slices.Clone(logits)
		got, err := s.Next(logits, []int32{0, 1, 5})
		switch {
		case err != nil && finite && !(penalty > 0):
			t.Fatal(err)
		case err == nil && (got < 0 || int(got) >= len(kept) || !(math.Abs(float64(kept[got])) <= math.MaxFloat32)):
			t.Fatalf("got token %d of %v", got, kept)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, v := range []struct {
		name string
		size int
	}{{"49k", 49152}, {"256k", 262144}} {
		rng := rand.New(rand.NewPCG(5, 6))
		logits := make([]float32, v.size)
		for i := range logits {
			logits[i] = float32(3 * rng.NormFloat64())
		}
		logits[v.size/2] = 18
		for _, c := range []struct {
			name string
			opts sampling.Options
		}{
			{"greedy", sampling.Options{}},
			{"defaults", sampling.Options{Temperature: 0.3, TopP: 0.9, RepeatPenalty: 1}},
			{"temperature1", sampling.Options{Temperature: 1}},
			{"top-p", sampling.Options{Temperature: 1, TopP: 0.95}},
			{"top-k", sampling.Options{Temperature: 0.8, TopK: 40}},
			{"all", sampling.Options{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1.1}},
		} {
			b.Run(v.name+"/"+c.name, func(b *testing.B) {
				s := sampling.New(c.opts)
				seen := make([]int32, 512)
				for b.Loop() {
					if _, err := s.Next(logits, seen); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
