package forward

import (
	"errors"
	"fmt"
	"weak"

	"afina/internal/kernel"
	"afina/internal/lora"
)

// adaptersKept is how many adapters a pass keeps ready.
const adaptersKept = 64

// packed is an adapter in the layout of the kernels.
type packed struct {
	of     weak.Pointer[lora.Adapter]
	layers []map[string]*kernel.Factors
	used   int // the run that used it last
}

// adapters are those made ready, latest used kept longest. They hold no adapter
// alive: its owner may let it go at any time.
type adapters struct {
	ready map[weak.Pointer[lora.Adapter]]*packed
	runs  int
}

// ready returns a in the layout of the kernels; nil for nil.
func (p *Pass) ready(a *lora.Adapter) (*packed, error) {
	if a == nil {
		return nil, nil
	}
	c, key := &p.adapters, weak.Make(a)
	if c.ready == nil {
		c.ready = map[weak.Pointer[lora.Adapter]]*packed{}
	}
	it := c.ready[key]
	if it == nil {
		c.makeRoom()
		var err error
		if it, err = p.pack(a); err != nil {
			return nil, err
		}
		c.ready[key] = it
	}
	it.used = c.runs
	return it, nil
}

// makeRoom lets go of adapters that are no more, and of the one unused for longest
// when there are too many; never of one that the running pass uses.
func (c *adapters) makeRoom() {
	oldest := (*packed)(nil)
	for key, it := range c.ready {
		if key.Value() == nil {
			delete(c.ready, key)
			continue
		}
		if it.used < c.runs && (oldest == nil || it.used < oldest.used) {
			oldest = it
		}
	}
	if len(c.ready) >= adaptersKept && oldest != nil {
		delete(c.ready, oldest.of)
	}
}

// pack makes a ready, layer by layer on the cores.
func (p *Pass) pack(a *lora.Adapter) (*packed, error) {
	it := &packed{of: weak.Make(a), layers: make([]map[string]*kernel.Factors, len(p.m.Layers))}
	failed := make([]error, len(p.m.Layers))
	p.gang.Each(len(p.m.Layers), func(l int) { it.layers[l], failed[l] = p.packLayer(a, l) })
	if err := errors.Join(failed...); err != nil {
		return nil, fmt.Errorf("prepare adapter %q: %w", a.Name, err)
	}
	return it, nil
}

// together are the layers, by their GGUF names, that are computed in one go.
var together = [][]string{{"attn_q", "attn_k", "attn_v"}, {"attn_output"}, {"ffn_up", "ffn_gate"}, {"ffn_down"}}

func (p *Pass) packLayer(a *lora.Adapter, l int) (map[string]*kernel.Factors, error) {
	all := map[string]*kernel.Factors{}
	for _, names := range together {
		var found []string
		var pairs []kernel.Pair
		for _, name := range names {
			linear, pair := p.m.Layers[l].Slot(name), a.Pairs[l][name]
			if linear == nil || pair == nil {
				continue
			}
			w := linear.Weight
			if len(pair.A) != a.Rank*w.Cols || len(pair.B) != w.Rows*a.Rank {
				return nil, fmt.Errorf("layer %d, %s: A has %d numbers and B %d; rank %d of a (%d, %d) matrix takes %d and %d",
					l, name, len(pair.A), len(pair.B), a.Rank, w.Rows, w.Cols, a.Rank*w.Cols, w.Rows*a.Rank)
			}
			found = append(found, name)
			pairs = append(pairs, kernel.Pair{In: w.Cols, Out: w.Rows, A: pair.A, B: pair.B})
		}
		factors, err := p.gang.NewFactors(a.Rank, a.Scale(), p.precision, pairs...)
		if err != nil {
			return nil, err
		}
		for i, name := range found {
			all[name] = factors[i]
		}
	}
	for name, pair := range a.Pairs[l] {
		if all[name] == nil && pair != nil && p.m.Layers[l].Slot(name) != nil {
			return nil, fmt.Errorf("layer %d: %s is not among the layers that are computed together", l, name)
		}
	}
	return all, nil
}

// Ready is how many adapters are kept in the layout of the kernels.
func (p *Pass) Ready() int { return len(p.adapters.ready) }

// Forget lets go of what is kept for an adapter: it will not be used any more.
func (p *Pass) Forget(a *lora.Adapter) {
	delete(p.adapters.ready, weak.Make(a))
}

// lows lists the low-rank parts of one linear layer.
func (b *batch) lows(to []kernel.LowRank, layer int, name string) []kernel.LowRank {
	to = to[:0]
	for _, g := range b.groups {
		if g.packed == nil {
			continue
		}
		if f := g.packed.layers[layer][name]; f != nil {
			to = append(to, kernel.LowRank{Lo: g.lo, Hi: g.hi, Factors: f})
		}
	}
	return to
}
