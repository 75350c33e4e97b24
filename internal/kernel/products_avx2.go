//go:build amd64 && !purego

package kernel

// avx2Products are the loops for machines without AVX-512: products of 16-bit whole
// numbers, and of int8 with 4-bit weights in matrices marked Coarse. With weights of
// float types products are float32.
func avx2Products() *products {
	p := genericProducts()
	p.integers = true
	p.coarse.heights, p.floatHeights = heightsOf6, heightsTo6
	p.coarse.zero4 = [maxHeight + 1]zeroTile{1: coarseZeroTile4x1AVX2, 2: coarseZeroTile4x2AVX2, 3: coarseZeroTile4x3AVX2, 4: coarseZeroTile4x4AVX2, 6: coarseZeroTile4x6AVX2}
	p.coarse.min4 = [maxHeight + 1]minTile{1: coarseMinTile4x1AVX2, 2: coarseMinTile4x2AVX2, 3: coarseMinTile4x3AVX2, 4: coarseMinTile4x4AVX2, 6: coarseMinTile4x6AVX2}
	p.float16 = [maxHeight + 1]floatTile{1: floatTile1x16AVX2, 2: floatTile2x16AVX2, 3: floatTile3x16AVX2, 4: floatTile4x16AVX2, 6: floatTile6x16AVX2}
	for h, tile := range p.float16 {
		p.float32[h] = nil
		if tile != nil {
			p.float32[h] = twice(tile)
		}
	}
	p.coarse.quantise = quantiseCoarseAVX2
	p.shorts = avx2Shorts()
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

// avx2Shorts are the loops of shorts_amd64.s.
func avx2Shorts() *shortLoops {
	return &shortLoops{
		heights: heightsTo6,
		tile:    [maxHeight + 1]shortTile{1: shortTile1, 2: shortTile2, 3: shortTile3, 4: shortTile4, 6: shortTile6},
		minTile: [maxHeight + 1]shortTile{1: shortMinTile1, 2: shortMinTile2, 3: shortMinTile3, 4: shortMinTile4, 6: shortMinTile6},
		zero4:   [shortLaneRows + 1]shortLane{1: shortLane4x1, 2: shortLane4x2, 3: shortLane4x3, 4: shortLane4x4},
		zero8:   [shortLaneRows + 1]shortLane{1: shortLane8x1, 2: shortLane8x2, 3: shortLane8x3, 4: shortLane8x4},
		min4:    [shortLaneRows + 1]shortLane{1: shortMinLane4x1, 2: shortMinLane4x2, 3: shortMinLane4x3, 4: shortMinLane4x4},
		min8:    [shortLaneRows + 1]shortLane{1: shortMinLane8x1, 2: shortMinLane8x2, 3: shortMinLane8x3, 4: shortMinLane8x4},
		round:   roundShortsAVX2,
		unpack4: unpackShorts4AVX2,
		unpack8: unpackShorts8AVX2,
		columns: columnShortsAVX2,
	}
}
