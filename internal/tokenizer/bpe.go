package tokenizer

import (
	"math"
	"sync"
)

// bpe is byte-level byte-pair encoding: a piece starts as its bytes, and the
// adjacent pair whose merge has the lowest rank is joined, leftmost first,
// until no pair has one (Sennrich et al. 2016, arXiv:1508.07909; the byte
// alphabet is GPT-2's).
type bpe struct {
	split  splitter
	single [256]int32       // the token of each byte, or -1: such a byte is left out, as the reference does
	merges map[uint64]merge // by pair
	whole  map[string]int32 // pieces that are one token whatever the merges say; nil for most families
	work   sync.Pool        // of *chain
}

// merge is what joining a pair gives. A smaller rank was learnt earlier.
type merge struct{ rank, id int32 }

// never is the merge of a pair that has none.
var never = merge{rank: math.MaxInt32, id: -1}

func pair(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func (b *bpe) join(left, right int32) merge {
	if m, ok := b.merges[pair(left, right)]; ok {
		return m
	}
	return never
}

// short is the length in bytes up to which the pairs of a piece are searched
// from end to end for each merge; longer ones go through a chain.
const short = 32

func (b *bpe) encode(dst []int32, text string) []int32 {
	b.split(text, func(piece string) {
		switch id, ok := b.whole[piece]; {
		case ok:
			dst = append(dst, id)
		case len(piece) <= short:
			dst = b.scan(dst, piece)
		default:
			dst = b.long(dst, piece)
		}
	})
	return dst
}

// scan merges a short piece in place.
func (b *bpe) scan(dst []int32, piece string) []int32 {
	var ids [short]int32
	var joins [short]merge // joins[i] is that of ids[i] and ids[i+1]
	n := 0
	for i := range len(piece) {
		if id := b.single[piece[i]]; id >= 0 {
			ids[n] = id
			n++
		}
	}
	for i := 0; i+1 < n; i++ {
		joins[i] = b.join(ids[i], ids[i+1])
	}
	for n > 1 {
		best := 0
		for i := 1; i < n-1; i++ {
			if joins[i].rank < joins[best].rank {
				best = i
			}
		}
		if joins[best].id < 0 {
			break
		}
		ids[best] = joins[best].id
		copy(ids[best+1:n-1], ids[best+2:n])
		copy(joins[best:n-2], joins[best+1:n-1])
		n--
		if best > 0 {
			joins[best-1] = b.join(ids[best-1], ids[best])
		}
		if best < n-1 {
			joins[best] = b.join(ids[best], ids[best+1])
		}
	}
	return append(dst, ids[:n]...)
}

// long merges a piece of any length in n·log n.
func (b *bpe) long(dst []int32, piece string) []int32 {
	c, _ := b.work.Get().(*chain)
	if c == nil {
		c = &chain{}
	}
	defer b.work.Put(c)
	c.reset()
	for i := range len(piece) {
		if id := b.single[piece[i]]; id >= 0 {
			c.add(id)
		}
	}
	c.join(func(i int32) {
		left := c.nodes[i].symbol
		right := c.nodes[c.nodes[i].next].symbol
		if m := b.join(left, right); m.id >= 0 {
			c.push(int64(m.rank), offer{i, left, right, m.id})
		}
	})
	for _, n := range c.nodes {
		if n.symbol != gone {
			dst = append(dst, n.symbol)
		}
	}
	return dst
}
