package automaton

import "strings"

// Prose returns the automata of the texts that do not hold mark, and of those
// that hold it at their end only (Knuth, Morris and Pratt).
func Prose(mark string) (without, upTo *Table) {
	var c cuts
	c.each(mark)
	step := func(n int, b byte) (int, bool) {
		if n == len(mark) {
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
		accept: func(int) bool { return true },
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
