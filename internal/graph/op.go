package graph

import (
	"context"
	"fmt"
	"hash"
	"hash/fnv"
	"runtime/debug"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"afina/internal/data"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
)

// run is what the ops of one graph share: how to compute, and the batch of the
// run that is on its way. The machine runs one op at a time.
type run struct {
	gang    *kernel.Gang
	options Options
	spec    model.Spec
	dims    model.Dims
	heads   kernel.Heads
	rank    int
	alpha   float32 // the adapter's Scale
	arena   *arena

	ctx    context.Context
	batch  data.Batch
	n      int    // tokens of batch
	places places // of its tokens for attention, when some are shared
	train  bool   // with dropout, and gradients at the head
	seed   uint64 // of the dropout masks
}

func newRun(m *model.Model, a *lora.Adapter, gang *kernel.Gang, o Options) *run {
	return &run{
		gang: gang, options: o, spec: m.Spec, dims: m.Dims, heads: headsOf(m.Dims),
		rank: a.Rank, alpha: a.Scale(), arena: newArena(m, a, o),
	}
}

func (r *run) begin(ctx context.Context, b data.Batch) error {
	r.ctx, r.batch, r.n = ctx, b, len(b.Tokens)
	r.places.set(b)
	return r.arena.grow(r.n, len(b.Shared))
}

// dropout is the share of low-rank inputs that are masked in this run.
func (r *run) dropout() float32 {
	if r.train {
		return r.options.Dropout
	}
	return 0
}

// op is what every custom op has in common. Its name is its identity in the
// graph, so no two may share one.
type op struct {
	name  string
	arity int
	run   *run
}

func (o *op) Arity() int            { return o.arity }
func (o *op) ReturnsPtr() bool      { return false }
func (o *op) CallsExtern() bool     { return false }
func (o *op) OverwritesInput() int  { return -1 }
func (o *op) WriteHash(h hash.Hash) { fmt.Fprint(h, o.name) }
func (o *op) String() string        { return o.name }

func (o *op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

// guard runs f between the checks every op needs. The machine runs ops in a
// goroutine of its own, where a panic would end the process.
func (o *op) guard(f func() G.Value) (v G.Value, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked: %v\n%s", o.name, p, debug.Stack())
		}
	}()
	if err := o.run.ctx.Err(); err != nil {
		return nil, err
	}
	return f(), nil
}

var (
	matrixType = G.TensorType{Dims: 2, Of: tensor.Float32}
	vectorType = G.TensorType{Dims: 1, Of: tensor.Float32}
	labelsType = G.TensorType{Dims: 1, Of: tensor.Int32}
)

// function is the type of an op. It must be made anew for every call of Type:
// gorgonia returns it to a pool when it has looked at it.
func function(types ...hm.Type) hm.Type { return hm.NewFnType(types...) }

// sameShape infers the shape of an op whose value is like its first input.
func sameShape(inputs []G.DimSizer) (tensor.Shape, error) {
	s, ok := inputs[0].(tensor.Shape)
	if !ok {
		return nil, fmt.Errorf("the shape of the first input is %v", inputs[0])
	}
	return s.Clone(), nil
}

// pick is the second value of a bundle: an op of gorgonia has only one.
type pick struct {
	op
	value *tensor.Dense
}

func newPick(of op, bundle *G.Node, value *tensor.Dense) (*G.Node, error) {
	return G.ApplyOp(&pick{op: op{name: of.name + " parameters", arity: 1, run: of.run}, value: value}, bundle)
}

func (p *pick) Type() hm.Type { return function(matrixType, vectorType) }

func (p *pick) InferShape(...G.DimSizer) (tensor.Shape, error) { return p.value.Shape().Clone(), nil }

func (p *pick) Do(...G.Value) (G.Value, error) { return p.value, nil }
