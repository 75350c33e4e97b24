//go:build amd64 && !purego

package kernel

type tileFunc = func(k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, add bool)

// tiles32, tiles16, flips32 and flips16 are the products by height of the tile
// and 32 or 16 columns; flips take a transposed.
var (
	tiles32 = [13]tileFunc{1: tile1x32, 2: tile2x32, 3: tile3x32, 4: tile4x32, 6: tile6x32, 8: tile8x32, 12: tile12x32}
	tiles16 = [13]tileFunc{1: tile1x16, 2: tile2x16, 3: tile3x16, 4: tile4x16, 6: tile6x16, 8: tile8x16, 12: tile12x16}
	flips32 = [13]tileFunc{1: tileT1x32, 2: tileT2x32, 3: tileT3x32, 4: tileT4x32, 6: tileT6x32, 8: tileT8x32, 12: tileT12x32}
	flips16 = [13]tileFunc{1: tileT1x16, 2: tileT2x16, 3: tileT3x16, 4: tileT4x16, 6: tileT6x16, 8: tileT8x16, 12: tileT12x16}
)

// height is the tallest tile for so many rows.
func height(rows int) int {
	switch {
	case rows >= 12:
		return 12
	case rows >= 8:
		return 8
	case rows >= 6:
		return 6
	case rows == 5:
		return 4
	}
	return rows
}

// product computes c = a·b, or adds it to c. cols is a multiple of 16.
//
//	a is (rows, k), b is (k, cols), c is (rows, cols), lda, ldb, ldc apart
func product(rows, cols, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, add bool) {
	for j := 0; j < cols; j += 32 {
		tiles := &tiles32
		if cols-j < 32 {
			tiles = &tiles16
		}
		for i := 0; i < rows; {
			h := height(rows - i)
			tiles[h](k, &a[i*lda], lda, &b[j], ldb, &c[i*ldc+j], ldc, add)
			i += h
		}
	}
}

// productFlipped adds aᵀ·b to c; a is (k, rows).
func productFlipped(rows, cols, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	for j := 0; j < cols; j += 32 {
		tiles := &flips32
		if cols-j < 32 {
			tiles = &flips16
		}
		for i := 0; i < rows; {
			h := height(rows - i)
			tiles[h](k, &a[i], lda, &b[j], ldb, &c[i*ldc+j], ldc, true)
			i += h
		}
	}
}
