package kernel

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"afina/internal/quant"
)

// Matrix is a frozen weight matrix in the layout of the kernels, shared by
// training and serving, immutable.
//
//	Rows is the number of outputs, Cols of inputs: y = x·Wᵀ.
//
// Quantised weights lie in panels of 16 rows, each a run of blocks of 32
// columns: unsigned numbers, with a float16 scale (and minimum) per row and
// block in arrays of their own. Byte i*64+4j+e of a block of 8 bits is column
// 4i+e of row j; its namesake in a block of 4 bits holds columns 8i+e and
// 8i+4+e. Weights of float types lie in panels of 32 rows, a run of pairs of
// columns: pair 32i+j is columns 2i and 2i+1 of row j, in bfloat16. Rows and
// columns over the edge are zeros.
//
// What does not fit into this is rounded. Scales that the file has as a product
// (Q4_K, Q5_K, IQ4_XS) become one float16: at most 2⁻¹¹ of their size is lost.
// Q2_K, Q3_K and Q6_K have scales per 16 numbers and become 8 bits with a scale
// per 32: at most 2⁻²⁵ and 1/253 of the largest number of the 32 are lost. F32
// and F16 become bfloat16: at most 2⁻⁸ of each number. Exact products and Row
// read the numbers of the file instead.
type Matrix struct {
	Rows, Cols int
	Type       quant.Type // the type of the file

	// Coarse lets Fast products round activations to 8 bits with a scale per 32,
	// twice as fast. Set it before the first product, on matrices that bear it.
	Coarse bool

	form   form
	panels int // of 16 rows; of 32 for floats
	blocks int // of 32 columns
	qs     []byte
	ds, ms []uint16 // ms is nil for weights with a zero
	pairs  []uint32 // of floats
	source quant.Matrix
	memory *memory
}

// form is how the weights of a Matrix are packed.
type form uint8

const (
	zeroForm4 form = iota // (u-8)·d
	minForm4              // u·d + m
	zeroForm8             // (u-128)·d
	minForm8              // u·d + m
	pairForm              // bfloat16
)

// The numbers that stand for zero in the forms that have one.
const (
	zero4 = 8
	zero8 = 128
)

func (f form) bits() int {
	if f <= minForm4 {
		return 4
	}
	return 8
}

func (f form) minima() bool { return f == minForm4 || f == minForm8 }

var forms = map[quant.Type]form{
	quant.F32: pairForm, quant.F16: pairForm, quant.BF16: pairForm,
	quant.Q4_0: zeroForm4, quant.Q4_1: minForm4, quant.Q4_K: minForm4,
	quant.Q5_0: zeroForm8, quant.Q5_1: minForm8, quant.Q5_K: minForm8,
	quant.Q8_0: zeroForm8, quant.IQ4_NL: zeroForm8, quant.IQ4_XS: zeroForm8,
	quant.Q2_K: zeroForm8, quant.Q3_K: zeroForm8, quant.Q6_K: zeroForm8,
}

// memory is given back when nobody refers to it any more.
type memory struct{ size int }

// errScale is what a scale that float16 cannot hold leads to.
var errScale = errors.New("a scale is not a finite float16")

// Pack lays m out for the kernels, in memory outside the Go heap. m stays
// referenced, so that Exact products and Row read the very numbers of the file;
// m.Data must outlive the Matrix.
func (g *Gang) Pack(m quant.Matrix) (*Matrix, error) {
	f, ok := forms[m.Type]
	switch {
	case !ok:
		return nil, fmt.Errorf("pack a (%d, %d) matrix: type %d has no kernels", m.Rows, m.Cols, m.Type)
	case m.Rows <= 0 || m.Cols <= 0 || m.Cols%m.Type.BlockSize() != 0:
		return nil, fmt.Errorf("pack a %v matrix: (%d, %d) is no shape for it", m.Type, m.Rows, m.Cols)
	case len(m.Data) < m.Rows*m.Type.RowBytes(m.Cols):
		return nil, fmt.Errorf("pack a (%d, %d) matrix of %v: %d bytes are too few", m.Rows, m.Cols, m.Type, len(m.Data))
	}
	w := &Matrix{Rows: m.Rows, Cols: m.Cols, Type: m.Type, form: f, source: m}
	w.blocks = (m.Cols + block - 1) / block
	if err := w.allocate(g.weights); err != nil {
		return nil, fmt.Errorf("pack a (%d, %d) matrix of %v: %w", m.Rows, m.Cols, m.Type, err)
	}
	var bad atomic.Bool
	g.pool.Run(w.panels, func(p int) {
		if !w.packPanel(p) {
			bad.Store(true)
		}
	})
	if bad.Load() {
		return nil, fmt.Errorf("pack a (%d, %d) matrix of %v: %w", m.Rows, m.Cols, m.Type, errScale)
	}
	return w, nil
}

// allocate cuts the arrays of w out of one piece of memory.
func (w *Matrix) allocate(a *arena) error {
	width, perBlock, scales := narrow, blockBytes(w.form.bits()), 1
	switch {
	case w.form == pairForm:
		width, perBlock, scales = wide, block*wide*2, 0
	case w.form.minima():
		scales = 2
	}
	w.panels = (w.Rows + width - 1) / width
	n := w.panels * w.blocks
	b, release, err := a.take(n * (perBlock + scales*2*narrow))
	if err != nil {
		return err
	}
	w.memory = &memory{len(b)}
	runtime.AddCleanup(w.memory, func(free func()) { free() }, release)
	if w.form == pairForm {
		w.pairs = unsafe.Slice((*uint32)(unsafe.Pointer(&b[0])), n*perBlock/4)
		return nil
	}
	w.qs = b[:n*perBlock]
	w.ds = unsafe.Slice((*uint16)(unsafe.Pointer(&b[n*perBlock])), n*narrow)
	if w.form.minima() {
		w.ms = unsafe.Slice((*uint16)(unsafe.Pointer(&b[n*(perBlock+2*narrow)])), n*narrow)
	}
	return nil
}

// Bytes is the memory the packed form takes.
func (w *Matrix) Bytes() int64 { return int64(w.memory.size) }

// Row writes row i as float32 to dst (Cols): the embedding look-up.
func (w *Matrix) Row(dst []float32, i int) { w.source.Dequantize(dst, i) }

// offsets returns where block b of panel p begins in qs and in ds and ms.
func (w *Matrix) offsets(p, b int) (q, d int) {
	n := p*w.blocks + b
	return n * blockBytes(w.form.bits()), n * narrow
}

// minima points at element i of ms, or is nil when there are none.
func (w *Matrix) minima(i int) *uint16 {
	if w.ms == nil {
		return nil
	}
	return &w.ms[i]
}
