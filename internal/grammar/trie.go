package grammar

import (
	"cmp"
	"slices"
)

// trie holds byte strings with their token ids, nodes in the order of a walk
// that visits children before siblings. Node 0 is the root.
type trie struct {
	by    []byte  // (nodes): the byte that leads here
	end   []int32 // (nodes): the first node behind the subtree
	token []int32 // (nodes): the token that ends here, -1 for none
	twin  map[int32][]int32
	heads [256]int32 // the root's children by byte, 0 for none
}

// entry is a byte string that stands for a token.
type entry struct {
	text  string
	token int32
}

// newTrie takes entries in any order and sorts them.
func newTrie(entries []entry) *trie {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.text, b.text), cmp.Compare(a.token, b.token))
	})
	t := &trie{twin: map[int32][]int32{}}
	open := []int32{t.node(0)} // from the root to the last node made
	last := ""
	for _, e := range entries {
		same := 0
		for same < len(last) && same < len(e.text) && last[same] == e.text[same] {
			same++
		}
		open = t.close(open, same+1)
		for i := same; i < len(e.text); i++ {
			n := t.node(e.text[i])
			if i == 0 {
				t.heads[e.text[0]] = n
			}
			open = append(open, n)
		}
		last = e.text
		if n := open[len(open)-1]; t.token[n] < 0 {
			t.token[n] = e.token
		} else {
			t.twin[n] = append(t.twin[n], e.token)
		}
	}
	t.close(open, 0)
	return t
}

func (t *trie) node(by byte) int32 {
	t.by = append(t.by, by)
	t.end = append(t.end, 0)
	t.token = append(t.token, -1)
	return int32(len(t.by) - 1)
}

// close ends the subtrees of the nodes past the first keep.
func (t *trie) close(open []int32, keep int) []int32 {
	for len(open) > keep {
		t.end[open[len(open)-1]] = int32(len(t.by))
		open = open[:len(open)-1]
	}
	return open
}

// child returns the node below n that byte b leads to, 0 when there is none.
func (t *trie) child(n int32, b byte) int32 {
	if n == 0 {
		return t.heads[b]
	}
	for c := n + 1; c < t.end[n]; c = t.end[c] {
		if t.by[c] == b {
			return c
		}
	}
	return 0
}

// mark sets the bits of the tokens that end at n.
func (t *trie) mark(mask []uint64, n int32) {
	id := t.token[n]
	if id < 0 {
		return
	}
	mask[id/64] |= 1 << (id % 64)
	if len(t.twin) > 0 {
		for _, id := range t.twin[n] {
			mask[id/64] |= 1 << (id % 64)
		}
	}
}
