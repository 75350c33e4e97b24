// Package grammar holds a model to a form: JSON that satisfies a schema, any
// JSON object, or calls of given tools. For each token to be drawn it says which
// ones may come, so that every finished text has the form.
//
// A schema becomes a pushdown automaton over bytes. Its state is a set of
// stacks; a stack is a linked list of cells, each a node of the grammar and how
// far it has been written, and equal stacks are one number. The tokens that may
// come from a state are found by walking the vocabulary, a trie of bytes, and
// kept, for most states come again.
//
// It knows no model and draws nothing. What it promises: a text whose tokens
// were all allowed, up to an end token, is valid; there is always a token that is
// allowed; and no text is stuck in white space or in nesting without end. It does
// not hurry to close what is open when the tokens run out.
package grammar

import (
	"afina/internal/automaton"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
)

// Grammar is a form that answers can be held to. It is safe for concurrent use
// by any number of constraints, which share its masks.
type Grammar struct {
	v     *Vocabulary
	nodes []node
	root  []int32 // the state of an empty text

	mu    sync.Mutex
	cells []cell
	depth []uint8 // (cells): of arrays and objects open in the stack
	ids   map[cell]int32
	ready [][]int32           // (cells): the stacks that read a byte next, or none; nil until asked for
	masks map[string][]uint64 // by state
}

// cell is the top of a stack: a node, how far it is written, and the stack
// below. Cell 0 is the empty stack: the text is complete.
type cell struct{ node, at, next int32 }

const (
	maxMasks = 16 << 20  // bytes of masks that a grammar keeps
	maxCells = 1_000_000 // past that a grammar is made anew for the next request
)

// Grammar returns the grammar of the text that root writes, or nil when there
// is no such text.
func (b *Builder) Grammar(root int32) *Grammar {
	measure(b.nodes)
	g := &Grammar{
		v: b.v, nodes: b.nodes,
		cells: make([]cell, 1), depth: make([]uint8, 1), ready: make([][]int32, 1),
		ids: map[cell]int32{}, masks: map[string][]uint64{},
	}
	if b.nodes[root].height > MaxDepth {
		return nil
	}
	g.root = g.heads(g.push(root, 0))
	return g
}

// size is how many stacks are known.
func (g *Grammar) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.cells)
}

// push puts a node that is yet to be written on a stack.
func (g *Grammar) push(n, next int32) int32 {
	at := int32(0)
	switch g.nodes[n].kind {
	case machine, free:
		at = automaton.Begin
	}
	return g.cell(cell{n, at, next})
}

// pushAll puts nodes on a stack, the first on top.
func (g *Grammar) pushAll(next int32, nodes ...int32) int32 {
	for _, n := range slices.Backward(nodes) {
		next = g.push(n, next)
	}
	return next
}

// cell numbers a stack.
func (g *Grammar) cell(c cell) int32 {
	id, ok := g.ids[c]
	if !ok {
		id = int32(len(g.cells))
		g.ids[c] = id
		g.cells = append(g.cells, c)
		g.ready = append(g.ready, nil)
		depth := g.depth[c.next]
		if k := g.nodes[c.node].kind; k == members || k == elements {
			depth++
		}
		g.depth = append(g.depth, depth)
	}
	return id
}

// fits reports whether node n can be written on stack id without going too deep.
func (g *Grammar) fits(n, id int32) bool {
	return int32(g.depth[id])+g.nodes[n].height <= MaxDepth
}

// heads returns the stacks, in order, that id is before a byte is read: those
// whose tops read bytes, and the empty one when the text may be complete.
func (g *Grammar) heads(id int32) []int32 {
	if g.ready[id] == nil {
		e := expansion{g: g, seen: map[int32]bool{}, heads: []int32{}}
		e.expand(id)
		slices.Sort(e.heads)
		g.ready[id] = slices.Compact(e.heads)
	}
	return g.ready[id]
}

