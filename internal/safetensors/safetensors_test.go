package safetensors_test

import (
	"encoding/binary"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"afina/internal/safetensors"
)

// file is a header and data as they lie on disk.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestRoundTrip(t *testing.T) {
	f := &safetensors.File{
		Metadata: map[string]string{"format": "pt", "step": "7"},
		Tensors: map[string]safetensors.Tensor{
			"b":      safetensors.FromFloats([]float32{1, -2, float32(math.Inf(1)), 0.1, 5, 6}, 2, 3),
			"a":      {DType: "U64", Shape: []int{2}, Data: make([]byte, 16)},
			"scalar": {DType: "I32", Shape: []int{}, Data: []byte{1, 2, 3, 4}},
			"none":   {DType: "F16", Shape: []int{0, 5}, Data: []byte{}},
		},
	}
	b, err := safetensors.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	again, err := safetensors.Encode(f)
	if err != nil || string(again) != string(b) {
		t.Errorf("a second encoding differs (%v)", err)
	}
	got, err := safetensors.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, got); diff != "" {
		t.Error(diff)
	}
}

func TestFloats(t *testing.T) {
	want := []float32{1, -0.5}
	for dtype, data := range map[string][]byte{
		"F32": {0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf}, "F16": {0, 0x3c, 0, 0xb8}, "BF16": {0x80, 0x3f, 0, 0xbf},
	} {
		got, err := safetensors.Tensor{DType: dtype, Shape: []int{2}, Data: data}.Floats()
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", dtype, got, err, want)
		}
	}
	if _, err := (safetensors.Tensor{DType: "I32", Shape: []int{1}, Data: make([]byte, 4)}).Floats(); err == nil {
		t.Error("integers became floats")
	}
}

type malformed struct {
	name  string
	bytes []byte
}

func malformedFiles() []malformed {
	one := func(dtype, shape, offsets string, data int) []byte {
		return file(`{"a":{"dtype":"`+dtype+`","shape":`+shape+`,"data_offsets":`+offsets+`}}`, data)
	}
	two := func(first, second string, data int) []byte {
		return file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":`+first+
			`},"b":{"dtype":"F32","shape":[1],"data_offsets":`+second+`}}`, data)
	}
	claim := func(n uint64) []byte { return append(binary.LittleEndian.AppendUint64(nil, n), `{}          `...) }
	return []malformed{
		{"nothing", nil},
		{"seven bytes", make([]byte, 7)},
		{"header of 0 bytes", claim(0)},
		{"header of 2^64-1 bytes", claim(math.MaxUint64)},
		{"header above 100 MB", claim(100_000_001)},
		{"header longer than the file", claim(13)},
		{"header not an object", file(`[]`, 0)},
		{"header begins with a space", file(` {}`, 0)},
		{"header not UTF-8", file("{\"\xff\":1}", 0)},
		{"header not JSON", file(`{"a"`, 0)},
		{"header with more behind", file(`{}{}`, 0)},
		{"key twice", file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 0)},
		{"field twice", file(`{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 0)},
		{"field unknown", file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":1}}`, 0)},
		{"field missing", file(`{"a":{"dtype":"F32","shape":[0]}}`, 0)},
		{"tensor null", file(`{"a":null}`, 0)},
		{"nested 100000 deep", file(`{"a":`+strings.Repeat(`{"a":`, 100_000), 0)},
		{"arrays 100000 deep", file(`{"a":`+strings.Repeat(`[`, 100_000), 0)},
		{"hole", two("[0,4]", "[5,9]", 9)},
		{"overlap", two("[0,4]", "[2,6]", 6)},
		{"same place", two("[0,4]", "[0,4]", 4)},
		{"begins late", one("F32", "[1]", "[4,8]", 8)},
		{"reversed", one("F32", "[1]", "[4,0]", 4)},
		{"beyond the end", one("F32", "[2]", "[0,8]", 4)},
		{"trailing bytes", one("F32", "[1]", "[0,4]", 5)},
		{"data without tensors", file(`{}`, 4)},
		{"three offsets", one("F32", "[1]", "[0,4,4]", 4)},
		{"no offsets", one("F32", "[1]", "[]", 4)},
		{"product beyond 64 bits", one("F32", "[4294967296,4294967296]", "[0,0]", 0)},
		{"product that wraps to 4", one("F32", "[4611686018427387905]", "[0,4]", 4)},
		{"negative dimension", one("F32", "[-1]", "[0,4]", 4)},
		{"float dimension", one("F32", "[1.0]", "[0,4]", 4)},
		{"huge dimension", one("F32", "[1e99]", "[0,4]", 4)},
		{"text dimension", one("F32", `["1"]`, "[0,4]", 4)},
		{"1000 dimensions", one("F32", "[1"+strings.Repeat(",1", 999)+"]", "[0,4]", 4)},
		{"type I64", one("I64", "[1]", "[0,8]", 8)},
		{"unknown type", one("F99", "[1]", "[0,4]", 4)},
		{"size of another shape", one("F32", "[2]", "[0,4]", 4)},
		{"metadata not text", file(`{"__metadata__":{"a":1}}`, 0)},
		{"metadata no object", file(`{"__metadata__":"a"}`, 0)},
	}
}

func TestDecodeMalformed(t *testing.T) {
	for _, c := range malformedFiles() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := safetensors.Decode(c.bytes)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s was decoded", c.name)
		}
		if took > 100*time.Millisecond {
			t.Errorf("%s took %v", c.name, took)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
			t.Errorf("%s allocated %d bytes", c.name, grown)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, tensor := range map[string]safetensors.Tensor{
		"a":            {DType: "F32", Shape: []int{2}, Data: make([]byte, 4)},
		"b":            {DType: "F99", Shape: []int{1}, Data: make([]byte, 4)},
		"c":            {DType: "F32", Shape: []int{-1, -1}, Data: make([]byte, 4)},
		"__metadata__": {DType: "F32", Shape: []int{1}, Data: make([]byte, 4)},
	} {
		if _, err := safetensors.Encode(&safetensors.File{Tensors: map[string]safetensors.Tensor{name: tensor}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What is decoded is encoded to what decodes to the same.
func FuzzSafetensors(f *testing.F) {
	for _, c := range malformedFiles() {
		if len(c.bytes) < 1<<12 {
			f.Add(c.bytes)
		}
	}
	good, err := safetensors.Encode(&safetensors.File{
		Metadata: map[string]string{"format": "pt"},
		Tensors: map[string]safetensors.Tensor{
			"a": safetensors.FromFloats([]float32{1, 2}, 2), "b": {DType: "BF16", Shape: []int{1, 1}, Data: []byte{1, 2}},
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := safetensors.Decode(b)
		if err != nil {
			return
		}
		size := 0
		for name, tensor := range got.Tensors {
			size += len(tensor.Data)
			if _, err := tensor.Floats(); err != nil && tensor.DType[0] != 'U' && tensor.DType[0] != 'I' {
				t.Errorf("%s: %v", name, err)
			}
		}
		if size > len(b) {
			t.Fatalf("tensors of %d bytes in %d", size, len(b))
		}
		again, err := safetensors.Encode(got)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := safetensors.Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Metadata) == 0 {
			got.Metadata, twice.Metadata = nil, nil
		}
		if diff := cmp.Diff(got, twice); diff != "" {
			t.Error(diff)
		}
	})
}
