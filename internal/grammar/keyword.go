package grammar

import (
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
	case extra == nil && len(properties.keys) == 0:
		further = c.anything()
	}
	var fields []field
	for i, name := range properties.keys {
		id, err := c.schema(properties.kids[i], at+"/properties/"+escapePointer(name))
		if err != nil {
			return 0, err
		}
		fields = append(fields, field{c.keyed(name), id, slices.Contains(required, name)})
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
		fields = append(fields, field{c.keyed(name), value, true})
		names = append(slices.Clip(names), name)
	}
	key := anyKey
	if further >= 0 && len(names) > 0 {
		t, ok := newKey(names, &c.v.has)
		if !ok {
			return 0, refused(at+"/additionalProperties", "the names of the properties are too long to tell others apart; set it to false")
		}
		key = c.seq(c.literal(`"`), c.table(t))
	}
	return c.object(fields, key, further), nil
}

// named returns properties and required.
func (c *compiler) named(s *value, at string) (properties *value, required []string, err error) {
	if properties = s.get("properties"); properties == nil {
		properties = &value{kind: '{'}
	}
	if properties.kind != '{' {
		return nil, nil, refused(at+"/properties", "properties is an object")
	}
	if list := s.get("required"); list != nil {
		var ok bool
		if required, ok = list.strings(); !ok {
			return nil, nil, refused(at+"/required", "required is a list of names")
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
	return c.array(kids, rest, l.min, l.max), nil
}

// maxLength is the most that minLength and minItems may ask for, and more than
// any answer has: a greater maximum is none.
const maxLength = 1 << 20

// lengths reads a pair of keywords that bound a number of characters or elements.
func (c *compiler) lengths(s *value, least, most, at string) (lengths, error) {
	l := lengths{max: -1}
	for key, to := range map[string]*int32{least: &l.min, most: &l.max} {
		v := s.get(key)
		if v == nil {
			continue
		}
		d, err := parseDecimal(v.text)
		if v.kind != 'n' || err != nil || d.negative || d.part != "" {
			return l, refused(at+"/"+key, "%s is a whole number that is not negative", key)
		}
		n, err := strconv.Atoi(d.whole)
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
	case l.min == 0 && l.max < 0:
		return anyKey, nil
	case l.max >= 0 && l.min > l.max:
		return c.choice(), nil
	default:
		inner = c.add(node{kind: free, min: l.min, max: l.max})
	}
	if err != nil {
		return 0, err
	}
	return c.seq(c.literal(`"`), inner), nil
}

func (c *compiler) expression(source string, l lengths, at string) (int32, error) {
	key := fmt.Sprint("pattern ", l, source)
	t, ok := c.tables[key]
	if !ok {
		var err error
		if t, err = pattern(source, string_, l, &c.v.has); err != nil {
			return 0, refused(at, "%v", err)
		}
		c.tables[key] = t
	}
	return c.table(t), nil
}

// format returns the node of a format; without bounds its table is the
// vocabulary's, made once.
func (c *compiler) format(name string, l lengths, at string) (int32, error) {
	if _, ok := formats[name]; !ok {
		return 0, refused(at, "the format %q is not supported", name)
	}
	return c.expression(formats[name], l, at)
}

// numberOf returns the node of the numbers that s allows.
func (c *compiler) numberOf(s *value, at string, integer bool) (int32, error) {
	l := limits{lo: least64, hi: most64, integer: integer}
	bounded := false
	for _, key := range []string{"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"} {
		v := s.get(key)
		if v == nil {
			continue
		}
		if v.kind != 'n' {
			return 0, refused(at+"/"+key, "%s is a number", key)
		}
		d, err := parseDecimal(v.text)
		if err != nil {
			return 0, refused(at+"/"+key, "%v", err)
		}
		b := bound{d, key == "exclusiveMinimum" || key == "exclusiveMaximum"}
		if key == "minimum" || key == "exclusiveMinimum" {
			l.lo = stricter(l.lo, b, 1, s.get("minimum") == nil || key == "minimum")
		} else {
			l.hi = stricter(l.hi, b, -1, s.get("maximum") == nil || key == "maximum")
		}
		bounded = true
	}
	if v := s.get("multipleOf"); v != nil {
		var err error
		if l.step, l.places, err = multiple(v, integer); err != nil {
			return 0, refused(at+"/multipleOf", "%v", err)
		}
		bounded = true
	}
	if !integer && !bounded {
		return c.numbers("number", func() (*table, bool) { return anyNumber(&c.v.has), true }, at)
	}
	return c.numbers(fmt.Sprint("range ", l), func() (*table, bool) { return ranged(l, &c.v.has) }, at)
}

// numbers returns the node of a table of numbers, made once per key.
func (c *compiler) numbers(key string, make func() (*table, bool), at string) (int32, error) {
	t, ok := c.tables[key]
	if !ok {
		var fits bool
		if t, fits = make(); !fits {
			return 0, refused(at+"/multipleOf", "the numbers between the bounds need too many states; make the range or the number smaller")
		}
		c.tables[key] = t
	}
	return c.table(t), nil
}

// stricter returns the bound that leaves less: the greater one when way is 1,
// the smaller one when it is -1. The first one given replaces the default.
func stricter(old, b bound, way int, first bool) bound {
	if first {
		return b
	}
	d := b.rat().Cmp(old.rat()) * way
	if d > 0 || d == 0 && b.open {
		return b
	}
	return old
}

// multiple reads multipleOf as step / 10^places.
func multiple(v *value, integer bool) (step, places int, err error) {
	d, err := parseDecimal(v.text)
	if v.kind != 'n' || err != nil || d.rat().Sign() <= 0 {
		return 0, 0, fmt.Errorf("multipleOf is a number above 0")
	}
	r := d.rat()
	if integer {
		step := r.Num() // the integers among the multiples of a/b in lowest terms are those of a
		if !step.IsInt64() || step.Int64() > maxStates {
			return 0, 0, fmt.Errorf("multipleOf is too great a number to be held")
		}
		return int(step.Int64()), 0, nil
	}
	places = len(d.part)
	scaled := new(big.Rat).Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
	if n := scaled.Num(); n.IsInt64() && n.Int64() <= maxStates {
		return int(n.Int64()), places, nil
	}
	return 0, 0, fmt.Errorf("multipleOf has too many digits to be held")
}
