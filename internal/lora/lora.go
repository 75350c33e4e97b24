// Package lora holds low-rank adapters (Hu et al. 2021): what they are, how
// they start, and the two file formats they travel in (PEFT and GGUF).
//
// In memory an adapter has one rank and one alpha, and every layer has a pair
// for every slot. Files may be more varied: what they leave out becomes a pair
// of zeros, smaller ranks are filled up with zeros, and other scales are
// multiplied into B. None of it changes what the adapter computes.
package lora

import (
	"math"
	"math/rand/v2"
	"slices"

	"afina/internal/fault"
	"afina/internal/model"
)

// MaxRank is the largest rank that is accepted.
const MaxRank = 256

// Adapter is a low-rank change to a base model. The slices of its pairs are
// the trained parameters themselves; nothing copies them.
type Adapter struct {
	Name    string
	Base    string // the base model's name
	Rank    int
	Alpha   float32
	Dropout float32 // as trained; plays no part in serving
	Slots   []string
	// Pairs holds one map per layer, keyed by GGUF slot name ("attn_q"). B rows
	// are in the base's (GGUF) row order.
	Pairs []map[string]*Pair
}

// Pair is one low-rank product: y += (Alpha/Rank)·(x·Aᵀ)·Bᵀ.
type Pair struct {
	In, Out int
	A       []float32 // (Rank, In)
	B       []float32 // (Out, Rank)
}

// Scale is Alpha/Rank.
func (a *Adapter) Scale() float32 { return a.Alpha / float32(a.Rank) }

// New returns an adapter for m with A uniform in ±1/sqrt(in) (PEFT's default)
// and B zero, so that it changes nothing yet. slots are GGUF, PEFT or short
// names; none means all of the architecture's. Equal seeds give equal bits, and
// the numbers of a slot do not depend on which others there are.
func New(m *model.Model, rank int, alpha float32, slots []string, seed uint64) (*Adapter, error) {
	names, err := resolve(m.Spec, slots)
	if err != nil {
		return nil, err
	}
	if !(alpha > 0) || math.IsInf(float64(alpha), 0) {
		return nil, fault.New(fault.Invalid, "alpha is %v; choose a number above 0", alpha).WithParam("lora.alpha")
	}
	a := &Adapter{Base: m.Name, Rank: rank, Alpha: alpha, Slots: names}
	for _, slot := range names {
		if in, out := shape(m, slot); rank < 1 || rank > min(in, out, MaxRank) {
			return nil, fault.New(fault.Invalid, "rank %d is not 1 to %d, which is what %s of %s allows",
				rank, min(in, out, MaxRank), slot, m.Name).WithParam("lora.rank")
		}
	}
	a.zeros(m)
	for layer, pairs := range a.Pairs {
		for i, slot := range m.Spec.Slots {
			if p := pairs[slot.GGUF]; p != nil {
				fill(p.A, float32(1/math.Sqrt(float64(p.In))), rand.NewPCG(seed, uint64(layer)<<8|uint64(i)))
			}
		}
	}
	return a, nil
}

// fill draws numbers uniform in [-bound, bound) from the top 24 bits of src.
func fill(x []float32, bound float32, src *rand.PCG) {
	for i := range x {
		x[i] = (float32(src.Uint64()>>40)/(1<<23) - 1) * bound
	}
}

// resolve turns names of three vocabularies into GGUF names, in the order of
// computation, each once.
func resolve(spec model.Spec, names []string) ([]string, error) {
	wanted := map[string]bool{}
	for _, name := range names {
		slot, ok := spec.Slot(name)
		if !ok {
			var known []string
			for _, s := range spec.Slots {
				known = append(known, s.Module())
			}
			return nil, fault.New(fault.Invalid, "%s has no layer %q; it has %q", spec.Name, name, known).WithParam("lora.targets")
		}
		wanted[slot.GGUF] = true
	}
	var slots []string
	for _, s := range spec.Slots {
		if wanted[s.GGUF] || len(names) == 0 {
			slots = append(slots, s.GGUF)
		}
	}
	return slots, nil
}

// shape is what the slot of a model takes and gives; all layers are alike.
func shape(m *model.Model, slot string) (in, out int) {
	w := m.Layers[0].Slot(slot).Weight
	return w.Cols, w.Rows
}

