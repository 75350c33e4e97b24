//go:build amd64 && !purego

package kernel

// avx2Products are the loops for machines without AVX-512: products of 16-bit whole
// numbers, and of int8 with 4-bit weights in matrices marked Coarse. With weights of
// float types products are float32.
func avx2Products() *products {
	p := genericProducts()
	p.floatHeights = heightsTo6
	p.float16 = [maxHeight + 1]floatTile{1: floatTile1x16AVX2, 2: floatTile2x16AVX2, 3: floatTile3x16AVX2, 4: floatTile4x16AVX2, 6: floatTile6x16AVX2}
	for h, tile := range p.float16 {
		p.float32[h] = nil
		if tile != nil {
			p.float32[h] = twice(tile)
		}
	}
	p.shorts, p.bytes = avx2Shorts(), avx2Bytes()
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

// avx2Shorts are the loops of shorts_amd64.s on 16 bits.
func avx2Shorts() *panelLoops {
	return &panelLoops{
		words:   block / 2,
		heights: heightsTo6,
		tile:    [maxHeight + 1]panelTile{1: shortTile1, 2: shortTile2, 3: shortTile3, 4: shortTile4, 6: shortTile6},
		minTile: [maxHeight + 1]panelTile{1: shortMinTile1, 2: shortMinTile2, 3: shortMinTile3, 4: shortMinTile4, 6: shortMinTile6},
		zero4:   [laneMost + 1]panelLane{1: shortLane4x1, 2: shortLane4x2, 3: shortLane4x3, 4: shortLane4x4},
		zero8:   [laneMost + 1]panelLane{1: shortLane8x1, 2: shortLane8x2, 3: shortLane8x3, 4: shortLane8x4},
		min4:    [laneMost + 1]panelLane{1: shortMinLane4x1, 2: shortMinLane4x2, 3: shortMinLane4x3, 4: shortMinLane4x4},
		min8:    [laneMost + 1]panelLane{1: shortMinLane8x1, 2: shortMinLane8x2, 3: shortMinLane8x3, 4: shortMinLane8x4},
		round:   roundShortsAVX2,
		unpack4: unpackShorts4AVX2,
		unpack8: unpackShorts8AVX2,
		columns: columnShortsAVX2,
	}
}

// avx2Bytes are those on 8 bits.
func avx2Bytes() *panelLoops {
	return &panelLoops{
		words:   block / 4,
		heights: heightsTo6,
		tile:    [maxHeight + 1]panelTile{1: byteTile1, 2: byteTile2, 3: byteTile3, 4: byteTile4, 6: byteTile6},
		minTile: [maxHeight + 1]panelTile{1: byteMinTile1, 2: byteMinTile2, 3: byteMinTile3, 4: byteMinTile4, 6: byteMinTile6},
		zero4:   [laneMost + 1]panelLane{1: byteLane4x1, 2: byteLane4x2, 3: byteLane4x3, 4: byteLane4x4},
		min4:    [laneMost + 1]panelLane{1: byteMinLane4x1, 2: byteMinLane4x2, 3: byteMinLane4x3, 4: byteMinLane4x4},
		round:   roundBytesAVX2,
		unpack4: unpackBytesAVX2,
	}
}
