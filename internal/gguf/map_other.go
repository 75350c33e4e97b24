//go:build !unix

package gguf

import (
	"io"
	"os"
)

const nonblock = 0

// mapFile reads the file where it cannot be mapped.
func mapFile(f *os.File, size int64) ([]byte, error) {
	b := make([]byte, size)
	_, err := io.ReadFull(f, b)
	return b, err
}

func unmap([]byte) error { return nil }

func release([]byte) error { return nil }

func allocate(size int) ([]byte, error) { return make([]byte, size), nil }
