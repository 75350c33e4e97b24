// Package automaton makes deterministic automata over bytes: the insides of JSON
// strings, numbers in a range, regular expressions. Each is a Table whose states
// all lead to an accepting one, over the bytes that a vocabulary has, so that who
// follows it is never stuck.
package automaton

import (
	"fmt"
	"unicode/utf8"
)

// Table is a deterministic automaton over bytes. State 0 is dead, state 1 the
// start, and every other state can reach an accepting one.
type Table struct {
	class  [256]uint8
	width  int      // how many classes of bytes there are
	next   []uint16 // (states, width)
	accept []bool   // (states)
	leads  []bool   // (states): some byte goes on from here
}

// Bytes is a set of bytes: those that a model's vocabulary can write.
type Bytes [256]bool

// Begin is the state in which every table starts.
const Begin = 1

// Step returns where byte b leads from state s, 0 when nowhere.
func (t *Table) Step(s uint16, b byte) uint16 {
	return t.next[int(s)*t.width+int(t.class[b])]
}

// Accept reports whether the text may end in state s.
func (t *Table) Accept(s uint16) bool { return t.accept[s] }

// Leads reports whether a byte may follow in state s.
func (t *Table) Leads(s uint16) bool { return t.leads[s] }

// States is the number of states, the dead one included.
func (t *Table) States() int { return len(t.accept) }

// cuts are the places between bytes that an automaton tells apart.
type cuts [257]bool

// add tells the bytes from lo to hi apart from the others.
func (c *cuts) add(lo, hi byte) {
	c[lo], c[int(hi)+1] = true, true
}

// each tells every one of the bytes apart.
func (c *cuts) each(bytes string) {
	for i := range len(bytes) {
		c.add(bytes[i], bytes[i])
	}
}

// rules describe an automaton whose states are values of K.
type rules[K comparable] struct {
	start  K
	cuts   cuts
	step   func(K, byte) (K, bool)
	accept func(K) bool
}

// MaxStates is how many states a table may have.
const MaxStates = 8192

var errStates = fmt.Errorf("it takes more than %d states; make ranges, repetitions and names shorter", MaxStates)

// build numbers the states that can be reached over the bytes in has and lead to
// an accepting one. It returns nil when there is none.
func build[K comparable](r rules[K], has *Bytes) (*Table, error) {
	t := &Table{}
	var samples []byte // one byte of each class
	for b := range 256 {
		if b == 0 || r.cuts[b] || has[b] != has[b-1] {
			samples = append(samples, byte(b))
		}
		t.class[b] = uint8(len(samples) - 1)
	}
	t.width = len(samples)
	numbers := map[K]uint16{r.start: Begin}
	states := []K{r.start, r.start}
	t.next = make([]uint16, 2*t.width)
	for s := Begin; s < len(states); s++ {
		for c, b := range samples {
			if !has[b] {
				continue
			}
			to, ok := r.step(states[s], b)
			if !ok {
				continue
			}
			n, seen := numbers[to]
			if !seen {
				if n = uint16(len(states)); n == MaxStates {
					return nil, errStates
				}
				numbers[to] = n
				states = append(states, to)
				t.next = append(t.next, make([]uint16, t.width)...)
			}
			t.next[s*t.width+c] = n
		}
	}
	t.accept = make([]bool, len(states))
	for s := Begin; s < len(states); s++ {
		t.accept[s] = r.accept(states[s])
	}
	return t.trim(), nil
}

// trim makes the states dead from which no accepting one can be reached.
func (t *Table) trim() *Table {
	live := append([]bool(nil), t.accept...)
	row := func(s int) []uint16 { return t.next[s*t.width : (s+1)*t.width] }
	for changed := true; changed; {
		changed = false
		for s := len(live) - 1; s > 0; s-- {
			for _, to := range row(s) {
				if !live[s] && live[to] {
					live[s], changed = true, true
				}
			}
		}
	}
	if !live[Begin] {
		return nil
	}
	t.leads = make([]bool, len(live))
	for s := range live {
		for i, to := range row(s) {
			if !live[to] {
				row(s)[i] = 0
			}
			t.leads[s] = t.leads[s] || live[to]
		}
	}
	return t
}

