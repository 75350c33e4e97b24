package grammar

import "afina/internal/automaton"

// walker marks the tokens of a trie that a state allows.
type walker struct {
	g    *Grammar
	t    *trie
	mask []uint64
}

// all marks the tokens below node n that any of the heads in state can read.
func (w walker) all(n int32, state []int32) {
	if n != 0 && w.t.end[n] == n+1 {
		return
	}
	for _, id := range state {
		w.one(n, id)
	}
}

// one marks the tokens below node n that head id can read.
func (w walker) one(n, id int32) {
	if id == 0 {
		return
	}
	c := w.g.cells[id]
	switch p := &w.g.nodes[c.node]; p.kind {
	case literal:
		w.literal(n, p.text[c.at:], c.next)
	case machine:
		w.machine(n, p.table, uint16(c.at), c.next)
	case free:
		state, chars := uint16(c.at&(1<<textBits-1)), c.at>>textBits
		if n == 0 && w.t == w.g.v.trie {
			w.string(p, state, chars, c.next)
		} else {
			w.free(n, p, state, chars, c.next)
		}
	}
}

// literal follows text down the trie.
func (w walker) literal(n int32, text string, next int32) {
	for i := range len(text) {
		if n = w.t.child(n, text[i]); n == 0 {
			return
		}
		w.t.mark(w.mask, n)
	}
	w.all(n, w.g.heads(next))
}

// machine runs a table down the trie.
func (w walker) machine(n int32, t *automaton.Table, s uint16, next int32) {
	for c := n + 1; c < w.t.end[n]; c = w.t.end[c] {
		to := t.Step(s, w.t.by[c])
		if to == 0 {
			continue
		}
		w.t.mark(w.mask, c)
		if w.t.end[c] == c+1 {
			continue
		}
		if t.Accept(to) {
			w.all(c, w.g.heads(next))
		}
		w.machine(c, t, to, next)
	}
}

// string marks what may come inside a free string, from what the vocabulary
// knows of all strings.
func (w walker) string(p *node, s uint16, chars, next int32) {
	in := w.g.v.from(s)
	room := int32(-1)
	if p.max >= 0 {
		room = p.max - chars
	}
	in.allow(w.mask, room)
	for _, l := range in.leave {
		if (room < 0 || l.chars <= room) && chars+l.chars >= p.min {
			rest := walker{w.g, l.rest, w.mask}
			rest.t.mark(w.mask, 0)
			rest.all(0, w.g.heads(next))
		}
	}
}

// free runs a free string down the trie.
func (w walker) free(n int32, p *node, s uint16, chars, next int32) {
	text := w.g.v.text
	for c := n + 1; c < w.t.end[n]; c = w.t.end[c] {
		to, k, ok := p.inText(text, s, chars, w.t.by[c])
		if !ok {
			continue
		}
		w.t.mark(w.mask, c)
		if text.Accept(to) {
			w.all(c, w.g.heads(next))
		} else {
			w.free(c, p, to, k, next)
		}
	}
}
