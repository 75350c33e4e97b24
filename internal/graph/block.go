package graph

import (
	"fmt"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"afina/internal/kernel"
	"afina/internal/model"
)

// block is a transformer block: x (n, hidden) and the block's parameters in,
// the stream after it out.
//
//	serial:   mid = x + O(attention(norm(x)));  y = mid + MLP(norm(mid))
//	parallel: y = x + O(attention(norm(x))) + MLP(norm(x))
type block struct {
	op
	index  int
	layer  *model.Layer
	params *layerParams

	q, k, v, o, gate, up, down linear
}

func newBlock(r *run, index int, layer *model.Layer, p *layerParams) *block {
	return &block{
		op:    op{name: fmt.Sprintf("block %d", index), arity: 2, run: r},
		index: index, layer: layer, params: p,
		q: p.slots["attn_q"], k: p.slots["attn_k"], v: p.slots["attn_v"], o: p.slots["attn_output"],
		gate: p.slots["ffn_gate"], up: p.slots["ffn_up"], down: p.slots["ffn_down"],
	}
}

func (b *block) Type() hm.Type { return function(matrixType, vectorType, matrixType) }

func (b *block) InferShape(in ...G.DimSizer) (tensor.Shape, error) { return sameShape(in) }

// Do is the forward.
func (b *block) Do(in ...G.Value) (G.Value, error) {
	return b.guard(func() G.Value {
		r := b.run
		y := r.arena.values[b.index].matrix(r.n, r.dims.Hidden)
		b.forward(floats(in[0]), floats(in[1]), floats(y))
		return y
	})
}

// DiffWRT says that the first block's x needs no gradient: the embedding is
// frozen, and the machine would run a node that nobody reads.
func (b *block) DiffWRT(int) []bool { return []bool{b.index > 0, true} }

// SymDiff joins the forward to its backward.
func (b *block) SymDiff(in G.Nodes, _, grad *G.Node) (G.Nodes, error) {
	back := &blockBack{op: op{name: b.name + " back", arity: 3, run: b.run}, block: b}
	dx, err := G.ApplyOp(back, in[0], in[1], grad)
	if err != nil {
		return nil, err
	}
	dparams, err := newPick(back.op, dx, b.params.dense)
	if err != nil {
		return nil, err
	}
	if b.index == 0 {
		dx = nil
	}
	return G.Nodes{dx, dparams}, nil
}

// seed is that of the block's dropout masks in this run.
func (b *block) seed() uint64 { return mix(b.run.seed + mix(uint64(b.index)+1)) }

// low is where the low-rank product of a layer is kept.
func (b *block) low(a activations, l *linear) []float32 {
	if !l.adapted {
		return nil
	}
	size := b.run.n * b.run.rank
	return a.low[l.index*size:][:size]
}

func (b *block) apply(a activations, l *linear, dst []float32, op *kernel.Operand, x, params []float32) {
	l.forward(b.run, dst, op, x, params, b.low(a, l), b.seed())
}

// norm computes dst = norm(x) with the norm of the architecture.
func (r *run) norm(dst, x []float32, n int, w model.Scale) {
	if r.spec.Norm == model.LayerNorm {
		r.gang.LayerNorm(dst, x, n, r.dims.Hidden, w.Weight, w.Bias, r.dims.Epsilon)
	} else {
		r.gang.RMSNorm(dst, x, n, r.dims.Hidden, w.Weight, r.dims.Epsilon)
	}
}

// normBack adds the gradient of norm to dx.
func (r *run) normBack(dx, dy, x []float32, n int, w model.Scale) {
	if r.spec.Norm == model.LayerNorm {
		r.gang.LayerNormBack(dx, dy, x, n, r.dims.Hidden, w.Weight, r.dims.Epsilon)
	} else {
		r.gang.RMSNormBack(dx, dy, x, n, r.dims.Hidden, w.Weight, r.dims.Epsilon)
	}
}

// forward computes the activations and y.
func (b *block) forward(x, params, y []float32) {
	a := b.acts()
	act := b.activate(a, b.attend(a, x, params), params)
	r := b.run
	s := &r.arena.scratch
	r.gang.Prepare(&s.inner, act, r.n, r.dims.FFN, r.options.Precision)
	b.apply(a, &b.down, y, &s.inner, act, params)
	r.gang.Add(y, a.mid)
}

// attend computes everything up to mid and returns what q, k and v have read.
func (b *block) attend(a activations, x, params []float32) (normed []float32) {
	r := b.run
	s, n, d := &r.arena.scratch, r.n, r.dims
	normed = s.normed[:n*d.Hidden]
	r.norm(normed, x, n, b.layer.AttnNorm)
	r.gang.Prepare(&s.outer, normed, n, d.Hidden, r.options.Precision)
	b.apply(a, &b.q, a.q, &s.outer, normed, params)
	b.apply(a, &b.k, a.k, &s.outer, normed, params)
	b.apply(a, &b.v, a.v, &s.outer, normed, params)
	b.rotate(a.q, a.k, false)
	r.attention(a)

	r.gang.Prepare(&s.inner, a.out, n, r.arena.query, r.options.Precision)
	b.apply(a, &b.o, a.mid, &s.inner, a.out, params)
	r.gang.Add(a.mid, x)
	return normed
}

// activate computes gate and up and returns the input of down. It expects
// normed in the outer operand.
func (b *block) activate(a activations, normed, params []float32) (act []float32) {
	r := b.run
	s := &r.arena.scratch
	if !r.spec.Parallel {
		r.norm(normed, a.mid, r.n, b.layer.FFNNorm)
		r.gang.Prepare(&s.outer, normed, r.n, r.dims.Hidden, r.options.Precision)
	}
	if r.spec.Activation == model.SwiGLU {
		b.apply(a, &b.gate, a.gate, &s.outer, normed, params)
	}
	b.apply(a, &b.up, a.up, &s.outer, normed, params)
	return b.act(a)
}

// act computes the input of down from gate and up.
func (b *block) act(a activations) []float32 {
	r := b.run
	act := r.arena.act[:r.n*r.dims.FFN]
	switch {
	case a.pairs != nil:
		r.gang.SwiGLUKeep(act, a.pairs, a.gate, a.up)
	case r.spec.Activation == model.SwiGLU:
		r.gang.SwiGLU(act, a.gate, a.up)
	default:
		r.gang.GELU(act, a.up)
	}
	return act
}

// rotate turns queries and keys by their positions, or back.
func (b *block) rotate(q, k []float32, inverse bool) {
	r := b.run
	r.gang.Rotate(q, r.n, r.dims.Heads, r.dims.HeadDim, r.batch.Pos, r.dims.Rotary, inverse)
	r.gang.Rotate(k, r.n, r.dims.KVHeads, r.dims.HeadDim, r.batch.Pos, r.dims.Rotary, inverse)
}

// acts are the activations of this run, cut to its tokens.
func (b *block) acts() activations { return b.run.arena.of(b.index, b.run.n, len(b.run.batch.First)) }
