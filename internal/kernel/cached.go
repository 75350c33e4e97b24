package kernel

import (
	"fmt"
	"math"
)

// Lane is one query token of a sequence whose keys and values are cached.
type Lane struct {
	K, V []float32 // (length, KV*Dim): keys and values of positions 0 … length-1 of its sequence
	Len  int       // how many positions it sees
}

// AttentionCached computes attention of row i of q over lanes[i].
//
//	q, out are (len(lanes), Query*Dim)
//
// The result of a lane does not depend on the other lanes.
func (g *Gang) AttentionCached(out, q []float32, lanes []Lane, h Heads) {
	checkLanes(out, q, lanes, h)
	if g.tiled(h) {
		g.cachedTiles(out, q, lanes, h)
		return
	}
	g.span(len(lanes)*h.Query, 1, func(i, _ int) {
		cachedGeneric(out, q, lanes[i/h.Query], i/h.Query, i%h.Query, h)
	})
}

func checkLanes(out, q []float32, lanes []Lane, h Heads) {
	h.check()
	mustHold("q of AttentionCached", len(q), len(lanes)*h.Query*h.Dim)
	mustHold("out of AttentionCached", len(out), len(lanes)*h.Query*h.Dim)
	for i, l := range lanes {
		if l.Len < 1 {
			panic(fmt.Sprintf("kernel: lane %d sees %d positions", i, l.Len))
		}
		mustHold("K of a lane", len(l.K), l.Len*h.KV*h.Dim)
		mustHold("V of a lane", len(l.V), l.Len*h.KV*h.Dim)
	}
}

// cachedGeneric computes one head of one lane.
func cachedGeneric(out, q []float32, l Lane, row, head int, h Heads) {
	d, kv := h.Dim, head/(h.Query/h.KV)
	qi := q[(row*h.Query+head)*d:][:d]
	scores, top := make([]float64, l.Len), math.Inf(-1)
	for j := range scores {
		scores[j] = float64(h.Scale) * dot64(qi, l.K[(j*h.KV+kv)*d:][:d])
		top = max(top, scores[j])
	}
	sum, acc := 0.0, make([]float64, d)
	for j, s := range scores {
		p := math.Exp(s - top)
		sum += p
		for i, x := range l.V[(j*h.KV+kv)*d:][:d] {
			acc[i] += p * float64(x)
		}
	}
	for i, x := range acc {
		out[(row*h.Query+head)*d+i] = float32(x / sum)
	}
}
