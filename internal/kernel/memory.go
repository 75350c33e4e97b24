package kernel

import "unsafe"

const cacheLine = 64

// aligned returns n zeros that begin on a cache line.
func aligned[T int8 | int32 | uint32 | float32](n int) []T {
	var t T
	size := int(unsafe.Sizeof(t))
	b := make([]T, n+cacheLine/size)
	past := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % cacheLine)
	skip := (cacheLine - past) % cacheLine / size
	return b[skip : skip+n : skip+n]
}

// grow returns s with at least n elements, of any content when it is new.
func grow[T int8 | int32 | uint32 | float32](s []T, n int) []T {
	if cap(s) < n {
		return aligned[T](n)
	}
	return s[:n]
}

// padded returns the distance between rows of n 4-byte numbers: rows that are a
// multiple of 4096 bytes apart share their cache sets.
func padded(n int) int {
	n = (n + 15) &^ 15
	if n%1024 == 0 {
		n += 16
	}
	return n
}
