package grammar

import (
	"slices"
	"sync"

	"afina/internal/tokenizer"
)

// Vocabulary is what grammars need to know of a tokenizer: its tokens as a trie
// of bytes, and which of them can stand inside a string. It is prepared when the
// first grammar is asked for and shared by all. It is safe for concurrent use.
type Vocabulary struct {
	tok  *tokenizer.Tokenizer
	once sync.Once

	has   [256]bool // the bytes that are tokens of their own: what a text may need
	words int       // of a mask
	trie  *trie
	ends  []uint64 // the tokens that end a turn
	text  *table   // the inside of strings

	mu     sync.Mutex
	inside []*inside // by state of text
	shelf  []shelved // the grammars used last, latest first
}

// shelved is a grammar and what it was made from.
type shelved struct {
	key     string
	grammar *Grammar
}

// shelfSize is how many grammars a vocabulary keeps, with their masks.
const shelfSize = 32

// NewVocabulary returns the vocabulary of tok. It costs nothing until it is used.
func NewVocabulary(tok *tokenizer.Tokenizer) *Vocabulary { return &Vocabulary{tok: tok} }

// prepare builds the trie, once.
func (v *Vocabulary) prepare() {
	v.once.Do(func() {
		v.words = (v.tok.Size + 63) / 64
		v.ends = make([]uint64, v.words)
		for _, id := range v.tok.Ends {
			v.ends[id/64] |= 1 << (id % 64)
		}
		entries := make([]entry, 0, v.tok.Size)
		for id := range int32(v.tok.Size) {
			if v.tok.Control(id) || v.tok.Unused(id) {
				continue
			}
			text := v.tok.Bytes(id)
			if len(text) == 0 {
				continue
			}
			if len(text) == 1 {
				v.has[text[0]] = true
			}
			entries = append(entries, entry{string(text), id})
		}
		v.trie = newTrie(entries)
		v.text = newText(&v.has)
		v.inside = make([]*inside, len(v.text.accept))
	})
}

// end reports whether id ends a turn.
func (v *Vocabulary) end(id int32) bool {
	_, ok := slices.BinarySearch(v.tok.Ends, id)
	return ok
}

// shelve returns the grammar that was made from key, or makes it.
func (v *Vocabulary) shelve(key string, make func() (*Grammar, error)) (*Grammar, error) {
	v.prepare()
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := slices.IndexFunc(v.shelf, func(s shelved) bool { return s.key == key }); i >= 0 {
		s := v.shelf[i]
		v.shelf = slices.Delete(v.shelf, i, i+1)
		if !s.grammar.large() {
			v.shelf = slices.Insert(v.shelf, 0, s)
			return s.grammar, nil
		}
	}
	g, err := make()
	if err != nil {
		return nil, err
	}
	v.shelf = slices.Insert(v.shelf, 0, shelved{key, g})
	v.shelf = v.shelf[:min(len(v.shelf), shelfSize)]
	return g, nil
}

// inside is what the tokens do from one state of a string's text.
type inside struct {
	stay  [][]uint64 // tokens that stay in the string and begin at most so many characters
	long  []counted  // tokens that begin more characters than stay tells apart
	leave []leaving  // tokens that leave it
}

// counted is a token that begins so many characters.
type counted struct {
	chars int32
	token int32
}

// leaving are the tokens that begin so many characters and then end the string,
// by what they have behind the closing quote.
type leaving struct {
	chars int32
	rest  *trie
}

// fewChars is up to how many characters inside.stay tells tokens apart.
const fewChars = 16

// from returns what tokens do from state s of a text. Callers hold no lock of v.
func (v *Vocabulary) from(s uint16) *inside {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.inside[s] == nil {
		v.inside[s] = v.look(s)
	}
	return v.inside[s]
}

// look walks every token from state s.
func (v *Vocabulary) look(s uint16) *inside {
	in := &inside{stay: make([][]uint64, fewChars+1)}
	for i := range in.stay {
		in.stay[i] = make([]uint64, v.words)
	}
	rests := map[int32][]entry{}
	var text []byte // from the closing quote to the node
	var rest func(n int32, chars int32)
	tokens := func(n int32) []int32 {
		if v.trie.token[n] < 0 {
			return nil
		}
		return append([]int32{v.trie.token[n]}, v.trie.twin[n]...)
	}
	rest = func(n int32, chars int32) {
		for _, id := range tokens(n) {
			rests[chars] = append(rests[chars], entry{string(text), id})
		}
		for c := n + 1; c < v.trie.end[n]; c = v.trie.end[c] {
			text = append(text, v.trie.by[c])
			rest(c, chars)
			text = text[:len(text)-1]
		}
	}
	var walk func(n int32, s uint16, chars int32)
	walk = func(n int32, s uint16, chars int32) {
		for c := n + 1; c < v.trie.end[n]; c = v.trie.end[c] {
			to := v.text.step(s, v.trie.by[c])
			switch {
			case to == 0:
				continue
			case v.text.accept[to]:
				rest(c, chars)
				continue
			}
			k := chars
			if s == begin {
				k++
			}
			for _, id := range tokens(c) {
				if k > fewChars {
					in.long = append(in.long, counted{k, id})
					continue
				}
				in.stay[k][id/64] |= 1 << (id % 64)
			}
			walk(c, to, k)
		}
	}
	walk(0, s, 0)
	for k := 1; k <= fewChars; k++ {
		for w, bits := range in.stay[k-1] {
			in.stay[k][w] |= bits
		}
	}
	for chars, entries := range rests {
		in.leave = append(in.leave, leaving{chars, newTrie(entries)})
	}
	return in
}

// allow adds the tokens that stay in the string and begin at most room
// characters; room is negative when there is no limit.
func (in *inside) allow(mask []uint64, room int32) {
	few := in.stay[fewChars]
	if room >= 0 && room < fewChars {
		few = in.stay[room]
	}
	for w, b := range few {
		mask[w] |= b
	}
	for _, c := range in.long {
		if room < 0 || c.chars <= room {
			mask[c.token/64] |= 1 << (c.token % 64)
		}
	}
}
