//go:build amd64 && !purego

package kernel

// avx2Products are the loops of products_amd64.s for machines without AVX-512.
// Products of bfloat16 are float32 there.
func avx2Products() *products {
	p := genericProducts()
	p.integers = true
	p.fine.heights, p.coarse.heights, p.floatHeights = heightsTo2, heightsTo4, heightsTo6
	p.fine.zero4 = [maxHeight + 1]zeroTile{1: zeroTile4x1AVX2, 2: zeroTile4x2AVX2}
	p.fine.zero8 = [maxHeight + 1]zeroTile{1: zeroTile8x1AVX2, 2: zeroTile8x2AVX2}
	p.fine.min4 = [maxHeight + 1]minTile{1: minTile4x1AVX2, 2: minTile4x2AVX2}
	p.fine.min8 = [maxHeight + 1]minTile{1: minTile8x1AVX2, 2: minTile8x2AVX2}
	p.coarse.zero4 = [maxHeight + 1]zeroTile{1: coarseZeroTile4x1AVX2, 2: coarseZeroTile4x2AVX2, 3: coarseZeroTile4x3AVX2, 4: coarseZeroTile4x4AVX2}
	p.coarse.zero8 = [maxHeight + 1]zeroTile{1: coarseZeroTile8x1AVX2, 2: coarseZeroTile8x2AVX2, 3: coarseZeroTile8x3AVX2, 4: coarseZeroTile8x4AVX2}
	p.coarse.min4 = [maxHeight + 1]minTile{1: coarseMinTile4x1AVX2, 2: coarseMinTile4x2AVX2, 3: coarseMinTile4x3AVX2, 4: coarseMinTile4x4AVX2}
	p.coarse.min8 = [maxHeight + 1]minTile{1: coarseMinTile8x1AVX2, 2: coarseMinTile8x2AVX2, 3: coarseMinTile8x3AVX2, 4: coarseMinTile8x4AVX2}
	p.float16 = [maxHeight + 1]floatTile{1: floatTile1x16AVX2, 2: floatTile2x16AVX2, 3: floatTile3x16AVX2, 4: floatTile4x16AVX2, 6: floatTile6x16AVX2}
	for h, tile := range p.float16 {
		p.float32[h] = nil
		if tile != nil {
			p.float32[h] = twice(tile)
		}
	}
	p.fine.quantise, p.coarse.quantise = quantiseAVX2, quantiseCoarseAVX2
	p.spread4, p.spread8 = spread4AVX2, spread8AVX2
	p.transpose = func(w, k int, b []float32, ldb int, dst []float32, width int) {
		transposeBy(8, transposeAVX2, w, k, b, ldb, dst, width)
	}
	return p
}

// twice makes a tile of 32 columns of one of 16.
func twice(tile floatTile) floatTile {
	return func(tiles, k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc int, alpha float32, add int) {
		tile(tiles, k, a, rs, ks, b, ldb, c, ldc, alpha, add)
		tile(tiles, k, a, rs, ks, at(b, narrow), ldb, at(c, narrow), ldc, alpha, add)
	}
}
