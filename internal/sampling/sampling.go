// Package sampling turns logits into a token.
//
// The order of the steps is fixed: repetition penalty, temperature, top-k,
// min-p, top-p, draw. The steps and what each means are llama.cpp's, and each
// cut renormalises what is left; only the temperature comes before the cuts, as
// in Transformers, so that top-p speaks of the distribution that is drawn from.
//
// It knows no model and no text. Equal options and equal logits give equal
// tokens on every machine level, since draws are numbered: draw i of a seed does
// not depend on how many cores or requests there are.
package sampling

import (
	"math"
	"slices"

	"afina/internal/fault"
)

// Options are the caller's choices. The zero value is greedy.
type Options struct {
	Temperature   float32 // 0 is greedy
	TopK          int     // 0: no limit
	TopP          float32 // 0 or 1: no limit
	MinP          float32 // 0: no limit
	RepeatPenalty float32 // 0 or 1: none
	Seed          uint64
}

// Sampler draws tokens for one sequence. It is not safe for concurrent use.
type Sampler struct {
	opts  Options
	draws uint64   // how many were made
	marks []uint64 // a bit per token, all zero between calls
	cands []candidate
	edge  []candidate
	count [buckets]int32
	mass  [buckets]float64
}

// candidate is a token that may still be drawn.
type candidate struct {
	token  int32
	logit  float32
	weight float64 // exp((logit - top)/temperature)
}

// New returns a sampler; equal options give equal draws.
func New(opts Options) *Sampler { return &Sampler{opts: opts} }

// Next returns the chosen index. seen are the tokens so far, for the repetition
// penalty. It may reorder and overwrite logits. A logit that is not finite is
// never chosen; Next fails when no logit is finite.
func (s *Sampler) Next(logits []float32, seen []int32) (int32, error) {
	s.penalise(logits, seen)
	best := argmax(logits)
	if best < 0 {
		return 0, fault.New(fault.Internal, "the model gave no finite logit").WithCode("numeric_error")
	}
	if !(s.opts.Temperature > 0) || s.opts.TopK == 1 {
		return int32(best), nil
	}
	s.gather(logits, logits[best])
	if k := s.opts.TopK; k > 0 && k < len(s.cands) {
		s.keep(k, math.Inf(1))
	}
	if p := s.opts.TopP; p > 0 && p < 1 {
		s.keep(len(s.cands), float64(p)*s.total())
	}
	return s.draw(), nil
}

// penalise makes tokens that were seen less likely, each once however often it
// was seen (Keskar et al. 2019): positive logits are divided, others multiplied.
func (s *Sampler) penalise(logits []float32, seen []int32) {
	penalty := s.opts.RepeatPenalty
	if !(penalty > 0) || penalty == 1 {
		return
	}
	if words := (len(logits) + 63) / 64; len(s.marks) < words {
		s.marks = make([]uint64, words)
	}
	for _, t := range seen {
		if t < 0 || int(t) >= len(logits) || s.marks[t/64]>>(t%64)&1 != 0 {
			continue
		}
		s.marks[t/64] |= 1 << (t % 64)
		if logits[t] > 0 {
			logits[t] /= penalty
		} else {
			logits[t] *= penalty
		}
	}
	for _, t := range seen {
		if t >= 0 && int(t) < len(logits) {
			s.marks[t/64] = 0
		}
	}
}

// argmax returns the index of the largest finite number, the lowest one on
// ties, or -1 when there is none.
func argmax(x []float32) int {
	best, top := -1, float32(math.Inf(-1))
	for i, v := range x {
		if v > top && v <= math.MaxFloat32 {
			best, top = i, v
		}
	}
	return best
}

// gather sets cands to the tokens that pass min-p, in the order of their
// numbers. Tokens that all together hold less than 2⁻⁵³ of the probability,
// the resolution of a draw, are left out here.
func (s *Sampler) gather(logits []float32, top float32) {
	reach := 53*math.Ln2 + math.Log(float64(len(logits)))
	if p := s.opts.MinP; p > 0 {
		reach = min(reach, -math.Log(min(1, float64(p))))
	}
	t := float64(s.opts.Temperature)
	floor := max(float32(float64(top)-t*reach), -math.MaxFloat32)
	s.cands = s.cands[:0]
	for i, v := range logits {
		if v >= floor && v <= top {
			s.cands = append(s.cands, candidate{token: int32(i), logit: v})
		}
	}
	inv := 1 / t
	for i := range s.cands {
		c := &s.cands[i]
		c.weight = math.Exp(float64(c.logit-top) * inv)
	}
}

func (s *Sampler) total() float64 {
	sum := 0.0
	for i := range s.cands {
		sum += s.cands[i].weight
	}
	return sum
}

// buckets is how finely keep divides the range of the logits.
const buckets = 1024

// keep leaves the likeliest candidates: at most count, and no more than it
// takes to reach mass. Candidates keep their order; of equal ones the lower
// token comes first. Only the bucket where the border lies is sorted.
func (s *Sampler) keep(count int, mass float64) {
	lo, hi := s.cands[0].logit, s.cands[0].logit
	for i := range s.cands {
		lo, hi = min(lo, s.cands[i].logit), max(hi, s.cands[i].logit)
	}
	scale := (buckets - 1) / max(float64(hi)-float64(lo), math.SmallestNonzeroFloat32)
	bucket := func(c *candidate) int { return int((float64(hi) - float64(c.logit)) * scale) }
	clear(s.count[:])
	clear(s.mass[:])
	for i := range s.cands {
		b := bucket(&s.cands[i])
		s.count[b]++
		s.mass[b] += s.cands[i].weight
	}
	border := 0
	for border < buckets-1 && count > int(s.count[border]) && mass > s.mass[border] {
		count -= int(s.count[border])
		mass -= s.mass[border]
		border++
	}
	s.edge = s.edge[:0]
	for i := range s.cands {
		if bucket(&s.cands[i]) == border {
			s.edge = append(s.edge, s.cands[i])
		}
	}
	slices.SortFunc(s.edge, likelier)
	last := 0
	for last < len(s.edge)-1 && count > 1 && mass > s.edge[last].weight {
		count--
		mass -= s.edge[last].weight
		last++
	}
	limit := s.edge[last]
	s.cands = slices.DeleteFunc(s.cands, func(c candidate) bool { return likelier(c, limit) > 0 })
}

// likelier orders by falling logit, then by rising token.
func likelier(a, b candidate) int {
	switch {
	case a.logit > b.logit:
		return -1
	case a.logit < b.logit:
		return 1
	}
	return int(a.token) - int(b.token)
}

// draw picks a candidate with the probability of its weight.
func (s *Sampler) draw() int32 {
	point := s.uniform() * s.total()
	for i := range s.cands {
		if point -= s.cands[i].weight; point < 0 {
			return s.cands[i].token
		}
	}
	// Rounding left the point past the end: the likeliest has weight 1.
	return slices.MinFunc(s.cands, likelier).token
}

// uniform returns draw number s.draws of the seed, in [0, 1): the counter-based
// form of SplitMix64 (Steele, Lea & Flood 2014). The seed is mixed first, so
// that near seeds are no shifted copies of one stream.
func (s *Sampler) uniform() float64 {
	s.draws++
	return float64(mix(mix(s.opts.Seed)+s.draws*0x9e3779b97f4a7c15)>>11) * 0x1p-53
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
