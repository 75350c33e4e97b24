package engine

import (
	"container/list"
	"slices"
	"weak"

	"afina/internal/forward"
	"afina/internal/lora"
)

// tree remembers the pages of sequences that were computed, so that one which
// begins alike need not be computed again. A node is one page; the path to it is
// all that comes before. Keys and values depend on the adapter, so each has a
// root of its own.
//
// A node is used no later than its parent, so the one unused for longest is a leaf.
type tree struct {
	pass  *forward.Pass
	roots map[weak.Pointer[lora.Adapter]]*node
	order *list.List // of *node, latest used first
}

type node struct {
	parent   *node
	children []*node
	tokens   []int32 // a whole page of them, or fewer in a leaf
	page     *forward.Page
	place    *list.Element
}

func newTree(pass *forward.Pass) *tree {
	return &tree{pass: pass, roots: map[weak.Pointer[lora.Adapter]]*node{}, order: list.New()}
}

// find returns the pages of the longest known beginning of tokens, and its length.
func (t *tree) find(a *lora.Adapter, tokens []int32) (pages []*forward.Page, n int) {
	at := t.roots[weak.Make(a)]
	for at != nil && n < len(tokens) {
		best, same := (*node)(nil), 0
		for _, c := range at.children {
			if k := common(c.tokens, tokens[n:]); k > same {
				best, same = c, k
			}
		}
		if best == nil {
			break
		}
		pages, n = append(pages, best.page), n+same
		t.touch(best)
		if same < forward.PageTokens {
			break
		}
		at = best
	}
	return pages, n
}

// touch makes a node and all before it the latest used.
func (t *tree) touch(n *node) {
	for ; n.place != nil; n = n.parent {
		t.order.MoveToFront(n.place)
	}
}

// insert remembers a sequence that lies in pages.
func (t *tree) insert(a *lora.Adapter, tokens []int32, pages []*forward.Page) {
	if len(tokens) == 0 {
		return
	}
	key := weak.Make(a)
	at := t.roots[key]
	if at == nil {
		t.prune()
		at = &node{}
		t.roots[key] = at
	}
	for i := 0; len(tokens) > 0; i++ {
		n := min(forward.PageTokens, len(tokens))
		at = t.child(at, tokens[:n], pages[i])
		tokens = tokens[n:]
	}
	t.touch(at)
}

// child returns the node of a page after at: one that is there, or is there in
// part, or a new one.
func (t *tree) child(at *node, tokens []int32, page *forward.Page) *node {
	for _, c := range at.children {
		switch same := common(c.tokens, tokens); {
		case same == len(tokens):
			return c
		case same == len(c.tokens):
			t.pass.Hold(page)
			t.pass.Drop(c.page)
			c.page, c.tokens = page, slices.Clone(tokens)
			return c
		}
	}
	t.pass.Hold(page)
	c := &node{parent: at, tokens: slices.Clone(tokens), page: page}
	c.place = t.order.PushFront(c)
	at.children = append(at.children, c)
	return c
}

// evict forgets the page unused for longest and reports whether there was one.
func (t *tree) evict() bool {
	last := t.order.Back()
	if last == nil {
		return false
	}
	t.forget(last.Value.(*node))
	return true
}

// forget takes a leaf out.
func (t *tree) forget(n *node) {
	t.order.Remove(n.place)
	t.pass.Drop(n.page)
	p := n.parent
	i := slices.Index(p.children, n)
	p.children[i] = p.children[len(p.children)-1]
	p.children[len(p.children)-1] = nil
	p.children = p.children[:len(p.children)-1]
}

// prune forgets what was computed with adapters that are no more.
func (t *tree) prune() {
	for key, root := range t.roots {
		if key != (weak.Pointer[lora.Adapter]{}) && key.Value() == nil {
			t.clear(root)
			delete(t.roots, key)
		}
	}
}

// clear forgets all nodes below n.
func (t *tree) clear(n *node) {
	for len(n.children) > 0 {
		c := n.children[len(n.children)-1]
		t.clear(c)
		t.forget(c)
	}
}

// size is how many pages are remembered.
func (t *tree) size() int { return t.order.Len() }

// clearAll forgets everything.
func (t *tree) clearAll() {
	for t.evict() {
	}
	clear(t.roots)
}
