package kernel

import (
	"fmt"
	"math"
)

// Heads is the shape of an attention.
type Heads struct {
	Query, KV, Dim int     // heads of q, heads of k and v, numbers per head
	Scale          float32 // factor of q·k, 1/sqrt(Dim)
}

func (h Heads) check() {
	if h.Query < 1 || h.KV < 1 || h.Dim < 1 || h.Query%h.KV != 0 {
		panic(fmt.Sprintf("kernel: %d query heads over %d key heads of %d numbers", h.Query, h.KV, h.Dim))
	}
}

// Attention is causal self-attention over one packed row of tokens, kept inside
// each conversation: token t sees tokens first[t] … t.
//
//	q, out are (n, Query*Dim); k, v are (n, KV*Dim)
//	lse    is (Query, n): log-sum-exp of each row, kept for the backward
//
// first never falls and first[t] ≤ t. Query head i reads the keys and values of
// head i/(Query/KV). What is not a number shows in every token that sees it; it
// may also show in others of its conversation, never in another conversation.
//
// Fast rounds q, k, v and the weights to bfloat16 on levels with tiles of it and
// for heads of whole vectors; sums are float32. Elsewhere it is Exact.
func (g *Gang) Attention(out, lse, q, k, v []float32, first []int32, h Heads, p Precision) {
	checkAttention(out, lse, q, k, v, first, h)
	switch {
	case g.paired(h, p):
		g.attentionPairs(out, lse, q, k, v, first, h)
		return
	case g.tiled(h):
		g.attentionTiles(out, lse, q, k, v, first, h)
		return
	}
	n := len(first)
	g.span(h.Query*n, 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			head, t := i/n, i%n
			lse[i] = attentionGeneric(out, q, k, v, head, t, int(first[t]), h)
		}
	})
}

func checkAttention(out, lse, q, k, v []float32, first []int32, h Heads) {
	h.check()
	n := len(first)
	mustHold("q of Attention", len(q), n*h.Query*h.Dim)
	mustHold("out of Attention", len(out), n*h.Query*h.Dim)
	mustHold("k of Attention", len(k), n*h.KV*h.Dim)
	mustHold("v of Attention", len(v), n*h.KV*h.Dim)
	mustHold("lse of Attention", len(lse), n*h.Query)
	for t, f := range first {
		if f < 0 || int(f) > t || t > 0 && f < first[t-1] {
			panic(fmt.Sprintf("kernel: token %d sees from token %d on, the one before from %d", t, f, first[max(0, t-1)]))
		}
	}
}

// attentionGeneric computes row t of a head over keys lo … t and returns its
// log-sum-exp.
func attentionGeneric(out, q, k, v []float32, head, t, lo int, h Heads) float32 {
	d, kv := h.Dim, head/(h.Query/h.KV)
	qi := q[(t*h.Query+head)*d:][:d]
	top := math.Inf(-1)
	scores := make([]float64, t+1-lo)
	for j := range scores {
		scores[j] = float64(h.Scale) * dot64(qi, k[((lo+j)*h.KV+kv)*d:][:d])
		top = max(top, scores[j])
	}
	sum, acc := 0.0, make([]float64, d)
	for j, s := range scores {
		p := math.Exp(s - top)
		sum += p
		for i, x := range v[((lo+j)*h.KV+kv)*d:][:d] {
			acc[i] += p * float64(x)
		}
	}
	for i, x := range acc {
		out[(t*h.Query+head)*d+i] = float32(x / sum)
	}
	return float32(top + math.Log(sum))
}

// AttentionBack writes the gradients dq, dk, dv of Attention given dout. They
// must not overlap the other arguments. The gradients of a key head are summed
// over its query heads in their order. Fast rounds dout and the gradients of the
// scores too, where Attention rounds.
func (g *Gang) AttentionBack(dq, dk, dv, dout, out, lse, q, k, v []float32, first []int32, h Heads, p Precision) {
	checkAttention(out, lse, q, k, v, first, h)
	checkAttention(dq, lse, dout, dk, dv, first, h)
	switch {
	case g.paired(h, p):
		g.attentionBackPairs(dq, dk, dv, dout, out, lse, q, k, v, first, h)
		return
	case g.tiled(h):
		g.attentionBackTiles(dq, dk, dv, dout, out, lse, q, k, v, first, h)
		return
	}
	g.span(h.KV, 1, func(kv, _ int) {
		attentionBackGeneric(dq, dk, dv, dout, out, lse, q, k, v, kv, first, h)
	})
}

// attentionBackGeneric does one key head. With p = softmax(s) and s = Scale·q·k:
//
//	dv_j = Σ_t p_tj dout_t       ds_tj = p_tj (dout_t·v_j − dout_t·out_t)
//	dq_t = Scale Σ_j ds_tj k_j   dk_j  = Scale Σ_t ds_tj q_t   (Dao et al. 2022)
func attentionBackGeneric(dq, dk, dv, dout, out, lse, q, k, v []float32, kv int, first []int32, h Heads) {
	n, d, group := len(first), h.Dim, h.Query/h.KV
	accK, accV, accQ := make([]float64, n*d), make([]float64, n*d), make([]float64, d)
	scale := float64(h.Scale)
	for head := kv * group; head < (kv+1)*group; head++ {
		for t := range n {
			row := (t*h.Query + head) * d
			qi, di := q[row:row+d], dout[row:row+d]
			delta := dot64(di, out[row:row+d])
			clear(accQ)
			for j := int(first[t]); j <= t; j++ {
				kj, vj := k[(j*h.KV+kv)*d:][:d], v[(j*h.KV+kv)*d:][:d]
				p := math.Exp(scale*dot64(qi, kj) - float64(lse[head*n+t]))
				ds := scale * p * (dot64(di, vj) - delta)
				for i := range d {
					accV[j*d+i] += p * float64(di[i])
					accK[j*d+i] += ds * float64(qi[i])
					accQ[i] += ds * float64(kj[i])
				}
			}
			for i, x := range accQ {
				dq[row+i] = float32(x)
			}
		}
	}
	for j := range n {
		for i := range d {
			dk[(j*h.KV+kv)*d+i] = float32(accK[j*d+i])
			dv[(j*h.KV+kv)*d+i] = float32(accV[j*d+i])
		}
	}
}

func dot64(a, b []float32) float64 {
	s := 0.0
	for i, x := range a {
		s += float64(x) * float64(b[i])
	}
	return s
}