// zeros gives every layer a pair of zeros for every slot.
func (a *Adapter) zeros(m *model.Model) {
	a.Pairs = make([]map[string]*Pair, len(m.Layers))
	for l := range a.Pairs {
		a.Pairs[l] = map[string]*Pair{}
		for _, slot := range a.Slots {
			in, out := shape(m, slot)
			a.Pairs[l][slot] = &Pair{In: in, Out: out, A: make([]float32, a.Rank*in), B: make([]float32, out*a.Rank)}
		}
	}
}

// Params is the number of trained parameters.
func (a *Adapter) Params() int {
	n := 0
	for _, pairs := range a.Pairs {
		for _, p := range pairs {
			n += len(p.A) + len(p.B)
		}
	}
	return n
}

// fits is an error when a was not made for a model of m's shape.
func (a *Adapter) fits(m *model.Model) error {
	if len(a.Pairs) != len(m.Layers) {
		return mismatch("the adapter has %d layers, %s has %d", len(a.Pairs), m.Name, len(m.Layers))
	}
	for l, pairs := range a.Pairs {
		for _, slot := range a.Slots {
			p, base := pairs[slot], m.Layers[l].Slot(slot)
			if p == nil || base == nil || p.In != base.Weight.Cols || p.Out != base.Weight.Rows ||
				len(p.A) != a.Rank*p.In || len(p.B) != p.Out*a.Rank {
				return mismatch("the adapter's %s in layer %d is not made for %s", slot, l, m.Name)
			}
		}
	}
	return nil
}

// mismatch says that an adapter belongs to another base.
func mismatch(format string, args ...any) error {
	return fault.New(fault.Conflict, format, args...).WithCode("base_mismatch")
}

// unsupported says that an adapter cannot be read by us.
func unsupported(format string, args ...any) error {
	return fault.New(fault.Unprocessable, format, args...).WithCode("unsupported_adapter")
}

// part is a pair as a file has it.
type part struct {
	layer        int
	slot         string
	rank         int
	alpha        float64 // such that alpha/rank is the scale
	in, out      int
	a, b         []float32 // (rank, in), (out, rank)
	haveA, haveB bool
}

// assemble makes one adapter of parts that may differ in rank and scale.
func assemble(m *model.Model, parts []*part) (*Adapter, error) {
	if len(parts) == 0 {
		return nil, unsupported("the adapter changes no layer")
	}
	widest := slices.MaxFunc(parts, func(x, y *part) int { return x.rank - y.rank })
	a := &Adapter{Base: m.Name, Rank: widest.rank, Alpha: float32(widest.alpha)}
	for _, s := range m.Spec.Slots {
		if slices.ContainsFunc(parts, func(p *part) bool { return p.slot == s.GGUF }) {
			a.Slots = append(a.Slots, s.GGUF)
		}
	}
	a.zeros(m)
	scale := widest.alpha / float64(widest.rank)
	for _, p := range parts {
		if !finite(p.a) || !finite(p.b) {
			return nil, unsupported("the adapter's %s in layer %d holds numbers that are not finite", p.slot, p.layer)
		}
		fold := float32(1)
		if s := p.alpha / float64(p.rank); s != scale {
			fold = float32(s / scale)
		}
		to := a.Pairs[p.layer][p.slot]
		copy(to.A, p.a)
		for o := range p.out {
			for r := range p.rank {
				to.B[o*a.Rank+r] = p.b[o*p.rank+r] * fold
			}
		}
	}
	return a, nil
}

// check compares a part with the base before its numbers are used.
func (p *part) check(m *model.Model) error {
	switch {
	case !p.haveA || !p.haveB:
		return unsupported("the adapter's %s in layer %d has only one of its two matrices", p.slot, p.layer)
	case p.rank < 1 || p.rank > MaxRank:
		return unsupported("the adapter's %s in layer %d has rank %d, not 1 to %d", p.slot, p.layer, p.rank, MaxRank)
	case !(p.alpha > 0) || p.alpha > math.MaxFloat32:
		return unsupported("the adapter's alpha is %v; it must be above 0", p.alpha)
	}
	if in, out := shape(m, p.slot); p.in != in || p.out != out {
		return mismatch("the adapter's %s in layer %d takes %d and gives %d numbers; in %s it is %d and %d",
			p.slot, p.layer, p.in, p.out, m.Name, in, out)
	}
	return nil
}

func finite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}
