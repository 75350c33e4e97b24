package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// Case is a request, and where in it something is at fault.
type Case struct {
	At   string // the field that is at fault, such as messages[0].role
	What string
	Body string
	Good bool // nothing is: it is at a bound, and within
}

// Broken makes requests that a schema does not allow, from one that it does: for
// each type, bound, set of words and closed object in the schema, one that
// breaks it and nothing else; and for each bound, one that just keeps it.
func Broken(t testing.TB, schema, good string) []Case {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(good), &body); err != nil {
		t.Fatal(err)
	}
	whole := Schema(t, schema)
	if err := whole.VisitJSON(body); err != nil {
		t.Fatalf("%s: %v", good, err)
	}
	b := &breaker{t: t, whole: whole, body: body}
	b.object("", whole, body, func(v any) any { return v })
	if len(b.cases) < 5 {
		t.Fatalf("only %d requests can be made of %s", len(b.cases), schema)
	}
	return b.cases
}

type breaker struct {
	t     testing.TB
	whole *openapi3.Schema
	body  any
	cases []Case
}

// try adds the request that has v at a place, put there by set, if it is good or
// bad as it should be.
func (b *breaker) try(at, what string, v any, set func(any) any, good bool) {
	whole := set(v)
	if (b.whole.VisitJSON(whole) == nil) != good {
		return // such as a wrong word that another branch allows
	}
	text, err := json.Marshal(whole)
	if err != nil {
		b.t.Fatal(err)
	}
	b.cases = append(b.cases, Case{strings.TrimPrefix(at, "."), what, string(text), good})
}

func (b *breaker) object(at string, s *openapi3.Schema, given map[string]any, set func(any) any) {
	s = merged(s)
	with := func(name string, v any) map[string]any {
		changed := maps.Clone(given)
		if changed == nil {
			changed = map[string]any{}
		}
		changed[name] = v
		return changed
	}
	if closed := s.AdditionalProperties.Has; closed != nil && !*closed {
		b.try(at+".x_unknown", "an unknown field", with("x_unknown", 1), set, false)
	}
	for _, name := range s.Required {
		less := maps.Clone(given)
		delete(less, name)
		b.try(at+"."+name, "left out", less, set, false)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		b.value(at+"."+name, merged(s.Properties[name].Value), given[name], func(v any) any { return set(with(name, v)) })
	}
	if n := s.MaxProps; n != nil {
		many := map[string]any{}
		for i := range *n {
			many[fmt.Sprint(i)] = sample(s.AdditionalProperties.Schema)
		}
		b.try(at, "as many as may be", maps.Clone(many), set, true)
		many["x"] = sample(s.AdditionalProperties.Schema)
		b.try(at, "too many", many, set, false)
	}
}

// sample is a value that a simple schema allows.
func sample(ref *openapi3.SchemaRef) any {
	switch {
	case ref != nil && ref.Value.Type.Is("string"):
		return "x"
	case ref != nil && ref.Value.Type.Is("array"):
		return []any{sample(ref.Value.Items)}
	}
	return 1.0
}

// value breaks all that a schema says of the value at a place, where given is.
func (b *breaker) value(at string, s *openapi3.Schema, given any, set func(any) any) {
	if len(s.OneOf) > 0 {
		for _, ref := range s.OneOf {
			branch := merged(ref.Value)
			b.bounds(at, branch, set)
		}
		b.try(at, "of a wrong type", true, set, false)
		return
	}
	if s.Type == nil {
		return // what is refused or without effect: any value
	}
	wrong := any("x")
	if s.Type.Is("string") {
		wrong = 7
	}
	b.try(at, "of a wrong type", wrong, set, false)
	if s.Nullable {
		b.try(at, "null", nil, set, true)
	} else {
		b.try(at, "null", nil, set, false)
	}
	b.bounds(at, s, set)
	switch inner := given.(type) {
	case map[string]any:
		b.object(at, s, inner, set)
	case []any:
		if s.Items != nil && len(inner) > 0 {
			b.value(at+"[0]", merged(s.Items.Value), inner[0], func(v any) any {
				changed := slices.Clone(inner)
				changed[0] = v
				return set(changed)
			})
		}
	}
}

// bounds breaks and keeps the bounds of a schema.
func (b *breaker) bounds(at string, s *openapi3.Schema, set func(any) any) {
	step := 1.0
	if s.Type.Is("number") {
		step = 1.0 / 64
	}
	if s.Min != nil {
		low := *s.Min
		if s.ExclusiveMin.Bool != nil && *s.ExclusiveMin.Bool {
			b.try(at, "at the least, which is not allowed", low, set, false)
			low += step
		} else {
			b.try(at, "too little", low-step, set, false)
		}
		b.try(at, "the least", low, set, true)
	}
	if s.Max != nil && *s.Max < math.MaxInt32 {
		b.try(at, "too much", *s.Max+step, set, false)
		b.try(at, "the most", *s.Max, set, true)
	}
	if s.Type.Is("string") {
		if s.MinLength > 0 {
			b.try(at, "too short", strings.Repeat("x", int(s.MinLength-1)), set, false)
		}
		if s.MaxLength != nil {
			b.try(at, "too long", strings.Repeat("x", int(*s.MaxLength+1)), set, false)
			b.try(at, "as long as may be", strings.Repeat("x", int(*s.MaxLength)), set, true)
		}
		if s.Pattern != "" {
			b.try(at, "of another pattern", "¿?", set, false)
		}
		if len(s.Enum) > 0 {
			b.try(at, "no such word", "x_nothing", set, false)
		}
	}
	if s.Type.Is("array") && s.Items != nil {
		many := func(n uint64) []any {
			all := []any{}
			for range n {
				all = append(all, sample(s.Items))
			}
			return all
		}
		if s.MinItems > 0 {
			b.try(at, "too few", many(s.MinItems-1), set, false)
		}
		if s.MaxItems != nil {
			b.try(at, "too many", many(*s.MaxItems+1), set, false)
		}
		b.bounds(at, merged(s.Items.Value), func(v any) any { return set([]any{v}) })
	}
	if s.Type.Is("object") && s.MaxProps != nil {
		b.object(at, s, nil, set)
	}
}
