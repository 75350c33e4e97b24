package data

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"afina/internal/fault"
)

// place is where a byte lies in the file, both from 1.
type place struct{ line, column int }

// scanner reads JSON (RFC 8259) byte by byte, so that every finding has its
// place and a file of any size takes the memory of one conversation. In lines
// mode a newline ends a value.
type scanner struct {
	in     *bufio.Reader
	at     place
	total  int64 // bytes read
	limits Limits
	lines  bool
	depth  int

	size     int  // bytes of the current conversation
	tooLong  bool // size is over the limit: strings are no longer kept
	onLong   func()
	report   func(at place, code, format string, args ...any)
	failure  error // of the file, not of its content
	buf      []byte
	finished bool // the file has ended
}

// errBroken says that the JSON itself is broken here and was reported.
var errBroken = errors.New("broken JSON")

// maxDepth holds where Limits sets no depth: the scanner recurses.
const maxDepth = 1000

// peek returns the next byte; ok is false at the end of the file and, in lines
// mode, of the line.
func (s *scanner) peek() (c byte, ok bool) {
	if s.finished {
		return 0, false
	}
	b, err := s.in.Peek(1)
	if err != nil {
		s.finished = true
		if !errors.Is(err, io.EOF) {
			s.failure = fmt.Errorf("read dataset: %w", err)
		}
		return 0, false
	}
	return b[0], !s.lines || b[0] != '\n'
}

// next consumes the byte that peek returned.
func (s *scanner) next() {
	c, err := s.in.ReadByte()
	if err != nil {
		return
	}
	s.count(1)
	s.at.column++
	if c == '\n' {
		s.at = place{s.at.line + 1, 1}
	}
}

// count adds n bytes to what was read and to the current conversation.
func (s *scanner) count(n int) {
	s.total += int64(n)
	if s.limits.Bytes > 0 && s.total > s.limits.Bytes && s.failure == nil {
		s.failure = fault.New(fault.TooLarge, "the dataset has more than %d bytes; send less, or raise the limit of the service", s.limits.Bytes).
			WithCode("payload_too_large")
		s.finished = true
	}
	s.size += n
	if s.limits.LineBytes > 0 && s.size > s.limits.LineBytes && !s.tooLong {
		s.tooLong = true
		s.onLong()
	}
}

// skipLine consumes the rest of the line, its end included.
func (s *scanner) skipLine() {
	for !s.finished {
		b, err := s.in.ReadSlice('\n')
		s.count(len(b))
		s.at.column += len(b)
		switch {
		case err == nil:
			s.at = place{s.at.line + 1, 1}
			return
		case !errors.Is(err, bufio.ErrBufferFull):
			s.peek() // notes the end or the failure
			s.finished = true
		}
	}
}

// blanks skips white space, in lines mode inside the line only.
func (s *scanner) blanks() {
	for {
		c, ok := s.peek()
		if !ok || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return
		}
		s.next()
	}
}

// broken reports what is there instead of what should be.
func (s *scanner) broken(want string) error {
	if s.failure != nil {
		return s.failure
	}
	c, ok := s.peek()
	switch {
	case s.failure != nil:
		return s.failure
	case !ok && s.finished:
		s.report(s.at, "invalid_json", "the file ends where %s should be", want)
	case !ok:
		s.report(s.at, "invalid_json", "the line ends where %s should be; in JSON Lines every conversation is whole on one line", want)
	case c < ' ' || c >= 0x7F:
		s.report(s.at, "invalid_json", "found the byte 0x%02X where %s should be", c, want)
	default:
		s.report(s.at, "invalid_json", "found %q where %s should be", c, want)
	}
	return errBroken
}

// expect consumes one given byte after blanks.
func (s *scanner) expect(want byte) error {
	s.blanks()
	if c, ok := s.peek(); !ok || c != want {
		return s.broken(fmt.Sprintf("%q", want))
	}
	s.next()
	return nil
}

// enter consumes the opening of an array or object.
func (s *scanner) enter() error {
	s.depth++
	limit := s.limits.Depth
	if limit <= 0 || limit > maxDepth {
		limit = maxDepth
	}
	if s.depth > limit {
		s.report(s.at, "json_too_deep", "arrays and objects are nested more than %d deep", limit)
		return errBroken
	}
	s.next()
	return nil
}

// array hands each element to element, which must consume it. The opening
// bracket is next.
func (s *scanner) array(element func(i int) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		s.blanks()
		c, ok := s.peek()
		switch {
		case ok && c == ']' && i == 0:
			s.next()
			s.depth--
			return nil
		case ok && c == ']':
			return s.broken("another element after the comma")
		}
		if err := element(i); err != nil {
			return err
		}
		s.blanks()
		switch c, ok := s.peek(); {
		case ok && c == ',':
			s.next()
		case ok && c == ']':
			s.next()
			s.depth--
			return nil
		default:
			return s.broken("a comma or ']'")
		}
	}
}

