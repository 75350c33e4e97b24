// Package gguf reads and writes GGUF files (ggml-org/ggml docs/gguf.md). It
// knows the container, not the meaning of the keys: "llama.rope.freq_base" is
// read by package model, "tokenizer.ggml.tokens" by package tokenizer.
//
// A file is foreign: every size in it is compared with what is left of the file
// before anything is allocated, sums and products of sizes cannot overflow, and
// what the metadata may take in memory is bounded.
//
// The life of a File is Open, any number of Tensor, Close. Metadata and names
// are copies; only tensor data is read from the mapping, so it is the one thing
// that dies with Close. A file that is replaced (written beside and renamed)
// stays whole for who has it open. One that is cut short in place is not: to
// touch the lost pages kills the process (SIGBUS). Open guards its own reading,
// Unchanged finds out at the end of the caller's, and what must be read for as
// long as the file is open is kept as a copy by Keep. Who reads tensors from the
// mapping beyond that relies on nobody truncating the file.
package gguf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"afina/internal/fault"
	"afina/internal/quant"
)

// File is an open, memory-mapped GGUF file.
type File struct {
	Path     string
	Metadata Metadata
	// Names lists the tensors in file order.
	Names []string

	tensors map[string]quant.Matrix

	file     *os.File // nil when decoded from memory
	mapping  []byte
	kept     [][]byte
	size     int64
	modified time.Time
}

// Open maps the file at path, which must be a regular file, and checks it
// whole; every malformed file is a fault.Unprocessable error that says what is
// wrong. The caller closes it when no Matrix from it is in use any more.
func Open(path string) (f *File, err error) {
	name := filepath.Base(path)
	file, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if info.Size() == 0 {
		return nil, fault.New(fault.Unprocessable, "%s is empty, not a GGUF file", name)
	}
	mapping, err := mapFile(file, info.Size())
	if err != nil {
		return nil, fault.New(fault.Internal, "map %s: %w", name, err)
	}
	f, err = decodeMapped(name, mapping)
	if err != nil {
		unmap(mapping)
		return nil, err
	}
	f.Path, f.file, f.mapping = path, file, mapping
	f.size, f.modified = info.Size(), info.ModTime()
	if err := f.Unchanged(); err != nil {
		unmap(mapping)
		return nil, err
	}
	return f, nil
}

// openRegular opens path unless it is a pipe, a device or a folder: opening or
// reading one of those might never end.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	name := filepath.Base(path)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.New(fault.NotFound, "there is no model file %s", name)
	}
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "open %s: %w", name, err)
	}
	irregular := fault.New(fault.Unprocessable, "%s is not a regular file", name)
	if !info.Mode().IsRegular() {
		return nil, nil, irregular
	}
	file, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0) // a pipe may have taken its place
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "open %s: %w", name, err)
	}
	info, err = file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = irregular
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// decodeMapped is Decode of a mapping that may lose pages while it is read.
func decodeMapped(name string, mapping []byte) (f *File, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // the runtime's error for a fault
			f, err = nil, changed(name)
		default:
			panic(p)
		}
	}()
	return Decode(name, mapping)
}

func changed(name string) error {
	return fault.New(fault.Unprocessable, "%s changed while it was open; put it there whole and try again", name)
}

// Unchanged returns an error when the file was written to or cut since Open:
// what was read from the mapping in between may be torn.
func (f *File) Unchanged() error {
	if f.file == nil {
		return nil
	}
	info, err := f.file.Stat()
	if err != nil {
		return fault.New(fault.Internal, "look at %s: %w", filepath.Base(f.Path), err)
	}
	if info.Size() != f.size || !info.ModTime().Equal(f.modified) {
		return changed(filepath.Base(f.Path))
	}
	return nil
}

// Size is the length of the file in bytes.
func (f *File) Size() int64 { return f.size }

// Tensor returns the named tensor as a view into the mapping. A 1-D tensor has
// one row.
func (f *File) Tensor(name string) (quant.Matrix, bool) { m, ok := f.tensors[name]; return m, ok }

// Keep is Tensor as a copy, outside the Go heap, that outlasts a truncation of
// the file. It lives until Close.
func (f *File) Keep(name string) (quant.Matrix, error) {
	m, ok := f.tensors[name]
	if !ok {
		return quant.Matrix{}, fault.New(fault.Unprocessable, "tensor %s is missing", name)
	}
	b, err := allocate(len(m.Data))
	if err != nil {
		return quant.Matrix{}, fault.New(fault.NoSpace, "no memory for tensor %s: %w", name, err)
	}
	copy(b, m.Data)
	f.kept = append(f.kept, b)
	m.Data = b
	return m, nil
}

// Release tells the kernel that the mapped pages may be dropped; they are read
// again from disk when touched.
func (f *File) Release() error {
	if f.mapping == nil {
		return nil
	}
	return release(f.mapping)
}

// Close unmaps the file and frees what was kept of it.
func (f *File) Close() error {
	var errs []error
	for _, b := range f.kept {
		errs = append(errs, unmap(b))
	}
	f.tensors, f.Names, f.kept = nil, nil, nil
	if f.file != nil {
		errs = append(errs, unmap(f.mapping), f.file.Close())
		f.file, f.mapping = nil, nil
	}
	return errors.Join(errs...)
}