// expansion gathers the heads of a stack.
type expansion struct {
	g     *Grammar
	seen  map[int32]bool
	heads []int32
}

func (e *expansion) expand(id int32) {
	if e.seen[id] {
		return
	}
	e.seen[id] = true
	g := e.g
	if id == 0 {
		e.heads = append(e.heads, 0)
		return
	}
	c := g.cells[id]
	n := &g.nodes[c.node]
	switch n.kind {
	case literal, free:
		e.heads = append(e.heads, id)
	case machine:
		if n.table.Accept(uint16(c.at)) {
			e.expand(c.next)
		}
		if n.table.Leads(uint16(c.at)) {
			e.heads = append(e.heads, id)
		}
	case sequence:
		e.expand(g.pushAll(c.next, n.kids...))
	case choice:
		for _, k := range n.kids {
			if g.fits(k, c.next) {
				e.expand(g.push(k, c.next))
			}
		}
	case members:
		e.members(id, c, n)
	case elements:
		e.elements(id, c, n)
	}
}

// members goes on inside an object: c.at is twice the field to look at, and one
// more when a property was written before.
func (e *expansion) members(id int32, c cell, n *node) {
	g := e.g
	wrote := c.at&1 == 1
	begins := func(stack int32) {
		if wrote {
			stack = g.push(comma, stack)
		}
		e.expand(stack)
	}
	for i := c.at / 2; int(i) < len(n.fields); i++ {
		f := n.fields[i]
		if g.fits(f.Value, id) {
			after := g.cell(cell{c.node, (i+1)*2 + 1, c.next})
			begins(g.pushAll(after, f.Key, Space, f.Value))
		}
		if f.Required {
			return
		}
	}
	if n.rest >= 0 && g.fits(n.rest, id) && g.fits(n.key, id) {
		after := g.cell(cell{c.node, int32(len(n.fields))*2 + 1, c.next})
		begins(g.pushAll(after, n.key, colon, n.rest))
	}
	if wrote {
		e.expand(g.push(endObject, c.next))
	} else {
		e.expand(g.push(brace, c.next))
	}
}

// elements goes on inside an array: c.at counts the elements written, up to
// where the number makes no difference.
func (e *expansion) elements(id int32, c cell, n *node) {
	g := e.g
	if c.at >= n.min {
		if c.at > 0 {
			e.expand(g.push(endArray, c.next))
		} else {
			e.expand(g.push(bracket, c.next))
		}
	}
	item := n.element(c.at)
	if n.max >= 0 && c.at >= n.max || item < 0 || !g.fits(item, id) {
		return
	}
	count := c.at + 1
	if n.max < 0 {
		count = min(count, max(n.min, int32(len(n.kids)), 1))
	}
	stack := g.push(item, g.cell(cell{c.node, count, c.next}))
	if c.at > 0 {
		stack = g.push(comma, stack)
	}
	e.expand(stack)
}

// A free string's cell.at is its text's state and, above, the characters begun
// so far, up to where their number makes no difference.
const textBits = 6

// read returns the stack that head id becomes by byte b, -1 when b may not come.
func (g *Grammar) read(id int32, b byte) int32 {
	if id == 0 {
		return -1
	}
	c := g.cells[id]
	n := &g.nodes[c.node]
	switch n.kind {
	case literal:
		switch {
		case n.text[c.at] != b:
			return -1
		case int(c.at)+1 == len(n.text):
			return c.next
		}
		return g.cell(cell{c.node, c.at + 1, c.next})
	case machine:
		to := n.table.Step(uint16(c.at), b)
		if to == 0 {
			return -1
		}
		return g.cell(cell{c.node, int32(to), c.next})
	}
	state, chars, ok := n.inText(g.v.text, uint16(c.at&(1<<textBits-1)), c.at>>textBits, b)
	switch {
	case !ok:
		return -1
	case g.v.text.Accept(state):
		return c.next
	}
	return g.cell(cell{c.node, int32(state) | chars<<textBits, c.next})
}

