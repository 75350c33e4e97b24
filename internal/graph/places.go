package graph

import "afina/internal/data"

// places lays the tokens of a batch out for attention when sequences share their
// beginnings. Everything else is computed once a token; attention sees every
// sequence whole, and a shared token's gradient is the sum of its places'.
type places struct {
	tokens []int32 // which token is at a place
	own    []int32 // the same at a token's first place, -1 at the others
	of     []int32 // the places of each token, in order
	ends   []int32 // where those of each token end in of
	first  []int32 // the first place of each token
}

// set takes the places of b.
func (p *places) set(b data.Batch) {
	*p = places{tokens: b.Shared, own: p.own[:0], of: p.of[:0], ends: p.ends[:0], first: p.first[:0]}
	if b.Shared == nil {
		return
	}
	n := len(b.Tokens)
	p.ends = append(p.ends, make([]int32, n)...)
	for i, t := range b.Shared {
		own := int32(-1)
		if int(t) == len(p.first) {
			own, p.first = t, append(p.first, int32(i))
		}
		p.own = append(p.own, own)
		p.ends[t]++
	}
	for t := 1; t < n; t++ {
		p.ends[t] += p.ends[t-1]
	}
	p.of = append(p.of, b.Shared...)
	for i := len(b.Shared) - 1; i >= 0; i-- { // ends become starts on the way
		t := b.Shared[i]
		p.ends[t]--
		p.of[p.ends[t]] = int32(i)
	}
	copy(p.ends, p.ends[1:])
	p.ends[n-1] = int32(len(b.Shared))
}

// seen is what attention reads and writes of shared tokens, by places.
type seen struct {
	q, k, v, out     []float32
	dq, dk, dv, dout []float32
}

// seeing is how many numbers a place takes.
func (w widths) seeing() int { return 4*w.query + 4*w.kv }

func (s *seen) take(buffer []float32, n int, w widths) []float32 {
	s.q, buffer = cut(buffer, n*w.query)
	s.k, buffer = cut(buffer, n*w.kv)
	s.v, buffer = cut(buffer, n*w.kv)
	s.out, buffer = cut(buffer, n*w.query)
	s.dq, buffer = cut(buffer, n*w.query)
	s.dk, buffer = cut(buffer, n*w.kv)
	s.dv, buffer = cut(buffer, n*w.kv)
	s.dout, buffer = cut(buffer, n*w.query)
	return buffer
}

// attention computes the attention of a block from its q, k and v.
func (r *run) attention(a activations) {
	if r.places.tokens == nil {
		r.gang.Attention(a.out, a.lse, a.q, a.k, a.v, r.batch.First, r.heads, r.options.Precision)
		return
	}
	s := &r.arena.seen
	r.spread(s, a)
	r.gang.Attention(s.out, a.lse, s.q, s.k, s.v, r.batch.First, r.heads, r.options.Precision)
	r.gang.Gather(a.out, s.out, r.places.first, r.arena.query)
}

// spread lays q, k and v out by places.
func (r *run) spread(s *seen, a activations) {
	r.gang.Gather(s.q, a.q, r.places.tokens, r.arena.query)
	r.gang.Gather(s.k, a.k, r.places.tokens, r.arena.kv)
	r.gang.Gather(s.v, a.v, r.places.tokens, r.arena.kv)
}

// attentionBack writes the gradients of q, k and v, given that of out. What a
// shared token gives out at places other than its first is nobody's input.
func (r *run) attentionBack(a activations, dq, dk, dv, dout []float32) {
	if r.places.tokens == nil {
		r.gang.AttentionBack(dq, dk, dv, dout, a.out, a.lse, a.q, a.k, a.v, r.batch.First, r.heads, r.options.Precision)
		return
	}
	s, p := &r.arena.seen, &r.places
	r.spread(s, a)
	r.gang.Gather(s.out, a.out, p.tokens, r.arena.query)
	r.gang.Gather(s.dout, dout, p.own, r.arena.query)
	r.gang.AttentionBack(s.dq, s.dk, s.dv, s.dout, s.out, a.lse, s.q, s.k, s.v, r.batch.First, r.heads, r.options.Precision)
	r.gang.Gather(dq, s.dq, p.first, r.arena.query)
	r.gang.SumRows(dk, s.dk, p.of, p.ends, r.arena.kv)
	r.gang.SumRows(dv, s.dv, p.of, p.ends, r.arena.kv)
}
