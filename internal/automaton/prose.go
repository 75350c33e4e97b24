package automaton

import "strings"

// Foreign is the first of the bytes that no text in UTF-8 holds, up to 0xFF.
// Marks that are no text are written with them.
const Foreign = 0xf8

// Prose returns the automata of the texts that do not hold mark, and of those
// that hold it at their end only (Knuth, Morris and Pratt). Foreign bytes come in
// the mark only, and a mark that begins with one is not left half written.
func Prose(mark string) (without, upTo *Table) {
	var c cuts
	c.each(mark)
	c.add(Foreign, 0xff)
	foreign := mark[0] >= Foreign
	step := func(n int, b byte) (int, bool) {
		if n == len(mark) || foreign && n > 0 && b != mark[n] || b >= Foreign && b != mark[n] {
			return 0, false
		}
		seen := mark[:n] + string([]byte{b})
		for !strings.HasPrefix(mark, seen) {
			seen = seen[1:]
		}
		return len(seen), true
	}
	without, _ = build(rules[int]{
		cuts:   c,
		step:   func(n int, b byte) (int, bool) { n, ok := step(n, b); return n, ok && n < len(mark) },
		accept: func(n int) bool { return n == 0 || !foreign },
	}, &every)
	upTo, _ = build(rules[int]{cuts: c, step: step, accept: func(n int) bool { return n == len(mark) }}, &every)
	return without, upTo
}

// ProseBefore is the automaton of the texts whose first character that is not
// blank is not mark.
func ProseBefore(mark byte) *Table {
	var c cuts
	c.each(" \n\t\r" + string(rune(mark)))
	t, _ := build(rules[bool]{
		cuts: c,
		step: func(begun bool, b byte) (bool, bool) {
			blank := b == ' ' || b == '\n' || b == '\t' || b == '\r'
			return begun || !blank, begun || b != mark
		},
		accept: func(bool) bool { return true },
	}, &every)
	return t
}
