package graph

import (
	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"afina/internal/model"
)

// blockBack is the backward of a block, the bundle: x, the parameters and dy
// in, dx out. The gradient of the parameters is added to the block's own slice,
// which a pick node shows to the graph.
//
// It reads the activations that the forward kept, or computes them again. The
// order is safe: dy comes from the head, which ran after every forward.
type blockBack struct {
	op
	block *block
}

func (b *blockBack) Type() hm.Type {
	return function(matrixType, vectorType, matrixType, matrixType)
}

func (b *blockBack) InferShape(in ...G.DimSizer) (tensor.Shape, error) { return sameShape(in) }

// Do is the backward. The gradient of the stream is one buffer that all blocks
// add to in turn: dy is turned into dx where it lies, and nobody reads it after.
func (b *blockBack) Do(in ...G.Value) (G.Value, error) {
	return b.guard(func() G.Value {
		b.block.backward(floats(in[2]), floats(in[0]), floats(in[1]))
		return in[2]
	})
}

// backward adds the gradient of the parameters and turns d from the gradient of
// the block's value into that of x. The first block leaves it short of that.
func (b *block) backward(d, x, params []float32) {
	r, a := b.run, b.acts()
	if r.options.Memory == Recompute {
		act := b.activate(a, b.attend(a, x, params), params)
		b.down.lower(r, act, params, b.low(a, &b.down), b.seed())
	}
	act := b.actAgain(a)
	normed, dnormed := r.arena.normed[:len(d)], r.arena.dnormed[:len(d)]
	if r.spec.Parallel {
		r.norm(normed, x, r.n, b.layer.AttnNorm)
		b.mlpBack(a, dnormed, d, normed, act, params)
	} else {
		r.norm(normed, a.mid, r.n, b.layer.FFNNorm)
		b.mlpBack(a, dnormed, d, normed, act, params)
		r.normBack(d, dnormed, a.mid, r.n, b.layer.FFNNorm)
		r.norm(normed, x, r.n, b.layer.AttnNorm)
	}
	b.attendBack(a, dnormed, d, normed, params)
	if b.index > 0 {
		r.normBack(d, dnormed, x, r.n, b.layer.AttnNorm)
	}
}

// actAgain computes the input of down from what is kept of gate and up.
func (b *block) actAgain(a activations) []float32 {
	r := b.run
	if a.pairs == nil {
		if r.options.Memory == Recompute {
			return r.arena.act[:r.n*r.dims.FFN] // as it was left
		}
		return b.act(a)
	}
	act := r.arena.act[:r.n*r.dims.FFN]
	r.gang.SwiGLUKept(act, a.pairs)
	return act
}

// mlpBack writes the gradient of the MLP to dnormed, given that of its value.
func (b *block) mlpBack(a activations, dnormed, dy, normed, act, params []float32) {
	r := b.run
	dact := r.arena.dact[:len(act)]
	b.back(a, &b.down, dact, dy, act, params, true)
	if r.spec.Activation == model.SwiGLU {
		if a.pairs != nil {
			r.gang.SwiGLUBackKept(a.gate, a.up, dact, a.pairs)
		} else {
			r.gang.SwiGLUBack(a.gate, a.up, dact, a.gate, a.up)
		}
		b.back(a, &b.gate, dnormed, a.gate, normed, params, true)
		b.back(a, &b.up, dnormed, a.up, normed, params, false)
		return
	}
	r.gang.GELUBack(dact, dact, a.up)
	b.back(a, &b.up, dnormed, dact, normed, params, true)
}

// attendBack writes the gradient of the attention to dnormed, given that of its
// value; in a parallel block it adds to that of the MLP. The first block's stops
// at the parameters.
func (b *block) attendBack(a activations, dnormed, dy, normed, params []float32) {
	r := b.run
	s, n := &r.arena.scratch, r.n
	dout, dq := s.dout[:n*r.arena.query], s.dq[:n*r.arena.query]
	dk, dv := s.dk[:n*r.arena.kv], s.dv[:n*r.arena.kv]
	b.back(a, &b.o, dout, dy, a.out, params, true)
	r.attentionBack(a, dq, dk, dv, dout)
	b.rotate(dq, dk, true)
	if b.index == 0 {
		dnormed = nil
	}
	b.back(a, &b.q, dnormed, dq, normed, params, !r.spec.Parallel)
	b.back(a, &b.k, dnormed, dk, normed, params, false)
	b.back(a, &b.v, dnormed, dv, normed, params, false)
}

func (b *block) back(a activations, l *linear, dx, dy, x, params []float32, fresh bool) {
	l.backward(b.run, dx, dy, x, params, b.params.grads, b.low(a, l), b.seed(), fresh)
}
