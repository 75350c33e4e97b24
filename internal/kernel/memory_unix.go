//go:build unix

package kernel

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// offHeap returns size zero bytes that the garbage collector neither scans nor
// counts, and what gives them back.
func offHeap(size int) ([]byte, func(), error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	if runtime.GOOS == "linux" {
		const hugePage = 14           // MADV_HUGEPAGE
		_ = unix.Madvise(b, hugePage) // advice only: kernels without huge pages refuse it
	}
	return b, func() { _ = unix.Munmap(b) }, nil
}
