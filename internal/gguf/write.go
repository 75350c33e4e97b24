package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"afina/internal/quant"
)

// alignment of the tensors' data, the format's default.
const alignment = 32

// Pair is one key and its value as Write stores it: uint32, int32, float32,
// bool, string, uint64, uint16, []string, []int32, []float32.
type Pair struct {
	Key   string
	Value any
}

// Named is a tensor to write. Dims are in torch order (rows, cols) or (cols).
type Named struct {
	Name   string
	Matrix quant.Matrix
	Vector bool // one-dimensional
}

// Write stores a version-3 GGUF file at path, whole or not at all: it is
// written beside, flushed to the disk and moved into place.
func Write(path string, pairs []Pair, tensors []Named) (err error) {
	header, err := header(pairs, tensors)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".gguf-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := body(f, header, tensors); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// body writes the header and then the data, each padded.
func body(w io.Writer, header []byte, tensors []Named) error {
	buf := bufio.NewWriterSize(w, 1<<20)
	put := func(b []byte) {
		buf.Write(b) // an error stays in buf until Flush
		buf.Write(make([]byte, -len(b)&(alignment-1)))
	}
	put(header)
	for _, t := range tensors {
		put(t.Matrix.Data)
	}
	return buf.Flush()
}

// syncDir makes a rename in dir outlast a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func header(pairs []Pair, tensors []Named) ([]byte, error) {
	le := binary.LittleEndian
	b := append([]byte("GGUF"), maxVersion, 0, 0, 0)
	b = le.AppendUint64(b, uint64(len(tensors)))
	b = le.AppendUint64(b, uint64(len(pairs)))
	seen := map[string]bool{}
	for _, p := range pairs {
		if p.Key == "" || len(p.Key) > maxKey || seen[p.Key] {
			return nil, fmt.Errorf("key %q is empty, too long or written twice", p.Key)
		}
		seen[p.Key] = true
		b = appendString(b, p.Key)
		var err error
		if b, err = appendValue(b, p.Value); err != nil {
			return nil, fmt.Errorf("key %q: %w", p.Key, err)
		}
	}
	clear(seen)
	offset := 0
	for _, t := range tensors {
		m := t.Matrix
		switch {
		case t.Name == "" || len(t.Name) > maxName || seen[t.Name]:
			return nil, fmt.Errorf("tensor name %q is empty, too long or written twice", t.Name)
		case !m.Type.Known() || m.Rows < 1 || m.Cols < 1 || m.Cols%m.Type.BlockSize() != 0,
			len(m.Data) != m.Rows*m.Type.RowBytes(m.Cols), t.Vector && m.Rows != 1:
			return nil, fmt.Errorf("tensor %q: %d bytes are not (%d, %d) of %s", t.Name, len(m.Data), m.Rows, m.Cols, m.Type)
		}
		seen[t.Name] = true
		b = appendString(b, t.Name)
		if t.Vector {
			b = le.AppendUint32(b, 1)
			b = le.AppendUint64(b, uint64(m.Cols))
		} else {
			b = le.AppendUint32(b, 2)
			b = le.AppendUint64(b, uint64(m.Cols))
			b = le.AppendUint64(b, uint64(m.Rows))
		}
		b = le.AppendUint32(b, uint32(m.Type))
		b = le.AppendUint64(b, uint64(offset))
		offset += (len(m.Data) + alignment - 1) &^ (alignment - 1)
	}
	return b, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue writes a value behind its type.
func appendValue(b []byte, v any) ([]byte, error) {
	le := binary.LittleEndian
	switch v := v.(type) {
	case uint16:
		return le.AppendUint16(le.AppendUint32(b, typeU16), v), nil
	case uint32:
		return le.AppendUint32(le.AppendUint32(b, typeU32), v), nil
	case int32:
		return le.AppendUint32(le.AppendUint32(b, typeI32), uint32(v)), nil
	case uint64:
		return le.AppendUint64(le.AppendUint32(b, typeU64), v), nil
	case float32:
		return le.AppendUint32(le.AppendUint32(b, typeF32), math.Float32bits(v)), nil
	case bool:
		b = le.AppendUint32(b, typeBool)
		if v {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	case string:
		return appendString(le.AppendUint32(b, typeString), v), nil
	case []string:
		return appendArray(b, typeString, v, appendString), nil
	case []int32:
		return appendArray(b, typeI32, v, func(b []byte, v int32) []byte { return le.AppendUint32(b, uint32(v)) }), nil
	case []float32:
		return appendArray(b, typeF32, v, func(b []byte, v float32) []byte { return le.AppendUint32(b, math.Float32bits(v)) }), nil
	}
	return nil, fmt.Errorf("values of type %T cannot be written", v)
}

func appendArray[T any](b []byte, t uint32, v []T, one func([]byte, T) []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, typeArray)
	b = binary.LittleEndian.AppendUint32(b, t)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(v)))
	for _, x := range v {
		b = one(b, x)
	}
	return b
}
