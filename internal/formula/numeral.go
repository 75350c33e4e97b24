package formula

import (
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

func digit(c byte) bool { return c >= '0' && c <= '9' }

// run is how many digits s begins with.
func run(s string) int {
	n := 0
	for n < len(s) && digit(s[n]) {
		n++
	}
	return n
}

// mark is the decimal or grouping sign s begins with, and its length: a comma,
// a point, or the {,} of LaTeX.
func mark(s string) (byte, int) {
	switch {
	case strings.HasPrefix(s, "{,}"):
		return ',', 3
	case strings.HasPrefix(s, ",") || strings.HasPrefix(s, "."):
		return s[0], 1
	}
	return 0, 0
}

// thin is the length of a space that groups thousands, or 0.
func thin(s string) int {
	for _, sp := range []string{"\\,", "\u202f", "\u2009", "\u00a0", " "} {
		if strings.HasPrefix(s, sp) {
			return len(sp)
		}
	}
	return 0
}

// number reads a numeral in the lexer's mode and notes whether the other mode
// would read it otherwise.
func (l *lexer) number() {
	s := l.rest()
	n := run(s)
	whole, frac := s[:n], ""
	doubt := false
	sign, size := mark(s[n:])
	group := byte('.')
	if !l.mode.Comma {
		group = ','
	}
	k := run(s[n+size:])
	switch {
	case size > 0 && k > 0:
		whole, frac, n = l.marked(s, n, sign, group)
	case n <= 3:
		whole, n, doubt = spaced(s, n)
	}
	l.numeral(s, whole, frac, n, doubt)
}

// marked reads a numeral with at least one point or comma in it.
func (l *lexer) marked(s string, n int, sign, group byte) (whole, frac string, end int) {
	whole = s[:n]
	groups := n <= 3 && s[0] != '0'
	end = n
	count := 0
	for {
		c, size := mark(s[end:])
		if size == 0 || c != sign || run(s[end+size:]) != 3 || !groups {
			break
		}
		count++
		whole += s[end+size : end+size+3]
		end += size + 3
	}
	c, size := mark(s[end:])
	k := 0
	if size > 0 {
		k = run(s[end+size:])
	}
	switch {
	case count > 1 || count == 1 && k > 0 && c != sign: // 1.234.567 or 1.234,5: no doubt
		if k > 0 && c != sign {
			return whole, s[end+size : end+size+k], end + size + k
		}
		return whole, "", end
	case count == 1 && k == 0: // 1.234: a group, or three places
		l.ambiguous = true
		if sign == group {
			return whole, "", end
		}
		return s[:n], whole[n:], end
	}
	_, size = mark(s[n:])
	k = run(s[n+size:])
	if c, more := mark(s[n+size+k:]); sign == ',' && c == '.' && k != 3 && run(s[n+size+k+more:]) > 0 {
		return s[:n], "", n // (1,4.5) is a pair
	}
	if c, more := mark(s[n+size+k:]); more > 0 && run(s[n+size+k+more:]) > 0 && c == sign {
		if sign == '.' { // 1.2.3 is a version
			return "", "", n
		}
		l.ambiguous = true
		return s[:n], "", n // 1,2,3 is a list
	}
	if sign == ',' {
		if !l.mode.Comma {
			l.ambiguous = true
			return s[:n], "", n
		}
		if open, filled := l.bracketed(s, n+size+k); filled {
			if open == "[" || s[n+size+k] == ']' { // [2,3] is an interval
				return s[:n], "", n
			}
			l.ambiguous = true
		}
	}
	return s[:n], s[n+size : n+size+k], n + size + k
}

// bracketed reports whether the numeral, perhaps with a sign, fills brackets,
// where 2,3 is as likely a pair, and which bracket opens.
func (l *lexer) bracketed(s string, end int) (open string, filled bool) {
	if end >= len(s) || !strings.ContainsRune(")]}", rune(s[end])) {
		return "", false
	}
	k := len(l.out) - 1
	if k >= 0 && l.out[k].class == tOp && l.out[k].text == "-" {
		k--
	}
	if k < 0 || l.out[k].class != tOpen && l.out[k].class != tComma {
		return "", false
	}
	return l.out[k].text, true
}

// spaced reads 10 000, with a thin or a plain space.
func spaced(s string, n int) (whole string, end int, doubt bool) {
	whole, end = s[:n], n
	for {
		sp := thin(s[end:])
		if sp == 0 || run(s[end+sp:]) != 3 || s[0] == '0' {
			return whole, end, doubt
		}
		doubt = doubt || s[end] == ' '
		whole += s[end+sp : end+sp+3]
		end += sp + 3
	}
}

const longest = 400 // digits of a numeral

func (l *lexer) numeral(s, whole, frac string, n int, doubt bool) {
	if whole == "" || len(whole)+len(frac) > longest { // a version, or no number to reckon with
		for n < len(s) && (digit(s[n]) || s[n] == '.') {
			n++
		}
		l.emit(tWord, s[:n], n)
		return
	}
	if r, size := utf8.DecodeRuneInString(s[n:]); r == '.' && n+size < len(s) && digit(s[n+size]) && frac != "" {
		l.emit(tWord, s[:n], n)
		return
	}
	rat, ok := new(big.Rat).SetString(whole + "." + frac + "0")
	if !ok {
		l.emit(tWord, s[:n], n)
		return
	}
	t := l.emit(tNum, s[:n], n)
	t.rat, t.digs, t.doubt = rat, len(frac), doubt
	if frac == "" {
		t.digs = -1
	}
	l.dots(t, whole, frac)
}

// dots reads the … after a decimal: 0,333… repeats, 3,14159… is cut.
func (l *lexer) dots(t *Token, whole, frac string) {
	rest := l.rest()
	n := 0
	for _, d := range []string{"…", "...", "\\ldots", "\\dots"} {
		if strings.HasPrefix(rest, d) {
			n = len(d)
		}
	}
	if n == 0 || frac == "" {
		return
	}
	l.i += n
	t.end = l.i
	for p := 1; 2*p <= len(frac); p++ {
		for lead := 0; lead+3*p <= len(frac) && lead <= 2; lead++ { // e is 2,718281828…: twice is not enough
			if tail := frac[lead:]; periodic(tail, p) {
				t.rat, t.digs = repeating(whole, frac[:lead], tail[:p]), -1
				return
			}
		}
	}
	t.dots = true
}

func periodic(s string, p int) bool {
	for i := p; i < len(s); i++ {
		if s[i] != s[i-p] {
			return false
		}
	}
	return true
}

// repeating is whole.lead(period)(period)…
func repeating(whole, lead, period string) *big.Rat {
	all, _ := new(big.Int).SetString(whole+lead+period, 10)
	head, _ := new(big.Int).SetString(whole+lead, 10)
	nines := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(period))), nil)
	nines.Sub(nines, big.NewInt(1))
	nines.Mul(nines, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(lead))), nil))
	return new(big.Rat).SetFrac(all.Sub(all, head), nines)
}

func letters(s string) int {
	n := 0
	for _, r := range s {
		if !unicode.IsLetter(r) || superscripts[r] != "" || subscripts[r] != "" || r == 'π' || r == 'ℝ' || r == 'ℕ' || r == 'ℤ' || r == 'ℚ' || r == 'ℂ' {
			break
		}
		n += utf8.RuneLen(r)
	}
	return n
}
