package graph

import (
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"

	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
)

// headRows is how many labelled rows the head takes at once: its logits are
// (headRows, vocabulary), never (tokens, vocabulary).
const headRows = 128

// widths are the sizes of a model's activations, in numbers per token.
type widths struct {
	hidden, query, kv, ffn, heads int
	widest                        int // input of any adapted layer
	low                           int // all low-rank products of a block
	rank                          int
	gated                         bool
}

func widthsOf(m *model.Model, a *lora.Adapter) widths {
	d := m.Dims
	w := widths{
		hidden: d.Hidden, query: d.Heads * d.HeadDim, kv: d.KVHeads * d.HeadDim, ffn: d.FFN, heads: d.Heads,
		low: len(a.Slots) * a.Rank, rank: a.Rank, gated: m.Spec.Activation == model.SwiGLU,
	}
	w.widest = max(w.hidden, w.query, w.ffn)
	return w
}

// gateWidth is the width of the gate, 0 when the MLP has none.
func (w widths) gateWidth() int {
	if w.gated {
		return w.ffn
	}
	return 0
}

// kept is how many numbers per token the activations of one block take.
func (w widths) kept() int {
	return 2*w.query + 2*w.kv + w.heads + w.hidden + w.gateWidth() + w.ffn + w.low
}

// passing is how many numbers per token the scratch of a pass takes.
func (w widths) passing() int {
	return 4*w.hidden + 2*w.query + 2*w.kv + 2*w.ffn + w.widest + w.rank
}

// activations are what the backward of one block reads besides the block's
// input. n is the number of tokens.
type activations struct {
	q, k, v  []float32 // after the rotary embedding; (n, Heads*HeadDim), (n, KVHeads*HeadDim) twice
	out, lse []float32 // of the attention; (n, Heads*HeadDim), (Heads, n)
	mid      []float32 // (n, Hidden): the stream between attention and MLP
	gate, up []float32 // (n, FFN)
	low      []float32 // (slots, n, rank): the low-rank products
}

func (a *activations) grow(n int, w widths) {
	buffer := make([]float32, n*w.kept())
	a.q, buffer = cut(buffer, n*w.query)
	a.k, buffer = cut(buffer, n*w.kv)
	a.v, buffer = cut(buffer, n*w.kv)
	a.out, buffer = cut(buffer, n*w.query)
	a.lse, buffer = cut(buffer, n*w.heads)
	a.mid, buffer = cut(buffer, n*w.hidden)
	a.gate, buffer = cut(buffer, n*w.gateWidth())
	a.up, buffer = cut(buffer, n*w.ffn)
	a.low, _ = cut(buffer, n*w.low)
}

// scratch is what lives only inside one op.
type scratch struct {
	normed  []float32 // (n, hidden): the input of q, k, v; then that of gate and up
	sum     []float32 // (n, hidden): a product on its way into the stream
	dnormed []float32 // (n, hidden)
	dmid    []float32 // (n, hidden)
	dout    []float32 // (n, query): gradient of the attention's out
	dq      []float32 // (n, query)
	dk, dv  []float32 // (n, kv)
	act     []float32 // (n, ffn): the input of down
	dact    []float32 // (n, ffn)
	drop    []float32 // (n, widest): a masked input
	dlow    []float32 // (n, rank)

	outer, inner kernel.Operand // of normed; of the attention's out, then of act
}

func (s *scratch) grow(n int, w widths) {
	buffer := make([]float32, n*w.passing())
	s.normed, buffer = cut(buffer, n*w.hidden)
	s.sum, buffer = cut(buffer, n*w.hidden)
	s.dnormed, buffer = cut(buffer, n*w.hidden)
	s.dmid, buffer = cut(buffer, n*w.hidden)
	s.dout, buffer = cut(buffer, n*w.query)
	s.dq, buffer = cut(buffer, n*w.query)
	s.dk, buffer = cut(buffer, n*w.kv)
	s.dv, buffer = cut(buffer, n*w.kv)
	s.act, buffer = cut(buffer, n*w.ffn)
	s.dact, buffer = cut(buffer, n*w.ffn)
	s.drop, buffer = cut(buffer, n*w.widest)
	s.dlow, _ = cut(buffer, n*w.rank)
}

// cut returns the first n numbers of buffer, and the rest.
func cut(buffer []float32, n int) (head, tail []float32) { return buffer[:n:n], buffer[n:] }

