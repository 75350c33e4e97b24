package kernel

import (
	"fmt"
	"sync"
)

// Operand is a block of activations made ready once for products with several
// matrices (q, k and v read the same one). Its zero value is ready; it keeps
// its buffers.
type Operand struct {
	// Dense lets Fast products round the weights to bfloat16 too, where that is
	// faster: for training, whose backward does so anyway. Set it before Prepare.
	Dense bool

	x         []float32
	n, cols   int
	precision Precision

	lock         sync.Mutex // guards what follows: made when the first product asks
	fine, coarse intForm

	hasWholes bool
	words     []uint32 // (n, cols/32, 17), see wholeTile

	shorts, bytes rowForm // see panelLoops

	tiles tileForm

	hasPairs bool
	pairs    []uint32 // (n, pairStride)
	stride   int
}

// intForm is the int8 form of an operand, in tiles: see zeroTile.
type intForm struct {
	made           bool
	ints           []int8
	scales, sums   []float32
	inits4, inits8 []int32
}

// Prepare sets op to the n rows of x (n, cols). x is kept by reference and must
// not change while op is in use.
func (g *Gang) Prepare(op *Operand, x []float32, n, cols int, p Precision) {
	if n < 0 || cols <= 0 || len(x) < n*cols {
		panic(fmt.Sprintf("kernel: operand of %d numbers is not (%d, %d)", len(x), n, cols))
	}
	op.x, op.n, op.cols, op.precision = x[:n*cols], n, cols, p
	op.fine.made, op.coarse.made, op.tiles.made, op.hasWholes, op.hasPairs = false, false, false, false, false
	op.shorts.made, op.bytes.made = false, false
}

// rowsPerChunk is how many rows are made ready at a time; a multiple of 8 and of
// 12, so that chunks end where tiles do.
const rowsPerChunk = 24

// quantised makes the form of op that t reads: per block of 32 of each row a
// scale for each part, so that a row's numbers do not depend on its neighbours.
func (g *Gang) quantised(op *Operand, f *intForm, t *intTiles) {
	op.lock.Lock()
	defer op.lock.Unlock()
	if f.made {
		return
	}
	blocks := op.cols / block
	n := t.parts * op.n * blocks
	f.ints = grow(f.ints, n*block)
	f.scales, f.sums = grow(f.scales, n), grow(f.sums, n)
	f.inits4, f.inits8 = grow(f.inits4, n), grow(f.inits8, n)
	g.pool.Run((op.n+rowsPerChunk-1)/rowsPerChunk, func(chunk int) {
		from, to := chunk*rowsPerChunk, min(op.n, (chunk+1)*rowsPerChunk)
		for i := from; i < to; {
			h := t.heights.next(op.n - i)
			for r := range h {
				at := t.parts * (i*blocks + r)
				t.quantise(blocks, h, &op.x[(i+r)*op.cols], &f.ints[t.parts*(i*op.cols+4*r)],
					&f.scales[at], &f.inits4[at], &f.inits8[at], &f.sums[at])
			}
			i += h
		}
	})
	f.made = true
}

// rounded makes the bfloat16 form of op.
func (g *Gang) rounded(op *Operand) {
	op.lock.Lock()
	defer op.lock.Unlock()
	if op.hasPairs {
		return
	}
	op.stride = padded((op.cols + block - 1) / block * block / 2)
	op.pairs = grow(op.pairs, op.n*op.stride)
	g.roundRows(op.pairs, op.stride, op.x, op.n, op.cols)
	op.hasPairs = true
}

// roundRows writes x (n, cols) as pairs of bfloat16 along the rows, stride
// pairs apart, with zeros up to the next multiple of 32 columns.
func (g *Gang) roundRows(dst []uint32, stride int, x []float32, n, cols int) {
	whole, rest := cols/block, cols%block
	size := rowsPerChunk
	if cols < 4*block { // short rows: more of them
		size *= 8
	}
	g.span(n, size, func(lo, hi int) {
		var tail [block]float32
		for i := lo; i < hi; i++ {
			if whole > 0 {
				g.kit.round(whole, &x[i*cols], &dst[i*stride])
			}
			if rest > 0 {
				copy(tail[:], x[i*cols+whole*block:][:rest])
				g.kit.round(1, &tail[0], &dst[i*stride+whole*block/2])
			}
		}
	})
}
