// Package graph builds the training graph of a model on Gorgonia. It is the
// only package that imports gorgonia.org: outside it, a training step is slices
// and a number.
//
// The graph has one op per transformer block and one for the head:
//
//	x ─ block 0 ─ block 1 ─ … ─ head ─ loss
//	      │          │            │
//	   params 0   params 1     targets
//
// A block's low-rank parameters are one vector. Its backward is one op too (the
// bundle: its value is the gradient of x) with a pick node for the gradient of
// the parameters. Frozen weights are fields of the ops and never values of the
// graph, so no gradient of theirs is ever made. One graph serves batches of
// every length.
package graph

import (
	"context"
	"errors"
	"fmt"

	G "gorgonia.org/gorgonia"

	"afina/internal/data"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/optim"
)

// Memory says what the forward keeps for the backward.
type Memory string

// The memory policies.
const (
	Store     Memory = "store"     // keep what the backward reads
	Recompute Memory = "recompute" // keep block inputs, compute the rest again
)

// Options are how the graph computes.
type Options struct {
	Precision kernel.Precision
	Memory    Memory
	Dropout   float32 // on the input of the low-rank products
}

// Graph is a model with an adapter, ready to be differentiated for batches of
// any length. It belongs to one goroutine.
type Graph struct {
	model   *model.Model
	options Options
	run     *run
	blocks  []*block
	head    *head
	params  []optim.Param

	nodes         *G.ExprGraph
	x, targets    *G.Node
	scale, loss   *G.Node
	train, assess G.VM // forward and backward; forward only
	labels        labels
	weight        *G.F64
	beside        []func() error // give back what Zeros has taken
}

// Build walks m's Spec and returns its graph. It moves a's pairs into one slice
// per layer: a stays usable throughout, and its pairs are the trained slices.
func Build(m *model.Model, a *lora.Adapter, gang *kernel.Gang, o Options) (*Graph, error) {
	if o.Memory != Store && o.Memory != Recompute {
		return nil, fmt.Errorf("build graph: memory policy is %q, not %q or %q", o.Memory, Store, Recompute)
	}
	if o.Dropout < 0 || o.Dropout >= 1 {
		return nil, fmt.Errorf("build graph: dropout is %v, not in [0,1)", o.Dropout)
	}
	packed, err := pack(m, a)
	if err != nil {
		return nil, fmt.Errorf("build graph: %w", err)
	}
	g := &Graph{model: m, options: o, run: newRun(m, a, gang, o), nodes: G.NewGraph(), weight: G.NewF64(1)}
	err = g.clearGradients(packed)
	if err == nil {
		err = g.assemble(packed)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("build graph: %w", err), g.giveBack())
	}
	return g, nil
}

// clearGradients gives every layer zeros as its gradients, outside the Go heap.
func (g *Graph) clearGradients(packed []*layerParams) error {
	n := 0
	for _, p := range packed {
		n += (len(p.values) + line - 1) &^ (line - 1)
	}
	buffer, free, err := offHeap(n)
	if err != nil {
		return fmt.Errorf("memory for the gradients: %w", err)
	}
	g.beside = append(g.beside, free)
	for _, p := range packed {
		p.grads, buffer = cut(buffer, len(p.values))
		p.dense = vector(p.grads)
	}
	return nil
}

// giveBack frees the memory outside the Go heap.
func (g *Graph) giveBack() error {
	err := g.run.arena.close()
	for _, free := range g.beside {
		err = errors.Join(err, free())
	}
	for i := range g.params {
		g.params[i].Grad = nil
	}
	return err
}