// inText reads byte b in a free string's text.
func (n *node) inText(t *automaton.Table, s uint16, chars int32, b byte) (uint16, int32, bool) {
	to := t.Step(s, b)
	switch {
	case to == 0:
		return 0, 0, false
	case t.Accept(to):
		return to, chars, chars >= n.min
	case s != automaton.Begin:
		return to, chars, true
	case n.max >= 0:
		return to, chars + 1, chars < n.max
	}
	return to, min(chars+1, n.min), true
}

// next returns the state that state becomes by byte b; none is an empty one.
func (g *Grammar) next(state []int32, b byte) []int32 {
	var out []int32
	several := 0
	for _, id := range state {
		if to := g.read(id, b); to >= 0 {
			out = append(out, g.heads(to)...)
			several++
		}
	}
	if several > 1 {
		slices.Sort(out)
		out = slices.Compact(out)
	}
	return out
}

// Start returns a constraint at the beginning of a text.
func (g *Grammar) Start() *Constraint { return &Constraint{g: g, state: g.root} }

// Constraint holds one answer to a grammar. It satisfies engine.Constraint and
// is not safe for concurrent use.
type Constraint struct {
	g     *Grammar
	state []int32
	over  bool // an end token was accepted
}

// Mask sets the bits of the tokens that may come next, id%64 of word id/64.
// allowed covers the vocabulary and is all zero. Tokens that end the turn are
// among them when the text is complete. It always returns true: some tokens are
// never allowed.
func (c *Constraint) Mask(allowed []uint64) bool {
	if c.over {
		copy(allowed, c.g.v.ends)
		return true
	}
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	copy(allowed, c.g.mask(c.state))
	return true
}

// Accept tells which token was drawn. A token that Mask does not allow is an
// error and changes nothing.
func (c *Constraint) Accept(id int32) error {
	v := c.g.v
	switch {
	case v.end(id):
		if !c.Complete() {
			return fmt.Errorf("token %d ends the turn before the text is complete", id)
		}
		c.over = true
		return nil
	case c.over:
		return fmt.Errorf("token %d comes after the end", id)
	}
	text := v.bytes(id)
	if len(text) == 0 {
		return fmt.Errorf("token %d writes no text", id)
	}
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	state := c.state
	for _, b := range text {
		if state = c.g.next(state, b); len(state) == 0 {
			return fmt.Errorf("token %d, %q, does not fit", id, text)
		}
	}
	c.state = state
	return nil
}

// Complete reports whether the text may end here.
func (c *Constraint) Complete() bool { return c.over || len(c.state) > 0 && c.state[0] == 0 }

// Done reports whether nothing but an end may come.
func (c *Constraint) Done() bool { return c.over || len(c.state) == 1 && c.state[0] == 0 }

// Clone returns a constraint at the same place, to go its own way.
func (c *Constraint) Clone() *Constraint {
	d := *c
	return &d
}

// mask returns the tokens that may come in state; it is not to be changed.
func (g *Grammar) mask(state []int32) []uint64 {
	key := make([]byte, 0, 64)
	for _, id := range state {
		key = binary.LittleEndian.AppendUint32(key, uint32(id))
	}
	mask, ok := g.masks[string(key)]
	if !ok {
		mask = make([]uint64, g.v.words)
		walker{g, g.v.trie, mask}.all(0, state)
		if len(state) > 0 && state[0] == 0 {
			for w, b := range g.v.ends {
				mask[w] |= b
			}
		}
		if (len(g.masks)+1)*g.v.words*8 > maxMasks {
			clear(g.masks)
		}
		g.masks[string(key)] = mask
	}
	return mask
}

// Accepts reports whether text is complete in g.
func (g *Grammar) Accepts(text string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	state := g.root
	for i := 0; i < len(text) && len(state) > 0; i++ {
		state = g.next(state, text[i])
	}
	return len(state) > 0 && state[0] == 0
}
