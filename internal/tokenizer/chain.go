package tokenizer

// chain is a text as a list of symbols in which neighbours are joined, with a
// queue of the joins to make.
type chain struct {
	nodes []node
	queue []offer // a binary heap, least first
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
	order       int64 // smaller goes first; equal ones from left to right
	at          int32
	left, right int32
	joined      int32
}

func (o offer) before(p offer) bool {
	return o.order < p.order || o.order == p.order && o.at < p.at
}

func (c *chain) reset() { c.nodes, c.queue = c.nodes[:0], c.queue[:0] }

// add appends a symbol.
func (c *chain) add(symbol int32) {
	i := int32(len(c.nodes))
	if i > 0 {
		c.nodes[i-1].next = i
	}
	c.nodes = append(c.nodes, node{symbol: symbol, prev: i - 1, next: -1})
}

// join makes the best of the queued joins until none is left. offer is asked
// for the join of the node at i and the one after it.
func (c *chain) join(offer func(i int32)) {
	for i := range int32(len(c.nodes) - 1) {
		offer(i)
	}
	for len(c.queue) > 0 {
		o := c.pop()
		left := &c.nodes[o.at]
		// Either symbol may have been joined to another since this was offered.
		if left.symbol != o.left || left.next < 0 || c.nodes[left.next].symbol != o.right {
			continue
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

func (c *chain) push(o offer) {
	c.queue = append(c.queue, o)
	q := c.queue
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !o.before(q[up]) {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = o
}

func (c *chain) pop() offer {
	q := c.queue
	top, last := q[0], q[len(q)-1]
	q = q[:len(q)-1]
	c.queue = q
	if len(q) == 0 {
		return top
	}
	i := 0
	for {
		down := 2*i + 1
		if down >= len(q) {
			break
		}
		if r := down + 1; r < len(q) && q[r].before(q[down]) {
			down = r
		}
		if !q[down].before(last) {
			break
		}
		q[i] = q[down]
		i = down
	}
	q[i] = last
	return top
}
