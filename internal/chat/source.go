package chat

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A template is taken apart here, not by the engine: the engine's own ideas of
// which blanks around tags count are not Jinja's. It gets a source in which
// every text is a quoted value and the tags have no signs left.

// piece is a stretch of a template: text, {{ value }} or {% statement %}.
type piece struct {
	kind byte   // 't', '{' or '%'
	text string // without the delimiters
}

var (
	rawBegin = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(-?)%\}`)
	rawEnd   = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*([-+]?)%\}`)
)

// takeApart cuts a source into pieces by the rules of Jinja's lexer with
// trim_blocks and lstrip_blocks, as transformers sets them
// (https://jinja.palletsprojects.com/en/stable/templates/#whitespace-control):
// a statement or comment takes the newline behind it and, alone at the start of
// a line, the blanks before it; a minus takes all blanks on its side, a plus
// none. The last newline of a source does not count.
func takeApart(source string) ([]piece, error) {
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	l := lexing{rest: strings.TrimSuffix(source, "\n"), lineStart: true}
	for l.rest != "" {
		if err := l.step(); err != nil {
			return nil, err
		}
	}
	return l.pieces, nil
}

// lexing is a source on its way through takeApart.
type lexing struct {
	rest      string
	lineStart bool // rest begins a line, or what was before it ended one
	pieces    []piece
}

func (l *lexing) add(kind byte, text string) {
	if text != "" || kind != 't' {
		l.pieces = append(l.pieces, piece{kind, text})
	}
}

// step takes the text up to the next tag, and the tag.
func (l *lexing) step() error {
	at := -1
	for i := range len(l.rest) - 1 {
		if l.rest[i] == '{' && strings.IndexByte("{%#", l.rest[i+1]) >= 0 {
			at = i
			break
		}
	}
	if at < 0 {
		l.add('t', l.rest)
		l.rest = ""
		return nil
	}
	text, tag := l.rest[:at], l.rest[at:]
	kind := tag[1]
	inner, sign := tag[2:], byte(0)
	if inner != "" && (inner[0] == '-' || inner[0] == '+') {
		sign, inner = inner[0], inner[1:]
	}
	l.add('t', l.before(text, kind, sign))
	if m := rawBegin.FindStringSubmatch(tag); m != nil {
		return l.raw(tag[len(m[0]):], m[1] == "-")
	}
	body, size, err := tagBody(inner, kind)
	if err != nil {
		return fmt.Errorf("%w: %.40q", err, tag)
	}
	if kind != '#' {
		l.add(kind, body)
	}
	closer := inner[size]
	rest := inner[size+2:]
	if closer == '-' || closer == '+' {
		rest = rest[1:]
	}
	l.after(rest, kind, closer)
	return nil
}

// before returns what is left of the text before a tag.
func (l *lexing) before(text string, kind, sign byte) string {
	switch {
	case sign == '-':
		return strings.TrimRight(text, blankRunes)
	case sign == '+' || kind == '{':
		return text
	}
	line := strings.LastIndexByte(text, '\n') + 1
	if (line > 0 || l.lineStart) && strings.Trim(text[line:], blankRunes) == "" {
		return text[:line]
	}
	return text
}

// after sets rest, less what the tag before it takes.
func (l *lexing) after(rest string, kind, sign byte) {
	l.rest, l.lineStart = rest, false
	switch {
	case sign == '-':
		l.rest = strings.TrimLeft(rest, blankRunes)
		l.lineStart = strings.HasSuffix(rest[:len(rest)-len(l.rest)], "\n")
	case sign != '+' && kind != '{':
		l.rest, l.lineStart = strings.CutPrefix(rest, "\n")
	}
}

// raw takes text in which tags are text.
func (l *lexing) raw(rest string, trim bool) error {
	if trim {
		rest = strings.TrimLeft(rest, blankRunes)
	}
	m := rawEnd.FindStringSubmatchIndex(rest)
	if m == nil {
		return fmt.Errorf("a raw block is not closed")
	}
	sign := func(i int) byte {
		if m[i] == m[i+1] {
			return 0
		}
		return rest[m[i]]
	}
	l.lineStart = false
	l.add('t', l.before(rest[:m[0]], '%', sign(2)))
	l.after(rest[m[1]:], '%', sign(4))
	return nil
}

// blankRunes is what Jinja's \s and Python's rstrip take in templates.
const blankRunes = " \t\n\r\f\v\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\x1c\x1d\x1e\x1f"

// tagBody returns what is in a tag whose inside s begins with, and where its
// closer begins, a sign included. Quotes are rewritten for the engine, and
// closing braces kept apart so that they close no tag.
func tagBody(s string, kind byte) (body string, size int, err error) {
	closer := map[byte]string{'{': "}}", '%': "%}", '#': "#}"}[kind]
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); {
		c := s[i]
		if depth <= 0 || kind == '#' {
			signed := (c == '-' || c == '+' && kind != '{') && strings.HasPrefix(s[i+1:], closer)
			if signed || strings.HasPrefix(s[i:], closer) {
				return b.String(), i, nil
			}
		}
		switch {
		case kind == '#':
		case c == '\'' || c == '"':
			text, n := quotation(s[i:])
			if n == 0 {
				return "", 0, fmt.Errorf("a string is not closed")
			}
			b.WriteString(quote(text))
			i += n
			continue
		case c == '{' || c == '[' || c == '(':
			depth++
		case c == '}' || c == ']' || c == ')':
			depth--
			b.WriteByte(c)
			c = ' '
		}
		b.WriteByte(c)
		i++
	}
	return "", 0, fmt.Errorf("a tag is not closed")
}

// quotation reads a string literal by Python's escapes, and its length.
func quotation(s string) (text string, n int) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			return b.String(), i + 1
		case c == '\\' && i+1 < len(s):
			r, size := escape(s[i+1:])
			b.WriteString(r)
			i += size
		default:
			b.WriteByte(c)
		}
	}
	return "", 0
}

// escape reads what follows a backslash. An unknown escape stands for itself.
func escape(s string) (text string, n int) {
	if i := strings.IndexByte("ntrabfv\\'\"\n", s[0]); i >= 0 {
		return []string{"\n", "\t", "\r", "\a", "\b", "\f", "\v", "\\", "'", "\"", ""}[i], 1
	}
	if n = map[byte]int{'x': 3, 'u': 5, 'U': 9}[s[0]]; n > 0 && n <= len(s) {
		if r, err := strconv.ParseUint(s[1:n], 16, 32); err == nil && utf8.ValidRune(rune(r)) {
			return string(rune(r)), n
		}
	}
	_, n = utf8.DecodeRuneInString(s)
	return `\` + s[:n], n
}

// quote writes a string literal that the engine reads as s.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
