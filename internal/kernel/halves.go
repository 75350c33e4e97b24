package kernel

import (
	"fmt"
	"math"
	"unsafe"

	"afina/internal/quant"
)

// A halfTile is a floatTile whose b is float16 and whose rows of a have no gaps.
// It may add even and odd steps along k up apart.
type halfTile func(tiles, k int, a *float32, rs int, b *uint16, ldb int, c *float32, ldc int, alpha float32, add int)

// halves are the loops over float16 at one level: keys and values, and low-rank
// factors. As ever a row is computed in the same order in a tile of any height.
type halves struct {
	heights        *heights
	tile16, tile32 [maxHeight + 1]halfTile // of 16 and 32 columns
	factors        factorTiles
	halve          func(dst []uint16, x []float32)
	fetch          func(x []uint16) // asks for x from memory: it will be read soon
}

func genericHalves() *halves {
	h := &halves{heights: heightsTo6, halve: halveGeneric, fetch: func([]uint16) {}}
	for n := 1; n <= maxHeight; n++ {
		h.tile16[n], h.tile32[n] = halfTileGeneric(n, narrow), halfTileGeneric(n, wide)
	}
	h.factors = factorTilesOf(h)
	return h
}

// halveGeneric rounds numbers to float16, to the nearest.
func halveGeneric(dst []uint16, x []float32) {
	for i, v := range x {
		dst[i] = quant.F32ToF16(v)
	}
}

func halfTileGeneric(h, width int) halfTile {
	tile := floatTileGeneric(h, width)
	return func(tiles, k int, a *float32, rs int, b *uint16, ldb int, c *float32, ldc int, alpha float32, add int) {
		from := unsafe.Slice(b, (k-1)*ldb+width)
		floats := make([]float32, len(from))
		for i, v := range from {
			floats[i] = quant.F16ToF32(v)
		}
		tile(tiles, k, a, rs, 1, &floats[0], ldb, c, ldc, alpha, add)
	}
}

// halfProduct computes c = alpha·a·b, or adds it to c, for b of float16. Element
// (i, l) of a is at a[i*rs+l]; cols is a multiple of 16.
//
//	b is (k, cols), c is (rows, cols), ldb and ldc apart
func (g *Gang) halfProduct(rows, cols, k int, alpha float32, a []float32, rs int, b []uint16, ldb int, c []float32, ldc int, add bool) {
	sum := 0
	if add {
		sum = 1
	}
	for j := 0; j < cols; j += wide {
		tiles := &g.half.tile32
		if cols-j < wide {
			tiles = &g.half.tile16
		}
		for i := 0; i < rows; {
			h := g.half.heights.next(rows - i)
			n := g.half.heights.same(rows-i, h)
			tiles[h](n, k, &a[i*rs], rs, &b[j], ldb, &c[i*ldc+j], ldc, alpha, sum)
			i += n * h
		}
	}
}

// checkHalves compares the loops of a level with the plain ones on a few numbers.
func checkHalves(got *halves) error {
	const k, wide3 = 5, 3 * wide
	var a [3 * maxHeight * k]float32
	var b [k * wide3]uint16
	for i := range a {
		a[i] = float32(math.Sin(float64(i)))
	}
	floats := make([]float32, len(b))
	for i := range floats {
		floats[i] = float32(math.Cos(float64(i))) * 3
	}
	got.halve(b[:], floats)
	for i, v := range floats {
		if b[i] != quant.F32ToF16(v) {
			return fmt.Errorf("float16 of %g is %#x, want %#x", v, b[i], quant.F32ToF16(v))
		}
	}
	plain := genericHalves()
	for h := 1; h <= maxHeight; h++ {
		if got.heights.next(h) != h {
			continue
		}
		for width, tiles := range map[int][2]halfTile{narrow: {got.tile16[h], plain.tile16[h]}, wide: {got.tile32[h], plain.tile32[h]}} {
			for add := range 2 {
				var c [2][2 * maxHeight * wide3]float32
				for i, tile := range tiles {
					for j := range c[i] {
						c[i][j] = float32(j)
					}
					tile(2, k, &a[0], k, &b[0], wide3, &c[i][0], wide3, 0.5, add)
				}
				for j, want := range c[1] {
					if d := c[0][j] - want; !(max(d, -d) <= 1e-5*(1+max(want, -want))) {
						return fmt.Errorf("half tile of %d by %d: number %d is %g, want %g", h, width, j, c[0][j], want)
					}
				}
			}
		}
	}
	return checkFactorTiles(got, plain)
}
