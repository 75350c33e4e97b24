package schema

import (
	"afina/internal/automaton"
	"afina/internal/grammar"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"afina/internal/fault"
)

// compiler turns a JSON Schema (2020-12) into nodes.
//
// It holds to what it accepts: every keyword is obeyed, or the schema is refused
// with its place. These are its own choices, all of them within the schema:
// properties come in the schema's order; an object with the keyword properties
// and without additionalProperties has no others; a schema without type is of the types that
// its keywords speak of; strings under a pattern or format, constants and the
// keys of further properties are written in one way only; nesting ends at
// grammar.MaxDepth; integers without bounds have 64 bits, other numbers without bounds at
// most 20 digits before and behind the point and two in the exponent. oneOf is
// accepted where its branches plainly exclude each other.
type compiler struct {
	*grammar.Builder
	v        *grammar.Vocabulary
	has      *automaton.Bytes // the bytes that it can write
	document *value
	refs     map[string]int32 // by pointer
	any      int32            // any JSON value, 0 until needed
	tables   map[string]*automaton.Table
	open     int  // schemas being compiled
	work     *int // what is left of maxWork
}

// maxWork bounds the time that a schema takes: a unit is a schema looked at or
// a state of an expression, some microseconds.
const maxWork = 50_000

// maxNames is how many properties an object, and values an enum, may have.
const maxNames = 2000

// refused is a schema that cannot be held: where and why.
func refused(at, format string, args ...any) error {
	return fault.New(fault.Invalid, "the JSON schema cannot be used: at %s, %s", at, fmt.Sprintf(format, args...)).
		WithCode("invalid_schema")
}

// keywords are the ones that are obeyed, by the type they speak of, "" for all.
var keywords = map[string]string{
	"type": "", "enum": "", "const": "", "anyOf": "", "oneOf": "", "allOf": "", "$ref": "", "$defs": "", "definitions": "",
	"properties": "object", "required": "object", "additionalProperties": "object",
	"items": "array", "prefixItems": "array", "minItems": "array", "maxItems": "array", "uniqueItems": "array",
	"minLength": "string", "maxLength": "string", "pattern": "string", "format": "string",
	"minimum": "number", "maximum": "number", "exclusiveMinimum": "number", "exclusiveMaximum": "number", "multipleOf": "number",
}

// notes are the keywords that say nothing about what is valid.
var notes = map[string]bool{
	"title": true, "description": true, "default": true, "examples": true, "example": true, "deprecated": true,
	"readOnly": true, "writeOnly": true, "$schema": true, "$id": true, "$comment": true, "discriminator": true, "strict": true,
}

func note(key string) bool { return notes[key] || strings.HasPrefix(key, "x-") }

// types are the types, "integer" being part of "number".
var types = []string{"object", "array", "string", "number", "integer", "boolean", "null"}

func newCompiler(b *grammar.Builder, v *grammar.Vocabulary, document *value) *compiler {
	work := maxWork
	return &compiler{
		work:    &work,
		Builder: b, v: v, has: v.Bytes(), document: document,
		refs: map[string]int32{}, tables: map[string]*automaton.Table{},
	}
}

// schema returns the node of what s allows; at is its place as a JSON pointer.
func (c *compiler) schema(s *value, at string) (int32, error) {
	c.open++
	defer func() { c.open-- }()
	switch *c.work--; {
	case c.open > 2*maxNested:
		return 0, refused(at, "schemas go too deep into each other")
	case *c.work < 0:
		return 0, refused(at, "the schema is too large")
	case s.kind == 't':
		return c.anything(), nil
	case s.kind == 'f':
		return c.Choice(), nil
	case s.kind != '{':
		return 0, refused(at, "a schema is an object or a boolean")
	}
	for _, key := range s.keys {
		if _, known := keywords[key]; !known && !note(key) {
			return 0, refused(at+"/"+escapePointer(key), "the keyword %q is not supported", key)
		}
	}
	switch plain := c.plain(s); {
	case s.get("$ref") != nil && len(plain) == 1:
		return c.reference(s.get("$ref"), at+"/$ref")
	case s.get("$ref") != nil, s.get("allOf") != nil:
		m, err := c.flatten(s, at, 0)
		if err != nil {
			return 0, err
		}
		return c.schema(m, at)
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		if list := s.get(key); list != nil {
			return c.branches(s, key, list, at)
		}
	}
	if s.get("enum") != nil || s.get("const") != nil {
		return c.constants(s, at)
	}
	return c.typed(s, at)
}

