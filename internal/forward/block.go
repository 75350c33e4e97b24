package forward

import (
	"fmt"
	"math"

	"afina/internal/kernel"
	"afina/internal/model"
)

// embed writes the embedding of every row's token to x.
func (p *Pass) embed(rows []Row) {
	d := p.m.Dims.Hidden
	for i, row := range p.all.row {
		p.m.Embed.Row(p.work.x[i*d:(i+1)*d], int(rows[row].Token))
	}
}

// block runs layer l on x. Its last stretch runs only on rows that something
// still reads: in the last layer those that want logits, as the others are
// there for their keys and values alone.
//
//	serial:   h = x + O·attention(norm(x));  x = h + mlp(norm'(h))
//	parallel: x = x + O·attention(norm(x)) + mlp(norm(x))
func (p *Pass) block(l int) {
	b, layer, w := &p.all, &p.m.Layers[l], &p.work
	d := &p.m.Dims
	p.norm(w.normed, w.x, b.len(), layer.AttnNorm)
	p.gang.Prepare(&p.in, w.normed, b.len(), d.Hidden, p.precision)
	p.linear(w.k, w.normed, &p.in, b, l, "attn_k", &layer.K)
	p.linear(w.v, w.normed, &p.in, b, l, "attn_v", &layer.V)
	p.gang.Rotate(w.k[:b.len()*p.width()], b.len(), d.KVHeads, d.HeadDim, b.pos, d.Rotary, false)
	p.remember(l)
	if l == len(p.m.Layers)-1 && p.asked.len() < p.all.len() {
		if b = &p.asked; b.len() == 0 {
			return
		}
		p.narrow()
	}
	p.attend(b, l)
	if !p.m.Spec.Parallel {
		p.norm(w.normed, w.x, b.len(), layer.FFNNorm)
		p.gang.Prepare(&p.in, w.normed, b.len(), d.Hidden, p.precision)
	}
	p.mlp(b, l)
}

// attend adds O·attention to x, reading the normed input and the cache.
func (p *Pass) attend(b *batch, l int) {
	layer, w, d, n := &p.m.Layers[l], &p.work, &p.m.Dims, b.len()
	query := d.Heads * d.HeadDim
	p.linear(w.q, w.normed, &p.in, b, l, "attn_q", &layer.Q)
	p.gang.Rotate(w.q[:n*query], n, d.Heads, d.HeadDim, b.pos, d.Rotary, false)
	p.lanes = p.lanes[:0]
	for i, s := range b.slot {
		slot := &p.slots[s]
		p.lanes = append(p.lanes, kernel.Lane{
			K:   slot.keys(l, slot.next, p.width()),
			V:   slot.values(l, slot.next, p.width()),
			Len: int(b.pos[i]) + 1,
		})
	}
	p.gang.AttentionCached(w.mixed[:n*query], w.q[:n*query], p.lanes, kernel.Heads{
		Query: d.Heads, KV: d.KVHeads, Dim: d.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(d.HeadDim))),
	})
	p.gang.Prepare(&p.inner, w.mixed, n, query, p.precision)
	p.linear(w.out, w.mixed, &p.inner, b, l, "attn_output", &layer.O)
	p.gang.Add(w.x[:n*d.Hidden], w.out[:n*d.Hidden])
}

// mlp adds the MLP of the normed input to x.
func (p *Pass) mlp(b *batch, l int) {
	layer, w, d, n := &p.m.Layers[l], &p.work, &p.m.Dims, b.len()
	size := n * d.FFN
	p.linear(w.up, w.normed, &p.in, b, l, "ffn_up", &layer.Up)
	switch p.m.Spec.Activation {
	case model.SwiGLU:
		p.linear(w.gate, w.normed, &p.in, b, l, "ffn_gate", &layer.Gate)
		p.gang.SwiGLU(w.up[:size], w.gate[:size], w.up[:size])
	case model.GELU:
		p.gang.GELU(w.up[:size], w.up[:size])
	}
	p.gang.Prepare(&p.inner, w.up, n, d.FFN, p.precision)
	p.linear(w.out, w.up, &p.inner, b, l, "ffn_down", &layer.Down)
	p.gang.Add(w.x[:n*d.Hidden], w.out[:n*d.Hidden])
}

