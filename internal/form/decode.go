package form

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"afina/internal/fault"
)

// The bounds of a body, whatever its bytes: they keep the memory of a decoded
// value in proportion to the body's size.
const (
	MaxDepth = 32
	MaxItems = 10_000 // entries of one array
)

// Rest is the JSON name of a field, of type map[string]json.RawMessage, that
// takes all that its struct has no field for: then nothing is unknown there.
const Rest = "*"

// Decode reads data, which must be exactly one JSON value, over what into points
// to; fields that are not mentioned keep their value. at is the path of the
// value inside a larger one, "" for a whole body.
//
// It is stricter than encoding/json: names match exactly, unknown and repeated
// names are errors, so are broken UTF-8, half surrogates, null where a value is
// needed and whole numbers with a fraction. It knows structs, pointers (null is
// nil), slices, maps with string keys, strings, numbers, booleans and
// json.RawMessage, which takes any value as it stands.
func Decode(data []byte, at string, into any) error {
	if err := scan(data); err != nil {
		return err
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return syntax(data, err)
	}
	d := decoder{dec: json.NewDecoder(bytes.NewReader(data)), data: data}
	d.dec.UseNumber()
	tok, err := d.next()
	if err != nil {
		return err
	}
	return d.value(tok, reflect.ValueOf(into).Elem(), at)
}

// scan checks what encoding/json would let through: broken UTF-8 and half
// surrogates, which it replaces silently, and nesting beyond MaxDepth.
func scan(data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return invalid(CodeSyntax, "", "the body is empty; send a JSON object")
	}
	if !utf8.Valid(data) {
		return invalid(CodeEncoding, "", "the body is not valid UTF-8; send the text encoded as UTF-8")
	}
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			width, whole := escape(data[i:])
			if !whole {
				return invalid(CodeEncoding, "", "%s: half of a surrogate pair in a \\u escape; write both halves, or the character itself", position(data, i))
			}
			i += width - 1
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > MaxDepth {
				return invalid(CodeDepth, "", "the body is nested deeper than %d levels", MaxDepth)
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

// escape returns how many bytes the escape at the start of s takes, and false
// when it is half of a surrogate pair. Bad syntax is left to the parser.
func escape(s []byte) (width int, whole bool) {
	unit := func(s []byte) (uint64, bool) {
		if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
			return 0, false
		}
		u, err := strconv.ParseUint(string(s[2:6]), 16, 16)
		return u, err == nil
	}
	u, ok := unit(s)
	switch {
	case !ok:
		return 2, true
	case u < 0xD800 || u > 0xDFFF:
		return 6, true
	case u > 0xDBFF:
		return 6, false
	}
	low, ok := unit(s[6:])
	return 12, ok && low >= 0xDC00 && low <= 0xDFFF
}

func syntax(data []byte, err error) error {
	var s *json.SyntaxError
	if !errors.As(err, &s) {
		return fmt.Errorf("parse json: %w", err)
	}
	return invalid(CodeSyntax, "", "the body is not valid JSON: %s: %s", position(data, int(s.Offset)-1), s.Error())
}

// position is the place of a byte as an editor shows it.
func position(data []byte, offset int) string {
	offset = min(max(offset, 0), len(data))
	before := data[:offset]
	line := bytes.Count(before, []byte("\n")) + 1
	column := offset - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d, column %d", line, column)
}

type decoder struct {
	dec   *json.Decoder
	data  []byte
	start int // where the token read last begins in data
}

// next returns the next token; the syntax has been checked before.
func (d *decoder) next() (json.Token, error) {
	d.start = int(d.dec.InputOffset())
	for d.start < len(d.data) && strings.IndexByte(" \t\r\n:,", d.data[d.start]) >= 0 {
		d.start++
	}
	tok, err := d.dec.Token()
	if err != nil {
		return nil, fmt.Errorf("read json: %w", err)
	}
	return tok, nil
}

var rawMessage = reflect.TypeFor[json.RawMessage]()

// value reads into v the value that begins with tok.
func (d *decoder) value(tok json.Token, v reflect.Value, path string) error {
	if v.Type() == rawMessage {
		return d.raw(tok, v, path)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if tok == nil {
			v.SetZero()
			return nil
		}
		fresh := reflect.New(v.Type().Elem())
		if err := d.value(tok, fresh.Elem(), path); err != nil {
			return err
		}
		v.Set(fresh)
		return nil
	case reflect.Struct:
		return d.object(tok, v, path)
	case reflect.Map:
		return d.table(tok, v, path)
	case reflect.Slice:
		return d.array(tok, v, path)
	}
	return scalar(tok, v, path)
}

// raw keeps the bytes of the value that begins with tok.
func (d *decoder) raw(tok json.Token, v reflect.Value, path string) error {
	start := d.start
	if err := d.skip(tok, path); err != nil {
		return err
	}
	v.SetBytes(slices.Clone(d.data[start:d.dec.InputOffset()]))
	return nil
}

