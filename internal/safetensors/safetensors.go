// Package safetensors reads and writes the safetensors format
// (huggingface/safetensors): a JSON header and a flat buffer that its entries
// tile exactly.
//
// A file is foreign: sizes are compared with what is there before they are
// used, products are checked, and nothing but views and the header's own strings
// is allocated.
package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"afina/internal/quant"
)

// Limits beyond which a header is refused.
const (
	maxHeader = 100_000_000 // bytes, from the specification
	maxDims   = 8
	maxKeys   = 1 << 17 // of one object: tensors, or entries of the metadata
)

// Tensor is a named array, row-major. Its bytes are little-endian.
type Tensor struct {
	DType string // "F32", "F16", "BF16", "U64", "I32"
	Shape []int
	Data  []byte
}

// File is the content of a safetensors file.
type File struct {
	Metadata map[string]string
	Tensors  map[string]Tensor
}

// width is the bytes of one number, 0 for a type that is not supported.
func width(dtype string) int {
	switch dtype {
	case "F32", "I32":
		return 4
	case "F16", "BF16":
		return 2
	case "U64":
		return 8
	}
	return 0
}

// size is the number of bytes of a tensor of that type and shape, false when
// there can be no such tensor.
func size(dtype string, shape []int) (int, bool) {
	n := width(dtype)
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt/d {
			return 0, false
		}
		n *= d
	}
	return n, width(dtype) > 0
}

// Encode writes f with its tensors in name order: equal content, equal bytes.
func Encode(f *File) ([]byte, error) {
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	entries := map[string]any{} // encoding/json writes a map in key order
	if len(f.Metadata) > 0 {
		entries["__metadata__"] = f.Metadata
	}
	names, at := slices.Sorted(maps.Keys(f.Tensors)), 0
	for _, name := range names {
		t := f.Tensors[name]
		n, ok := size(t.DType, t.Shape)
		if !ok || n != len(t.Data) || len(t.Shape) > maxDims || name == "__metadata__" {
			return nil, fmt.Errorf("safetensors: tensor %q: %d bytes are not %v of %q", name, len(t.Data), t.Shape, t.DType)
		}
		shape := append([]int{}, t.Shape...) // [] and not null for a scalar
		entries[name] = entry{t.DType, shape, [2]int{at, at + n}}
		at += n
	}
	header, err := json.Marshal(entries)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	for len(header)%8 != 0 { // keeps the data aligned
		header = append(header, ' ')
	}
	b := make([]byte, 8, 8+len(header)+at)
	binary.LittleEndian.PutUint64(b, uint64(len(header)))
	b = append(b, header...)
	for _, name := range names {
		b = append(b, f.Tensors[name].Data...)
	}
	return b, nil
}

// Floats returns the tensor as float32, converting F16 and BF16.
func (t Tensor) Floats() ([]float32, error) {
	var as quant.Type
	switch t.DType {
	case "F32":
		as = quant.F32
	case "F16":
		as = quant.F16
	case "BF16":
		as = quant.BF16
	default:
		return nil, fmt.Errorf("safetensors: %s is not a float type", t.DType)
	}
	x := make([]float32, len(t.Data)/width(t.DType))
	as.Unpack(x, t.Data)
	return x, nil
}

// FromFloats returns an F32 tensor of the given shape.
func FromFloats(x []float32, shape ...int) Tensor {
	if n, _ := size("F32", shape); n != 4*len(x) {
		panic(fmt.Sprintf("safetensors: %d numbers are not %v", len(x), shape))
	}
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return Tensor{DType: "F32", Shape: slices.Clone(shape), Data: b}
}