// every is the set of all bytes.
var every = func() (all Bytes) {
	for b := range all {
		all[b] = true
	}
	return all
}()

// The states of text inside a JSON string (RFC 8259 §7), behind the opening
// quote. Escapes of surrogates come in pairs, and bytes are well-formed UTF-8
// (Unicode 15, table 3-7).
type inText uint8

const (
	between   inText = iota // characters
	closed                  // the closing quote was read
	escaped                 // a backslash was read
	hex4                    // four digits of \u are to come
	hex3                    // three, after one that is no D
	hex2                    // two
	hex1                    // one
	hexD                    // three, after a D
	high2                   // two of a high surrogate
	high1                   // one
	pairSlash               // the backslash of its low surrogate
	pairU                   // the u
	pairD                   // the D
	pairLow                 // C to F
	tail1                   // one byte 80–BF
	tail2                   // two
	tail3                   // three
	afterE0                 // A0–BF and one more
	afterED                 // 80–9F and one more
	afterF0                 // 90–BF and two more
	afterF4                 // 80–8F and two more
)

// span is what bytes lo to hi do in a state.
type span struct {
	lo, hi byte
	to     inText
}

var textSpans = [...][]span{
	between: {
		{' ', '!', between}, {'"', '"', closed}, {'#', '[', between}, {'\\', '\\', escaped}, {']', 0x7F, between},
		{0xC2, 0xDF, tail1}, {0xE0, 0xE0, afterE0}, {0xE1, 0xEC, tail2}, {0xED, 0xED, afterED}, {0xEE, 0xEF, tail2},
		{0xF0, 0xF0, afterF0}, {0xF1, 0xF3, tail3}, {0xF4, 0xF4, afterF4},
	},
	closed: {},
	escaped: {
		{'"', '"', between}, {'\\', '\\', between}, {'/', '/', between}, {'b', 'b', between}, {'f', 'f', between},
		{'n', 'n', between}, {'r', 'r', between}, {'t', 't', between}, {'u', 'u', hex4},
	},
	hex4:      {{'0', '9', hex3}, {'A', 'C', hex3}, {'D', 'D', hexD}, {'E', 'F', hex3}, {'a', 'c', hex3}, {'d', 'd', hexD}, {'e', 'f', hex3}},
	hex3:      {{'0', '9', hex2}, {'A', 'F', hex2}, {'a', 'f', hex2}},
	hex2:      {{'0', '9', hex1}, {'A', 'F', hex1}, {'a', 'f', hex1}},
	hex1:      {{'0', '9', between}, {'A', 'F', between}, {'a', 'f', between}},
	hexD:      {{'0', '7', hex2}, {'8', '9', high2}, {'A', 'B', high2}, {'a', 'b', high2}},
	high2:     {{'0', '9', high1}, {'A', 'F', high1}, {'a', 'f', high1}},
	high1:     {{'0', '9', pairSlash}, {'A', 'F', pairSlash}, {'a', 'f', pairSlash}},
	pairSlash: {{'\\', '\\', pairU}},
	pairU:     {{'u', 'u', pairD}},
	pairD:     {{'D', 'D', pairLow}, {'d', 'd', pairLow}},
	pairLow:   {{'C', 'F', hex2}, {'c', 'f', hex2}},
	tail1:     {{0x80, 0xBF, between}},
	tail2:     {{0x80, 0xBF, tail1}},
	tail3:     {{0x80, 0xBF, tail2}},
	afterE0:   {{0xA0, 0xBF, tail1}},
	afterED:   {{0x80, 0x9F, tail1}},
	afterF0:   {{0x90, 0xBF, tail2}},
	afterF4:   {{0x80, 0x8F, tail2}},
}

// step reads one byte of a string.
func (s inText) step(b byte) (inText, bool) {
	for _, p := range textSpans[s] {
		if b >= p.lo && b <= p.hi {
			return p.to, true
		}
	}
	return 0, false
}

