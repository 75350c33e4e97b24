package graph

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/optim"
)

// linear is one frozen layer of a block with its low-rank change, if it has one:
//
//	y = x·Wᵀ + bias + alpha·(dropout(x)·Aᵀ)·Bᵀ
type linear struct {
	slot    string
	frozen  model.Linear
	in, out int
	adapted bool
	a, b    int // where A (rank, in) and B (out, rank) begin in the parameters of the block
	index   int // among the adapted layers of the block
}

// layerParams are the low-rank parameters of one block as one vector.
type layerParams struct {
	values, grads []float32 // grads outside the Go heap
	dense         *tensor.Dense // of grads
	slots         map[string]linear
	names         []string // "blk.0.attn_q.lora_a", in the order of values
	ends          []int    // where each ends in values
}

// params cuts the vector into one parameter per half of a pair.
func (p *layerParams) params() []optim.Param {
	all := make([]optim.Param, len(p.names))
	start := 0
	for i, end := range p.ends {
		all[i] = optim.Param{Name: p.names[i], Value: p.values[start:end:end], Grad: p.grads[start:end:end]}
		start = end
	}
	return all
}

// pack moves the pairs of every layer of a into one slice and points them into it.
func pack(m *model.Model, a *lora.Adapter) ([]*layerParams, error) {
	if a.Rank < 1 || len(a.Pairs) != m.Dims.Layers {
		return nil, fmt.Errorf("the adapter has rank %d and %d layers, the model %d layers", a.Rank, len(a.Pairs), m.Dims.Layers)
	}
	all := make([]*layerParams, m.Dims.Layers)
	for i := range all {
		p, err := packLayer(m, a, i)
		if err != nil {
			return nil, err
		}
		all[i] = p
	}
	return all, nil
}

func packLayer(m *model.Model, a *lora.Adapter, layer int) (*layerParams, error) {
	size := 0
	for _, pair := range a.Pairs[layer] {
		size += len(pair.A) + len(pair.B)
	}
	p := &layerParams{slots: map[string]linear{}, values: make([]float32, 0, size)}
	for _, slot := range m.Spec.Slots {
		frozen := m.Layers[layer].Slot(slot.GGUF)
		pair := a.Pairs[layer][slot.GGUF]
		if frozen == nil || !frozen.Present() {
			return nil, fmt.Errorf("layer %d of the model has no %s", layer, slot.GGUF)
		}
		l := linear{slot: slot.GGUF, frozen: *frozen, in: frozen.Weight.Cols, out: frozen.Weight.Rows}
		if pair != nil {
			if len(pair.A) != a.Rank*l.in || len(pair.B) != l.out*a.Rank {
				return nil, fmt.Errorf("layer %d: the adapter's %s has %d and %d numbers for a layer of %d inputs and %d outputs at rank %d",
					layer, slot.GGUF, len(pair.A), len(pair.B), l.in, l.out, a.Rank)
			}
			l.adapted, l.index = true, len(p.names)/2
			l.a = len(p.values)
			p.values = append(p.values, pair.A...)
			l.b = len(p.values)
			p.values = append(p.values, pair.B...)
			name := fmt.Sprintf("blk.%d.%s", layer, slot.GGUF)
			p.names = append(p.names, name+".lora_a", name+".lora_b")
			p.ends = append(p.ends, l.b, len(p.values))
		}
		p.slots[slot.GGUF] = l
	}
	if len(p.names) != 2*len(a.Pairs[layer]) || len(p.names) == 0 {
		return nil, fmt.Errorf("layer %d of the adapter has %d pairs, %d of which the model knows", layer, len(a.Pairs[layer]), len(p.names)/2)
	}
	for slot, pair := range a.Pairs[layer] {
		l := p.slots[slot]
		pair.A = p.values[l.a:l.b:l.b]
		pair.B = p.values[l.b : l.b+l.out*a.Rank : l.b+l.out*a.Rank]
	}
	return p, nil
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
