package tokenizer

import "strings"

// GPT-2's byte alphabet spells bytes as visible runes: bytes that print in
// Latin-1 as themselves, the other 68, in order, as U+0100 and on. A space is
// Ġ, a newline Ċ.

// runes is the rune of each byte.
var runes = func() (r [256]rune) {
	next := rune(0x100)
	for c := range r {
		switch {
		case '!' <= c && c <= '~', 0xA1 <= c && c <= 0xAC, 0xAE <= c:
			r[c] = rune(c)
		default:
			r[c] = next
			next++
		}
	}
	return r
}()

// byRune is the inverse, -1 where there is none.
var byRune = func() (b [0x144]int16) {
	for i := range b {
		b[i] = -1
	}
	for c, r := range runes {
		b[r] = int16(c)
	}
	return b
}()

// raw returns the bytes that a token spells. Runes outside the alphabet stand
// for themselves.
func raw(token string) string {
	var b strings.Builder
	for _, r := range token {
		if int(r) < len(byRune) && byRune[r] >= 0 {
			b.WriteByte(byte(byRune[r]))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
