package schema

import (
	"afina/internal/automaton"
	"fmt"
	"slices"
)

// maxMerge is how deep allOf and references may go into each other.
const maxMerge = 32

// flatten returns s with its reference and allOf merged into it.
func (c *compiler) flatten(s *value, at string, depth int) (*value, error) {
	if *c.work--; *c.work < 0 {
		return nil, refused(at, "the schema is too large")
	}
	if depth > maxMerge {
		return nil, refused(at, "allOf and $ref go too deep into each other")
	}
	if s.kind != '{' {
		return s, nil
	}
	for _, key := range s.keys {
		if _, known := keywords[key]; !known && !note(key) {
			return nil, refused(at+"/"+escapePointer(key), "the keyword %q is not supported", key)
		}
	}
	out := s.without("$ref", "allOf")
	if ref := s.get("$ref"); ref != nil {
		target, err := c.resolve(ref, at+"/$ref")
		if err != nil {
			return nil, err
		}
		if out, err = c.merge(target, out, at+"/$ref", depth+1); err != nil {
			return nil, err
		}
	}
	if list := s.get("allOf"); list != nil {
		if list.kind != '[' || len(list.kids) == 0 {
			return nil, refused(at+"/allOf", "allOf is a list of schemas")
		}
		for i, kid := range list.kids {
			var err error
			if out, err = c.merge(out, kid, fmt.Sprintf("%s/allOf/%d", at, i), depth+1); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// merge returns a schema of the values that satisfy both a and b.
func (c *compiler) merge(a, b *value, at string, depth int) (*value, error) {
	a, err := c.flatten(a, at, depth+1)
	if err != nil {
		return nil, err
	}
	if b, err = c.flatten(b, at, depth+1); err != nil {
		return nil, err
	}
	switch {
	case a.kind == 'f' || b.kind == 't':
		return a, nil
	case b.kind == 'f' || a.kind == 't':
		return b, nil
	case a.kind != '{' || b.kind != '{':
		return nil, refused(at, "a schema is an object or a boolean")
	}
	out := &value{kind: '{'}
	for i, key := range a.keys {
		if !note(key) && b.get(key) == nil && !objectKeyword(key) {
			out = out.with(key, a.kids[i])
		}
	}
	for i, key := range b.keys {
		switch {
		case note(key) || objectKeyword(key):
			continue
		case a.get(key) == nil:
			out = out.with(key, b.kids[i])
			continue
		}
		both, err := c.both(key, a.get(key), b.kids[i], at)
		if err != nil {
			return nil, err
		}
		switch {
		case both == nil:
		case (key == "type" || key == "enum") && len(both.kids) == 0 && both.kind == '[':
			return boolean(false), nil
		default:
			out = out.with(key, both)
		}
	}
	if a.get("prefixItems") != nil || b.get("prefixItems") != nil {
		if a.get("items") != nil && b.get("items") != nil || !same(a.get("prefixItems"), b.get("prefixItems")) && (a.get("items") != nil || b.get("items") != nil) {
			return nil, refused(at, "items and prefixItems of two schemas cannot be merged")
		}
	}
	return c.mergeObjects(out, a, b, at)
}

func objectKeyword(key string) bool { return key == "properties" || key == "additionalProperties" }

func same(a, b *value) bool { return a == nil && b == nil || a != nil && b != nil && a.same(b) }

// both merges one keyword that two schemas have.
func (c *compiler) both(key string, a, b *value, at string) (*value, error) {
	if a.same(b) {
		return a, nil
	}
	switch key {
	case "$defs", "definitions":
		return nil, nil // references start at the document
	case "type":
		return bothTypes(a, b), nil
	case "required":
		if a.kind == '[' && b.kind == '[' {
			return array(append(slices.Clip(a.kids), b.kids...)...), nil
		}
	case "enum":
		if a.kind == '[' && b.kind == '[' && len(a.kids) <= maxNames && len(b.kids) <= maxNames {
			return array(slices.DeleteFunc(slices.Clone(a.kids), func(v *value) bool { return !slices.ContainsFunc(b.kids, v.same) })...), nil
		}
	case "items":
		return object("allOf", array(a, b)), nil
	case "minimum", "exclusiveMinimum", "minLength", "minItems", "maximum", "exclusiveMaximum", "maxLength", "maxItems":
		x, errX := automaton.ParseDecimal(a.text)
		y, errY := automaton.ParseDecimal(b.text)
		if errX == nil && errY == nil && a.kind == 'n' && b.kind == 'n' {
			least := key[:3] == "min" || key == "exclusiveMinimum"
			if (x.Rat().Cmp(y.Rat()) > 0) == least {
				return a, nil
			}
			return b, nil
		}
	case "anyOf":
		return c.product(a, b, at)
	}
	return nil, refused(at, "%s of two schemas cannot be merged", key)
}

// product is anyOf over the pairs of two lists of branches.
func (c *compiler) product(a, b *value, at string) (*value, error) {
	if a.kind != '[' || b.kind != '[' || len(a.kids)*len(b.kids) > 64 {
		return nil, refused(at, "anyOf of two schemas cannot be merged")
	}
	var kids []*value
	for _, x := range a.kids {
		for _, y := range b.kids {
			kids = append(kids, object("allOf", array(x, y)))
		}
	}
	return array(kids...), nil
}

// bothTypes are the types in both of two lists.
func bothTypes(a, b *value) *value {
	list := func(v *value) []*value {
		if v.kind == '[' {
			return v.kids
		}
		return []*value{v}
	}
	has := func(l []*value, name string) bool {
		return slices.ContainsFunc(l, func(v *value) bool { return v.text == name })
	}
	x, y := list(a), list(b)
	out := array()
	for _, name := range types {
		inX := has(x, name) || name == "integer" && has(x, "number")
		inY := has(y, name) || name == "integer" && has(y, "number")
		if inX && inY {
			out.kids = append(out.kids, &value{kind: 's', text: name})
		}
	}
	return out
}

// mergeObjects adds the properties of a and b to out: a name that only one of
// them has is a further property of the other.
func (c *compiler) mergeObjects(out, a, b *value, at string) (*value, error) {
	pa, _, err := c.named(a, at)
	if err != nil {
		return nil, err
	}
	pb, _, err := c.named(b, at)
	if err != nil {
		return nil, err
	}
	ea, eb := a.get("additionalProperties"), b.get("additionalProperties")
	merged := &value{kind: '{'}
	for i, name := range pa.keys {
		merged = merged.with(name, together(pa.kids[i], pb.get(name), eb))
	}
	for i, name := range pb.keys {
		if pa.get(name) == nil {
			merged = merged.with(name, together(pb.kids[i], nil, ea))
		}
	}
	if a.get("properties") != nil || b.get("properties") != nil {
		out = out.with("properties", merged)
	}
	switch {
	case ea != nil:
		out = out.with("additionalProperties", together(ea, eb, nil))
	case eb != nil:
		out = out.with("additionalProperties", eb)
	}
	return out, nil
}

// together is the schema of what satisfies a and also b, or else and also
// further when there is no b; nil is true.
func together(a, b, further *value) *value {
	if b == nil {
		b = further
	}
	switch {
	case b == nil || b.kind == 't':
		return a
	case a.kind == 't':
		return b
	case a.kind == 'f' || b.kind == 'f':
		return boolean(false)
	}
	return object("allOf", array(a, b))
}

// apart reports whether plainly no value satisfies both a and b: by their types,
// their constants, or a property that both require and that is apart.
func (c *compiler) apart(a, b *value, depth int) bool {
	if depth > 4 || *c.work < 0 {
		return false
	}
	a, errA := c.flatten(a, "#", 0)
	b, errB := c.flatten(b, "#", 0)
	if errA != nil || errB != nil {
		return false
	}
	if a.kind == 'f' || b.kind == 'f' {
		return true
	}
	if a.kind != '{' || b.kind != '{' {
		return false
	}
	for _, s := range [][2]*value{{a, b}, {b, a}} {
		for _, key := range []string{"anyOf", "oneOf"} {
			if list := s[0].get(key); list != nil && len(list.kids) > 0 {
				all := true
				for _, kid := range list.kids {
					all = all && c.apart(kid, s[1], depth+1)
				}
				if all {
					return true
				}
			}
		}
	}
	return c.apartValues(a, b) || c.apartObjects(a, b, depth)
}

// apartValues compares types and constants.
func (c *compiler) apartValues(a, b *value) bool {
	listed := func(s *value) []*value {
		if s.get("enum") == nil && s.get("const") == nil {
			return nil
		}
		list, _ := c.listed(s, "#")
		return list
	}
	typesOf := func(s *value) []string {
		if s.get("type") == nil {
			return nil
		}
		list, _ := c.kinds(s, "#")
		return list
	}
	va, vb, ta, tb := listed(a), listed(b), typesOf(a), typesOf(b)
	outside := func(values []*value, types []string) bool {
		return values != nil && types != nil && !slices.ContainsFunc(values, func(v *value) bool { return v.is(types) })
	}
	if va != nil && vb != nil && !slices.ContainsFunc(va, func(v *value) bool { return slices.ContainsFunc(vb, v.same) }) {
		return true
	}
	if outside(va, tb) || outside(vb, ta) {
		return true
	}
	if ta == nil || tb == nil {
		return false
	}
	return len(bothTypes(names(ta), names(tb)).kids) == 0
}

// names is a list of strings as a value.
func names(list []string) *value {
	out := array()
	for _, s := range list {
		out.kids = append(out.kids, &value{kind: 's', text: s})
	}
	return out
}

// apartObjects looks for a property that tells two schemas of objects apart.
func (c *compiler) apartObjects(a, b *value, depth int) bool {
	only := func(s *value) bool {
		t := s.get("type")
		return t != nil && t.text == "object"
	}
	if !only(a) && !only(b) {
		return false
	}
	pa, ra, errA := c.named(a, "#")
	pb, rb, errB := c.named(b, "#")
	if errA != nil || errB != nil {
		return false
	}
	for _, name := range ra {
		if extra := b.get("additionalProperties"); extra != nil && extra.kind == 'f' && pb.get(name) == nil {
			return true
		}
		x, y := pa.get(name), pb.get(name)
		if slices.Contains(rb, name) && x != nil && y != nil && c.apart(x, y, depth+1) {
			return true
		}
	}
	for _, name := range rb {
		if extra := a.get("additionalProperties"); extra != nil && extra.kind == 'f' && pa.get(name) == nil {
			return true
		}
	}
	return false
}
