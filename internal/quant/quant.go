// Package quant holds the block formats in which weights are stored, and the
// plain-Go code that packs and unpacks them. It is the reference that package
// kernel is tested against.
//
// The layouts are those of ggml (ggml-common.h, ggml-quants.c): every row is a
// run of blocks, little-endian.
package quant

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
func (t Type) Known() bool { panic("sketch") }

// String is the ggml name, e.g. "Q4_1".
func (t Type) String() string { panic("sketch") }

// BlockSize is how many numbers one block holds.
func (t Type) BlockSize() int { panic("sketch") }

// BlockBytes is how many bytes one block takes.
func (t Type) BlockBytes() int { panic("sketch") }

// RowBytes is the size of one row of cols numbers; cols must be a multiple of
// BlockSize.
func (t Type) RowBytes(cols int) int { panic("sketch") }

// Row returns the bytes of row i.
func (m Matrix) Row(i int) []byte { panic("sketch") }

// Dequantize writes row i of m to dst, which has m.Cols elements. The result is
// bit-equal to ggml's dequantize_row.
func (m Matrix) Dequantize(dst []float32, i int) { panic("sketch") }

// Quantize stores rows*cols numbers as t, with ggml's reference quantiser.
// Supported: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
func Quantize(t Type, x []float32, rows, cols int) (Matrix, error) { panic("sketch") }

// Finite reports whether every scale (or, for float types, every value) of m is
// a finite number. A model with any other is refused when it is opened.
func (m Matrix) Finite() bool { panic("sketch") }

// F16ToF32 widens an IEEE half.
func F16ToF32(h uint16) float32 { panic("sketch") }

// F32ToF16 rounds to nearest even, keeping infinities and quiet NaNs.
func F32ToF16(f float32) uint16 { panic("sketch") }

// BF16ToF32 widens a bfloat16.
func BF16ToF32(h uint16) float32 { panic("sketch") }

// F32ToBF16 rounds to nearest even, keeping NaNs quiet.
func F32ToBF16(f float32) uint16 { panic("sketch") }
