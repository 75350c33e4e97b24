package kernel

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// Factors are a low-rank matrix scale·B·A made ready for products with rows that
// come few at a time. The packed form is float16, each of A and B times a power
// of two that brings its largest number near 1: at most 2⁻¹¹ of a number is
// lost, or 2⁻²⁴ of the largest. Exact products read the very numbers.
type Factors struct {
	In, Out, Rank int

	exactA, exactB []float32 // (Rank, In), (Out, Rank)
	scale          float32

	rank   int      // a multiple of 16; what is beyond Rank is zeros
	a      []uint16 // panels of 32 of rank, and perhaps one of 16: (In, 32)
	b      []uint16 // panels of 32 outputs: (rank, 32)
	alphaA float32  // factors of the two packed products
	alphaB float32
}

// NewFactors packs a (rank, in) and b (out, rank). For Exact products it only
// refers to them.
func (g *Gang) NewFactors(a, b []float32, in, out, rank int, scale float32, p Precision) (*Factors, error) {
	if len(a) != rank*in || len(b) != out*rank {
		panic(fmt.Sprintf("kernel: rank %d of an (%d, %d) matrix in factors of %d and %d numbers, it takes %d and %d",
			rank, out, in, len(a), len(b), rank*in, out*rank))
	}
	f := &Factors{In: in, Out: out, Rank: rank, exactA: a, exactB: b, scale: scale}
	if p == Exact {
		return f, nil
	}
	f.exactA, f.exactB = nil, nil
	f.rank = (rank + narrow - 1) / narrow * narrow
	powerA, powerB := power(a), power(b)
	f.alphaA, f.alphaB = 1/powerA, scale/powerB
	sizeA, sizeB := f.rank*in, (out+wide-1)/wide*wide*f.rank
	memory, release, err := g.pages.take(2 * (sizeA + sizeB))
	if err != nil {
		return nil, fmt.Errorf("make room for an adapter: %w", err)
	}
	runtime.AddCleanup(f, func(free func()) { free() }, release)
	all := unsafe.Slice((*uint16)(unsafe.Pointer(&memory[0])), sizeA+sizeB)
	f.a, f.b = all[:sizeA], all[sizeA:]
	var row [wide]float32
	for r := 0; r < f.rank; r += wide {
		width := min(wide, f.rank-r)
		for i := range in {
			for j := range width {
				row[j] = 0
				if r+j < rank {
					row[j] = a[(r+j)*in+i] * powerA
				}
			}
			g.half.halve(f.a[r*in+i*width:][:width], row[:width])
		}
	}
	for o := 0; o < out; o += wide {
		for r := range rank {
			clear(row[:])
			for j := range min(wide, out-o) {
				row[j] = b[(o+j)*rank+r] * powerB
			}
			g.half.halve(f.b[o*f.rank+r*wide:][:wide], row[:])
		}
	}
	return f, nil
}

// Bytes is the memory the packed form takes.
func (f *Factors) Bytes() int64 { return 2 * int64(len(f.a)+len(f.b)) }

// power is the power of two that brings the largest number of x into [1, 2); 1
// when there is none.
func power(x []float32) float32 {
	var top float32
	for _, v := range x {
		top = max(top, v, -v)
	}
	if !(top > 0x1p-100) || top > 0x1p100 {
		return 1
	}
	_, e := math.Frexp(float64(top))
	return float32(math.Ldexp(1, 1-e))
}

// down computes low = x·Aᵀ of rows of x (n, In); low is (n, rank).
func (f *Factors) down(g *Gang, low, x []float32, n int) {
	for r := 0; r < f.rank; r += wide {
		width := min(wide, f.rank-r)
		g.halfProduct(n, width, f.In, f.alphaA, x, f.In, f.a[r*f.In:], width, low[r:], f.rank, false)
	}
}

// up adds scale·low·Bᵀ to columns of panels p0 … p1-1 of dst (n, Out).
func (f *Factors) up(g *Gang, dst, low []float32, n, p0, p1 int) {
	for p := p0; p < p1; p++ {
		b, cols := f.b[p*wide*f.rank:], f.Out-p*wide
		if cols >= wide {
			g.halfProduct(n, wide, f.rank, f.alphaB, low, f.rank, b, wide, dst[p*wide:], f.Out, true)
			continue
		}
		s := g.borrow()
		for i := 0; i < n; i += maxHeight {
			h := min(maxHeight, n-i)
			g.halfProduct(h, wide, f.rank, f.alphaB, low[i*f.rank:], f.rank, b, wide, s.tile[:], wide, false)
			merge(dst[i*f.Out+p*wide:], f.Out, s.tile[:], wide, h, cols, 1)
		}
		g.giveBack(s)
	}
}

// exact adds the product of rows of x (n, In) to dst (n, Out) in float32.
func (f *Factors) exact(g *Gang, dst, x []float32, n int) {
	s := g.borrowOwn()
	defer g.giveBack(s)
	low := s.float32s(n * f.Rank)
	g.Gemm(false, true, n, f.Rank, f.In, 1, x, f.exactA, 0, low)
	g.Gemm(false, true, n, f.Out, f.Rank, f.scale, low, f.exactB, 1, dst)
}