// plain lists the keys of s that say what is valid.
func (c *compiler) plain(s *value) (keys []string) {
	for _, k := range s.keys {
		if !note(k) && k != "$defs" && k != "definitions" {
			keys = append(keys, k)
		}
	}
	return keys
}

func escapePointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// reference returns the node of the schema that a pointer names, the same one
// each time, so that schemas may contain themselves.
func (c *compiler) reference(ref *value, at string) (int32, error) {
	target, err := c.resolve(ref, at)
	if err != nil {
		return 0, err
	}
	if id, ok := c.refs[ref.text]; ok {
		return id, nil
	}
	id := c.Later()
	c.refs[ref.text] = id
	to, err := c.schema(target, ref.text)
	if err != nil {
		return 0, err
	}
	c.Become(id, to)
	return id, nil
}

// resolve follows a pointer within the document.
func (c *compiler) resolve(ref *value, at string) (*value, error) {
	if ref.kind != 's' || ref.text != "#" && !strings.HasPrefix(ref.text, "#/") {
		return nil, refused(at, "only references within the schema (#/…) are supported")
	}
	v := c.document
	for _, part := range strings.Split(ref.text, "/")[1:] {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch v.kind {
		case '{':
			v = v.get(part)
		case '[':
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v.kids) {
				v = nil
			} else {
				v = v.kids[i]
			}
		default:
			v = nil
		}
		if v == nil {
			return nil, refused(at, "%s names nothing", ref.text)
		}
	}
	return v, nil
}

// branches returns the node of anyOf or oneOf, each branch together with the
// keywords beside it.
func (c *compiler) branches(s *value, key string, list *value, at string) (int32, error) {
	if list.kind != '[' || len(list.kids) == 0 {
		return 0, refused(at+"/"+key, "%s is a list of schemas", key)
	}
	beside := s.without(key)
	if len(c.plain(beside)) == 0 {
		beside = nil
	}
	var kids []int32
	for i, branch := range list.kids {
		place := fmt.Sprintf("%s/%s/%d", at, key, i)
		if key == "oneOf" {
			for j, other := range list.kids[:i] {
				switch apart := c.apart(other, branch, 0); {
				case *c.work < 0:
					return 0, refused(place, "the schema is too large")
				case !apart:
					return 0, refused(place, "a value may satisfy both this branch and branch %d, which oneOf forbids; use anyOf, or a constant property that tells them apart", j)
				}
			}
		}
		if beside != nil {
			var err error
			if branch, err = c.merge(beside, branch, place, 0); err != nil {
				return 0, err
			}
		}
		id, err := c.schema(branch, place)
		if err != nil {
			return 0, err
		}
		kids = append(kids, id)
	}
	return c.Choice(kids...), nil
}

// constants returns the node of enum or const: the values that the other
// keywords allow.
func (c *compiler) constants(s *value, at string) (int32, error) {
	list, err := c.listed(s, at)
	if err != nil {
		return 0, err
	}
	allowed, err := c.kinds(s, at)
	if err != nil {
		return 0, err
	}
	rest := s.without("enum", "const", "type")
	var others *grammar.Grammar
	if len(c.plain(rest)) > 0 {
		sub := newCompiler(grammar.NewBuilder(c.v), c.v, c.document)
		sub.work = c.work
		id, err := sub.schema(s.without("enum", "const"), at)
		if err != nil {
			return 0, err
		}
		if others = sub.Grammar(id); others == nil {
			return c.Choice(), nil
		}
	}
	var kids []int32
	for _, v := range list {
		if s.get("type") != nil && !v.is(allowed) || others != nil && !others.Accepts(v.write(c.has)) {
			continue
		}
		kids = append(kids, c.constant(v))
	}
	return c.Choice(kids...), nil
}

