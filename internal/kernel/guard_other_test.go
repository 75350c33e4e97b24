//go:build !unix

package kernel_test

import "testing"

// guarded returns an allocator of ordinary memory.
func guarded(*testing.T) func(bytes int) []byte {
	return func(bytes int) []byte { return make([]byte, bytes) }
}
