package tokenizer

import (
	"math"
	"strings"
	"sync"
	"unicode/utf8"
)

// meta stands for a space in SentencePiece vocabularies.
const meta = "\u2581"

// spm is SentencePiece's BPE (github.com/google/sentencepiece): a text starts
// as its runes, and the adjacent pair whose union is the piece with the highest
// score is joined, leftmost first. What is left over and no piece is spelled in
// byte tokens.
type spm struct {
	pieces map[string]int32 // what runes may join to
	scores []float32        // (tokens)
	bytes  [256]int32
	hidden map[int32]bool // unused pieces: they join, but are taken apart again at the end
	long   int            // bytes of the longest piece
	work   sync.Pool      // of *spans
}

// spans is a chain over a text: the node i begins at byte starts[i] and its
// symbol is its length.
type spans struct {
	chain
	starts []int32
	halves map[[2]int32]int32 // begin and length of a hidden piece → length of its left half
}

func (s *spm) encode(dst []int32, text string) []int32 {
	text = strings.ReplaceAll(text, " ", meta)
	c, _ := s.work.Get().(*spans)
	if c == nil {
		c = &spans{halves: map[[2]int32]int32{}}
	}
	defer s.work.Put(c)
	c.reset()
	c.starts = c.starts[:0]
	clear(c.halves)
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		c.starts = append(c.starts, int32(i))
		c.add(int32(n))
		i += n
	}
	c.join(func(i int32) { s.offer(c, text, i) })
	for i, n := range c.nodes {
		if n.symbol != gone {
			dst = s.spell(dst, c, text, c.starts[i], n.symbol)
		}
	}
	return dst
}

// offer queues the join of the node at i and its neighbour, if it is a piece.
func (s *spm) offer(c *spans, text string, i int32) {
	left, right := c.nodes[i].symbol, c.nodes[c.nodes[i].next].symbol
	start, size := c.starts[i], left+right
	if int(size) > s.long {
		return
	}
	id, ok := s.pieces[text[start:start+size]]
	if !ok {
		return
	}
	if s.hidden[id] {
		c.halves[[2]int32{start, size}] = left
	}
	c.push(-ordered(s.scores[id]), offer{i, left, right, size})
}

// spell appends the tokens of one symbol.
func (s *spm) spell(dst []int32, c *spans, text string, start, size int32) []int32 {
	symbol := text[start : start+size]
	id, ok := s.pieces[symbol]
	if ok && !s.hidden[id] {
		return append(dst, id)
	}
	if left, ok := c.halves[[2]int32{start, size}]; ok {
		dst = s.spell(dst, c, text, start, left)
		return s.spell(dst, c, text, start+left, size-left)
	}
	for i := range len(symbol) {
		dst = append(dst, s.bytes[symbol[i]])
	}
	return dst
}

// ordered maps floats to integers of the same order.
func ordered(f float32) int64 {
	bits := int32(math.Float32bits(f + 0)) // + 0: negative zero is zero
	if bits < 0 {
		bits ^= math.MaxInt32
	}
	return int64(bits)
}
