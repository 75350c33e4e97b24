package kernel

import "math"

// pairsBack is one call of AttentionBack in bfloat16.
//
// It goes over queries and key heads in waves, and in each first over the keys: a
// strip of keys of one key head meets all queries of the wave that see it, which
// gives its dk and dv and the gradients of the scores. Then every strip of queries
// of a head multiplies its gradients by the keys. A wave has as many heads as keep
// the gradients of its scores in the second cache, and as many queries as they have
// room for.
type pairsBack struct {
	*pairing
	dq, dk, dv []float32

	qTurned, doutTurned []uint32  // (query heads, strips) rows turned
	qPairs, doutPairs   []uint32  // the same as pairs
	k, v, kPairs        []uint32  // (key heads, strips) rows; pairs turned
	lse, delta          []float32 // (query heads, strips, 32): lse in powers of 2
	sums                []float32 // (key heads, strips, 2, 32, 32d): dk and dv
	ds                  []uint32  // (query heads, strips of the wave, step): gradients of the scores

	// The wave: strips lo … hi-1, as many key heads from head on; step is how many
	// words there are from one strip of queries to the next.
	lo, hi, head, heads, step int
}

const (
	scoreBudget = 4 << 20   // words that the gradients of the scores may take, 16 MB
	scoreCache  = 512 << 10 // words of them that several heads may take together
	scoreWords  = stripTokens * stripTokens / 2
	backStrips  = 8 // of queries that go through a strip of keys together
)

// attentionBackPairs is AttentionBack in bfloat16.
func (g *Gang) attentionBackPairs(dq, dk, dv, dout, out, lse, q, k, v []float32, first []int32, h Heads) {
	n, d := len(first), h.Dim
	g.eachPart(first, h, 4, 3, func(a *pairing, kv, query int) {
		b := &pairsBack{pairing: a, dq: dq[query*d:], dk: dk[kv*d:], dv: dv[kv*d:]}
		b.backward(dout[query*d:], out[query*d:], lse[query*n:], q[query*d:], k[kv*d:], v[kv*d:], n)
	})
}

// backward computes the part; there are n tokens.
func (b *pairsBack) backward(dout, out, lse, q, k, v []float32, n int) {
	scr := b.g.borrowOwn()
	defer b.g.giveBack(scr)
	heads := b.kv * b.group
	many, few := b.words(heads), b.words(b.kv)
	words := scr.uint32s(4*many + 3*few + b.mostScores())
	for i, part := range []*[]uint32{&b.qTurned, &b.doutTurned, &b.qPairs, &b.doutPairs, &b.k, &b.v, &b.kPairs, &b.ds} {
		size := []int{many, few}[i/4]
		if part == &b.ds {
			size = len(words)
		}
		*part, words = words[:size], words[size:]
	}
	rows := heads * len(b.list) * stripTokens
	floats := scr.float32s(2*rows + 2*b.kv*len(b.list)*stripTokens*32*b.d)
	b.lse, b.delta, b.sums = floats[:rows], floats[rows:2*rows], floats[2*rows:]

	l := b.loops
	b.lay(func(s int) { b.deltas(dout, out, lse, n, s) },
		b.ofQueries(q, b.qTurned, l.layRowsTurned, false), b.ofQueries(dout, b.doutTurned, l.layRowsTurned, false),
		b.ofQueries(q, b.qPairs, l.layPairs, true), b.ofQueries(dout, b.doutPairs, l.layPairs, true),
		b.ofKeys(k, b.k, l.layRows, false), b.ofKeys(v, b.v, l.layRows, false), b.ofKeys(k, b.kPairs, l.layPairsTurned, true))
	for b.lo = 0; b.lo < len(b.list); b.lo = b.hi {
		b.hi, b.heads, b.step = b.wave(b.lo)
		from := b.list[b.lo].see
		for b.head = 0; b.head < b.kv; b.head += b.heads {
			heads, keys, queries := min(b.heads, b.kv-b.head), b.hi-from, b.hi-b.lo
			b.g.span(heads*keys, 1, func(i, _ int) { b.keys(b.head+i/keys, from+i%keys) })
			b.g.span(heads*b.group*queries, 1, func(i, _ int) { b.queries(b.head*b.group+i/queries, b.hi-1-i%queries) })
		}
	}
}

// wave returns the end of the wave that begins at strip lo, how many key heads it
// has, and its step.
func (b *pairsBack) wave(lo int) (hi, heads, step int) {
	for hi = lo; hi < len(b.list); hi++ {
		next := max(step, (hi-b.list[hi].first+1)*scoreWords)
		if hi > lo && (hi+1-lo)*next*b.group > scoreBudget {
			break
		}
		step = next
	}
	heads = max(1, scoreCache/((hi-lo)*step*b.group))
	return hi, min(heads, b.kv), step
}

// mostScores is how many words the gradients of the scores of a wave take at most.
func (b *pairsBack) mostScores() (most int) {
	for lo := 0; lo < len(b.list); {
		hi, heads, step := b.wave(lo)
		most, lo = max(most, (hi-lo)*step*heads*b.group), hi
	}
	return most
}

// deltas writes Σ dout·out and the logarithms of each query of a strip. dout is
// rounded as in dout·v, lest what is left of a weight near 1 be the error of
// rounding.
func (b *pairsBack) deltas(dout, out, lse []float32, n, s int) {
	t, d := b.list[s], b.h.Dim
	for head := range b.kv * b.group {
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
}

// scores is where the gradients of the scores of a head lie, those of queries s by
// keys key.
func (b *pairsBack) scores(head, s, key int) int {
	return ((head-b.head*b.group)*(b.hi-b.lo)+s-b.lo)*b.step + (key-b.list[s].first)*scoreWords
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
	full, add := 32*b.d*stripTokens, 0
	dk := b.sums[2*(kv*len(b.list)+key)*full:][:full]
	dv := b.sums[(2*(kv*len(b.list)+key)+1)*full:][:full]
	if lo > key {
		add = 1 // to what earlier waves gave
	}
	for head := kv * b.group; head < (kv+1)*b.group; head++ {
		for s := lo; s < hi; s += backStrips {
			at, row, place := b.place(head, s), (head*len(b.list)+s)*stripTokens, b.place(kv, key)
			b.loops.back(min(backStrips, hi-s), free-s, end-s, b.d, &b.k[place], &b.v[place], &b.qTurned[at], &b.doutTurned[at], &b.qPairs[at], &b.doutPairs[at],
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
	t := b.list[s]
	b.loops.queries(s-t.see+1, b.d, &b.kPairs[b.place(head/b.group, t.see)], &b.ds[b.scores(head, s, t.see)], &sums[0], 0, &wholeTiles[0])
	b.rows.scale(sums, sums, b.h.Scale)
	b.unlay(b.dq, b.h.Query, head, t.tile, sums, room)
}