// skip passes over the value that begins with tok, refusing repeated names.
func (d *decoder) skip(tok json.Token, path string) error {
	switch tok {
	case json.Delim('{'):
		return d.fields(path, func(name string, tok json.Token) error {
			return d.skip(tok, Join(path, name))
		})
	case json.Delim('['):
		return d.items(path, func(i int, tok json.Token) error {
			return d.skip(tok, fmt.Sprintf("%s[%d]", path, i))
		})
	}
	return nil
}

// fields calls f with each name of the object and the first token of its value.
func (d *decoder) fields(path string, f func(name string, tok json.Token) error) error {
	seen := map[string]bool{}
	for d.dec.More() {
		key, err := d.next()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if seen[name] {
			where := Join(path, name)
			return invalid(CodeDuplicate, where, "%s is given twice; leave one", where)
		}
		seen[name] = true
		tok, err := d.next()
		if err != nil {
			return err
		}
		if err := f(name, tok); err != nil {
			return err
		}
	}
	_, err := d.next()
	return err
}

// items calls f with the first token of each entry of the array.
func (d *decoder) items(path string, f func(i int, tok json.Token) error) error {
	for i := 0; d.dec.More(); i++ {
		if i >= MaxItems {
			return invalid(CodeValue, path, "%s has more than %d entries; send fewer", path, MaxItems)
		}
		tok, err := d.next()
		if err != nil {
			return err
		}
		if err := f(i, tok); err != nil {
			return err
		}
	}
	_, err := d.next()
	return err
}

func (d *decoder) object(tok json.Token, v reflect.Value, path string) error {
	if tok != json.Delim('{') {
		return mismatch("an object", tok, path)
	}
	known := names(v.Type())
	rest := slices.Index(known, Rest)
	return d.fields(path, func(name string, tok json.Token) error {
		i := slices.Index(known, name)
		if rest >= 0 && (i < 0 || i == rest || name == "") {
			return d.leave(tok, v.Field(rest), path, name)
		}
		if i < 0 || name == "" {
			return unknown(path, name, known)
		}
		return d.value(tok, v.Field(i), Join(path, name))
	})
}

// leave keeps a field that is not known in the map for such.
func (d *decoder) leave(tok json.Token, v reflect.Value, path, name string) error {
	var raw json.RawMessage
	if err := d.raw(tok, reflect.ValueOf(&raw).Elem(), Join(path, name)); err != nil {
		return err
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	v.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(raw))
	return nil
}

// names are the JSON names of t's fields, by index; "" for those without one.
func names(t reflect.Type) []string {
	list := make([]string, t.NumField())
	for i := range list {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "-" {
			list[i] = name
		}
	}
	return list
}

func unknown(path, name string, known []string) error {
	where := Join(path, shorten(name))
	return invalid(CodeUnknown, where, "unknown field %q%s; remove it or correct its name", where, Meant(name, known))
}

func (d *decoder) table(tok json.Token, v reflect.Value, path string) error {
	if tok != json.Delim('{') {
		return mismatch("an object", tok, path)
	}
	v.Set(reflect.MakeMap(v.Type()))
	return d.fields(path, func(name string, tok json.Token) error {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(tok, item, Join(path, name)); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(name), item)
		return nil
	})
}

func (d *decoder) array(tok json.Token, v reflect.Value, path string) error {
	if tok != json.Delim('[') {
		return mismatch("an array", tok, path)
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	return d.items(path, func(i int, tok json.Token) error {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(tok, item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
		v.Set(reflect.Append(v, item))
		return nil
	})
}

func scalar(tok json.Token, v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.String:
		s, ok := tok.(string)
		if !ok {
			return mismatch("text", tok, path)
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := tok.(bool)
		if !ok {
			return mismatch("true or false", tok, path)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, ok := tok.(json.Number)
		if !ok {
			return mismatch("a whole number", tok, path)
		}
		i, err := strconv.ParseInt(n.String(), 10, v.Type().Bits())
		if errors.Is(err, strconv.ErrRange) {
			return mismatch(fmt.Sprintf("a whole number that fits in %d bits", v.Type().Bits()), tok, path)
		}
		if err != nil {
			return mismatch("a whole number", tok, path)
		}
		v.SetInt(i)
	case reflect.Float32, reflect.Float64:
		n, ok := tok.(json.Number)
		if !ok {
			return mismatch("a number", tok, path)
		}
		f, err := strconv.ParseFloat(n.String(), v.Type().Bits())
		if err != nil {
			return mismatch("a number that fits", tok, path)
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("form: no way to decode into %s at %s", v.Type(), path))
	}
	return nil
}

// mismatch names what was wanted and what was found.
func mismatch(want string, tok json.Token, path string) *fault.Error {
	where := path
	if where == "" {
		where = "the body"
	}
	return invalid(CodeType, path, "%s must be %s, not %s", where, want, found(tok))
}

func found(tok json.Token) string {
	switch t := tok.(type) {
	case nil:
		return "null"
	case json.Delim:
		if t == '{' {
			return "an object"
		}
		return "an array"
	case string:
		return fmt.Sprintf("the text %q", shorten(t))
	case bool:
		return strconv.FormatBool(t)
	}
	return shorten(fmt.Sprint(tok))
}

// shorten keeps error messages short whatever was sent.
func shorten(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}
