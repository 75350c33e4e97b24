//go:build amd64 && !purego

package kernel

// halvesOf returns the loops of one available level.
func halvesOf(level Level) *halves {
	h := genericHalves()
	switch level {
	case AVX512, AMX:
		h.tile16 = [maxHeight + 1]halfTile{1: halfTile1x16, 2: halfTile2x16, 3: halfTile3x16, 4: halfTile4x16, 6: halfTile6x16}
		h.tile32 = [maxHeight + 1]halfTile{1: halfTile1x32, 2: halfTile2x32, 3: halfTile3x32, 4: halfTile4x32, 6: halfTile6x32}
		h.factors = factorTiles{
			down16: [maxHeight + 1]halfTile{1: downTile1x16, 2: downTile2x16, 3: downTile3x16, 4: downTile4x16, 6: downTile6x16},
			down32: [maxHeight + 1]halfTile{1: downTile1x32, 2: downTile2x32, 3: downTile3x32, 4: downTile4x32, 6: downTile6x32},
			up:     [maxHeight + 1]upTile{1: upTile1, 2: upTile2, 3: upTile3, 4: upTile4, 6: upTile6},
		}
	case AVX2:
		h.heights = heightsTo3
		h.tile16 = [maxHeight + 1]halfTile{1: halfTile1x16AVX2, 2: halfTile2x16AVX2, 3: halfTile3x16AVX2}
		h.tile32 = [maxHeight + 1]halfTile{1: halfTile1x32AVX2, 2: halfTile2x32AVX2, 3: halfTile3x32AVX2}
		h.factors = avx2Factors(h)
	default:
		return h
	}
	h.fetch = func(x []uint16) {
		if n := len(x) / 256; n > 0 {
			fetchLines(n, &x[0])
		}
	}
	h.halve = func(dst []uint16, x []float32) {
		whole := len(x) / 8
		if whole > 0 {
			halveAVX2(whole, &x[0], &dst[0])
		}
		halveGeneric(dst[8*whole:], x[8*whole:])
	}
	return h
}

// avx2Factors are the loops of low-rank products for AVX2. Inwards their sums are
// long and their tiles narrow.
func avx2Factors(h *halves) factorTiles {
	t := factorTilesOf(h)
	t.down16 = [maxHeight + 1]halfTile{1: downTile1x16AVX2, 2: downTile2x16AVX2, 3: downTile3x16AVX2}
	for n, tile := range t.down16 {
		if t.down32[n] = nil; tile != nil {
			t.down32[n] = twiceHalf(tile)
		}
	}
	return t
}

// twiceHalf makes a tile of 32 columns of one of 16.
func twiceHalf(tile halfTile) halfTile {
	return func(tiles, k int, a *float32, rs int, b *uint16, ldb int, c *float32, ldc int, alpha float32, add int) {
		tile(tiles, k, a, rs, b, ldb, c, ldc, alpha, add)
		tile(tiles, k, a, rs, at(b, narrow), ldb, at(c, narrow), ldc, alpha, add)
	}
}
