//go:build unix

package kernel_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// guarded returns an allocator whose memory ends where a page begins that may
// not be touched.
func guarded(t *testing.T) func(bytes int) []byte {
	return func(bytes int) []byte {
		t.Helper()
		page := unix.Getpagesize()
		body := (bytes + page - 1) / page * page
		b, err := unix.Mmap(-1, 0, body+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Mprotect(b[body:], unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Munmap(b) })
		return b[body-bytes : body : body]
	}
}
