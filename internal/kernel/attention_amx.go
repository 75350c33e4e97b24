package kernel

import "math"

// Attention in bfloat16 on AMX tiles, for Fast: products of bfloat16, everything
// between them and every sum in float32. Tokens go in strips of up to 32 of one
// conversation. The borders of strips and of blocks of keys are counted from the
// conversation's first token and every sum runs in their order, so that a result
// depends neither on other conversations nor on who computes it.

// stripTokens is how many tokens a strip has.
const stripTokens = 32

// strip is a run of tokens of one conversation, and which strips of keys they see.
type strip struct {
	tile
	first int // the first strip of the conversation
	see   int // the first that any of them sees
	free  int // from here on to its own, without it, all see everything
}

// strips are the tokens of a row in strips, and what each sees: tokens have
// numbers 32·strip and up.
type strips struct {
	list     []strip
	from, to []int32 // (strips, 32): query i sees from … to-1; who is not there sees none
}

func cutStrips(first []int32) strips {
	tiles := cutTiles(first, stripTokens)
	s := strips{list: make([]strip, len(tiles)), from: make([]int32, len(tiles)*stripTokens), to: make([]int32, len(tiles)*stripTokens)}
	begin := 0 // strip of the conversation's first token
	for i, t := range tiles {
		if int(first[t.lo]) == t.lo {
			begin = i
		}
		number := func(token int32) int32 { return int32(begin*stripTokens) + token - int32(tiles[begin].lo) }
		for token := t.lo; token < t.hi; token++ {
			at := i*stripTokens + token - t.lo
			s.from[at], s.to[at] = number(first[token]), int32(at+1)
		}
		last := s.from[i*stripTokens+t.hi-t.lo-1]
		s.list[i] = strip{
			tile: t, first: begin,
			see:  int(s.from[i*stripTokens]) / stripTokens,
			free: (int(last) + stripTokens - 1) / stripTokens,
		}
	}
	return s
}

// paired says whether g computes this attention in bfloat16.
func (g *Gang) paired(h Heads, p Precision) bool {
	return p == Fast && g.attending() != nil && h.Dim%16 == 0 && h.Dim <= 256 && h.Scale > 0
}

// pairing is an attention in bfloat16 of some key heads and their query heads: heads
// are counted from the first of them, where its tensors begin.
type pairing struct {
	g     *Gang
	loops *attendLoops
	rows  rowKernels
	h     Heads // of the whole tensors
	kv    int   // key heads
	group int   // query heads of a key head
	strips
	d, size int // dim/32, rounded up; words of a strip of a head
}

// partCache is how many words the tiles of several key heads may take together, so
// that they are still in the second caches when they are read.
const partCache = 768 << 10

// eachPart runs f for some key heads after the other; it gives f the numbers of the
// first key head and of its first query head. There are tensors of query heads and
// of key heads to be made tiles of.
func (g *Gang) eachPart(first []int32, h Heads, ofQuery, ofKV int, f func(a *pairing, kv, query int)) {
	d := (h.Dim + 31) / 32
	a := &pairing{g: g, loops: g.attending(), rows: g.rows(), h: h, group: h.Query / h.KV, strips: cutStrips(first), d: d, size: d * 32 * narrow}
	step := max(1, partCache/a.words(ofQuery*a.group+ofKV))
	for kv := 0; kv < h.KV; kv += step {
		a.kv = min(step, h.KV-kv)
		f(a, kv, kv*a.group)
	}
}

// place is where a strip of a head lies.
func (a *pairing) place(head, s int) int { return (head*len(a.list) + s) * a.size }

// words is how many words heads heads take.
func (a *pairing) words(heads int) int { return heads * len(a.list) * a.size }

// laying is a tensor (n, all, dim) whose first heads become tiles (heads, strips).
type laying struct {
	x          []float32
	heads, all int
	dst        []uint32
	lay        func(cols int, x *float32, ldx int, dst *uint32)
	short      bool // lay writes whole columns of 16: it leaves half a strip's last 32 out
}

// lay makes tiles of all tensors, and does for each strip what goes beside.
func (a *pairing) lay(beside func(s int), all ...laying) {
	a.g.span(len(a.list), 1, func(s, _ int) {
		scr := a.g.borrow()
		defer a.g.giveBack(scr)
		for head := range a.kv * a.group {
			for _, l := range all {
				if head < l.heads {
					a.layStrip(scr, l, head, s)
				}
			}
		}
		beside(s)
	})
}

