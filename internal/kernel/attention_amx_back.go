package kernel

import "math"

// pairsBack is one call of AttentionBack in bfloat16.
//
// It goes over the queries in waves, and in each first over the keys: a strip of
// keys of one key head meets all queries of the wave that see it, which gives its
// dk and dv and the gradients of the scores. Then every strip of queries of a head
// multiplies its gradients by the keys. A wave ends when the gradients of its
// scores take the room they have.
type pairsBack struct {
	*pairing
	dq, dk, dv []float32

	q, dout, qp, dp []uint32  // (Query, strips): rows turned, and pairs
	k, v, kt        []uint32  // (KV, strips): rows; pairs turned
	lse, delta      []float32 // (Query, strips, 32): lse in powers of 2
	sums            []float32 // (KV, strips, 2, 32, 32d): dk and dv
	ds              []uint32  // (Query, strips of the wave, step): gradients of the scores
	lo, hi, step    int       // strips lo … hi-1 are the wave; words from one to the next
}

const (
	scoreBudget = 4 << 20 // words that the gradients of the scores may take, 16 MB
	scoreWords  = stripTokens * stripTokens / 2
	backStrips  = 8 // of queries that go through a strip of keys together
)

// attentionBackPairs is AttentionBack in bfloat16.
func (g *Gang) attentionBackPairs(dq, dk, dv, dout, out, lse, q, k, v []float32, first []int32, h Heads) {
	b := &pairsBack{pairing: g.newPairing(first, h), dq: dq, dk: dk, dv: dv}
	scr := g.borrowOwn()
	defer g.giveBack(scr)
	n, rows, full := len(b.list), len(b.list)*stripTokens, 32*b.d*stripTokens
	words := scr.uint32s(4*b.words(h.Query) + 3*b.words(h.KV) + b.mostScores())
	for _, part := range []*[]uint32{&b.q, &b.dout, &b.qp, &b.dp} {
		*part, words = words[:b.words(h.Query)], words[b.words(h.Query):]
	}
	for _, part := range []*[]uint32{&b.k, &b.v, &b.kt} {
		*part, words = words[:b.words(h.KV)], words[b.words(h.KV):]
	}
	b.ds = words
	floats := scr.float32s(2*h.Query*rows + 2*h.KV*n*full)
	b.lse, b.delta, b.sums = floats[:h.Query*rows], floats[h.Query*rows:][:h.Query*rows], floats[2*h.Query*rows:]

	b.lay(laying{q, h.Query, b.q, b.loops.layRowsTurned, false}, laying{dout, h.Query, b.dout, b.loops.layRowsTurned, false},
		laying{q, h.Query, b.qp, b.loops.layPairs, true}, laying{dout, h.Query, b.dp, b.loops.layPairs, true},
		laying{k, h.KV, b.k, b.loops.layRows, false}, laying{v, h.KV, b.v, b.loops.layRows, false},
		laying{k, h.KV, b.kt, b.loops.layPairsTurned, true})
	b.deltas(dout, out, lse, len(first))
	for b.lo = 0; b.lo < n; b.lo = b.hi {
		b.hi, b.step = b.wave(b.lo)
		from := b.list[b.lo].see
		g.span(h.KV*(b.hi-from), 1, func(i, _ int) { b.keys(i%h.KV, from+i/h.KV) })
		g.span(h.Query*(b.hi-b.lo), 1, func(i, _ int) { b.queries(i%h.Query, b.hi-1-i/h.Query) })
	}
}

// wave returns the end of the wave that begins at strip lo, and its step.
func (b *pairsBack) wave(lo int) (hi, step int) {
	for hi = lo; hi < len(b.list); hi++ {
		next := max(step, (hi-b.list[hi].first+1)*scoreWords)
		if hi > lo && (hi+1-lo)*next*b.h.Query > scoreBudget {
			break
		}
		step = next
	}
	return hi, step
}

// mostScores is how many words the gradients of the scores of a wave take at most.
func (b *pairsBack) mostScores() (most int) {
	for lo := 0; lo < len(b.list); {
		hi, step := b.wave(lo)
		most, lo = max(most, (hi-lo)*step*b.h.Query), hi
	}
	return most
}

