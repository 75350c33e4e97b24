package schema

import (
	"afina/internal/automaton"
	"afina/internal/grammar"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
)

// objectOf returns the node of the objects that s allows.
func (c *compiler) objectOf(s *value, at string) (int32, error) {
	properties, required, err := c.named(s, at)
	if err != nil {
		return 0, err
	}
	further := int32(-1)
	switch extra := s.get("additionalProperties"); {
	case extra != nil && extra.kind != 'f':
		if further, err = c.schema(extra, at+"/additionalProperties"); err != nil {
			return 0, err
		}
	case extra == nil && s.get("properties") == nil:
		further = c.anything()
	}
	var fields []grammar.Field
	for i, name := range properties.keys {
		id, err := c.schema(properties.kids[i], at+"/properties/"+escapePointer(name))
		if err != nil {
			return 0, err
		}
		fields = append(fields, grammar.Field{Key: c.keyed(name), Value: id, Required: slices.Contains(required, name)})
	}
	names := properties.keys
	for _, name := range required {
		if slices.Contains(names, name) {
			continue
		}
		value := further
		if s.get("additionalProperties") == nil {
			value = c.anything()
		}
		if value < 0 {
			return 0, refused(at+"/required", "%q is required, but neither among the properties nor allowed beside them", name)
		}
		fields = append(fields, grammar.Field{Key: c.keyed(name), Value: value, Required: true})
		names = append(slices.Clip(names), name)
	}
	key := grammar.AnyString
	if further >= 0 && len(names) > 0 {
		t, err := automaton.Key(names, c.has)
		if err != nil {
			return 0, refused(at+"/additionalProperties", "to tell other names from those of the properties, %v; set it to false", err)
		}
		key = c.Seq(c.Literal(`"`), c.Table(t))
	}
	return c.Object(fields, key, further), nil
}

// named returns properties and required.
func (c *compiler) named(s *value, at string) (properties *value, required []string, err error) {
	if properties = s.get("properties"); properties == nil {
		properties = &value{kind: '{'}
	}
	if properties.kind != '{' {
		return nil, nil, refused(at+"/properties", "properties is an object")
	}
	if n := len(properties.keys); n > maxNames {
		return nil, nil, refused(at+"/properties", "there are %d properties; at most %d are accepted", n, maxNames)
	}
	if list := s.get("required"); list != nil {
		var ok bool
		if required, ok = list.strings(); !ok {
			return nil, nil, refused(at+"/required", "required is a list of names")
		}
		if len(required) > maxNames {
			return nil, nil, refused(at+"/required", "there are %d names; at most %d are accepted", len(required), maxNames)
		}
	}
	return properties, required, nil
}

// arrayOf returns the node of the arrays that s allows.
func (c *compiler) arrayOf(s *value, at string) (int32, error) {
	if u := s.get("uniqueItems"); u != nil && u.kind != 'f' {
		return 0, refused(at+"/uniqueItems", "uniqueItems is not supported")
	}
	var kids []int32
	if prefix := s.get("prefixItems"); prefix != nil {
		if prefix.kind != '[' {
			return 0, refused(at+"/prefixItems", "prefixItems is a list of schemas")
		}
		for i, kid := range prefix.kids {
			id, err := c.schema(kid, fmt.Sprintf("%s/prefixItems/%d", at, i))
			if err != nil {
				return 0, err
			}
			kids = append(kids, id)
		}
	}
	rest := int32(-1)
	switch items := s.get("items"); {
	case items == nil:
		rest = c.anything()
	case items.kind != 'f':
		var err error
		if rest, err = c.schema(items, at+"/items"); err != nil {
			return 0, err
		}
	}
	l, err := c.lengths(s, "minItems", "maxItems", at)
	if err != nil {
		return 0, err
	}
	return c.Array(kids, rest, l), nil
}

// maxLength is the most that minLength and minItems may ask for, and more than
// any answer has: a greater maximum is none.
const maxLength = 1 << 20

// lengths reads a pair of keywords that bound a number of characters or elements.
func (c *compiler) lengths(s *value, least, most, at string) (automaton.Length, error) {
	l := automaton.Length{Max: -1}
	for key, to := range map[string]*int32{least: &l.Min, most: &l.Max} {
		v := s.get(key)
		if v == nil {
			continue
		}
		d, err := automaton.ParseDecimal(v.text)
		if v.kind != 'n' || err != nil || d.Negative || d.Part != "" {
			return l, refused(at+"/"+key, "%s is a whole number that is not negative", key)
		}
		n, err := strconv.Atoi(d.Whole)
		switch {
		case err == nil && n <= maxLength:
			*to = int32(n)
		case key == least:
			return l, refused(at+"/"+key, "%s is at most %d", key, maxLength)
		}
	}
	return l, nil
}

// stringOf returns the node of the strings that s allows.
func (c *compiler) stringOf(s *value, at string) (int32, error) {
	l, err := c.lengths(s, "minLength", "maxLength", at)
	if err != nil {
		return 0, err
	}
	expression, format := s.get("pattern"), s.get("format")
	for key, v := range map[string]*value{"pattern": expression, "format": format} {
		if v != nil && v.kind != 's' {
			return 0, refused(at+"/"+key, "%s is a string", key)
		}
	}
	var inner int32
	switch {
	case expression != nil && format != nil:
		return 0, refused(at+"/format", "pattern and format cannot be held together")
	case expression != nil:
		inner, err = c.expression(expression.text, l, at+"/pattern")
	case format != nil:
		inner, err = c.format(format.text, l, at+"/format")
	case l.Min == 0 && l.Max < 0:
		return grammar.AnyString, nil
	default:
		inner = c.Text(l)
	}
	if err != nil {
		return 0, err
	}
	return c.Seq(c.Literal(`"`), inner), nil
}

