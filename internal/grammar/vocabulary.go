package grammar

import (
	"afina/internal/automaton"
	"slices"
	"sync"

	"afina/internal/tokenizer"
)

// Vocabulary is what grammars need to know of a tokenizer: its tokens as a trie
// of bytes, and which of them can stand inside a string. It is prepared when the
// first grammar is asked for and shared by all. It is safe for concurrent use.
type Vocabulary struct {
	tok   *tokenizer.Tokenizer
	marks map[string]int32 // control tokens that grammars may ask for, by name
	once  sync.Once

	has   automaton.Bytes // the bytes that are tokens of their own: what a text may need
	words int             // of a mask
	trie  *trie
	ends  []uint64         // the tokens that end a turn
	text  *automaton.Table // the inside of strings

	looks  sync.Mutex
	inside []*inside // by state of text

	shelving sync.Mutex
	shelf    []shelved // the grammars used last, latest first

	tables sync.Map // by name: those that many grammars need
}

// shelved is a grammar and what it was made from.
type shelved struct {
	key     string
	grammar *Grammar
}

// shelfSize is how many grammars a vocabulary keeps, with their masks.
const shelfSize = 32

// NewVocabulary returns the vocabulary of tok. Control tokens stand for no text
// and are not in it, but for those named as marks. It costs nothing until it is
// used.
func NewVocabulary(tok *tokenizer.Tokenizer, marks ...string) *Vocabulary {
	v := &Vocabulary{tok: tok, marks: map[string]int32{}}
	for _, name := range marks {
		if id, ok := tok.Special(name); ok {
			v.marks[name] = id
		}
	}
	return v
}

// Spelled is how a mark stands in the texts that grammars read: as it is, or, when
// it is a control token, in bytes that stand for nothing else.
func (v *Vocabulary) Spelled(mark string) string {
	if id, ok := v.marks[mark]; ok {
		return spell(id)
	}
	return mark
}

// Mark returns the spelling of a token that is a mark, "" for all others.
func (v *Vocabulary) Mark(id int32) string {
	for _, mark := range v.marks {
		if mark == id {
			return spell(id)
		}
	}
	return ""
}

// spell writes a token's id between two bytes of 0xFF, two bits in a byte, with
// bytes that no UTF-8 holds.
func spell(id int32) string {
	b := []byte{0xff}
	for ; id > 0; id >>= 2 {
		b = append(b, automaton.Foreign|byte(id&3))
	}
	return string(append(b, 0xff))
}

// bytes are what a token stands for in the texts that grammars read; none for one
// that must not come. Single bytes that no UTF-8 holds are tokens in many
// vocabularies, but they must not spell a mark.
func (v *Vocabulary) bytes(id int32) []byte {
	if mark := v.Mark(id); mark != "" {
		return []byte(mark)
	}
	if v.tok.Control(id) || v.tok.Unused(id) {
		return nil
	}
	text := v.tok.Bytes(id)
	if slices.ContainsFunc(text, func(b byte) bool { return b >= automaton.Foreign }) {
		return nil
	}
	return text
}

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
			text := v.bytes(id)
			if len(text) == 0 {
				continue
			}
			if len(text) == 1 {
				v.has[text[0]] = true
			}
			entries = append(entries, entry{string(text), id})
		}
		v.trie = newTrie(entries)
		v.text = automaton.Text(&v.has)
		v.inside = make([]*inside, v.text.States())
	})
}

// Bytes are the bytes that are tokens of their own.
func (v *Vocabulary) Bytes() *automaton.Bytes {
	v.prepare()
	return &v.has
}

// Table returns the table that is kept under key, or makes it.
func (v *Vocabulary) Table(key string, make func() (*automaton.Table, error)) (*automaton.Table, error) {
	if t, ok := v.tables.Load(key); ok {
		return t.(*automaton.Table), nil
	}
	t, err := make()
	if err == nil {
		v.tables.Store(key, t)
	}
	return t, err
}

// end reports whether id ends a turn.
func (v *Vocabulary) end(id int32) bool {
	_, ok := slices.BinarySearch(v.tok.Ends, id)
	return ok
}

// Shelve returns the grammar that was made from key, or makes it. The last ones
// are kept, with their masks.
func (v *Vocabulary) Shelve(key string, make func() (*Grammar, error)) (*Grammar, error) {
	if g := v.shelved(key); g != nil {
		return g, nil
	}
	g, err := make()
	if err != nil {
		return nil, err
	}
	v.shelving.Lock()
	defer v.shelving.Unlock()
	v.shelf = slices.Insert(v.shelf, 0, shelved{key, g})
	v.shelf = v.shelf[:min(len(v.shelf), shelfSize)]
	return g, nil
}

// shelved returns the grammar on the shelf that was made from key, nil when there
// is none. One that has grown too large goes.
func (v *Vocabulary) shelved(key string) *Grammar {
	v.shelving.Lock()
	defer v.shelving.Unlock()
	i := slices.IndexFunc(v.shelf, func(s shelved) bool { return s.key == key })
	if i < 0 {
		return nil
	}
	s := v.shelf[i]
	v.shelf = slices.Delete(v.shelf, i, i+1)
	if s.grammar.size() > maxCells {
		return nil
	}
	v.shelf = slices.Insert(v.shelf, 0, s)
	return s.grammar
}

// inside is what the tokens do from one state of a string's text.
type inside struct {
	stay  [][]uint64 // tokens that stay in the string and automaton.Begin at most so many characters
	long  []counted  // tokens that automaton.Begin more characters than stay tells apart
	leave []leaving  // tokens that leave it
}

// counted is a token that begins so many characters.
type counted struct {
	chars int32
	token int32
}

// leaving are the tokens that automaton.Begin so many characters and then end the string,
// by what they have behind the closing quote.
type leaving struct {
	chars int32
	rest  *trie
}

// fewChars is up to how many characters inside.stay tells tokens apart.
const fewChars = 16

// from returns what tokens do from state s of a text.
func (v *Vocabulary) from(s uint16) *inside {
	v.looks.Lock()
	defer v.looks.Unlock()
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
			to := v.text.Step(s, v.trie.by[c])
			switch {
			case to == 0:
				continue
			case v.text.Accept(to):
				rest(c, chars)
				continue
			}
			k := chars
			if s == automaton.Begin {
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

// allow adds the tokens that stay in the string and automaton.Begin at most room
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
