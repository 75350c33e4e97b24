// Package schema turns a JSON Schema, and the tools that a model may call, into
// grammars. It obeys every keyword or refuses the schema, and knows nothing of
// tokens.
package schema

import (
	"fmt"

	"afina/internal/automaton"
	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/grammar"
)

// Compile returns the grammar of the JSON values that satisfy a JSON Schema. A
// schema that cannot be held to the letter is refused with the place that is at
// fault (fault.Invalid, "invalid_schema").
func Compile(v *grammar.Vocabulary, schema []byte) (*grammar.Grammar, error) {
	return v.Shelve("schema "+string(schema), func() (*grammar.Grammar, error) {
		document, err := parse(schema)
		if err != nil {
			return nil, refused("#", "%v", err)
		}
		c := newCompiler(grammar.NewBuilder(v), v, document)
		root, err := c.schema(document, "#")
		if err != nil {
			return nil, err
		}
		return c.finish(root)
	})
}

// Object returns the grammar of any JSON object.
func Object(v *grammar.Vocabulary) (*grammar.Grammar, error) {
	return Compile(v, []byte(`{"type":"object"}`))
}

// finish returns the grammar of root, with a blank before it, which some models
// cannot leave out.
func (c *compiler) finish(root int32) (*grammar.Grammar, error) {
	g := c.Grammar(c.Seq(grammar.Space, root))
	if g == nil {
		return nil, refused("#", "no JSON value of at most %d levels satisfies it", grammar.MaxDepth)
	}
	return g, nil
}

// Tool is a function that a model may call.
type Tool struct {
	Name       string
	Parameters []byte // a JSON Schema of an object; nil for any object
}

// Calling says which calls an answer may hold.
type Calling struct {
	Form     chat.CallForm
	Tools    []Tool
	Required bool // the answer is calls; else it may be text, calls, or text and then calls
	Parallel bool // there may be several calls, where the form can tell them apart
}

// maxCalls is how many calls one answer may hold.
const maxCalls = 16

// Calls returns the grammar of answers with tool calls. To have one tool called,
// give only that one, required. Faults name the tool by its place: tools[0].
func Calls(v *grammar.Vocabulary, w Calling) (*grammar.Grammar, error) {
	key := fmt.Sprintf("calls %+v %t %t", w.Form, w.Required, w.Parallel)
	for _, t := range w.Tools {
		key += fmt.Sprintf(" %q %q", t.Name, t.Parameters)
	}
	return v.Shelve(key, func() (*grammar.Grammar, error) {
		if len(w.Tools) == 0 {
			return nil, fault.New(fault.Invalid, "there are no tools to call").WithParam("tools")
		}
		b := &toolbox{grammar.NewBuilder(v), v}
		var calls []int32
		for i, t := range w.Tools {
			id, err := b.tool(t, w.Form.Arguments)
			if err != nil {
				place := fmt.Sprintf("tools[%d].function.parameters", i)
				return nil, fault.New(fault.Invalid, "%s: %w", place, err).WithCode("invalid_schema").WithParam(place)
			}
			calls = append(calls, id)
		}
		return b.Grammar(b.answer(w, b.Choice(calls...))), nil
	})
}

// toolbox makes the nodes of calls.
type toolbox struct {
	*grammar.Builder
	v *grammar.Vocabulary
}

// tool returns the node of one call's JSON.
func (b *toolbox) tool(t Tool, arguments string) (int32, error) {
	document := &value{kind: '{'}
	if t.Parameters != nil {
		var err error
		if document, err = parse(t.Parameters); err != nil {
			return 0, refused("#", "%v", err)
		}
	}
	c := newCompiler(b.Builder, b.v, document)
	parameters, err := c.merge(object("type", &value{kind: 's', text: "object"}), document, "#", 0)
	if err != nil {
		return 0, err
	}
	id, err := c.schema(parameters, "#")
	if err != nil {
		return 0, err
	}
	if b.Levels(id) >= grammar.MaxDepth {
		return 0, refused("#", "no JSON object of less than %d levels satisfies it", grammar.MaxDepth)
	}
	name := c.constant(&value{kind: 's', text: t.Name})
	fields := []grammar.Field{{Key: c.keyed("name"), Value: name, Required: true}, {Key: c.keyed(arguments), Value: id, Required: true}}
	return c.Object(fields, 0, -1), nil
}

// answer returns the node of an answer with calls.
func (b *toolbox) answer(w Calling, call int32) int32 {
	open, most := w.Form.Open, int32(1)
	if w.Parallel {
		most = maxCalls
	}
	if open == "" {
		if w.Required {
			return b.Seq(grammar.Space, call)
		}
		return b.Choice(b.Table(automaton.ProseBefore('{')), b.Seq(grammar.Space, call))
	}
	open = b.v.Spelled(open)
	var rest int32
	more := b.Seq()
	if w.Form.List {
		rest = b.Seq(grammar.Blank, b.Array(nil, call, automaton.Length{Min: 1, Max: most}))
	} else {
		rest = b.Seq(grammar.Blank, call, grammar.Blank, b.Literal(b.v.Spelled(w.Form.Close)))
		again := b.Seq(b.Literal(open), rest)
		for range most - 1 {
			more = b.Choice(b.Seq(), b.Seq(grammar.Blank, again, more))
		}
	}
	whole := b.Seq(b.Literal(open), rest)
	if w.Required {
		return b.Seq(grammar.Space, whole, more)
	}
	without, upTo := automaton.Prose(open)
	return b.Choice(b.Table(without), b.Seq(b.Table(upTo), rest, more))
}
