package schema

import (
	"afina/internal/automaton"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// value is a JSON value whose keys keep their order.
type value struct {
	kind byte   // one of { [ s n t f 0
	text string // of a string; a number as it was written
	keys []string
	kids []*value // of an object, in the order of keys; of an array
}

const (
	maxSchema = 1 << 20 // bytes
	maxNested = 100
)

// parse reads one JSON value.
func parse(data []byte) (*value, error) {
	if len(data) > maxSchema {
		return nil, fmt.Errorf("it has %d bytes; at most %d are accepted", len(data), maxSchema)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := read(d, 0)
	if err == io.EOF {
		return nil, errors.New("it is empty")
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something behind it")
	}
	return v, nil
}

func read(d *json.Decoder, depth int) (*value, error) {
	if depth > maxNested {
		return nil, fmt.Errorf("it is nested more than %d deep", maxNested)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		return readInside(d, &value{kind: byte(t)}, depth)
	case string:
		return &value{kind: 's', text: t}, nil
	case json.Number:
		return &value{kind: 'n', text: t.String()}, nil
	case bool:
		if t {
			return &value{kind: 't'}, nil
		}
		return &value{kind: 'f'}, nil
	}
	return &value{kind: '0'}, nil
}

// readInside reads what an object or array v holds.
func readInside(d *json.Decoder, v *value, depth int) (*value, error) {
	seen := map[string]bool{}
	for d.More() {
		if v.kind == '{' {
			token, err := d.Token()
			if err != nil {
				return nil, err
			}
			key := token.(string)
			if seen[key] {
				return nil, fmt.Errorf("the key %q stands twice", key)
			}
			seen[key] = true
			v.keys = append(v.keys, key)
		}
		kid, err := read(d, depth+1)
		if err != nil {
			return nil, err
		}
		v.kids = append(v.kids, kid)
	}
	_, err := d.Token()
	return v, err
}

// get returns what key holds, nil when v has no such key.
func (v *value) get(key string) *value {
	for i, k := range v.keys {
		if k == key {
			return v.kids[i]
		}
	}
	return nil
}

// with returns a copy of v in which key holds kid.
func (v *value) with(key string, kid *value) *value {
	out := v.without(key)
	out.keys = append(out.keys, key)
	out.kids = append(out.kids, kid)
	return out
}

// without returns a copy of v without keys.
func (v *value) without(keys ...string) *value {
	out := &value{kind: '{'}
	for i, k := range v.keys {
		drop := false
		for _, key := range keys {
			drop = drop || k == key
		}
		if !drop {
			out.keys = append(out.keys, k)
			out.kids = append(out.kids, v.kids[i])
		}
	}
	return out
}

// object returns the object with one key.
func object(key string, kid *value) *value {
	return &value{kind: '{', keys: []string{key}, kids: []*value{kid}}
}

// array returns the array of kids.
func array(kids ...*value) *value { return &value{kind: '[', kids: kids} }

// boolean returns true or false.
func boolean(b bool) *value {
	if b {
		return &value{kind: 't'}
	}
	return &value{kind: 'f'}
}

// strings returns the strings of an array, false when v is something else.
func (v *value) strings() (list []string, ok bool) {
	if v.kind != '[' {
		return nil, false
	}
	for _, k := range v.kids {
		if k.kind != 's' {
			return nil, false
		}
		list = append(list, k.text)
	}
	return list, true
}

// same reports whether two values are equal as JSON Schema has it: numbers by
// what they are worth, objects whatever the order of their keys.
func (v *value) same(w *value) bool {
	if v.kind != w.kind || len(v.kids) != len(w.kids) {
		return false
	}
	switch v.kind {
	case 's':
		return v.text == w.text
	case 'n':
		a, errA := automaton.ParseDecimal(v.text)
		b, errB := automaton.ParseDecimal(w.text)
		if errA != nil || errB != nil {
			return v.text == w.text
		}
		return a == b
	}
	for i, kid := range v.kids {
		other := w.kids[i]
		if v.kind == '{' {
			if other = w.get(v.keys[i]); other == nil {
				return false
			}
		}
		if !kid.same(other) {
			return false
		}
	}
	return true
}

// write returns v as compact JSON of bytes in has.
func (v *value) write(has *automaton.Bytes) string {
	switch v.kind {
	case 's':
		return automaton.Quote(v.text, has)
	case 'n':
		return v.text
	case 't':
		return "true"
	case 'f':
		return "false"
	case '0':
		return "null"
	}
	var b strings.Builder
	b.WriteByte(v.kind)
	for i, kid := range v.kids {
		if i > 0 {
			b.WriteByte(',')
		}
		if v.kind == '{' {
			b.WriteString(automaton.Quote(v.keys[i], has))
			b.WriteByte(':')
		}
		b.WriteString(kid.write(has))
	}
	b.WriteByte(v.kind + 2) // ] follows [ by two in ASCII, and } follows {
	return b.String()
}
