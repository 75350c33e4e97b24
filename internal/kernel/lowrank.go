package kernel

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"afina/internal/quant"
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
	memory *factorMemory // that a and b lie in
}

// factorMemory is given back when none of the factors in it is left.
type factorMemory struct{ all []uint16 }

// Pair is the factors of a low-rank change to an (Out, In) matrix.
type Pair struct {
	In, Out int
	A, B    []float32 // (rank, In), (Out, rank)
}

// NewFactors packs the pairs of an adapter for matrices that are multiplied
// together, next to each other in memory. For Exact products it only refers to
// them.
func (g *Gang) NewFactors(rank int, scale float32, p Precision, pairs ...Pair) ([]*Factors, error) {
	all, size := make([]*Factors, len(pairs)), 0
	for i, pair := range pairs {
		if len(pair.A) != rank*pair.In || len(pair.B) != pair.Out*rank {
			panic(fmt.Sprintf("kernel: rank %d of an (%d, %d) matrix in factors of %d and %d numbers, it takes %d and %d",
				rank, pair.Out, pair.In, len(pair.A), len(pair.B), rank*pair.In, pair.Out*rank))
		}
		f := &Factors{In: pair.In, Out: pair.Out, Rank: rank, scale: scale}
		if all[i] = f; p == Exact {
			f.exactA, f.exactB = pair.A, pair.B
			continue
		}
		f.rank = (rank + narrow - 1) / narrow * narrow
		size += f.rank * (f.In + f.panels()*wide)
	}
	if p == Exact || size == 0 {
		return all, nil
	}
	bytes, release, err := g.factors.take(2 * size)
	if err != nil {
		return nil, fmt.Errorf("make room for an adapter: %w", err)
	}
	memory := &factorMemory{unsafe.Slice((*uint16)(unsafe.Pointer(&bytes[0])), size)}
	runtime.AddCleanup(memory, func(free func()) { free() }, release)
	rest := memory.all
	for i, f := range all {
		f.memory, f.a, rest = memory, rest[:f.rank*f.In], rest[f.rank*f.In:]
		f.packA(g.half, pairs[i].A)
	}
	for i, f := range all {
		n := f.rank * f.panels() * wide
		f.b, rest = rest[:n], rest[n:]
		f.packB(g.half, pairs[i].B)
	}
	return all, nil
}

// packA writes a (Rank, In) in panels.
func (f *Factors) packA(h *halves, a []float32) {
	p := power(a)
	f.alphaA = 1 / p
	var row [wide]float32
	for r := 0; r < f.rank; r += wide {
		width := min(wide, f.rank-r)
		for i := range f.In {
			for j := range width {
				row[j] = 0
				if r+j < f.Rank {
					row[j] = a[(r+j)*f.In+i] * p
				}
			}
			h.halve(f.a[r*f.In+i*width:][:width], row[:width])
		}
	}
}