// listed returns the values of enum and const.
func (c *compiler) listed(s *value, at string) ([]*value, error) {
	enum, one := s.get("enum"), s.get("const")
	switch {
	case enum == nil:
		return []*value{one}, nil
	case enum.kind != '[' || len(enum.kids) == 0:
		return nil, refused(at+"/enum", "enum is a list of values")
	case len(enum.kids) > maxNames:
		return nil, refused(at+"/enum", "enum has %d values; at most %d are accepted", len(enum.kids), maxNames)
	case one == nil:
		return enum.kids, nil
	case slices.ContainsFunc(enum.kids, one.same):
		return []*value{one}, nil
	}
	return nil, nil
}

// is reports whether v is of one of the types.
func (v *value) is(allowed []string) bool {
	name := map[byte]string{'{': "object", '[': "array", 's': "string", 'n': "number", 't': "boolean", 'f': "boolean", '0': "null"}[v.kind]
	if v.kind == 'n' && slices.Contains(allowed, "integer") {
		d, err := automaton.ParseDecimal(v.text)
		if err == nil && d.Part == "" {
			return true
		}
	}
	return slices.Contains(allowed, name)
}

// constant returns the node of one value.
func (c *compiler) constant(v *value) int32 {
	switch {
	case v.kind == '{':
		var fields []grammar.Field
		for i, key := range v.keys {
			fields = append(fields, grammar.Field{Key: c.keyed(key), Value: c.constant(v.kids[i]), Required: true})
		}
		return c.Object(fields, 0, -1)
	case v.kind == '[':
		var kids []int32
		for _, kid := range v.kids {
			kids = append(kids, c.constant(kid))
		}
		return c.Array(kids, -1, automaton.Length{Min: int32(len(kids)), Max: -1})
	}
	return c.Literal(v.write(c.has))
}

// keyed returns the node of a property's name and its colon.
func (c *compiler) keyed(name string) int32 { return c.Literal(automaton.Quote(name, c.has) + ":") }

// kinds returns the types that a schema allows.
func (c *compiler) kinds(s *value, at string) ([]string, error) {
	t := s.get("type")
	if t == nil {
		return c.implied(s), nil
	}
	list := []string{t.text}
	if t.kind == '[' {
		var ok bool
		if list, ok = t.strings(); !ok || len(list) == 0 {
			return nil, refused(at+"/type", "type is a name or a list of names")
		}
	} else if t.kind != 's' {
		return nil, refused(at+"/type", "type is a name or a list of names")
	}
	for _, name := range list {
		if !slices.Contains(types, name) {
			return nil, refused(at+"/type", "there is no type %q", name)
		}
	}
	return list, nil
}

// implied are the types that a schema without type speaks of; all when of none.
func (c *compiler) implied(s *value) (list []string) {
	for _, name := range types {
		if slices.ContainsFunc(s.keys, func(k string) bool { return keywords[k] == name }) {
			list = append(list, name)
		}
	}
	if list == nil {
		list = []string{"object", "array", "string", "number", "boolean", "null"}
	}
	return list
}

// typed returns the node of a schema by its types.
func (c *compiler) typed(s *value, at string) (int32, error) {
	if len(c.plain(s)) == 0 {
		return c.anything(), nil
	}
	list, err := c.kinds(s, at)
	if err != nil {
		return 0, err
	}
	var kids []int32
	for _, name := range list {
		var id int32
		var err error
		switch name {
		case "object":
			id, err = c.objectOf(s, at)
		case "array":
			id, err = c.arrayOf(s, at)
		case "string":
			id, err = c.stringOf(s, at)
		case "integer":
			if slices.Contains(list, "number") {
				continue
			}
			id, err = c.numberOf(s, at, true)
		case "number":
			id, err = c.numberOf(s, at, false)
		case "boolean":
			id = c.Choice(c.Literal("true"), c.Literal("false"))
		case "null":
			id = c.Literal("null")
		}
		if err != nil {
			return 0, err
		}
		kids = append(kids, id)
	}
	return c.Choice(kids...), nil
}

// anything returns the node of any JSON value.
func (c *compiler) anything() int32 {
	if c.any == 0 {
		c.any = c.Later()
		number, _ := c.anyNumber() // never fails
		c.Become(c.any,
			c.Object(nil, grammar.AnyString, c.any), c.Array(nil, c.any, automaton.Length{Max: -1}),
			grammar.AnyString, c.Table(number), c.Literal("true"), c.Literal("false"), c.Literal("null"))
	}
	return c.any
}
