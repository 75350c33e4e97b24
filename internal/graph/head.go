package graph

import (
	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"afina/internal/kernel"
	"afina/internal/model"
)

// head is the end of the model and its loss: final norm, output product and
// cross-entropy, at the labelled positions only and some rows at a time. Its
// value is the sum of -log p(target); it counts the targets that were the most
// likely token.
//
// When training it computes the gradient of x in the same loop, while the
// logits are there, and keeps it for headBack.
type head struct {
	op
	model *model.Model
	value *G.F64
	right int           // targets that were the most likely token
	dx    *tensor.Dense // (n, hidden)

	rows    []int32        // of x that are in the chunk
	targets []int32        // theirs
	operand kernel.Operand // of the normed rows
	grad    kernel.Operand // of the gradient of the logits
}

func newHead(r *run, m *model.Model) *head {
	return &head{
		op: op{name: "head", arity: 2, run: r}, model: m, value: G.NewF64(0),
		rows: make([]int32, 0, headRows), targets: make([]int32, 0, headRows),
	}
}

func (h *head) Type() hm.Type { return function(matrixType, labelsType, tensor.Float64) }

func (h *head) InferShape(...G.DimSizer) (tensor.Shape, error) { return tensor.ScalarShape(), nil }

// Do is the forward, and the backward when training.
func (h *head) Do(in ...G.Value) (G.Value, error) {
	v, err := h.guard(func() G.Value {
		r := h.run
		if r.train {
			h.dx = r.arena.grad.matrix(r.n, r.dims.Hidden)
			clear(floats(h.dx))
		}
		return nil
	})
	if err != nil {
		return v, err
	}
	x, targets := floats(in[0]), in[1].Data().([]int32)
	h.right = 0
	var sum float64
	for t := 0; t < len(targets); {
		h.rows, h.targets = h.rows[:0], h.targets[:0]
		for ; t < len(targets) && len(h.rows) < headRows; t++ {
			if targets[t] >= 0 {
				h.rows, h.targets = append(h.rows, int32(t)), append(h.targets, targets[t])
			}
		}
		if len(h.rows) == 0 {
			break
		}
		if _, err := h.guard(func() G.Value { sum += h.chunk(x); return nil }); err != nil {
			return nil, err
		}
	}
	*h.value = G.F64(sum)
	return h.value, nil
}

// chunk computes the loss of the rows at hand and scatters their gradient.
func (h *head) chunk(x []float32) float64 {
	r, m := h.run, h.model
	c := &r.arena.chunk
	n, hidden := len(h.rows), r.dims.Hidden
	rows, normed := c.x[:n*hidden], c.normed[:n*hidden]
	for i, t := range h.rows {
		copy(rows[i*hidden:(i+1)*hidden], x[int(t)*hidden:])
	}
	r.norm(normed, rows, n, m.OutputNorm)
	h.operand.Dense = true
	r.gang.Prepare(&h.operand, normed, n, hidden, r.options.Precision)
	vocab := m.Output.Weight.Rows
	logits := c.logits[:n*vocab]
	r.gang.MatMul(logits, &h.operand, m.Output.Weight)
	if m.Output.Bias != nil {
		r.gang.AddRows(logits, n, vocab, m.Output.Bias)
	}
	sum, right := r.gang.CrossEntropy(logits, n, vocab, h.targets)
	h.right += right
	if !r.train {
		return sum
	}
	dnormed := c.dnormed[:n*hidden]
	clear(dnormed)
	r.gang.Prepare(&h.grad, logits, n, vocab, r.options.Precision)
	r.gang.MatMulBack(dnormed, &h.grad, m.Output.Weight)
	drows := normed // no longer needed
	clear(drows)
	r.normBack(drows, dnormed, rows, n, m.OutputNorm)
	dx := floats(h.dx)
	for i, t := range h.rows {
		copy(dx[int(t)*hidden:], drows[i*hidden:(i+1)*hidden])
	}
	return sum
}

// DiffWRT says that x has a gradient and the targets have none.
func (h *head) DiffWRT(int) []bool { return []bool{true, false} }

// SymDiff joins the head to its backward, which reads out only so that it runs
// after the head.
func (h *head) SymDiff(in G.Nodes, out, grad *G.Node) (G.Nodes, error) {
	back := &headBack{op: op{name: "head back", arity: 3, run: h.run}, head: h}
	dx, err := G.ApplyOp(back, in[0], out, grad)
	return G.Nodes{dx, nil}, err
}

// headBack scales the gradient that the head has kept.
type headBack struct {
	op
	head *head
}

func (b *headBack) Type() hm.Type {
	return function(matrixType, tensor.Float64, tensor.Float64, matrixType)
}

func (b *headBack) InferShape(in ...G.DimSizer) (tensor.Shape, error) { return sameShape(in) }

// Do multiplies by the gradient of the loss.
func (b *headBack) Do(in ...G.Value) (G.Value, error) {
	return b.guard(func() G.Value {
		scale := float32(*in[2].(*G.F64))
		dx := floats(b.head.dx)
		for i := range dx {
			dx[i] *= scale
		}
		return b.head.dx
	})
}