// packB writes b (Out, Rank) in panels.
func (f *Factors) packB(h *halves, b []float32) {
	p := power(b)
	f.alphaB = f.scale / p
	var row [wide]float32
	for o := 0; o < f.Out; o += wide {
		for r := range f.rank {
			clear(row[:])
			for j := range min(wide, f.Out-o) {
				if r < f.Rank {
					row[j] = b[(o+j)*f.Rank+r] * p
				}
			}
			h.halve(f.b[o*f.rank+r*wide:][:wide], row[:])
		}
	}
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

// factorTiles are the loops of low-rank products at one level. All heights compute a
// row in the same order.
type factorTiles struct {
	down16, down32 [maxHeight + 1]halfTile // of 16 and 32 of the rank
	up             [maxHeight + 1]upTile
}

// An upTile adds alpha·a·b to c for a tile of rows of a, (height, k) with rows rs
// numbers apart, and one panel of b after another.
//
//	b (panels, k, 32) float16
//	c (height, 32*panels), rows ldc numbers apart
type upTile func(panels, k int, a *float32, rs int, b *uint16, c *float32, ldc int, alpha float32)

// factorTilesOf makes them of the tiles of h.
func factorTilesOf(h *halves) factorTiles {
	t := factorTiles{down16: h.tile16, down32: h.tile32}
	for n, tile := range h.tile32 {
		if tile != nil {
			t.up[n] = upTileGeneric(tile)
		}
	}
	return t
}

func upTileGeneric(tile halfTile) upTile {
	return func(panels, k int, a *float32, rs int, b *uint16, c *float32, ldc int, alpha float32) {
		for p := range panels {
			tile(1, k, a, rs, at(b, p*k*wide), wide, at(c, p*wide), ldc, alpha, 1)
		}
	}
}

// down computes low = x·Aᵀ of rows of x (n, In); low is (n, rank).
func (f *Factors) down(g *Gang, low, x []float32, n int) {
	for r := 0; r < f.rank; r += wide {
		tiles, width := &g.half.factors.down32, min(wide, f.rank-r)
		if width == narrow {
			tiles = &g.half.factors.down16
		}
		for i := 0; i < n; {
			h := g.half.heights.next(n - i)
			same := g.half.heights.same(n-i, h)
			tiles[h](same, f.In, &x[i*f.In], f.In, &f.a[r*f.In], width, &low[i*f.rank+r], f.rank, f.alphaA, 0)
			i += same * h
		}
	}
}

// up adds scale·low·Bᵀ to columns of panels p0 … p1-1 of dst (n, Out).
func (f *Factors) up(g *Gang, dst, low []float32, n, p0, p1 int) {
	whole := min(p1, f.Out/wide)
	if p0 < whole {
		for i := 0; i < n; {
			h := g.half.heights.next(n - i)
			g.half.factors.up[h](whole-p0, f.rank, &low[i*f.rank], f.rank, &f.b[p0*wide*f.rank], &dst[i*f.Out+p0*wide], f.Out, f.alphaB)
			i += h
		}
	}
	if whole == p1 {
		return
	}
	s := g.borrow()
	defer g.giveBack(s)
	for i := 0; i < n; {
		h := g.half.heights.next(n - i)
		g.half.tile32[h](1, f.rank, &low[i*f.rank], f.rank, &f.b[whole*wide*f.rank], wide, &s.tile[0], wide, f.alphaB, 0)
		merge(dst[i*f.Out+whole*wide:], f.Out, s.tile[:], wide, h, f.Out-whole*wide, 1)
		i += h
	}
}

// panels is how many panels of outputs there are.
func (f *Factors) panels() int { return (f.Out + wide - 1) / wide }

// exact adds the product of rows of x (n, In) to dst (n, Out) in float32.
func (f *Factors) exact(g *Gang, dst, x []float32, n int) {
	s := g.borrowOwn()
	defer g.giveBack(s)
	low := s.float32s(n * f.Rank)
	g.Gemm(false, true, n, f.Rank, f.In, 1, x, f.exactA, 0, low)
	g.Gemm(false, true, n, f.Out, f.Rank, f.scale, low, f.exactB, 1, dst)
}

// checkFactorTiles compares the loops of low-rank products of a level with the plain ones
// on a few numbers.
func checkFactorTiles(got, plain *halves) error {
	const k, panels = 6, 2
	var a [2 * maxHeight * k]float32
	var b [panels * k * wide]uint16
	for i := range a {
		a[i] = float32(math.Sin(float64(i)))
	}
	for i := range b {
		b[i] = quant.F32ToF16(float32(math.Cos(float64(i))))
	}
	for h := 1; h <= maxHeight; h++ {
		if got.heights.next(h) != h {
			continue
		}
		var c [3][2][2 * maxHeight * panels * wide]float32
		for i, t := range []*factorTiles{&got.factors, &plain.factors} {
			for which := range c {
				for j := range c[which][i] {
					c[which][i][j] = float32(j)
				}
			}
			t.down16[h](2, k, &a[0], k, &b[0], narrow, &c[0][i][0], panels*wide, 0.5, 0)
			t.down32[h](2, k, &a[0], k, &b[0], wide, &c[1][i][0], panels*wide, 0.5, 0)
			t.up[h](panels, k, &a[0], k, &b[0], &c[2][i][0], panels*wide, 0.5)
		}
		for which, name := range []string{"down tile of 16", "down tile of 32", "up tile"} {
			for j, want := range c[which][1] {
				if d := c[which][0][j] - want; !(max(d, -d) <= 1e-5*(1+max(want, -want))) {
					return fmt.Errorf("%s, %d rows: number %d is %g, want %g", name, h, j, c[which][0][j], want)
				}
			}
		}
	}
	return nil
}
