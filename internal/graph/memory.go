package graph

import (
	"fmt"
	"unsafe"

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
	gated                         bool // the MLP has a gate
	paired                        bool // gate and up are kept as pairs of bfloat16
}

func widthsOf(m *model.Model, a *lora.Adapter, o Options) widths {
	d := m.Dims
	w := widths{
		hidden: d.Hidden, query: d.Heads * d.HeadDim, kv: d.KVHeads * d.HeadDim, ffn: d.FFN, heads: d.Heads,
		low: len(a.Slots) * a.Rank, rank: a.Rank, gated: m.Spec.Activation == model.SwiGLU,
	}
	w.widest = max(w.hidden, w.query, w.ffn)
	w.paired = w.gated && o.Precision == kernel.Fast
	return w
}

// middle is the width of the matrices between norm and down, the gate's included.
func (w widths) middle() int {
	if w.gated {
		return 2 * w.ffn
	}
	return w.ffn
}

// kept is how many numbers per token the activations of one block take.
func (w widths) kept() int {
	n := 2*w.query + 2*w.kv + w.heads + w.hidden + w.low
	if w.paired {
		return n + w.ffn
	}
	return n + w.middle()
}

// passing is how many numbers per token the scratch of a pass takes.
func (w widths) passing() int {
	n := 2*w.hidden + 2*w.query + 2*w.kv + 2*w.ffn + w.rank
	if w.paired {
		n += w.middle()
	}
	return n
}

// activations are what the backward of one block reads besides the block's
// input. n is the number of tokens.
type activations struct {
	q, k, v  []float32 // after the rotary embedding; (n, Heads*HeadDim), (n, KVHeads*HeadDim) twice
	out, lse []float32 // of the attention; (n, Heads*HeadDim), (Heads, places)
	mid      []float32 // (n, Hidden): the stream between attention and MLP
	gate, up []float32 // (n, FFN); of the moment only when pairs are kept of them
	pairs    []uint32  // (n, FFN): gate and up as bfloat16
	low      []float32 // (slots, n, rank): the low-rank products
}

// take cuts room for n tokens out of buffer and returns the rest.
func (a *activations) take(buffer []float32, n, places int, w widths) []float32 {
	a.q, buffer = cut(buffer, n*w.query)
	a.k, buffer = cut(buffer, n*w.kv)
	a.v, buffer = cut(buffer, n*w.kv)
	a.out, buffer = cut(buffer, n*w.query)
	a.lse, buffer = cut(buffer, max(n, places)*w.heads)
	a.mid, buffer = cut(buffer, n*w.hidden)
	if w.paired {
		var pairs []float32
		pairs, buffer = cut(buffer, n*w.ffn)
		a.pairs = words(pairs)
	} else {
		a.gate, buffer = cut(buffer, n*(w.middle()-w.ffn))
		a.up, buffer = cut(buffer, n*w.ffn)
	}
	a.low, buffer = cut(buffer, n*w.low)
	return buffer
}

// scratch is what lives only inside one op.
type scratch struct {
	normed  []float32 // (n, hidden): the input of q, k, v; then that of gate and up
	dnormed []float32 // (n, hidden)
	dout    []float32 // (n, query): gradient of the attention's out
	dq      []float32 // (n, query)
	dk, dv  []float32 // (n, kv)
	gate    []float32 // (n, ffn), and their gradients, when pairs are kept of them
	up      []float32 // (n, ffn)
	act     []float32 // (n, ffn): the input of down
	dact    []float32 // (n, ffn)
	dlow    []float32 // (n, rank)

	outer, inner kernel.Operand // of normed; of the attention's out, then of act
	dy           kernel.Operand // of the gradient of a layer's value
}

func (s *scratch) take(buffer []float32, n int, w widths) []float32 {
	s.normed, buffer = cut(buffer, n*w.hidden)
	s.dnormed, buffer = cut(buffer, n*w.hidden)
	s.dout, buffer = cut(buffer, n*w.query)
	s.dq, buffer = cut(buffer, n*w.query)
	s.dk, buffer = cut(buffer, n*w.kv)
	s.dv, buffer = cut(buffer, n*w.kv)
	if w.paired {
		s.gate, buffer = cut(buffer, n*w.ffn)
		s.up, buffer = cut(buffer, n*w.ffn)
	}
	s.act, buffer = cut(buffer, n*w.ffn)
	s.dact, buffer = cut(buffer, n*w.ffn)
	s.dlow, buffer = cut(buffer, n*w.rank)
	return buffer
}

