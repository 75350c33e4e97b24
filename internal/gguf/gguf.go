// Package gguf reads and writes GGUF files (ggml-org/ggml docs/gguf.md). It
// knows the container, not the meaning of the keys: "llama.rope.freq_base" is
// read by package model, "tokenizer.ggml.tokens" by package tokenizer.
package gguf

import "afina/internal/quant"

// File is an open, memory-mapped GGUF file.
type File struct {
	Path     string
	Metadata Metadata
	// Names lists the tensors in file order.
	Names []string

	tensors map[string]quant.Matrix
}

// Metadata is the key-value section. Values are uint64, int64, float64 (for any
// integer or float width), bool, string, or slices of those.
type Metadata map[string]any

// Open maps the file at path, which must be a regular file, and checks it
// whole; every malformed file is a fault.Unprocessable error that says what is
// wrong. The caller closes it when no Matrix from it is in use any more.
func Open(path string) (*File, error) { panic("sketch") }

// Tensor returns the named tensor as a view into the mapping. A 1-D tensor has
// one row.
func (f *File) Tensor(name string) (quant.Matrix, bool) { m, ok := f.tensors[name]; return m, ok }

// Release tells the kernel that the mapped pages may be dropped; they are read
// again from disk when touched.
func (f *File) Release() error { panic("sketch") }

// Close unmaps the file.
func (f *File) Close() error { panic("sketch") }

// String returns the value of a string key.
func (m Metadata) String(key string) (string, bool) { panic("sketch") }

// Int returns the value of an integer key of any width, when it fits an int.
func (m Metadata) Int(key string) (int, bool) { panic("sketch") }

// Float returns the value of a float key.
func (m Metadata) Float(key string) (float64, bool) { panic("sketch") }

// Bool returns the value of a bool key.
func (m Metadata) Bool(key string) (bool, bool) { panic("sketch") }

// Strings returns the value of an array of strings.
func (m Metadata) Strings(key string) ([]string, bool) { panic("sketch") }

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

// Write stores a version-3 GGUF file at path, whole or not at all.
func Write(path string, pairs []Pair, tensors []Named) error { panic("sketch") }