// object hands each field to field, which must consume its value. The opening
// brace is next.
func (s *scanner) object(field func(name string, at place) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		s.blanks()
		c, ok := s.peek()
		if ok && c == '}' && i == 0 {
			s.next()
			s.depth--
			return nil
		}
		if !ok || c != '"' {
			return s.broken("a field name in double quotes")
		}
		at := s.at
		name, err := s.text()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		s.blanks()
		if err := field(name, at); err != nil {
			return err
		}
		s.blanks()
		switch c, ok := s.peek(); {
		case ok && c == ',':
			s.next()
		case ok && c == '}':
			s.next()
			s.depth--
			return nil
		default:
			return s.broken("a comma or '}'")
		}
	}
}

// skip consumes a value of any kind and returns what it was, with its article.
func (s *scanner) skip() (kind string, err error) {
	c, _ := s.peek()
	switch {
	case c == '{':
		return "an object", s.object(func(string, place) error { _, err := s.skip(); return err })
	case c == '[':
		return "an array", s.array(func(int) error { _, err := s.skip(); return err })
	case c == '"':
		_, err := s.text()
		return "a string", err
	case c == 't':
		return "a boolean", s.word("true")
	case c == 'f':
		return "a boolean", s.word("false")
	case c == 'n':
		return "null", s.word("null")
	case c == '-' || '0' <= c && c <= '9':
		return "a number", s.number()
	}
	return "", s.broken("a value")
}

func (s *scanner) word(w string) error {
	for i := range len(w) {
		if c, ok := s.peek(); !ok || c != w[i] {
			return s.broken("the rest of " + w)
		}
		s.next()
	}
	return nil
}

// number consumes a number by the grammar.
func (s *scanner) number() error {
	if c, _ := s.peek(); c == '-' {
		s.next()
	}
	if c, _ := s.peek(); c == '0' {
		s.next()
	} else if !s.digits() {
		return s.broken("a digit")
	}
	if c, _ := s.peek(); c == '.' {
		s.next()
		if !s.digits() {
			return s.broken("a digit")
		}
	}
	if c, _ := s.peek(); c == 'e' || c == 'E' {
		s.next()
		if c, _ := s.peek(); c == '+' || c == '-' {
			s.next()
		}
		if !s.digits() {
			return s.broken("a digit")
		}
	}
	return nil
}

func (s *scanner) digits() (any bool) {
	for {
		c, ok := s.peek()
		if !ok || c < '0' || c > '9' {
			return any
		}
		s.next()
		any = true
	}
}

// text consumes a string, whose quote is next, and returns its value. Bytes and
// escapes that are not Unicode are reported, once per string.
func (s *scanner) text() (string, error) {
	s.next()
	s.buf = s.buf[:0]
	told := false
	bad := func(at place, format string, args ...any) {
		if !told {
			s.report(at, "invalid_utf8", format, args...)
		}
		told = true
	}
	for {
		at := s.at
		c, ok := s.peek()
		switch {
		case !ok:
			return "", s.broken("the closing quote of a string")
		case c == '"':
			s.next()
			return string(s.buf), nil
		case c < ' ':
			return "", s.broken("a character of a string (control characters are written as \\n, \\t or \\u00XX)")
		case c == '\\':
			r, err := s.escape(at, bad)
			if err != nil {
				return "", err
			}
			s.put(r)
		case c < utf8.RuneSelf:
			s.next()
			s.put(rune(c))
		default:
			s.put(s.runeAt(at, bad))
		}
	}
}

// put keeps one rune of a string.
func (s *scanner) put(r rune) {
	if !s.tooLong {
		s.buf = utf8.AppendRune(s.buf, r)
	}
}

// runeAt consumes one rune beyond ASCII.
func (s *scanner) runeAt(at place, bad func(place, string, ...any)) rune {
	b, _ := s.in.Peek(utf8.UTFMax)
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n == 1 {
		bad(at, "the byte 0x%02X is not UTF-8; save the file as UTF-8", b[0])
	}
	for range n {
		s.next()
	}
	return r
}

// escape consumes an escape sequence; the backslash is next.
func (s *scanner) escape(at place, bad func(place, string, ...any)) (rune, error) {
	s.next()
	c, ok := s.peek()
	if !ok {
		return 0, s.broken("an escape sequence")
	}
	if c != 'u' {
		for i, from := range []byte(`"\/bfnrt`) {
			if c == from {
				s.next()
				return rune("\"\\/\b\f\n\r\t"[i]), nil
			}
		}
		return 0, s.broken(`one of " \ / b f n r t u after a backslash`)
	}
	r, err := s.hex()
	if err != nil {
		return 0, err
	}
	if utf16.IsSurrogate(r) {
		low := rune(utf8.RuneError)
		if b, _ := s.in.Peek(2); string(b) == `\u` {
			s.next()
			if low, err = s.hex(); err != nil {
				return 0, err
			}
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			bad(at, "half a surrogate pair is not a character; write both halves, or the character itself")
		}
	}
	if r == 0 {
		bad(at, "the text has a NUL character; take it out")
	}
	return r, nil
}

// hex consumes u and four hexadecimal digits.
func (s *scanner) hex() (rune, error) {
	s.next()
	var r rune
	for range 4 {
		c, ok := s.peek()
		switch {
		case ok && '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case ok && 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, s.broken("four hexadecimal digits")
		}
		s.next()
	}
	return r, nil
}
