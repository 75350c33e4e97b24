// Package quant holds the block formats in which weights are stored, and the
// plain-Go code that packs and unpacks them. It is the reference that package
// kernel is tested against.
//
// The layouts are those of ggml (ggml-common.h, ggml-quants.c): every row is a
// run of blocks, little-endian. Every product that is followed by a sum is
// rounded to float32 on its own, as ggml does, so that the results are the same
// bits on machines whose compiler would fuse the two.
package quant

import "fmt"

// Type is the storage format of a row of numbers; the values are ggml's ids.
type Type uint32

// The formats that can be read.
const (
	F32    Type = 0
	F16    Type = 1
	Q4_0   Type = 2
	Q4_1   Type = 3
	Q5_0   Type = 6
	Q5_1   Type = 7
	Q8_0   Type = 8
	Q2_K   Type = 10
	Q3_K   Type = 11
	Q4_K   Type = 12
	Q5_K   Type = 13
	Q6_K   Type = 14
	IQ4_NL Type = 20
	IQ4_XS Type = 23
	BF16   Type = 30
)

// layout is what there is to know about one format.
type layout struct {
	name        string
	size, bytes int                             // numbers and bytes of a block
	unpack      func(dst []float32, src []byte) // one block, or any run of numbers when size is 1
	scales      []int                           // where in a block its f16 scales lie
}

// layouts is indexed by Type; the gaps have no name.
var layouts = [...]layout{
	F32:    {"F32", 1, 4, unpackF32, nil},
	F16:    {"F16", 1, 2, unpackF16, nil},
	BF16:   {"BF16", 1, 2, unpackBF16, nil},
	Q4_0:   {"Q4_0", 32, 18, unpackQ4_0, []int{0}},
	Q4_1:   {"Q4_1", 32, 20, unpackQ4_1, []int{0, 2}},
	Q5_0:   {"Q5_0", 32, 22, unpackQ5_0, []int{0}},
	Q5_1:   {"Q5_1", 32, 24, unpackQ5_1, []int{0, 2}},
	Q8_0:   {"Q8_0", 32, 34, unpackQ8_0, []int{0}},
	Q2_K:   {"Q2_K", 256, 84, unpackQ2_K, []int{80, 82}},
	Q3_K:   {"Q3_K", 256, 110, unpackQ3_K, []int{108}},
	Q4_K:   {"Q4_K", 256, 144, unpackQ4_K, []int{0, 2}},
	Q5_K:   {"Q5_K", 256, 176, unpackQ5_K, []int{0, 2}},
	Q6_K:   {"Q6_K", 256, 210, unpackQ6_K, []int{208}},
	IQ4_NL: {"IQ4_NL", 32, 18, unpackIQ4_NL, []int{0}},
	IQ4_XS: {"IQ4_XS", 256, 136, unpackIQ4_XS, []int{0}},
}

// Matrix is a (Rows, Cols) matrix whose rows are stored as blocks of Type.
// Data usually points into a memory-mapped file: never write to it. A vector
// has one row.
type Matrix struct {
	Type       Type
	Rows, Cols int
	Data       []byte
}

// Known reports whether t can be read; String, BlockSize and BlockBytes are
// defined only for known types.
func (t Type) Known() bool { return int64(t) < int64(len(layouts)) && layouts[t].size > 0 }

// String is the ggml name, e.g. "Q4_1", or "type 4" for one that cannot be read.
func (t Type) String() string {
	if !t.Known() {
		return fmt.Sprintf("type %d", uint32(t))
	}
	return layouts[t].name
}

// BlockSize is how many numbers one block holds.
func (t Type) BlockSize() int { return layouts[t].size }

// BlockBytes is how many bytes one block takes.
func (t Type) BlockBytes() int { return layouts[t].bytes }

// RowBytes is the size of one row of cols numbers; cols must be a multiple of
// BlockSize.
func (t Type) RowBytes(cols int) int {
	l := &layouts[t]
	if cols%l.size != 0 {
		panic(fmt.Sprintf("quant: a row of %d numbers is not whole blocks of %s (%d)", cols, l.name, l.size))
	}
	return cols / l.size * l.bytes
}

// Row returns the bytes of row i.
func (m Matrix) Row(i int) []byte {
	n := m.Type.RowBytes(m.Cols)
	return m.Data[i*n : (i+1)*n : (i+1)*n]
}

// Dequantize writes row i of m to dst, which has m.Cols elements. The result is
// bit-equal to ggml's dequantize_row.
func (m Matrix) Dequantize(dst []float32, i int) {
	if len(dst) != m.Cols {
		panic(fmt.Sprintf("quant: Dequantize of %d columns into %d", m.Cols, len(dst)))
	}
	m.Type.Unpack(dst, m.Row(i))
}

// Unpack writes the numbers of src, a run of whole blocks, to dst.
func (t Type) Unpack(dst []float32, src []byte) {
	l := &layouts[t]
	if len(src) != t.RowBytes(len(dst)) {
		panic(fmt.Sprintf("quant: %d bytes of %s are not %d numbers", len(src), l.name, len(dst)))
	}
	if l.size == 1 {
		l.unpack(dst, src)
		return
	}
	for len(dst) > 0 {
		l.unpack(dst[:l.size], src[:l.bytes])
		dst, src = dst[l.size:], src[l.bytes:]
	}
}

// Finite reports whether every scale (or, for float types, every value) of m is
// a finite number. A model with any other is refused when it is opened.
func (m Matrix) Finite() bool {
	switch m.Type {
	case F32:
		return finite32(m.Data)
	case F16:
		return finite16(m.Data, 0x7c00)
	case BF16:
		return finite16(m.Data, 0x7f80)
	}
	l := &layouts[m.Type]
	first, last := l.scales[0], l.scales[len(l.scales)-1]
	for b := m.Data; len(b) >= l.bytes; b = b[l.bytes:] {
		// The exponent of an infinity or NaN is all ones.
		if b[first+1]&0x7c == 0x7c || b[last+1]&0x7c == 0x7c {
			return false
		}
	}
	return true
}
