package contract

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// Asked compares a schema with the types that a request is read into, which share
// its fields: each property has a field of its JSON type, and each field a
// property; what may be null is a pointer, what must be there is required. Fields
// of json.RawMessage are read by hand: of them only the name is compared. Bounds
// are Broken's business.
func Asked(t testing.TB, schema string, types ...any) {
	t.Helper()
	c := &comparison{t: t, name: schema, asked: true}
	c.object("", merged(Schema(t, schema)), fields(types...))
}

// Told compares a schema with the type that an answer is written from: as Asked,
// but what is left out when empty must not be required, and all else is.
func Told(t testing.TB, schema string, of any) {
	t.Helper()
	c := &comparison{t: t, name: schema}
	c.object("", merged(Schema(t, schema)), fields(of))
}

// comparison is of one schema with one type.
type comparison struct {
	t     testing.TB
	name  string
	asked bool
}

func (c *comparison) fail(at, format string, args ...any) {
	c.t.Errorf("%s%s: %s", c.name, at, fmt.Sprintf(format, args...))
}

// field is a field of a wire type by its JSON name.
type field struct {
	typ      reflect.Type
	omitted  bool // when empty
	required bool // by its rules
}

// fields are those of structs, embedded ones included. The rest that a type
// takes without knowing it is not one.
func fields(of ...any) map[string]field {
	all := map[string]field{}
	for _, v := range of {
		typ := reflect.TypeOf(v)
		if r, ok := v.(reflect.Type); ok {
			typ = r
		}
		for _, f := range reflect.VisibleFields(typ) {
			tag, ok := f.Tag.Lookup("json")
			name, options, _ := strings.Cut(tag, ",")
			if !ok || name == "*" || name == "-" {
				continue
			}
			rules := strings.Split(f.Tag.Get("validate"), ",")
			all[name] = field{f.Type, strings.Contains(options, "omitempty"), slices.Contains(rules, "required")}
		}
	}
	return all
}

// merged is a schema with the parts that it is made of put together.
func merged(s *openapi3.Schema) *openapi3.Schema {
	if len(s.AllOf) == 0 {
		return s
	}
	whole := *s
	whole.AllOf, whole.Properties = nil, openapi3.Schemas{}
	parts := []*openapi3.Schema{s}
	for _, ref := range s.AllOf {
		parts = append(parts, merged(ref.Value))
	}
	for _, p := range parts {
		for name, property := range p.Properties {
			whole.Properties[name] = property
		}
		whole.Required = append(slices.Clone(whole.Required), p.Required...)
		if whole.Type == nil {
			whole.Type = p.Type
		}
	}
	return &whole
}

func (c *comparison) object(at string, s *openapi3.Schema, own map[string]field) {
	for name := range s.Properties {
		if _, ok := own[name]; !ok {
			c.fail(at+"."+name, "the type has no such field")
		}
	}
	for name, f := range own {
		at := at + "." + name
		ref := s.Properties[name]
		if ref == nil {
			c.fail(at, "the contract has no such property")
			continue
		}
		p, required := merged(ref.Value), slices.Contains(s.Required, name)
		switch {
		case c.asked && f.required && !required:
			c.fail(at, "the type requires it, the contract does not")
		case !c.asked && f.omitted == required:
			c.fail(at, "it may be left out: %t; the contract requires it: %t", f.omitted, required)
		}
		typ, pointer := f.typ, f.typ.Kind() == reflect.Pointer
		if pointer {
			typ = typ.Elem()
		}
		// A pointer is null in an answer unless it is left out then. In a request it may
		// only tell that something is missing, so null need not be allowed.
		list := typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map
		switch {
		case typ == raw || typ.Kind() == reflect.Interface || list && !c.asked:
		case p.Nullable && !pointer:
			c.fail(at, "by the contract it may be null, and the type has no null")
		case !c.asked && pointer && !f.omitted && !p.Nullable:
			c.fail(at, "it may be null, and the contract does not say so")
		}
		c.value(at, p, typ)
	}
}

var (
	raw      = reflect.TypeFor[json.RawMessage]()
	moment   = reflect.TypeFor[time.Time]()
	inWords  = reflect.TypeFor[encoding.TextMarshaler]()
	byItself = reflect.TypeFor[json.Marshaler]()
)

// value compares a property with the type of its field.
func (c *comparison) value(at string, s *openapi3.Schema, typ reflect.Type) {
	is := func(kind string) {
		if !s.Type.Is(kind) {
			c.fail(at, "it is %s; by the contract %v", kind, s.Type)
		}
	}
	switch kind := typ.Kind(); {
	case typ == raw || kind == reflect.Interface:
	case typ == moment || typ.Implements(inWords):
		is("string")
	case typ.Implements(byItself):
	case kind == reflect.String:
		is("string")
	case kind == reflect.Bool:
		is("boolean")
	case typ.Kind() >= reflect.Int && kind <= reflect.Uint64:
		is("integer")
	case kind == reflect.Float32 || kind == reflect.Float64:
		is("number")
	case kind == reflect.Slice:
		is("array")
		if s.Items != nil && len(s.Items.Value.OneOf) == 0 {
			c.value(at+"[]", merged(s.Items.Value), typ.Elem())
		}
	case kind == reflect.Map:
		is("object")
		if more := s.AdditionalProperties.Schema; more != nil {
			c.value(at+".*", merged(more.Value), typ.Elem())
		}
	case kind == reflect.Struct:
		is("object")
		c.object(at, s, fields(typ))
	default:
		c.fail(at, "a field of type %v cannot be compared", typ)
	}
}
