package assistant

import (
	"errors"

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
func (f Form) grammar(m *model.Model) (*grammar.Grammar, error) {
	switch {
	case len(f.Tools) > 0:
		form, known := m.Template.CallForm()
		if !known {
			return nil, fault.New(fault.Invalid, "the chat template of %q knows no tools; describe what you need in a message, or use a model that calls tools", m.Name).
				WithCode("unsupported_parameter").WithParam("tools")
		}
		return schema.Calls(m.Grammar, schema.Calling{Form: form, Tools: f.Tools, Required: f.Required, Parallel: f.Parallel})
	case f.Schema != nil:
		g, err := schema.Compile(m.Grammar, f.Schema)
		var bad *fault.Error
		if errors.As(err, &bad) && bad.Param == "" {
			err = bad.WithParam("response_format.json_schema.schema")
		}
		return g, err
	case f.Object:
		return schema.Object(m.Grammar)
	}
	return nil, nil
}

// calls returns the reader of the calls of an answer; nil when there can be none.
func (f Form) calls(m *model.Model) *chat.CallReader {
	form, known := m.Template.CallForm()
	if !known || len(f.Tools) == 0 {
		return nil
	}
	return form.Reader(m.Grammar.Spelled)
}