func (a *pairing) layStrip(scr *scratch, l laying, head, s int) {
	t, d, ld := a.list[s].tile, a.h.Dim, l.all*a.h.Dim
	x, dst := l.x[(t.lo*l.all+head)*d:], l.dst[a.place(head, s):][:a.size]
	if n := t.hi - t.lo; n < stripTokens {
		whole := scr.float32s(stripTokens * d)
		for i := range n {
			copy(whole[i*d:][:d], x[i*ld:])
		}
		clear(whole[n*d:])
		x, ld = whole, d
	}
	l.lay(d, &x[0], ld, &dst[0])
	if l.short && d%32 != 0 {
		clear(dst[d*narrow:])
	}
}

// unlay writes the rows of a strip of one head of x (n, heads, dim) from turned
// numbers (dim, 32).
func (a *pairing) unlay(x []float32, heads, head int, t tile, turned, room []float32) {
	d, ld := a.h.Dim, heads*a.h.Dim
	dst := x[(t.lo*heads+head)*d:]
	if n := t.hi - t.lo; n < stripTokens {
		a.g.kit.transpose(d, stripTokens, turned, stripTokens, room, d)
		for i := range n {
			copy(dst[i*ld:][:d], room[i*d:])
		}
		return
	}
	a.g.kit.transpose(d, stripTokens, turned, stripTokens, dst, ld)
}

// ofQueries and ofKeys are tensors of the query heads and of the key heads.
func (a *pairing) ofQueries(x []float32, dst []uint32, lay func(int, *float32, int, *uint32), short bool) laying {
	return laying{x, a.kv * a.group, a.h.Query, dst, lay, short}
}

func (a *pairing) ofKeys(x []float32, dst []uint32, lay func(int, *float32, int, *uint32), short bool) laying {
	return laying{x, a.kv, a.h.KV, dst, lay, short}
}

// attentionPairs is Attention in bfloat16.
func (g *Gang) attentionPairs(out, lse, q, k, v []float32, first []int32, h Heads) {
	g.eachPart(first, h, 1, 2, func(a *pairing, kv, query int) {
		a.forward(out[query*h.Dim:], lse[query*len(first):], q[query*h.Dim:], k[kv*h.Dim:], v[kv*h.Dim:], len(first))
	})
}

// forward computes the part; there are n tokens.
func (a *pairing) forward(out, lse, q, k, v []float32, n int) {
	scr := a.g.borrowOwn()
	defer a.g.giveBack(scr)
	many, few := a.words(a.kv*a.group), a.words(a.kv)
	room := scr.uint32s(many + 2*few)
	queries, keys, values := room[:many], room[many:many+few], room[many+few:]
	a.lay(func(int) {}, a.ofQueries(q, queries, a.loops.layRowsTurned, false),
		a.ofKeys(k, keys, a.loops.layRows, false), a.ofKeys(v, values, a.loops.layPairsTurned, true))
	var at [2][]*uint32 // the strips
	for i, words := range [][]uint32{keys, values} {
		for j := range a.kv * len(a.list) {
			at[i] = append(at[i], &words[j*a.size])
		}
	}
	// One key head after the other, and the strips that see the most first.
	a.g.span(a.kv*len(a.list), 1, func(i, _ int) {
		kv, s := i/len(a.list), len(a.list)-1-i%len(a.list)
		for head := kv * a.group; head < (kv+1)*a.group; head++ {
			a.attend(out, lse[head*n:], queries, at[0][kv*len(a.list):], at[1][kv*len(a.list):], head, s)
		}
	})
}

// attend computes one strip of queries of one head.
func (a *pairing) attend(out, lse []float32, q []uint32, k, v []*uint32, head, s int) {
	scr := a.g.borrow()
	defer a.g.giveBack(scr)
	full := 32 * a.d * stripTokens
	buf := scr.float32s(attendWork + 2*full + stripTokens)
	work, acc, room, logs := buf[:attendWork], buf[attendWork:], buf[attendWork+full:], buf[attendWork+2*full:]
	t := a.list[s]
	a.loops.attend(s-t.see+1, t.free-t.see, s-t.see, a.d, &q[a.place(head, s)], &k[t.see], &v[t.see],
		&a.from[s*stripTokens], &a.to[s*stripTokens], t.see*stripTokens, a.h.Scale*math.Log2E, &work[0], &acc[0], &logs[0], &wholeTiles[0])
	a.unlay(out, a.h.Query, head, t.tile, acc, room)
	for i := range t.hi - t.lo {
		lse[t.lo+i] = logs[i] * math.Ln2
	}
}