// deltas writes Σ dout·out and the logarithms of each query. dout is rounded as in
// dout·v, lest what is left of a weight near 1 be the error of rounding.
func (b *pairsBack) deltas(dout, out, lse []float32, n int) {
	d := b.h.Dim
	b.g.span(len(b.list), 1, func(s, _ int) {
		t := b.list[s]
		for head := range b.h.Query {
			at := (head*len(b.list) + s) * stripTokens
			logs, deltas := b.lse[at:][:stripTokens], b.delta[at:][:stripTokens]
			clear(logs)
			clear(deltas)
			for i := range t.hi - t.lo {
				logs[i] = lse[head*n+t.lo+i] * math.Log2E
			}
			row := (t.lo*b.h.Query + head) * d
			b.loops.roundedDots(t.hi-t.lo, d, &dout[row], &out[row], b.h.Query*d, &deltas[0])
		}
	})
}

// scores is where the gradients of the scores of a head lie, those of queries s by
// keys key.
func (b *pairsBack) scores(head, s, key int) int {
	return (head*(b.hi-b.lo)+s-b.lo)*b.step + (key-b.list[s].first)*scoreWords
}

// keys brings the queries of the wave over a strip of keys.
func (b *pairsBack) keys(kv, key int) {
	lo, hi := max(key, b.lo), max(key, b.lo)
	for hi < b.hi && b.list[hi].first == b.list[key].first && b.list[hi].see <= key {
		hi++
	}
	if lo == hi {
		return
	}
	free := max(lo, key+1) // strips free … end-1 see all of the keys
	end := free
	for end < hi && b.list[end].free <= key {
		end++
	}
	scr := b.g.borrow()
	defer b.g.giveBack(scr)
	work := scr.float32s(2048 + 1024*backStrips)
	group, full, add := b.h.Query/b.h.KV, 32*b.d*stripTokens, 0
	dk := b.sums[2*(kv*len(b.list)+key)*full:][:full]
	dv := b.sums[(2*(kv*len(b.list)+key)+1)*full:][:full]
	if lo > key {
		add = 1 // to what earlier waves gave
	}
	for head := kv * group; head < (kv+1)*group; head++ {
		for s := lo; s < hi; s += backStrips {
			at, row, place := b.place(head, s), (head*len(b.list)+s)*stripTokens, b.place(kv, key)
			b.loops.back(min(backStrips, hi-s), free-s, end-s, b.d, &b.k[place], &b.v[place], &b.q[at], &b.dout[at], &b.qp[at], &b.dp[at],
				&b.lse[row], &b.delta[row], &b.from[s*stripTokens], &b.to[s*stripTokens], key*stripTokens, b.h.Scale*math.Log2E,
				&work[0], &b.ds[b.scores(head, s, key)], b.step, &dk[0], &dv[0], add, &wholeTiles[0])
			add = 1
		}
	}
	if hi == len(b.list) || b.list[hi].first != b.list[key].first || b.list[hi].see > key { // nobody else sees them
		t, d := b.list[key], b.h.Dim
		for i := range t.hi - t.lo {
			row := ((t.lo+i)*b.h.KV + kv) * d
			b.rows.scale(b.dk[row:row+d], dk[i*32*b.d:], b.h.Scale)
			copy(b.dv[row:row+d], dv[i*32*b.d:])
		}
	}
}

// queries writes dq of a strip of one head.
func (b *pairsBack) queries(head, s int) {
	scr := b.g.borrow()
	defer b.g.giveBack(scr)
	full := 32 * b.d * stripTokens
	buf := scr.float32s(2 * full)
	sums, room := buf[:full], buf[full:]
	t, kv := b.list[s], head/(b.h.Query/b.h.KV)
	b.loops.queries(s-t.see+1, b.d, &b.kt[b.place(kv, t.see)], &b.ds[b.scores(head, s, t.see)], &sums[0], 0, &wholeTiles[0])
	b.rows.scale(sums, sums, b.h.Scale)
	b.unlay(b.dq, b.h.Query, head, t.tile, sums, room)
}
