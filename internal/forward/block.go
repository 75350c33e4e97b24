package forward

import (
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
	keys, values := linear{w.k, "attn_k", &layer.K}, linear{w.v, "attn_v", &layer.V}
	queries := linear{w.q, "attn_q", &layer.Q}
	last := l == len(p.m.Layers)-1 && p.asked.len() < p.all.len()
	if last {
		p.linear(&p.in, b, l, keys, values)
	} else {
		p.linear(&p.in, b, l, queries, keys, values)
	}
	p.gang.Turn(w.k[:b.len()*p.width()], b.len(), d.KVHeads, d.HeadDim, &b.angles)
	p.gang.Remember(w.k, w.v, b.lanes, l, p.keep)
	if last {
		if b = &p.asked; b.len() == 0 {
			return
		}
		p.narrow()
		p.linear(&p.in, b, l, queries)
	}
	p.attend(b, l)
	if !p.m.Spec.Parallel {
		p.norm(w.normed, w.x, b.len(), layer.FFNNorm)
		p.gang.Prepare(&p.in, w.normed, b.len(), d.Hidden, p.precision)
	}
	p.mlp(b, l)
}

// attend adds O·attention to x, reading the queries and the cache.
func (p *Pass) attend(b *batch, l int) {
	layer, w, d, n := &p.m.Layers[l], &p.work, &p.m.Dims, b.len()
	query := d.Heads * d.HeadDim
	p.gang.Turn(w.q[:n*query], n, d.Heads, d.HeadDim, &b.angles)
	p.gang.AttentionCached(w.mixed[:n*query], w.q[:n*query], b.lanes, l, p.keep)
	p.gang.Prepare(&p.inner, w.mixed, n, query, p.precision)
	p.linear(&p.inner, b, l, linear{w.out, "attn_output", &layer.O})
	p.gang.Add(w.x[:n*d.Hidden], w.out[:n*d.Hidden])
}

// mlp adds the MLP of the normed input to x.
func (p *Pass) mlp(b *batch, l int) {
	layer, w, d, n := &p.m.Layers[l], &p.work, &p.m.Dims, b.len()
	size := n * d.FFN
	up := linear{w.up, "ffn_up", &layer.Up}
	switch p.m.Spec.Activation {
	case model.SwiGLU:
		p.linear(&p.in, b, l, up, linear{w.gate, "ffn_gate", &layer.Gate})
		p.gang.SwiGLU(w.up[:size], w.gate[:size], w.up[:size])
	case model.GELU:
		p.linear(&p.in, b, l, up)
		p.gang.GELU(w.up[:size], w.up[:size])
	}
	p.gang.Prepare(&p.inner, w.up, n, d.FFN, p.precision)
	p.linear(&p.inner, b, l, linear{w.out, "ffn_down", &layer.Down})
	p.gang.Add(w.x[:n*d.Hidden], w.out[:n*d.Hidden])
}

// linear is a linear layer, by its GGUF name, and where its result goes.
type linear struct {
	dst  []float32
	name string
	of   *model.Linear
}

// linear computes dst = x·Wᵀ + scale·(x·Aᵀ)·Bᵀ + bias of layers with the same
// input, with each row's own adapter. op is x made ready.
func (p *Pass) linear(op *kernel.Operand, b *batch, l int, layers ...linear) {
	w := &p.work
	w.products = w.products[:0]
	for i, it := range layers {
		w.low[i] = b.lows(w.low[i], l, it.name)
		w.products = append(w.products, kernel.Product{Dst: it.dst[:b.len()*it.of.Weight.Rows], W: it.of.Weight, Low: w.low[i]})
	}
	p.gang.MatMuls(op, w.products...)
	for _, it := range layers {
		if rows := it.of.Weight.Rows; it.of.Bias != nil {
			p.gang.AddRows(it.dst[:b.len()*rows], b.len(), rows, it.of.Bias)
		}
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
	sound := make([]bool, n)
	p.gang.Each(n, func(i int) {
		row := p.logits[i*vocab : (i+1)*vocab : (i+1)*vocab]
		p.views[p.asked.place[i]], sound[i] = row, finite(row)
	})
	var broken *NumericError
	for i, ok := range sound {
		if !ok {
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