// arena is the memory of one graph beside the adapter. Its buffers grow to the
// longest batch seen and are then used again.
type arena struct {
	widths
	policy Memory
	layers int
	tokens int // that the buffers hold

	scratch
	acts   []activations // one per block, or one for all
	values []slab        // (n, hidden): what each block returns
	grads  [2]slab       // (n, hidden): gradients of block inputs, in turn
}

func newArena(m *model.Model, a *lora.Adapter, o Options) *arena {
	n := 1
	if o.Memory == Store {
		n = m.Dims.Layers
	}
	return &arena{
		widths: widthsOf(m, a), policy: o.Memory, layers: m.Dims.Layers,
		acts: make([]activations, n), values: make([]slab, m.Dims.Layers),
	}
}

// of returns the activations of a block, cut to n tokens.
func (a *arena) of(block, n int) activations {
	all := &a.acts[block%len(a.acts)]
	return activations{
		q: all.q[:n*a.query], k: all.k[:n*a.kv], v: all.v[:n*a.kv],
		out: all.out[:n*a.query], lse: all.lse[:n*a.heads], mid: all.mid[:n*a.hidden],
		gate: all.gate[:n*a.gateWidth()], up: all.up[:n*a.ffn], low: all.low[:n*a.low],
	}
}

// grow makes room for n tokens.
func (a *arena) grow(n int) {
	if n <= a.tokens {
		return
	}
	a.tokens = n
	for i := range a.acts {
		a.acts[i] = activations{}
	}
	for i := range a.acts {
		a.acts[i].grow(n, a.widths)
	}
	a.scratch.grow(n, a.widths)
	for i := range a.values {
		a.values[i].reserve(n * a.hidden)
	}
	for i := range a.grads {
		a.grads[i].reserve(n * a.hidden)
	}
}

// slab is a matrix of varying height over one buffer.
type slab struct {
	buffer []float32
	dense  *tensor.Dense
}

// reserve makes room for size numbers.
func (s *slab) reserve(size int) {
	if len(s.buffer) < size {
		s.buffer, s.dense = make([]float32, size), nil
	}
}

// matrix returns the (rows, cols) matrix at the start of the buffer.
func (s *slab) matrix(rows, cols int) *tensor.Dense {
	if s.dense != nil && s.dense.Shape()[0] == rows {
		return s.dense
	}
	s.reserve(rows * cols)
	s.dense = tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(s.buffer[:rows*cols]))
	return s.dense
}

// labels is a vector of targets of varying length.
type labels struct{ dense *tensor.Dense }

func (l *labels) vector(targets []int32) *tensor.Dense {
	if l.dense == nil || l.dense.Shape()[0] != len(targets) {
		l.dense = tensor.New(tensor.WithShape(len(targets)), tensor.WithBacking(make([]int32, len(targets))))
	}
	copy(l.dense.Data().([]int32), targets)
	return l.dense
}

// vector wraps x, which stays the memory of the result.
func vector(x []float32) *tensor.Dense {
	return tensor.New(tensor.WithShape(len(x)), tensor.WithBacking(x))
}

// floats is the memory of a value.
func floats(v G.Value) []float32 { return v.Data().([]float32) }

// Estimate predicts the memory in bytes that training m takes beyond the model
// itself, for batches of at most tokens: the graph's buffers, and the values,
// gradients, moments and best values of the adapter. Of a it reads only rank and
// slots.
func Estimate(m *model.Model, a *lora.Adapter, tokens int, o Options) int64 {
	w := widthsOf(m, a)
	acts := 1
	if o.Memory == Store {
		acts = m.Dims.Layers
	}
	perToken := acts*w.kept() + w.passing() + (m.Dims.Layers+3)*w.hidden
	head := min(headRows, tokens) * (m.Dims.Vocab + 3*w.hidden)
	// values, gradients, two moments, the best values
	adapter := 5 * parameters(m, a)
	// the kernels' own copies of activations: int8 and bfloat16 of the widest
	operands := 2 * tokens * w.widest
	const runtime = 32 << 20
	return 4*(int64(tokens)*int64(perToken)+int64(head)+int64(adapter)+int64(operands)) + runtime
}

func headsOf(d model.Dims) kernel.Heads {
	return kernel.Heads{Query: d.Heads, KV: d.KVHeads, Dim: d.HeadDim, Scale: 1 / sqrt(float32(d.HeadDim))}
}

// parameters is how many numbers an adapter of a's rank and slots has.
func parameters(m *model.Model, a *lora.Adapter) int {
	n := 0
	for i := range m.Layers {
		for _, slot := range a.Slots {
			w := m.Layers[i].Slot(slot).Weight
			n += a.Rank * (w.Rows + w.Cols)
		}
	}
	return n
}
