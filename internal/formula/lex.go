package formula

import (
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Mode says how numerals are written.
type Mode struct {
	Comma bool // a comma is the decimal sign and a point groups thousands
}

type class uint8

const (
	tNum   class = iota
	tIdent       // one letter, perhaps with a subscript
	tFunc        // a known function
	tWord        // prose
	tOp          // + - * / ^ ± and the like; text is the sign
	tRel
	tOpen
	tClose
	tBar   // |
	tComma // , or ;
	tSup   // raised, inner tokens
	tSub   // lowered, inner tokens
	tPost  // ! % ° '
	tCmd   // a LaTeX command with arguments of its own
	tBig   // ∫ Σ Π lim
	tDots  // …
	tArrow // → ⇒
	tBreak // the end of a sentence or line
	tSet   // ℝ
	tEnd   // \\ of a matrix
	tAmp   // & of a matrix
)

// A Token is one sign, numeral or word of a text.
type Token struct {
	class class
	text  string // as read: the relation, the function, the letter, the word
	rat   *big.Rat
	inner []Token
	start int
	end   int
	space bool // there is space, or an edge, before it
	dots  bool
	digs  int
	doubt bool
	math  bool // inside $…$ or another LaTeX fence
}

type lexer struct {
	s         string
	i         int
	mode      Mode
	out       []Token
	space     bool
	math      bool
	fence     string
	ambiguous bool // some numeral reads otherwise in the other mode
	depth     int
}

// lex turns s into tokens; base is added to every place.
func lex(s string, mode Mode, math bool, depth int) *lexer {
	l := &lexer{s: s, mode: mode, space: true, math: math, depth: depth}
	for l.i < len(l.s) {
		if !l.step() {
			_, n := utf8.DecodeRuneInString(l.s[l.i:])
			l.i += n
		}
	}
	if depth == 0 {
		l.words()
	}
	return l
}

func (l *lexer) emit(c class, text string, n int) *Token {
	l.out = append(l.out, Token{class: c, text: text, start: l.i, end: l.i + n, space: l.space, math: l.math})
	l.i += n
	l.space = false
	return &l.out[len(l.out)-1]
}

func (l *lexer) rest() string { return l.s[l.i:] }

func (l *lexer) prev() (Token, bool) {
	if len(l.out) == 0 {
		return Token{}, false
	}
	return l.out[len(l.out)-1], true
}

// step reads one token and reports whether it moved on.
func (l *lexer) step() bool {
	r, n := utf8.DecodeRuneInString(l.rest())
	switch {
	case r == '\n':
		l.newline()
		return true
	case unicode.IsSpace(r) || r == '\u200b' || r == '\u2060' || r == '\ufeff':
		l.i += n
		l.space = true
		return true
	case r >= '0' && r <= '9':
		l.number()
		return true
	case r == '\\':
		return l.latex()
	case r == '$':
		l.dollar()
		return true
	case r == '`':
		l.code()
		return true
	}
	if l.raised(r, n) || l.sign(r, n) {
		return true
	}
	if unicode.IsLetter(r) {
		l.word()
		return true
	}
	l.punctuation(r, n)
	return true
}

// newline ends a statement, unless the next line goes on with a relation.
func (l *lexer) newline() {
	rest := strings.TrimLeft(l.rest(), " \t\r\n")
	goesOn := l.math || l.depth > 0
	for _, sign := range []string{"=", "≈", "≤", "≥", "\\approx", "&=", "\\le", "\\ge"} {
		goesOn = goesOn || strings.HasPrefix(rest, sign)
	}
	if goesOn {
		l.i++
		l.space = true
		return
	}
	l.emit(tBreak, "\n", 1)
	l.space = true
	l.bullet()
}

// bullet skips what numbers or marks an item of a list: "- ", "1) ", "b. ".
func (l *lexer) bullet() {
	rest := l.rest()
	trimmed := strings.TrimLeft(rest, " \t>#")
	j := len(rest) - len(trimmed)
	k := 0
	for k < len(trimmed) && k < 3 && (trimmed[k] >= '0' && trimmed[k] <= '9' || k == 0 && unicode.IsLetter(rune(trimmed[k]))) {
		k++
	}
	switch {
	case strings.HasPrefix(trimmed, "- ") || strings.HasPrefix(trimmed, "* ") || strings.HasPrefix(trimmed, "+ "):
		l.i += j + 2
	case strings.HasPrefix(trimmed, "• ") || strings.HasPrefix(trimmed, "– "):
		l.i += j + 4
	case k > 0 && len(trimmed) > k+1 && (trimmed[k] == ')' || trimmed[k] == '.') && trimmed[k+1] == ' ':
		l.i += j + k + 2
	}
}

// code skips `code` and ```code```, which is not mathematics.
func (l *lexer) code() {
	fence := "`"
	if strings.HasPrefix(l.rest(), "```") {
		fence = "```"
	}
	end := strings.Index(l.s[l.i+len(fence):], fence)
	if end < 0 {
		l.emit(tBreak, fence, len(fence))
		if fence == "```" {
			l.i = len(l.s)
		}
		return
	}
	l.emit(tBreak, fence, 2*len(fence)+end)
}

func (l *lexer) dollar() {
	n := 1
	if strings.HasPrefix(l.rest(), "$$") {
		n = 2
	}
	if !l.math {
		// A price is no fence: a dollar before a number, with no dollar to close it on the line.
		line, _, _ := strings.Cut(l.s[l.i+n:], "\n")
		if n == 1 && !strings.Contains(line, "$") {
			l.emit(tWord, "$", 1)
			return
		}
		l.fence = l.s[l.i : l.i+n]
	}
	l.math = !l.math
	l.i += n
	l.space = true
}

var superscripts = map[rune]string{
	'⁰': "0", '¹': "1", '²': "2", '³': "3", '⁴': "4", '⁵': "5", '⁶': "6", '⁷': "7", '⁸': "8", '⁹': "9",
	'⁺': "+", '⁻': "-", '⁽': "(", '⁾': ")", 'ⁿ': "n", 'ˣ': "x", 'ʸ': "y", 'ᵃ': "a", 'ᵇ': "b", 'ᶜ': "c", 'ᵏ': "k", 'ᵐ': "m", 'ᵗ': "t", '⸍': "/",
}

var subscripts = map[rune]string{
	'₀': "0", '₁': "1", '₂': "2", '₃': "3", '₄': "4", '₅': "5", '₆': "6", '₇': "7", '₈': "8", '₉': "9",
	'₊': "+", '₋': "-", '₍': "(", '₎': ")", 'ₙ': "n", 'ₓ': "x", 'ₐ': "a", 'ₖ': "k", 'ₘ': "m", 'ᵢ': "i", 'ⱼ': "j", '₌': "=",
}

// raised reads a run of superscripts or subscripts as one token.
func (l *lexer) raised(r rune, _ int) bool {
	table, c := superscripts, tSup
	if _, ok := table[r]; !ok {
		table, c = subscripts, tSub
		if _, ok := table[r]; !ok {
			return false
		}
	}
	var inner strings.Builder
	n := 0
	for _, r := range l.rest() {
		plain, ok := table[r]
		if !ok {
			break
		}
		inner.WriteString(plain)
		n += utf8.RuneLen(r)
	}
	t := l.emit(c, inner.String(), n)
	t.inner = lex(inner.String(), Mode{}, true, l.depth+1).out
	return true
}

var signs = map[rune]struct {
	c    class
	text string
}{
	'+': {tOp, "+"}, '−': {tOp, "-"}, '-': {tOp, "-"}, '–': {tOp, "-"}, '·': {tOp, "*"}, '×': {tOp, "*"}, '∙': {tOp, "*"}, '⋅': {tOp, "*"},
	'÷': {tOp, ":"}, '/': {tOp, "/"}, '∕': {tOp, "/"}, '⁄': {tOp, "/"}, '^': {tOp, "^"}, '±': {tOp, "±"}, '∓': {tOp, "∓"},
	'∪': {tOp, "∪"}, '∩': {tOp, "∩"}, '∖': {tOp, "∖"}, '√': {tCmd, "sqrt"}, '∛': {tCmd, "cbrt"}, '∜': {tCmd, "4rt"},
	'≠': {tRel, "≠"}, '≤': {tRel, "≤"}, '≥': {tRel, "≥"}, '⩽': {tRel, "≤"}, '⩾': {tRel, "≥"}, '≈': {tRel, "≈"}, '≃': {tRel, "≈"}, '≅': {tRel, "≈"},
	'∈': {tRel, "∈"}, '∉': {tRel, "∉"}, '⊂': {tRel, "⊂"}, '⊆': {tRel, "⊂"}, '≡': {tRel, "≡"},
	'(': {tOpen, "("}, '[': {tOpen, "["}, '{': {tOpen, "{"}, ')': {tClose, ")"}, ']': {tClose, "]"}, '}': {tClose, "}"},
	'|': {tBar, "|"}, '∣': {tBar, "|"}, '°': {tPost, "°"}, 'º': {tPost, "°"}, '%': {tPost, "%"}, '′': {tPost, "'"}, '″': {tPost, "''"}, '’': {tPost, "'"}, '\'': {tPost, "'"},
	'∞': {tIdent, "∞"}, '∫': {tBig, "∫"}, '∑': {tBig, "Σ"}, '∏': {tBig, "Π"}, '∅': {tIdent, "∅"}, '…': {tDots, "…"},
	'→': {tArrow, "→"}, '⇒': {tArrow, "⇒"}, '⟹': {tArrow, "⇒"}, '⇔': {tArrow, "⇒"}, '⟺': {tArrow, "⇒"}, '∴': {tArrow, "⇒"}, '↔': {tArrow, "⇒"},
	'ℕ': {tSet, "N"}, 'ℤ': {tSet, "Z"}, 'ℚ': {tSet, "Q"}, 'ℝ': {tSet, "R"}, 'ℂ': {tSet, "C"}, '&': {tAmp, "&"}, '!': {tPost, "!"}, 'π': {tIdent, "π"},
	'∧': {tWord, "y"}, '∨': {tWord, "o"},
}

var vulgar = map[rune][2]int64{
	'½': {1, 2}, '⅓': {1, 3}, '⅔': {2, 3}, '¼': {1, 4}, '¾': {3, 4}, '⅕': {1, 5}, '⅖': {2, 5}, '⅗': {3, 5}, '⅘': {4, 5},
	'⅙': {1, 6}, '⅚': {5, 6}, '⅛': {1, 8}, '⅜': {3, 8}, '⅝': {5, 8}, '⅞': {7, 8},
}

// sign reads a mathematical sign.
func (l *lexer) sign(r rune, n int) bool {
	if v, ok := vulgar[r]; ok {
		t := l.emit(tNum, string(r), n)
		t.rat, t.digs = big.NewRat(v[0], v[1]), -1
		if p := len(l.out) - 2; p >= 0 && l.out[p].class == tNum { // 2½
			t.doubt = true
		}
		return true
	}
	rest := l.rest()
	for _, two := range []string{"<=", ">=", "!=", "==", "=<", "=>", "->", "...", "**", "<>", "~="} {
		if strings.HasPrefix(rest, two) {
			return l.double(two)
		}
	}
	switch r {
	case '=', '<', '>':
		l.emit(tRel, string(r), n)
		return true
	case '*':
		l.star()
		return true
	case '_':
		return l.lowered()
	case '^':
		for _, ring := range []string{"^\\circ", "^{\\circ}", "^\\degree"} {
			if strings.HasPrefix(rest, ring) {
				l.emit(tPost, "°", len(ring)).space = false
				return true
			}
		}
	case '{', '}':
		if l.math || strings.HasPrefix(rest, "{,}") {
			l.emit(signs[r].c, signs[r].text, n)
			return true
		}
	}
	s, ok := signs[r]
	if !ok {
		return false
	}
	l.emit(s.c, s.text, n)
	return true
}

func (l *lexer) double(two string) bool {
	switch two {
	case "=>", "->":
		l.emit(tArrow, "⇒", 2)
		if two == "->" {
			l.out[len(l.out)-1].text = "→"
		}
	case "...":
		l.emit(tDots, "…", 3)
	case "**":
		p, ok := l.prev()
		next := byte(' ')
		if l.i+2 < len(l.s) {
			next = l.s[l.i+2]
		}
		operand := ok && !l.space && (p.class == tNum || p.class == tIdent || p.class == tClose || p.class == tWord && len(p.text) == 1)
		if operand && (next == '(' || next == '-' || next >= '0' && next <= '9' || next >= 'a' && next <= 'z') {
			l.emit(tOp, "^", 2)
			return true
		}
		l.i += 2 // bold
	default:
		l.emit(tRel, relations[two], 2)
	}
	return true
}

// star is a product between operands, and otherwise markup.
func (l *lexer) star() {
	p, ok := l.prev()
	operand := ok && (p.class == tNum || p.class == tIdent || p.class == tClose || p.class == tWord || p.class == tSup || p.class == tPost)
	next := l.i+1 < len(l.s) && l.s[l.i+1] == ' '
	if operand && l.space == next {
		l.emit(tOp, "*", 1)
		return
	}
	l.i++
}

// lowered reads _1, _{12} and, outside LaTeX too, a_n.
func (l *lexer) lowered() bool {
	rest := l.s[l.i+1:]
	body, n := "", 0
	switch {
	case strings.HasPrefix(rest, "{"):
		n = matching(rest)
		if n < 0 {
			return false
		}
		body = rest[1:n]
		n++
	default:
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || n == 0 && rest[n] >= 'a' && rest[n] <= 'z') {
			n++
		}
		if n > 0 && (rest[0] > '9' || l.math) {
			n = 1
		}
		body = rest[:n]
	}
	if n == 0 || l.depth > 8 {
		return false
	}
	base := l.i + len(l.rest()) - len(rest)
	t := l.emit(tSub, body, n+1)
	t.inner = shifted(lex(body, l.mode, true, l.depth+1).out, base+strings.Index(rest[:n], body))
	return true
}