// expression returns the node of the inside of the strings in which source matches.
func (c *compiler) expression(source string, l automaton.Length, at string) (int32, error) {
	t, err := c.table(fmt.Sprint("pattern ", l, source), func() (*automaton.Table, error) {
		return automaton.Pattern(source, l, c.has)
	})
	if err != nil {
		return 0, refused(at, "%v", err)
	}
	return c.Table(t), nil
}

// format returns the node of the inside of a format's strings. The vocabulary
// keeps their tables, for there are few.
func (c *compiler) format(name string, l automaton.Length, at string) (int32, error) {
	source, ok := automaton.Format(name)
	if !ok {
		return 0, refused(at, "the format %q is not supported", name)
	}
	if l != (automaton.Length{Max: -1}) {
		return c.expression(source, l, at)
	}
	t, err := c.v.Table("format "+name, func() (*automaton.Table, error) { return automaton.Pattern(source, l, c.has) })
	if err != nil {
		return 0, refused(at, "%v", err)
	}
	return c.Table(t), nil
}

// table returns the table of key, made once for the schema.
func (c *compiler) table(key string, make func() (*automaton.Table, error)) (*automaton.Table, error) {
	t, ok := c.tables[key]
	if !ok {
		var err error
		if t, err = make(); err != nil {
			return nil, err
		}
		if t != nil {
			if *c.work -= t.States(); *c.work < 0 {
				return nil, errors.New("the schema is too large")
			}
		}
		c.tables[key] = t
	}
	return t, nil
}

// numberOf returns the node of the numbers that s allows.
func (c *compiler) numberOf(s *value, at string, integer bool) (int32, error) {
	l := automaton.Limits{Lo: automaton.Least64, Hi: automaton.Most64, Integer: integer}
	bounded := false
	for _, key := range []string{"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"} {
		v := s.get(key)
		if v == nil {
			continue
		}
		if v.kind != 'n' {
			return 0, refused(at+"/"+key, "%s is a number", key)
		}
		d, err := automaton.ParseDecimal(v.text)
		if err != nil {
			return 0, refused(at+"/"+key, "%v", err)
		}
		b := automaton.Bound{Decimal: d, Open: key == "exclusiveMinimum" || key == "exclusiveMaximum"}
		if key == "minimum" || key == "exclusiveMinimum" {
			l.Lo = stricter(l.Lo, b, 1, s.get("minimum") == nil || key == "minimum")
		} else {
			l.Hi = stricter(l.Hi, b, -1, s.get("maximum") == nil || key == "maximum")
		}
		bounded = true
	}
	if v := s.get("multipleOf"); v != nil {
		var err error
		if l.Step, l.Places, err = multiple(v, integer); err != nil {
			return 0, refused(at+"/multipleOf", "%v", err)
		}
		bounded = true
	}
	make := func() (*automaton.Table, error) { return automaton.Range(l, c.has) }
	var t *automaton.Table
	var err error
	switch {
	case bounded:
		t, err = c.table(fmt.Sprint("range ", l), make)
	case integer:
		t, err = c.v.Table("integer", make)
	default:
		t, err = c.anyNumber()
	}
	if err != nil {
		return 0, refused(at+"/multipleOf", "%v", err)
	}
	return c.Table(t), nil
}

// anyNumber is the table of numbers without bounds.
func (c *compiler) anyNumber() (*automaton.Table, error) {
	return c.v.Table("number", func() (*automaton.Table, error) { return automaton.Number(c.has), nil })
}

// stricter returns the bound that leaves less: the greater one when way is 1,
// the smaller one when it is -1. The first one given replaces the default.
func stricter(old, b automaton.Bound, way int, first bool) automaton.Bound {
	if first {
		return b
	}
	d := b.Rat().Cmp(old.Rat()) * way
	if d > 0 || d == 0 && b.Open {
		return b
	}
	return old
}

// multiple reads multipleOf as step / 10^places.
func multiple(v *value, integer bool) (step, places int, err error) {
	d, err := automaton.ParseDecimal(v.text)
	if v.kind != 'n' || err != nil || d.Rat().Sign() <= 0 {
		return 0, 0, fmt.Errorf("multipleOf is a number above 0")
	}
	r := d.Rat()
	if integer {
		step := r.Num() // the integers among the multiples of a/b in lowest terms are those of a
		if !step.IsInt64() || step.Int64() > automaton.MaxStates {
			return 0, 0, fmt.Errorf("multipleOf is too great a number to be held")
		}
		return int(step.Int64()), 0, nil
	}
	places = len(d.Part)
	scaled := new(big.Rat).Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
	if n := scaled.Num(); n.IsInt64() && n.Int64() <= automaton.MaxStates {
		return int(n.Int64()), places, nil
	}
	return 0, 0, fmt.Errorf("multipleOf has too many digits to be held")
}