// linear computes dst = x·Wᵀ + scale·(x·Aᵀ)·Bᵀ + bias, with each row's own
// adapter. op is x made ready.
func (p *Pass) linear(dst, x []float32, op *kernel.Operand, b *batch, l int, name string, lin *model.Linear) {
	w := lin.Weight
	p.gang.MatMul(dst[:b.len()*w.Rows], op, w)
	for _, g := range b.groups {
		if g.adapter == nil {
			continue
		}
		pair := g.adapter.Pairs[l][name]
		if pair == nil {
			continue
		}
		n, rank := g.hi-g.lo, g.adapter.Rank
		if len(pair.A) != rank*w.Cols || len(pair.B) != w.Rows*rank {
			panic(fmt.Sprintf("forward: adapter %q, layer %d, %s: A has %d numbers and B %d; rank %d of a (%d, %d) matrix takes %d and %d",
				g.adapter.Name, l, name, len(pair.A), len(pair.B), rank, w.Rows, w.Cols, rank*w.Cols, w.Rows*rank))
		}
		p.work.low = sized(p.work.low, n*rank)
		p.gang.Gemm(false, true, n, rank, w.Cols, 1, x[g.lo*w.Cols:g.hi*w.Cols], pair.A, 0, p.work.low)
		p.gang.Gemm(false, true, n, w.Rows, rank, g.adapter.Scale(), p.work.low, pair.B, 1, dst[g.lo*w.Rows:g.hi*w.Rows])
	}
	if lin.Bias != nil {
		p.gang.AddRows(dst[:b.len()*w.Rows], b.len(), w.Rows, lin.Bias)
	}
}

func (p *Pass) norm(dst, x []float32, n int, s model.Scale) {
	d := &p.m.Dims
	switch p.m.Spec.Norm {
	case model.RMSNorm:
		p.gang.RMSNorm(dst[:n*d.Hidden], x[:n*d.Hidden], n, d.Hidden, s.Weight, d.Epsilon)
	case model.LayerNorm:
		p.gang.LayerNorm(dst[:n*d.Hidden], x[:n*d.Hidden], n, d.Hidden, s.Weight, s.Bias, d.Epsilon)
	}
}

// remember copies the rows' keys and values into the cache of layer l.
func (p *Pass) remember(l int) {
	width := p.width()
	for i, s := range p.all.slot {
		slot, at := &p.slots[s], int(p.all.pos[i])*width
		copy(slot.keys(l, slot.next, width)[at:], p.work.k[i*width:(i+1)*width])
		copy(slot.values(l, slot.next, width)[at:], p.work.v[i*width:(i+1)*width])
	}
}

// narrow moves the rows that want logits to the front of x and of the normed
// input. They are in ascending order, so nothing is overwritten before it is read.
func (p *Pass) narrow() {
	d := p.m.Dims.Hidden
	for i, from := range p.asked.from {
		copy(p.work.x[i*d:(i+1)*d], p.work.x[from*d:(from+1)*d])
		copy(p.work.normed[i*d:(i+1)*d], p.work.normed[from*d:(from+1)*d])
	}
	p.gang.Prepare(&p.in, p.work.normed, p.asked.len(), d, p.precision)
}

// head computes the logits of the rows that want them and puts them in the
// caller's order.
func (p *Pass) head() ([][]float32, error) {
	n, vocab, w := p.asked.len(), p.m.Dims.Vocab, &p.work
	if n == 0 {
		return nil, nil
	}
	p.norm(w.normed, w.x, n, p.m.OutputNorm)
	p.gang.Prepare(&p.in, w.normed, n, p.m.Dims.Hidden, p.precision)
	p.logits = sized(p.logits, n*vocab)
	p.gang.MatMul(p.logits, &p.in, p.m.Output.Weight)
	if p.m.Output.Bias != nil {
		p.gang.AddRows(p.logits, n, vocab, p.m.Output.Bias)
	}
	for len(p.views) < n {
		p.views = append(p.views, nil)
	}
	var broken *NumericError
	for i, place := range p.asked.place {
		row := p.logits[i*vocab : (i+1)*vocab : (i+1)*vocab]
		p.views[place] = row
		if !finite(row) {
			if broken == nil {
				broken = &NumericError{}
			}
			broken.Rows = append(broken.Rows, p.asked.row[i])
		}
	}
	if broken != nil {
		return p.views[:n], broken
	}
	return p.views[:n], nil
}

// finite reports whether every number is: anything else times zero is NaN. The
// sums are independent so that the additions overlap.
func finite(x []float32) bool {
	var a, b, c, d float32
	for ; len(x) >= 4; x = x[4:] {
		a += x[0] * 0
		b += x[1] * 0
		c += x[2] * 0
		d += x[3] * 0
	}
	for _, v := range x {
		a += v * 0
	}
	return a+b+c+d == 0
}
