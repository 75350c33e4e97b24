package chat

import (
	"strings"

	"afina/internal/tokenizer"
)

// Answer turns the tokens that a model writes after an open conversation into
// the content of its answer: what Lay would lay out as those tokens. Half runes
// are held back, and the blanks that the template has before an answer (Phi-2's
// space) are left out.
type Answer struct {
	decoder *tokenizer.Decoder
	lead    string // still to come
	held    string // what may be its beginning
}

// Answer returns the reader of one answer to the open conversation prompt.
func (t *Template) Answer(tok *tokenizer.Tokenizer, prompt []int32) *Answer {
	return &Answer{decoder: tok.Continue(prompt), lead: t.lead}
}

// Next takes one more id and returns the text that is complete now.
func (a *Answer) Next(id int32) string { return a.cut(a.decoder.Next(id)) }

// Flush returns what is still held back.
func (a *Answer) Flush() string {
	text := a.cut(a.decoder.Flush())
	text += a.held
	a.lead, a.held = "", ""
	return text
}

// cut takes the lead off the beginning.
func (a *Answer) cut(text string) string {
	if a.lead == "" {
		return text
	}
	text = a.held + text
	if len(text) < len(a.lead) && strings.HasPrefix(a.lead, text) {
		a.held = text
		return ""
	}
	text = strings.TrimPrefix(text, a.lead)
	a.lead, a.held = "", ""
	return text
}
