package grammar

import (
	"fmt"
	"strings"

	"afina/internal/chat"
	"afina/internal/fault"
)

// Schema returns the grammar of the JSON values that satisfy a JSON Schema. A
// schema that cannot be held to the letter is refused with the place that is at
// fault (fault.Invalid, "invalid_schema").
func (v *Vocabulary) Schema(schema []byte) (*Grammar, error) {
	return v.shelve("schema "+string(schema), func() (*Grammar, error) {
		document, err := parse(schema)
		if err != nil {
			return nil, refused("#", "%v", err)
		}
		c := newCompiler(v, document)
		root, err := c.schema(document, "#")
		if err != nil {
			return nil, err
		}
		return c.finish(root)
	})
}

// Object returns the grammar of any JSON object.
func (v *Vocabulary) Object() (*Grammar, error) { return v.Schema([]byte(`{"type":"object"}`)) }

// finish returns the grammar of root, with a blank before it, which some models
// cannot leave out.
func (c *compiler) finish(root int32) (*Grammar, error) {
	g := c.newGrammar(c.seq(space, root))
	if g == nil {
		return nil, refused("#", "no JSON value of at most %d levels satisfies it", maxDepth)
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
func (v *Vocabulary) Calls(w Calling) (*Grammar, error) {
	key := fmt.Sprintf("calls %q %t %t", w.Form, w.Required, w.Parallel)
	for _, t := range w.Tools {
		key += fmt.Sprintf(" %q %q", t.Name, t.Parameters)
	}
	return v.shelve(key, func() (*Grammar, error) {
		if len(w.Tools) == 0 {
			return nil, fault.New(fault.Invalid, "there are no tools to call").WithParam("tools")
		}
		b := newBuilder(v)
		var calls []int32
		for i, t := range w.Tools {
			id, err := b.tool(t, w.Form.Arguments)
			if err != nil {
				place := fmt.Sprintf("tools[%d].function.parameters", i)
				return nil, fault.New(fault.Invalid, "%s: %w", place, err).WithCode("invalid_schema").WithParam(place)
			}
			calls = append(calls, id)
		}
		return b.newGrammar(b.answer(w, b.choice(calls...))), nil
	})
}

// tool returns the node of one call's JSON.
func (b *builder) tool(t Tool, arguments string) (int32, error) {
	document := &value{kind: '{'}
	if t.Parameters != nil {
		var err error
		if document, err = parse(t.Parameters); err != nil {
			return 0, refused("#", "%v", err)
		}
	}
	c := newCompiler(b.v, document)
	c.builder = b
	parameters, err := c.merge(object("type", &value{kind: 's', text: "object"}), document, "#", 0)
	if err != nil {
		return 0, err
	}
	id, err := c.schema(parameters, "#")
	if err != nil {
		return 0, err
	}
	if measure(b.nodes); b.nodes[id].height >= maxDepth {
		return 0, refused("#", "no JSON object of less than %d levels satisfies it", maxDepth)
	}
	name := c.constant(&value{kind: 's', text: t.Name})
	return c.object([]field{{c.keyed("name"), name, true}, {c.keyed(arguments), id, true}}, 0, -1), nil
}

// answer returns the node of an answer with calls.
func (b *builder) answer(w Calling, call int32) int32 {
	if w.Form.Open == "" {
		if w.Required {
			return b.seq(space, call)
		}
		return b.choice(b.table(proseBefore('{')), b.seq(space, call))
	}
	rest := b.seq(blank, call, blank, b.literal(w.Form.Close))
	whole := b.seq(b.literal(w.Form.Open), rest)
	more := b.seq()
	if w.Parallel {
		for range maxCalls - 1 {
			more = b.choice(b.seq(), b.seq(blank, whole, more))
		}
	}
	if w.Required {
		return b.seq(space, whole, more)
	}
	without, upTo := prose(w.Form.Open)
	return b.choice(b.table(without), b.seq(b.table(upTo), rest, more))
}

// prose returns the automata of the texts that do not hold mark, and of those
// that hold it at their end only (Knuth, Morris and Pratt).
func prose(mark string) (without, upTo *table) {
	var c cuts
	c.each(mark)
	step := func(n int, b byte) (int, bool) {
		if n == len(mark) {
			return 0, false
		}
		seen := mark[:n] + string([]byte{b})
		for !strings.HasPrefix(mark, seen) {
			seen = seen[1:]
		}
		return len(seen), true
	}
	without, _ = build(rules[int]{
		cuts:   c,
		step:   func(n int, b byte) (int, bool) { n, ok := step(n, b); return n, ok && n < len(mark) },
		accept: func(int) bool { return true },
	}, &every)
	upTo, _ = build(rules[int]{cuts: c, step: step, accept: func(n int) bool { return n == len(mark) }}, &every)
	return without, upTo
}

// proseBefore is the automaton of the texts whose first character that is not
// blank is not mark.
func proseBefore(mark byte) *table {
	var c cuts
	c.each(" \n\t\r" + string(rune(mark)))
	t, _ := build(rules[bool]{
		cuts: c,
		step: func(begun bool, b byte) (bool, bool) {
			blank := b == ' ' || b == '\n' || b == '\t' || b == '\r'
			return begun || !blank, begun || b != mark
		},
		accept: func(bool) bool { return true },
	}, &every)
	return t
}
