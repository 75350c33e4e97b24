package assistant

import (
	"errors"
	"strings"

	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/grammar"
	"afina/internal/model"
	"afina/internal/schema"
)

// Form is what an answer has to look like. The zero Form is any text.
type Form struct {
	Object bool   // a JSON object
	Schema []byte // JSON that satisfies this schema; nil: no schema

	// Tools are what may be called; the conversation shows them to the model.
	Tools    []schema.Tool
	Required bool // the answer is calls
	Parallel bool // there may be several calls
}

// grammar is the form as the engine takes it; nil for any text.
func (f Form) grammar(v *grammar.Vocabulary, m *model.Model) (*grammar.Grammar, error) {
	switch {
	case len(f.Tools) > 0:
		form, known := m.Template.CallForm()
		if !known {
			return nil, fault.New(fault.Invalid, "the chat template of %q knows no tools; describe what you need in a message, or use a model that calls tools", m.Name).
				WithCode("unsupported_parameter").WithParam("tools")
		}
		return schema.Calls(v, schema.Calling{Form: form, Tools: f.Tools, Required: f.Required, Parallel: f.Parallel})
	case f.Schema != nil:
		g, err := schema.Compile(v, f.Schema)
		var bad *fault.Error
		if errors.As(err, &bad) && bad.Param == "" {
			err = bad.WithParam("response_format.json_schema.schema")
		}
		return g, err
	case f.Object:
		return schema.Object(v)
	}
	return nil, nil
}

// caller keeps calls out of the text that is shown.
type caller struct {
	form   chat.CallForm
	active bool
	begun  bool   // something but blanks was shown: the answer is text
	held   string // a call, or what may become one
}

// caller returns what looks for the calls of an answer.
func (f Form) caller(m *model.Model) caller {
	form, known := m.Template.CallForm()
	return caller{form: form, active: known && len(f.Tools) > 0}
}

// add takes the next piece of text and returns what of it may be shown and, with
// the last piece, the calls.
func (c *caller) add(piece string, last bool) (shown string, calls []chat.Call) {
	if !c.active {
		return piece, nil
	}
	c.held += piece
	if last {
		shown, calls = c.form.Parse(c.held)
		c.held = ""
		return shown, calls
	}
	shown = c.held[:c.safe()]
	c.held = c.held[len(shown):]
	c.begun = c.begun || strings.TrimSpace(shown) != ""
	return shown, nil
}

// safe is how much of what is held is no part of a call, whatever comes.
func (c *caller) safe() int {
	if c.form.Open == "" { // a call is the whole answer and begins with a brace
		if blank := strings.TrimSpace(c.held); !c.begun && (blank == "" || blank[0] == '{') {
			return 0
		}
		return len(c.held)
	}
	if i := strings.Index(c.held, c.form.Open); i >= 0 {
		return blanksBefore(c.held, i)
	}
	for n := min(len(c.form.Open)-1, len(c.held)); n > 0; n-- {
		if strings.HasSuffix(c.held, c.form.Open[:n]) {
			return blanksBefore(c.held, len(c.held)-n)
		}
	}
	return blanksBefore(c.held, len(c.held)) // blanks before a call are not shown
}

// blanksBefore is where the blanks in front of text[at:] begin.
func blanksBefore(text string, at int) int { return len(strings.TrimRight(text[:at], " \t\r\n")) }