// assemble makes the nodes, differentiates them and compiles both programs.
func (g *Graph) assemble(packed []*layerParams) error {
	hidden := g.model.Dims.Hidden
	g.x = G.NewMatrix(g.nodes, G.Float32, G.WithShape(1, hidden), G.WithName("x"))
	g.targets = G.NewVector(g.nodes, G.Int32, G.WithShape(1), G.WithName("targets"))
	g.scale = G.NewScalar(g.nodes, G.Float64, G.WithName("scale"), G.WithValue(g.weight))

	var wrt G.Nodes
	at := g.x
	for i, p := range packed {
		v := G.NewVector(g.nodes, G.Float32, G.WithShape(len(p.values)),
			G.WithName(fmt.Sprintf("block %d parameters", i)), G.WithValue(vector(p.values)))
		b := newBlock(g.run, i, &g.model.Layers[i], p)
		y, err := G.ApplyOp(b, at, v)
		if err != nil {
			return err
		}
		g.blocks, wrt, at = append(g.blocks, b), append(wrt, v), y
		g.params = append(g.params, p.params()...)
	}
	g.head = newHead(g.run, g.model)
	var err error
	if g.loss, err = G.ApplyOp(g.head, at, g.targets); err != nil {
		return err
	}
	// Not G.Grad: it would hang the graph onto a node that all graphs of the
	// process share, and nothing would ever free it.
	if _, err = G.Backpropagate(G.Nodes{g.loss}, G.Nodes{g.scale}, wrt); err != nil {
		return err
	}
	if err := distinct(g.nodes); err != nil {
		return err
	}
	program, registers, err := G.CompileFunction(g.nodes, append(G.Nodes{g.x, g.targets}, wrt...), G.Nodes{g.loss})
	if err != nil {
		return err
	}
	g.train = G.NewTapeMachine(g.nodes)
	g.assess = G.NewTapeMachine(g.nodes, G.WithPrecompiled(program, registers))
	return nil
}

// distinct reports nodes that gorgonia cannot tell apart: it knows them by a
// hash of 32 bits and takes two of one hash for the same node.
func distinct(g *G.ExprGraph) error {
	seen := map[uint32]*G.Node{}
	for _, n := range g.AllNodes() {
		if other := seen[n.Hashcode()]; other != nil {
			return fmt.Errorf("nodes %v and %v have one hash", n, other)
		}
		seen[n.Hashcode()] = n
	}
	return nil
}

// Params are the adapter's own slices with their gradients, in a fixed order.
func (g *Graph) Params() []optim.Param { return g.params }

// Zeros returns zeros in the shape of Params, in memory that is the graph's: it is
// outside the Go heap and goes with Close. Pages that nobody writes to take none.
func (g *Graph) Zeros() ([][]float32, error) {
	n := 0
	for _, p := range g.params {
		n += (len(p.Value) + line - 1) &^ (line - 1)
	}
	buffer, free, err := offHeap(n)
	if err != nil {
		return nil, fmt.Errorf("memory beside the adapter: %w", err)
	}
	g.beside = append(g.beside, free)
	all := make([][]float32, len(g.params))
	for i, p := range g.params {
		all[i], buffer = cut(buffer, len(p.Value))
	}
	return all, nil
}

// Options are what the graph was built with.
func (g *Graph) Options() Options { return g.options }

// Identity says what the graph computes, in a line: graphs of one identity give
// the same numbers for the same parameters, whatever their memory policy.
func (g *Graph) Identity() string {
	r := g.run
	return fmt.Sprintf("%s %s %+v rank %d scale %v precision %d dropout %v",
		g.model.Name, r.spec.Name, r.dims, r.rank, r.alpha, r.options.Precision, r.options.Dropout)
}

// Gang computes the graph; the optimiser may use it between two runs.
func (g *Graph) Gang() *kernel.Gang { return g.run.gang }

// Model is the frozen base.
func (g *Graph) Model() *model.Model { return g.model }

// Reserve makes room for batches of at most tokens, shared between at most the
// given places, so that the buffers are made once. Pages that no batch touches
// take no memory.
func (g *Graph) Reserve(tokens, places int) error { return g.run.arena.grow(tokens, places) }

var errClosed = errors.New("the graph is closed")

// Gradients adds scale times the gradient of b's summed loss to the gradients
// of Params and returns the sum of the loss, in nats, and how many targets were
// the most likely token. seed draws the dropout masks. When it fails, the
// gradients hold a part of the sum and must be cleared.
func (g *Graph) Gradients(ctx context.Context, b data.Batch, scale float32, seed uint64) (sum float64, right int, err error) {
	if g.train == nil {
		return 0, 0, errClosed
	}
	*g.weight = G.F64(scale)
	g.run.train, g.run.seed = true, seed
	return g.execute(ctx, g.train, b)
}

