package tokenizer

// trie finds the longest of a set of names at the start of a text.
type trie struct {
	begins [256]bool       // bytes that some name begins with: most text stops here
	next   map[edge]uint32 // node and byte → node; node 0 is the root
	ids    []int32         // (nodes): the token that ends at a node, or -1
}

// edge leads from a node by one byte.
type edge struct {
	node uint32
	by   byte
}

// add puts one name into the trie; the empty name never matches.
func (t *trie) add(name string, id int32) {
	if name == "" {
		return
	}
	if t.next == nil {
		t.next = map[edge]uint32{}
		t.ids = []int32{-1}
	}
	t.begins[name[0]] = true
	var node uint32
	for i := range len(name) {
		e := edge{node, name[i]}
		to, ok := t.next[e]
		if !ok {
			to = uint32(len(t.ids))
			t.next[e] = to
			t.ids = append(t.ids, -1)
		}
		node = to
	}
	t.ids[node] = id
}

// longest returns the longest name that text begins with and its length in
// bytes, 0 when there is none.
func (t *trie) longest(text string) (id int32, n int) {
	if text == "" || !t.begins[text[0]] {
		return 0, 0
	}
	var node uint32
	for i := range len(text) {
		to, ok := t.next[edge{node, text[i]}]
		if !ok {
			break
		}
		node = to
		if t.ids[node] >= 0 {
			id, n = t.ids[node], i+1
		}
	}
	return id, n
}
