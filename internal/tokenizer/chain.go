package tokenizer

import (
	"cmp"
	"slices"
)

// chain is a text as a list of symbols in which neighbours are joined, best
// first. The joins that wait are kept by order, each order's from left to right:
// a long text has many joins of few orders, and a heap of the orders alone stays
// small.
type chain struct {
	nodes  []node
	levels map[int64]*level
	orders []int64 // of the levels, a binary heap, least first
	spare  []*level
}

// node is one symbol: in BPE a token's id, in SentencePiece a length in bytes. A
// dropped one is gone.
type node struct {
	symbol     int32
	prev, next int32 // -1 at the ends
}

const gone = -1

// offer is a join that may be made: the symbols left and right, at the node at
// and the one after it, become joined.
type offer struct {
	at                  int32
	left, right, joined int32
}

// level is the offers of one order; those before done were looked at.
type level struct {
	offers   []offer
	done     int
	unsorted bool
}

func (c *chain) reset() {
	c.nodes = c.nodes[:0]
	if c.levels == nil {
		c.levels = map[int64]*level{}
	}
}

// add appends a symbol.
func (c *chain) add(symbol int32) {
	i := int32(len(c.nodes))
	if i > 0 {
		c.nodes[i-1].next = i
	}
	c.nodes = append(c.nodes, node{symbol: symbol, prev: i - 1, next: -1})
}

// join makes the best of the offered joins, those of the least order and of
// them the leftmost, until none is left. offer is asked for the join of the
// node at i and the one after it.
func (c *chain) join(offer func(i int32)) {
	for i := range int32(len(c.nodes) - 1) {
		offer(i)
	}
	for len(c.orders) > 0 {
		order := c.orders[0]
		l := c.levels[order]
		for l.done < len(l.offers) && c.orders[0] == order {
			if l.unsorted {
				slices.SortFunc(l.offers[l.done:], byPlace)
				l.unsorted = false
			}
			o := l.offers[l.done]
			l.done++
			c.take(o, offer)
		}
		if c.orders[0] == order {
			c.finish(order, l)
		}
	}
}

func byPlace(a, b offer) int { return cmp.Compare(a.at, b.at) }

// take makes one join, unless either symbol was joined to another meanwhile.
func (c *chain) take(o offer, offer func(i int32)) {
	left := &c.nodes[o.at]
	if left.symbol != o.left || left.next < 0 || c.nodes[left.next].symbol != o.right {
		return
	}
	left.symbol = o.joined
	c.drop(left.next)
	if left.prev >= 0 {
		offer(left.prev)
	}
	if left.next >= 0 {
		offer(o.at)
	}
}

// drop takes the symbol at i, which is not the first, out of the chain.
func (c *chain) drop(i int32) {
	n := &c.nodes[i]
	c.nodes[n.prev].next = n.next
	if n.next >= 0 {
		c.nodes[n.next].prev = n.prev
	}
	n.symbol = gone
}

// push offers a join.
func (c *chain) push(order int64, o offer) {
	l := c.levels[order]
	if l == nil {
		if n := len(c.spare); n > 0 {
			l, c.spare = c.spare[n-1], c.spare[:n-1]
		} else {
			l = &level{}
		}
		c.levels[order] = l
		c.begin(order)
	}
	if n := len(l.offers); n > l.done && l.offers[n-1].at > o.at {
		l.unsorted = true
	}
	l.offers = append(l.offers, o)
}

// begin puts an order into the heap.
func (c *chain) begin(order int64) {
	q := append(c.orders, order)
	i := len(q) - 1
	for up := (i - 1) / 2; i > 0 && order < q[up]; up = (i - 1) / 2 {
		q[i] = q[up]
		i = up
	}
	q[i] = order
	c.orders = q
}

// finish takes the least order, whose level is empty, out of the heap.
func (c *chain) finish(order int64, l *level) {
	delete(c.levels, order)
	*l = level{offers: l.offers[:0]}
	c.spare = append(c.spare, l)

	n := len(c.orders) - 1
	last, q := c.orders[n], c.orders[:n]
	c.orders = q
	i := 0
	for down := 1; down < n; down = 2*i + 1 {
		if down+1 < n && q[down+1] < q[down] {
			down++
		}
		if last <= q[down] {
			break
		}
		q[i] = q[down]
		i = down
	}
	if n > 0 {
		q[i] = last
	}
}
