package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// span is where a tensor's data lies.
type span struct {
	name       string
	begin, end int
}

// Decode checks b and returns views into it. Every malformed input is an error.
func Decode(b []byte) (*File, error) {
	header, data, err := cut(b)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	p := &parser{d: json.NewDecoder(bytes.NewReader(header)), data: data}
	p.d.UseNumber()
	f := &File{Tensors: map[string]Tensor{}}
	if err := p.file(f); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	return f, nil
}

// cut separates header and data.
func cut(b []byte) (header, data []byte, err error) {
	if len(b) < 8 {
		return nil, nil, fmt.Errorf("%d bytes are too few for a header", len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	switch {
	case n > maxHeader:
		return nil, nil, fmt.Errorf("the header claims %d bytes, more than %d", n, maxHeader)
	case n > uint64(len(b)-8):
		return nil, nil, fmt.Errorf("the header claims %d bytes of %d", n, len(b)-8)
	}
	header, data = b[8:8+n], b[8+n:]
	switch {
	case n == 0 || header[0] != '{':
		return nil, nil, errors.New("the header does not begin with {")
	case !utf8.Valid(header):
		return nil, nil, errors.New("the header is not UTF-8")
	}
	return header, data, nil
}

// parser reads the header token by token: encoding/json alone would take the
// last of equal keys and nest as deep as it is told.
type parser struct {
	d     *json.Decoder
	data  []byte
	spans []span
}

func (p *parser) file(f *File) error {
	err := p.object(func(key string) (err error) {
		if key == "__metadata__" {
			f.Metadata = map[string]string{}
			return p.object(func(key string) (err error) {
				f.Metadata[key], err = p.text()
				return err
			})
		}
		f.Tensors[key], err = p.tensor(key)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := p.d.Token(); err != io.EOF {
		return errors.New("the header goes on after its end")
	}
	return p.tiled()
}

// tiled checks that the tensors cover the data without hole or overlap.
func (p *parser) tiled() error {
	slices.SortFunc(p.spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := 0
	for _, s := range p.spans {
		if s.begin != at {
			return fmt.Errorf("tensor %q begins at byte %d, not at %d where the one before ends", s.name, s.begin, at)
		}
		at = s.end
	}
	if at != len(p.data) {
		return fmt.Errorf("the tensors end at byte %d of %d", at, len(p.data))
	}
	return nil
}

func (p *parser) tensor(name string) (t Tensor, err error) {
	var offsets []int
	fields := 0
	err = p.object(func(key string) (err error) {
		fields++
		switch key {
		case "dtype":
			t.DType, err = p.text()
		case "shape":
			t.Shape, err = p.numbers()
		case "data_offsets":
			offsets, err = p.numbers()
		default:
			err = fmt.Errorf("field %q is unknown", key)
		}
		return err
	})
	if err == nil && fields != 3 {
		err = errors.New("dtype, shape or data_offsets is missing")
	}
	if err != nil {
		return Tensor{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	n, ok := size(t.DType, t.Shape)
	switch {
	case width(t.DType) == 0:
		return Tensor{}, fmt.Errorf("tensor %q: type %q is not supported", name, t.DType)
	case !ok:
		return Tensor{}, fmt.Errorf("tensor %q: the shape %v is too large", name, t.Shape)
	case len(offsets) != 2 || offsets[0] > offsets[1] || offsets[1] > len(p.data):
		return Tensor{}, fmt.Errorf("tensor %q: the offsets %v are not in %d bytes of data", name, offsets, len(p.data))
	case offsets[1]-offsets[0] != n:
		return Tensor{}, fmt.Errorf("tensor %q: %d bytes are not %v of %s", name, offsets[1]-offsets[0], t.Shape, t.DType)
	}
	p.spans = append(p.spans, span{name, offsets[0], offsets[1]})
	t.Data = p.data[offsets[0]:offsets[1]:offsets[1]]
	return t, nil
}

// object reads an object and calls field behind each of its keys.
func (p *parser) object(field func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.d.More() {
		key, err := p.text()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("key %q occurs twice", key)
		}
		if seen[key] = true; len(seen) > maxKeys {
			return fmt.Errorf("the header has an object of more than %d keys", maxKeys)
		}
		if err := field(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p *parser) delim(want json.Delim) error {
	token, err := p.d.Token()
	if err != nil {
		return fmt.Errorf("the header is not JSON: %w", err)
	}
	if token != want {
		return fmt.Errorf("the header holds %v where %v should be", token, want)
	}
	return nil
}

func (p *parser) text() (string, error) {
	token, err := p.d.Token()
	if err != nil {
		return "", fmt.Errorf("the header is not JSON: %w", err)
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("the header holds %v where a string should be", token)
	}
	return s, nil
}

// numbers reads a short array of whole numbers from 0 on.
func (p *parser) numbers() ([]int, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	x := []int{}
	for p.d.More() {
		token, err := p.d.Token()
		if err != nil {
			return nil, fmt.Errorf("the header is not JSON: %w", err)
		}
		number, _ := token.(json.Number)
		n, err := strconv.Atoi(string(number))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("the header holds %v where a whole number should be", token)
		}
		if x = append(x, n); len(x) > maxDims {
			return nil, fmt.Errorf("the header holds an array of more than %d numbers", maxDims)
		}
	}
	return x, p.delim(']')
}
