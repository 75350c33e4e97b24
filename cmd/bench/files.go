package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"afina/internal/gguf"
	"afina/internal/quant"
)

// requantize writes the model at from with every Q4_1 matrix as typ, unless to
// is there already. Both sides of a row read the same file.
func requantize(from, to string, typ quant.Type) error {
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := gguf.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	var tensors []gguf.Named
	for _, name := range f.Names {
		m, _ := f.Tensor(name)
		vector := m.Rows == 1 && m.Type == quant.F32 // norms; no matrix of these models has one row
		if m.Type == quant.Q4_1 {
			if m, err = convert(m, typ); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		tensors = append(tensors, gguf.Named{Name: name, Matrix: m, Vector: vector})
	}
	pairs, err := pairs(f.Metadata)
	if err != nil {
		return err
	}
	return gguf.Write(to, pairs, tensors)
}

// convert stores m anew as typ, with ggml's reference quantiser.
func convert(m quant.Matrix, typ quant.Type) (quant.Matrix, error) {
	x := make([]float32, m.Rows*m.Cols)
	for i := range m.Rows {
		m.Dequantize(x[i*m.Cols:(i+1)*m.Cols], i)
	}
	return quant.Quantize(typ, x, m.Rows, m.Cols)
}

// pairs are the metadata of a file as they can be written: integers and floats
// of 32 bits, which is what the keys of these models are. general.file_type,
// which names the format for people, is left out.
func pairs(md gguf.Metadata) ([]gguf.Pair, error) {
	var out []gguf.Pair
	for _, key := range slices.Sorted(maps.Keys(md)) {
		if key == "general.file_type" {
			continue
		}
		value := md[key]
		switch v := value.(type) {
		case uint64:
			value = uint32(v)
		case int64:
			value = int32(v)
		case float64:
			value = float32(v)
		case []int64:
			narrow := make([]int32, len(v))
			for i, n := range v {
				narrow[i] = int32(n)
			}
			value = narrow
		case string, bool, []string:
		default:
			return nil, fmt.Errorf("key %s: values of type %T are not copied", key, v)
		}
		out = append(out, gguf.Pair{Key: key, Value: value})
	}
	return out, nil
}

// variant is the path of the model in another format, in the folder for what
// the benchmark makes.
func variant(dir, model string, typ quant.Type) string {
	base := strings.TrimSuffix(filepath.Base(model), ".gguf")
	return filepath.Join(dir, base+"-"+strings.ToLower(typ.String())+".gguf")
}