// words is the memory of x.
func words(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// line is a cache line, in numbers: buffers begin on one.
const line = 16

// cut returns the first n numbers of buffer, and what follows the line they end in.
func cut(buffer []float32, n int) (head, tail []float32) {
	return buffer[:n:n], buffer[(n+line-1)&^(line-1):]
}

// arena is the memory of one graph beside the adapter, outside the Go heap: the
// collector would let as much garbage pile up as there is of it. It grows to the
// longest batch seen and is then used again.
type arena struct {
	widths
	vocab  int
	tokens int          // there is room for
	places int          // of shared tokens there is room for
	free   func() error // gives the memory back

	scratch
	seen   seen
	acts   []activations // one per block, or one for all
	input  slab          // (n, hidden): the embedded tokens
	values []slab        // (n, hidden): what each block returns
	grad   slab          // (n, hidden): the gradient of the stream
	chunk  chunk
}

func newArena(m *model.Model, a *lora.Adapter, o Options) *arena {
	return &arena{
		widths: widthsOf(m, a, o), vocab: m.Output.Weight.Rows,
		scratch: scratch{outer: kernel.Operand{Dense: true}, inner: kernel.Operand{Dense: true}},
		acts:    make([]activations, kept(m, o)), values: make([]slab, m.Dims.Layers),
	}
}

// kept is for how many blocks activations are kept at once.
func kept(m *model.Model, o Options) int {
	if o.Memory == Store {
		return m.Dims.Layers
	}
	return 1
}

// size is how many numbers there are for n tokens, of which some are shared
// between the given number of places, or none.
func (w widths) size(n, places, acts, layers, vocab int) int {
	const cuts = 20 // more than there are in activations, in scratch, and beside them
	return n*(acts*w.kept()+w.passing()+(layers+2)*w.hidden) + max(0, places-n)*acts*w.heads + places*w.seeing() +
		headRows*(vocab+3*w.hidden) + (acts+layers+3)*cuts*line
}

// of returns the activations of a block, cut to n tokens at some places.
func (a *arena) of(block, n, places int) activations {
	all := &a.acts[block%len(a.acts)]
	cut := activations{
		q: all.q[:n*a.query], k: all.k[:n*a.kv], v: all.v[:n*a.kv],
		out: all.out[:n*a.query], lse: all.lse[:places*a.heads], mid: all.mid[:n*a.hidden], low: all.low[:n*a.low],
	}
	if a.paired {
		cut.gate, cut.up, cut.pairs = a.gate[:n*a.ffn], a.up[:n*a.ffn], all.pairs[:n*a.ffn]
	} else {
		cut.gate, cut.up = all.gate[:n*(a.middle()-a.ffn)], all.up[:n*a.ffn]
	}
	return cut
}

// grow makes room for n tokens, of which some are shared between the given
// number of places, or none.
func (a *arena) grow(n, places int) error {
	if n <= a.tokens && places <= a.places {
		return nil
	}
	n, places = max(n, a.tokens), max(places, a.places)
	if err := a.close(); err != nil {
		return err
	}
	buffer, free, err := offHeap(a.size(n, places, len(a.acts), len(a.values), a.vocab))
	if err != nil {
		return fmt.Errorf("memory for batches of %d tokens: %w", n, err)
	}
	a.tokens, a.places, a.free = n, places, free
	for i := range a.acts {
		buffer = a.acts[i].take(buffer, n, places, a.widths)
	}
	buffer = a.scratch.take(buffer, n, a.widths)
	buffer = a.seen.take(buffer, places, a.widths)
	buffer = a.input.take(buffer, n*a.hidden)
	for i := range a.values {
		buffer = a.values[i].take(buffer, n*a.hidden)
	}
	buffer = a.grad.take(buffer, n*a.hidden)
	a.chunk.take(buffer, a.hidden, a.vocab)
	return nil
}

// close gives the memory back. Nothing of it may be used afterwards.
func (a *arena) close() error {
	if a.free == nil {
		return nil
	}
	free := a.free
	a.free, a.tokens, a.places = nil, 0, 0
	return free()
}

// chunk is what the head needs for some rows at a time.
type chunk struct {
	x, normed, dnormed []float32 // (headRows, hidden)
	logits             []float32 // (headRows, vocabulary)
}

func (c *chunk) take(buffer []float32, hidden, vocab int) {
	c.x, buffer = cut(buffer, headRows*hidden)
	c.normed, buffer = cut(buffer, headRows*hidden)
	c.dnormed, buffer = cut(buffer, headRows*hidden)
	c.logits, _ = cut(buffer, headRows*vocab)
}

// slab is a matrix of varying height over one buffer.
type slab struct {
	buffer []float32
	dense  *tensor.Dense
}

func (s *slab) take(buffer []float32, n int) []float32 {
	s.dense = nil
	s.buffer, buffer = cut(buffer, n)
	return buffer
}

// matrix returns the (rows, cols) matrix at the start of the buffer.
func (s *slab) matrix(rows, cols int) *tensor.Dense {
	if s.dense == nil || s.dense.Shape()[0] != rows {
		s.dense = tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(s.buffer[:rows*cols]))
	}
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
// itself, for batches of at most tokens, shared between at most the given places:
// the graph's buffers, and the values, gradients, moments and best values of the
// adapter. Of a it reads only rank and slots.
func Estimate(m *model.Model, a *lora.Adapter, tokens, places int, o Options) int64 {
	w := widthsOf(m, a, o)
	buffers := w.size(tokens, places, kept(m, o), m.Dims.Layers, m.Output.Weight.Rows)
	// values, gradients, two moments, the best values
	adapter := 5 * parameters(m, a)
	// The kernels' own: the logits of a chunk as bfloat16 for two cores, and
	// activations as int8 and bfloat16.
	kernels := headRows*m.Output.Weight.Rows + 2*tokens*w.widest
	// The Go heap lets garbage pile up to what is in use there: the values, and
	// the values the adapter came with.
	garbage := 2 * parameters(m, a)
	const program = 20 << 20 // code, stacks, tables
	return 4*int64(buffers+adapter+kernels+garbage) + program
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
