// Package tokenizer turns text into token ids and back: byte-level BPE with the
// pre-tokenisers of the common families, and SentencePiece BPE, both from the
// metadata of a GGUF file.
//
// A Tokenizer is made once, by FromGGUF, and never changes. What a vocabulary
// cannot express is refused when it is loaded, so Encode has no error to give.
package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Tokenizer is safe for concurrent use.
type Tokenizer struct {
	Name string // the pre-tokeniser ("smollm", "gpt-2", …) or "spm"
	Size int    // number of tokens

	BOS, EOS       int32 // -1 when absent
	AddBOS, AddEOS bool
	Ends           []int32 // every token that ends a turn: eos, eot, eom and their kin; ascending

	kinds   []kind           // (Size)
	names   []string         // (Size): the token as the file spells it
	output  []string         // (Size): the bytes it prints
	control map[string]int32 // control tokens by name

	always  trie // user-defined tokens: cut out of any text
	markers trie // control and unknown tokens
	special trie // both: cut out of a template's text

	words encoder // for the text between
	space bool    // SentencePiece: a space is put before text that begins a prompt or follows a special token
}

// encoder turns text without special tokens into ids.
type encoder interface {
	encode(dst []int32, text string) []int32
}

// kind is a token's type, numbered as in GGUF files.
type kind uint8

// The kinds; 0 is not in use.
const (
	normal kind = iota + 1
	unknown
	control
	userDefined
	unused
	oneByte
)

// Encode appends the ids of text to dst. Special tokens written in text are
// ordinary characters here; only EncodeSpecial makes them. No BOS or EOS is
// added. first says that the text begins a prompt or follows a special token,
// where SentencePiece models add their space.
func (t *Tokenizer) Encode(dst []int32, text string, first bool) []int32 {
	return t.cut(dst, text, first, &t.always)
}

// EncodeSpecial is Encode for text of the template's own making: the names of
// control tokens become those tokens.
func (t *Tokenizer) EncodeSpecial(dst []int32, text string, first bool) []int32 {
	return t.cut(dst, text, first, &t.special)
}

// cut encodes text around the tokens of whole, which stand for themselves: the
// leftmost first, the longest of those that begin at one place.
func (t *Tokenizer) cut(dst []int32, text string, first bool, whole *trie) []int32 {
	start := 0
	for i := 0; i < len(text); {
		id, n := whole.longest(text[i:])
		if n == 0 {
			i++
			continue
		}
		dst = t.plain(dst, text[start:i], first)
		dst = append(dst, id)
		i += n
		start, first = i, true
	}
	return t.plain(dst, text[start:], first)
}

// plain encodes text that holds no special token.
func (t *Tokenizer) plain(dst []int32, text string, first bool) []int32 {
	if text == "" {
		return dst
	}
	if t.space && first {
		text = " " + text
	}
	return t.words.encode(dst, text)
}

// Marker finds the first control token that text, which is the template's own,
// names: its id, where it begins and its length, 0 when there is none.
func (t *Tokenizer) Marker(text string) (id int32, at, n int) {
	for at = range len(text) {
		if id, n = t.markers.longest(text[at:]); n > 0 {
			return id, at, n
		}
	}
	return 0, len(text), 0
}

// Special returns the id of a control token such as <|im_end|>.
func (t *Tokenizer) Special(name string) (int32, bool) {
	id, ok := t.control[name]
	return id, ok
}

// known reports whether id is in the vocabulary at all.
func (t *Tokenizer) known(id int32) bool { return id >= 0 && int(id) < len(t.kinds) }

// Control reports whether id is a control token: it prints nothing.
func (t *Tokenizer) Control(id int32) bool {
	return t.known(id) && (t.kinds[id] == control || t.kinds[id] == unknown)
}

// Unused reports whether id must never be sampled: a padding or unused entry,
// or no entry at all (a model may have more rows than its vocabulary has tokens).
func (t *Tokenizer) Unused(id int32) bool { return !t.known(id) || t.kinds[id] == unused }

// Bytes returns what id stands for: raw bytes, possibly half a rune. Control
// tokens give nothing.
func (t *Tokenizer) Bytes(id int32) []byte {
	if !t.known(id) {
		return nil
	}
	return []byte(t.output[id])
}

// Text returns the token as people read it in a preview: control tokens by
// name, bytes that are no whole rune as <0xE2>.
func (t *Tokenizer) Text(id int32) string {
	if !t.known(id) {
		return ""
	}
	s := t.output[id]
	if s == "" {
		return t.names[id]
	}
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "<0x%02X>", s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}
