package kernel

import (
	"sync"
	"unsafe"
)

const cacheLine = 64

// aligned returns n zeros that begin on a cache line.
func aligned[T int8 | uint16 | int32 | uint32 | float32](n int) []T {
	var t T
	size := int(unsafe.Sizeof(t))
	b := make([]T, n+cacheLine/size)
	past := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % cacheLine)
	skip := (cacheLine - past) % cacheLine / size
	return b[skip : skip+n : skip+n]
}

// grow returns s with at least n elements, of any content when it is new.
func grow[T int8 | uint16 | int32 | uint32 | float32](s []T, n int) []T {
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

// arena hands out memory outside the Go heap for matrices, cut from slabs that
// are large enough for huge pages: a product that reads all weights of a model
// once would spend much of its time on the tables of small ones.
type arena struct {
	lock  sync.Mutex
	slab  *slab // that is being cut
	slabs int   // that are not given back
}

// slab is given back when it is not being cut and all its pieces are free.
type slab struct {
	bytes  []byte
	used   int
	pieces int
	free   func()
}

const slabBytes = 32 << 20

// take returns size zero bytes on a cache line and what gives them back.
func (a *arena) take(size int) (b []byte, release func(), err error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	whole := (size + cacheLine - 1) / cacheLine * cacheLine
	s := a.slab
	if s == nil || s.used+whole > len(s.bytes) {
		bytes, free, err := offHeap(max(whole, slabBytes))
		if err != nil {
			return nil, nil, err
		}
		s = &slab{bytes: bytes, free: free}
		old := a.slab
		a.slab = s
		a.slabs++
		a.drop(old)
	}
	b = s.bytes[s.used : s.used+size : s.used+size]
	s.used += whole
	s.pieces++
	return b, func() { a.giveBack(s) }, nil
}

func (a *arena) giveBack(s *slab) {
	a.lock.Lock()
	defer a.lock.Unlock()
	s.pieces--
	a.drop(s)
}

// drop gives s back if nobody needs it.
func (a *arena) drop(s *slab) {
	if s != nil && s != a.slab && s.pieces == 0 {
		s.free()
		a.slabs--
	}
}
