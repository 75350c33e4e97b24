//go:build unix

package graph

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// offHeap returns n zeros that the garbage collector neither scans nor counts,
// and what gives them back. Pages that nobody touches take no memory.
func offHeap(n int) ([]float32, func() error, error) {
	b, err := unix.Mmap(-1, 0, max(4*n, 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("map %d MiB: %w", 4*n>>20, err)
	}
	if runtime.GOOS == "linux" {
		const hugePage = 14           // MADV_HUGEPAGE
		_ = unix.Madvise(b, hugePage) // advice only: kernels without huge pages refuse it
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n), func() error { return unix.Munmap(b) }, nil
}