// textCuts tells apart what inText tells apart.
func textCuts() (c cuts) {
	for _, spans := range textSpans {
		for _, p := range spans {
			c.add(p.lo, p.hi)
		}
	}
	return c
}

// Text is the automaton of a string's inside and its closing quote. Its state
// for "between characters" is Begin.
func Text(has *Bytes) *Table {
	t, _ := build(rules[inText]{
		start: between, cuts: textCuts(), step: inText.step,
		accept: func(s inText) bool { return s == closed },
	}, has)
	return t
}

// inKey is a place in the key of a further property: how far it is one of the
// names that are taken (a node of their trie, -1 for none), and the text's state.
type inKey struct {
	node int
	text inText
}

// Key is the automaton of a key's inside and closing quote that is none of
// names, which are written as by Quote. Where there are names, keys use no \u
// and no \/, so that there is one way to write each.
func Key(names []string, has *Bytes) (*Table, error) {
	taken := []map[byte]int{{}}
	ends := map[int]bool{}
	c := textCuts()
	for _, name := range names {
		inner := Quote(name, has)
		inner = inner[1 : len(inner)-1]
		c.each(inner)
		node := 0
		for i := range len(inner) {
			to, ok := taken[node][inner[i]]
			if !ok {
				to = len(taken)
				taken[node][inner[i]] = to
				taken = append(taken, map[byte]int{})
			}
			node = to
		}
		ends[node] = true
	}
	step := func(k inKey, b byte) (inKey, bool) {
		to, ok := k.text.step(b)
		if !ok || k.text == escaped && (b == 'u' || b == '/') {
			return k, false
		}
		if to == closed {
			return inKey{-1, closed}, !ends[k.node]
		}
		next := -1
		if k.node >= 0 {
			if n, ok := taken[k.node][b]; ok {
				next = n
			}
		}
		return inKey{next, to}, true
	}
	return build(rules[inKey]{
		start: inKey{0, between}, cuts: c, step: step,
		accept: func(k inKey) bool { return k.text == closed },
	}, has)
}

// Blank is the automaton of optional white space: a space, or a newline and
// at most indent blanks. It ends, so that no model goes on in blanks for ever.
func Blank(indent int) *Table {
	var c cuts
	c.each(" \n\t")
	t, _ := build(rules[int]{
		start: -2, cuts: c,
		step: func(n int, b byte) (int, bool) {
			switch {
			case n == -2 && b == ' ' && indent >= 0:
				return -1, true
			case n == -2 && b == '\n':
				return 0, true
			case n >= 0 && n < indent && (b == ' ' || b == '\t'):
				return n + 1, true
			}
			return 0, false
		},
		accept: func(int) bool { return true },
	}, &every)
	return t
}

// Quote writes s as a JSON string of bytes in has: runes stand for themselves
// where they can, controls and runes that the vocabulary lacks are escaped.
func Quote(s string, has *Bytes) string {
	const digits = "0123456789abcdef"
	b := []byte{'"'}
	unit := func(u rune) {
		b = append(b, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	for _, r := range s {
		if short := shortEscape(r); short != 0 {
			b = append(b, '\\', short)
			continue
		}
		raw := utf8.AppendRune(nil, r)
		missing := r < ' '
		for _, c := range raw {
			missing = missing || !has[c]
		}
		switch {
		case !missing:
			b = append(b, raw...)
		case r > 0xFFFF:
			unit(0xD800 + (r-0x10000)>>10)
			unit(0xDC00 + (r-0x10000)&0x3FF)
		default:
			unit(r)
		}
	}
	return string(append(b, '"'))
}

// shortEscape is the letter that stands for r behind a backslash, 0 for none.
func shortEscape(r rune) byte {
	switch r {
	case '"', '\\':
		return byte(r)
	case '\b':
		return 'b'
	case '\f':
		return 'f'
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	case '\t':
		return 't'
	}
	return 0
}
