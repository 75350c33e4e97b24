package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Decode returns the text of ids.
func (t *Tokenizer) Decode(ids []int32) string {
	d := t.NewDecoder()
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(d.Next(id))
	}
	b.WriteString(d.Flush())
	return b.String()
}

// Decoder turns a stream of ids into text, holding back half-finished runes.
type Decoder struct {
	t     *Tokenizer
	held  []byte // the beginning of a rune
	space bool   // the space that Encode put before the text is still to come
}

// NewDecoder returns a decoder for one stream.
func (t *Tokenizer) NewDecoder() *Decoder { return &Decoder{t: t, space: t.space} }

// Continue returns a decoder for what follows prompt: the space that is put
// before text after a special token is not put before text that goes on.
func (t *Tokenizer) Continue(prompt []int32) *Decoder {
	d := t.NewDecoder()
	if n := len(prompt); n > 0 && t.known(prompt[n-1]) {
		d.space = t.space && t.whole(prompt[n-1])
	}
	return d
}

// whole reports whether id stands for itself, whatever the text around it.
func (t *Tokenizer) whole(id int32) bool {
	switch t.kinds[id] {
	case control, unknown, userDefined:
		return true
	}
	return false
}

// Next takes one more id and returns the text that is complete now.
func (d *Decoder) Next(id int32) string {
	if !d.t.known(id) {
		return ""
	}
	s := d.t.output[id]
	switch {
	case d.t.whole(id):
		d.space = d.t.space
	case d.space && s != "":
		s = strings.TrimPrefix(s, " ")
		d.space = false
	}
	d.held = append(d.held, s...)
	return d.take(false)
}

// Flush returns what is still held back, with U+FFFD for broken runes.
func (d *Decoder) Flush() string { return d.take(true) }

// take returns the runes held, each broken stretch as one U+FFFD; a beginning
// of a rune at the end stays unless this is the last call.
func (d *Decoder) take(last bool) string {
	if utf8.Valid(d.held) {
		s := string(d.held)
		d.held = d.held[:0]
		return s
	}
	var b strings.Builder
	p := d.held
	for len(p) > 0 {
		if !last && !utf8.FullRune(p) {
			break
		}
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			n = broken(p)
		}
		b.WriteRune(r)
		p = p[n:]
	}
	d.held = append(d.held[:0], p...)
	return b.String()
}

// broken returns the length of the longest beginning of p that could have
// become a rune, at least 1: Unicode's "maximal subpart", one U+FFFD each.
func broken(p []byte) int {
	n := 1
	for n < len(p) && !utf8.FullRune(p[:n]) {
		n++
	}
	if n > 1 && utf8.FullRune(p[:n]) {
		n--
	}
	return n
}
