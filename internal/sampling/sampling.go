// Package sampling turns logits into a token.
//
// The order of the steps is fixed: bias, repetition penalty, frequency and
// presence penalties, temperature, top-k, min-p, top-p, draw. Bias and the
// frequency and presence penalties are OpenAI's; the other steps and what each
// means are llama.cpp's, and each cut renormalises what is left; only the
// temperature comes before the cuts, as in Transformers, so that top-p speaks of
// the distribution that is drawn from.
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

	// FrequencyPenalty is taken from a token's logit for each time it was drawn,
	// PresencePenalty once if it was. Negative ones make repetition likelier.
	FrequencyPenalty, PresencePenalty float32

	// Bias is added to the logits of these tokens. It must not change while a
	// sampler uses it.
	Bias map[int32]float32
}

// draws reports whether o chooses by lot.
func (o *Options) draws() bool { return o.Temperature > 0 && o.TopK != 1 }

// Sampler draws tokens for one sequence. It is not safe for concurrent use.
type Sampler struct {
	opts  Options
	draws uint64          // how many were made
	drawn map[int32]int32 // how often each token was; nil when nothing depends on it
	marks []uint64        // a bit per token, all zero between calls
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
func New(opts Options) *Sampler {
	s := &Sampler{opts: opts}
	if opts.FrequencyPenalty != 0 || opts.PresencePenalty != 0 {
		s.drawn = map[int32]int32{}
	}
	return s
}

// Next returns the chosen index. seen are the tokens so far, for the repetition
// penalty; what was drawn the sampler knows. It may reorder and overwrite
// logits. A logit that is not finite is never chosen; Next fails when no logit
// is finite.
func (s *Sampler) Next(logits []float32, seen []int32) (int32, error) {
	s.favour(logits)
	s.penalise(logits, seen)
	s.discount(logits)
	id, err := s.choose(logits)
	if err == nil && s.drawn != nil {
		s.drawn[id]++
	}
	return id, err
}

// favour adds the bias.
func (s *Sampler) favour(logits []float32) {
	for id, b := range s.opts.Bias {
		if id >= 0 && int(id) < len(logits) {
			logits[id] += b
		}
	}
}

// discount makes tokens that were drawn less likely, as OpenAI's API defines it.
func (s *Sampler) discount(logits []float32) {
	for id, n := range s.drawn {
		logits[id] -= float32(n)*s.opts.FrequencyPenalty + s.opts.PresencePenalty
	}
}

func (s *Sampler) choose(logits []float32) (int32, error) {
	best := argmax(logits)
	if best < 0 {
		return 0, fault.New(fault.Internal, "the model gave no finite logit").WithCode("numeric_error")
	}
	if !s.opts.draws() {
		return int32(best), nil
	}
	s.gather(logits, logits[best])
	total := s.weigh(logits[best])
	if p := float64(s.opts.TopP); p > 0 && p < 1 {
		s.thin((1 - p) * total / float64(len(s.cands)))
		s.keep(len(s.cands), p*total)
		total = s.total()
	}
	return s.draw(total), nil
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

// stride is how many logits are looked at together: nearly all are too small to
// matter, and one look at eight says so five times as fast.
const stride = 8

// anyAbove reports whether any of the next logits is at least floor.
func anyAbove(x *[stride]float32, floor float32) bool {
	return x[0] >= floor || x[1] >= floor || x[2] >= floor || x[3] >= floor ||
		x[4] >= floor || x[5] >= floor || x[6] >= floor || x[7] >= floor
}

// argmax returns the index of the largest finite number, the lowest one on
// ties, or -1 when there is none.
func argmax(x []float32) int {
	best, top := -1, float32(math.Inf(-1))
	for i := 0; i < len(x); i += stride {
		if i+stride <= len(x) && !anyAbove((*[stride]float32)(x[i:]), top) {
			continue
		}
		for j, v := range x[i:min(i+stride, len(x))] {
			if v > top && v <= math.MaxFloat32 {
				best, top = i+j, v
			}
		}
	}
	return best
}

// gather sets cands to the tokens that pass top-k and min-p, in the order of
// their numbers. Tokens that all together hold less than 2⁻⁵³ of the
// probability, the resolution of a draw, are left out here.
func (s *Sampler) gather(logits []float32, top float32) {
	reach := 53*math.Ln2 + math.Log(float64(len(logits)))
	if p := s.opts.MinP; p > 0 {
		reach = min(reach, -math.Log(min(1, float64(p))))
	}
	floor := max(float32(float64(top)-float64(s.opts.Temperature)*reach), -math.MaxFloat32)
	k, full := s.opts.TopK, math.MaxInt
	if k > 0 && k < len(logits) {
		full = max(512, 4*k)
	}
	s.cands = s.cands[:0]
	for i := 0; i < len(logits); i += stride {
		if i+stride <= len(logits) && !anyAbove((*[stride]float32)(logits[i:]), floor) {
			continue
		}
		for j, v := range logits[i:min(i+stride, len(logits))] {
			if v >= floor && v <= top {
				s.cands = append(s.cands, candidate{token: int32(i + j), logit: v})
			}
		}
		if len(s.cands) >= full { // later tokens must beat the k-th, for ties go to the lower token
			s.keep(k, math.Inf(1))
			floor = math.Nextafter32(s.least(), float32(math.Inf(1)))
		}
	}
	if full < math.MaxInt && len(s.cands) > k {
		s.keep(k, math.Inf(1))
	}
}

// least is the smallest logit of the candidates.
func (s *Sampler) least() float32 {
	low := s.cands[0].logit
	for i := range s.cands {
		low = min(low, s.cands[i].logit)
	}
	return low
}

// weigh sets the weights and returns their sum.
func (s *Sampler) weigh(top float32) (total float64) {
	inv := 1 / float64(s.opts.Temperature)
	for i := range s.cands {
		c := &s.cands[i]
		c.weight = exp(float64(c.logit-top) * inv)
		total += c.weight
	}
	return total
}

// thin drops candidates lighter than limit. With the limit (1-p)·total/n they
// weigh less than (1-p)·total together, so that top-p never comes to them.
func (s *Sampler) thin(limit float64) {
	n := 0
	for i := range s.cands {
		s.cands[n] = s.cands[i]
		if s.cands[i].weight >= limit {
			n++
		}
	}
	s.cands = s.cands[:n]
}

// powers are 2^(i/256).
var powers = func() (p [256]float64) {
	for i := range p {
		p[i] = math.Exp2(float64(i) / 256)
	}
	return p
}()

// exp is e^x for x ≤ 0, off by less than 1e-11 of the result: a power of 2^(1/256)
// from the table, the rest by a polynomial. The vocabulary is long.
func exp(x float64) float64 {
	if x < -700 {
		return 0
	}
	t := x * (256 / math.Ln2)
	n := int(t)
	r := (t - float64(n)) * (math.Ln2 / 256)
	return math.Float64frombits(math.Float64bits(powers[n&255])+uint64(n>>8)<<52) * (1 + r*(1+r*(0.5+r*(1./6))))
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
func (s *Sampler) draw(total float64) int32 {
	point := s.uniform() * total
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