// Loss returns the summed loss of b, in nats, and how many targets were the most
// likely token, without dropout and without gradients.
func (g *Graph) Loss(ctx context.Context, b data.Batch) (sum float64, right int, err error) {
	if g.train == nil {
		return 0, 0, errClosed
	}
	g.run.train = false
	return g.execute(ctx, g.assess, b)
}

func (g *Graph) execute(ctx context.Context, vm G.VM, b data.Batch) (sum float64, right int, err error) {
	if err := g.check(b); err != nil {
		return 0, 0, err
	}
	if b.Counted == 0 {
		return 0, 0, ctx.Err()
	}
	if err := g.run.begin(ctx, b); err != nil {
		return 0, 0, err
	}
	g.bind(b)
	vm.Reset()
	if err := vm.RunAll(); err != nil {
		// The machine's errors do not unwrap to the context's.
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		return 0, 0, fmt.Errorf("run the graph: %w", err)
	}
	return float64(*g.loss.Value().(*G.F64)), g.head.right, nil
}

// check finds a batch that does not fit the model: the ops index by its numbers.
func (g *Graph) check(b data.Batch) error {
	n, places := len(b.Tokens), len(b.Tokens)
	if b.Shared != nil {
		places = len(b.Shared)
	}
	if n == 0 || len(b.Targets) != n || len(b.First) != places || len(b.Pos) != n {
		return fmt.Errorf("batch of %d tokens at %d places has %d targets, %d starts and %d positions", n, places, len(b.Targets), len(b.First), len(b.Pos))
	}
	if err := checkPlaces(b); err != nil {
		return err
	}
	vocab, counted := int32(g.model.Dims.Vocab), 0
	for t, token := range b.Tokens {
		if token < 0 || token >= vocab || b.Targets[t] >= vocab {
			return fmt.Errorf("batch: token %d or target %d at %d is outside the vocabulary of %d", token, b.Targets[t], t, vocab)
		}
		if b.Pos[t] < 0 {
			return fmt.Errorf("batch: token %d has the position %d", t, b.Pos[t])
		}
		if b.Targets[t] >= 0 {
			counted++
		}
	}
	if counted != b.Counted {
		return fmt.Errorf("batch has %d targets, not %d", counted, b.Counted)
	}
	return nil
}

// checkPlaces finds places that cannot be, and tokens without one.
func checkPlaces(b data.Batch) error {
	for i, first := range b.First {
		if first < 0 || int(first) > i {
			return fmt.Errorf("batch: place %d belongs to a sequence that starts at %d", i, first)
		}
	}
	next := int32(0)
	for i, t := range b.Shared {
		if t < 0 || t > next {
			return fmt.Errorf("batch: token %d is at place %d, and %d at none before", t, i, next)
		}
		next = max(next, t+1)
	}
	if b.Shared != nil && int(next) != len(b.Tokens) {
		return fmt.Errorf("batch: %d of %d tokens have a place", next, len(b.Tokens))
	}
	return nil
}

// bind sets the inputs: the embedded tokens and their targets.
func (g *Graph) bind(b data.Batch) {
	n, hidden := len(b.Tokens), g.model.Dims.Hidden
	x := g.run.arena.input.matrix(n, hidden)
	rows := floats(x)
	for t, token := range b.Tokens {
		g.model.Embed.Row(rows[t*hidden:(t+1)*hidden], int(token))
	}
	// G.Let would insist on the length the node was made with.
	G.WithValue(x)(g.x)
	G.WithValue(g.labels.vector(b.Targets))(g.targets)
}

// Close frees what the graph holds; of Params the values stay.
func (g *Graph) Close() error {
	if g.train == nil {
		return nil
	}
	err := errors.Join(g.train.Close(), g.assess.Close(), g.giveBack())
	*g = Graph{params: g.params}
	return err
}