func shifted(ts []Token, by int) []Token {
	for i := range ts {
		ts[i].start += by
		ts[i].end += by
		if ts[i].class != tSup {
			shifted(ts[i].inner, by)
		}
	}
	return ts
}

// matching is the place of the brace that closes the one s begins with, or -1.
func matching(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			depth--
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}

// punctuation ends statements; a colon with room on both sides divides.
func (l *lexer) punctuation(r rune, n int) {
	after, _ := utf8.DecodeRuneInString(l.s[l.i+n:])
	p, ok := l.prev()
	operand := ok && (p.class == tNum || p.class == tClose || p.class == tIdent || p.class == tSup || p.class == tPost || p.class == tBar)
	digit := unicode.IsDigit(after)
	switch {
	case r == ',' || r == ';':
		l.emit(tComma, string(r), n)
	case r == ':' && operand && l.space && after == ' ':
		l.emit(tOp, ":", n)
	case r == ':' && operand && !l.space && digit && p.class == tNum:
		t := l.emit(tOp, ":", n)
		t.doubt = len(l.s) > t.end+1 && unicode.IsDigit(rune(l.s[t.end+1])) // 12:30
	case r == '.' && l.space && after == ' ' && operand:
		l.emit(tOp, "*", n).doubt = true
	case r == '€' || r == '£':
		l.emit(tWord, string(r), n)
	default:
		l.emit(tBreak, string(r), n)
		if r == '¡' || r == '¿' || r == '"' || r == '«' || r == '“' {
			l.space = true
		}
	}
}
