//go:build amd64 && !purego

package kernel

// avx512Products are the loops of products_amd64.s, with those for bfloat16
// only if this CPU multiplies it: some with VNNI do not.
func avx512Products(bfloat16 bool) *products {
	p := genericProducts()
	p.integers = true
	p.fine.zero4 = [maxHeight + 1]zeroTile{1: zeroTile4x1, 2: zeroTile4x2, 3: zeroTile4x3, 4: zeroTile4x4, 6: zeroTile4x6, 8: zeroTile4x8}
	p.fine.zero8 = [maxHeight + 1]zeroTile{1: zeroTile8x1, 2: zeroTile8x2, 3: zeroTile8x3, 4: zeroTile8x4, 6: zeroTile8x6, 8: zeroTile8x8}
	p.fine.min4 = [maxHeight + 1]minTile{1: minTile4x1, 2: minTile4x2, 3: minTile4x3, 4: minTile4x4, 6: minTile4x6, 8: minTile4x8}
	p.fine.min8 = [maxHeight + 1]minTile{1: minTile8x1, 2: minTile8x2, 3: minTile8x3, 4: minTile8x4, 6: minTile8x6, 8: minTile8x8}
	p.coarse.zero4 = [maxHeight + 1]zeroTile{1: coarseZeroTile4x1, 2: coarseZeroTile4x2, 3: coarseZeroTile4x3, 4: coarseZeroTile4x4, 6: coarseZeroTile4x6, 8: coarseZeroTile4x8, 12: coarseZeroTile4x12}
	p.coarse.zero8 = [maxHeight + 1]zeroTile{1: coarseZeroTile8x1, 2: coarseZeroTile8x2, 3: coarseZeroTile8x3, 4: coarseZeroTile8x4, 6: coarseZeroTile8x6, 8: coarseZeroTile8x8, 12: coarseZeroTile8x12}
	p.coarse.min4 = [maxHeight + 1]minTile{1: coarseMinTile4x1, 2: coarseMinTile4x2, 3: coarseMinTile4x3, 4: coarseMinTile4x4, 6: coarseMinTile4x6, 8: coarseMinTile4x8, 12: coarseMinTile4x12}
	p.coarse.min8 = [maxHeight + 1]minTile{1: coarseMinTile8x1, 2: coarseMinTile8x2, 3: coarseMinTile8x3, 4: coarseMinTile8x4, 6: coarseMinTile8x6, 8: coarseMinTile8x8, 12: coarseMinTile8x12}
	p.float16 = [maxHeight + 1]floatTile{1: floatTile1x16, 2: floatTile2x16, 3: floatTile3x16, 4: floatTile4x16, 6: floatTile6x16, 8: floatTile8x16, 12: floatTile12x16}
	p.float32 = [maxHeight + 1]floatTile{1: floatTile1x32, 2: floatTile2x32, 3: floatTile3x32, 4: floatTile4x32, 6: floatTile6x32, 8: floatTile8x32, 12: floatTile12x32}
	p.fine.quantise, p.coarse.quantise = quantiseAVX512, quantiseCoarseAVX512
	p.spread4, p.spread8 = spread4AVX2, spread8AVX2
	p.transpose = func(w, k int, b []float32, ldb int, dst []float32, width int) {
		transposeBy(16, transposeAVX512, w, k, b, ldb, dst, width)
	}
	if bfloat16 {
		p.pairs = true
		p.pair = [maxHeight + 1]pairTile{1: pairTile1, 2: pairTile2, 3: pairTile3, 4: pairTile4, 6: pairTile6, 8: pairTile8, 12: pairTile12}
		p.wholeZero = [maxHeight + 1]wholeTile{1: wholeTile1, 2: wholeTile2, 3: wholeTile3, 4: wholeTile4, 6: wholeTile6}
		p.wholeMin = [maxHeight + 1]wholeTile{1: wholeMinTile1, 2: wholeMinTile2, 3: wholeMinTile3, 4: wholeMinTile4, 6: wholeMinTile6}
		p.round, p.roundWhole = roundAVX512, roundWholeAVX512
		p.expand4, p.expand8, p.expandPairs = expand4AVX512, expand8AVX512, expandPairsAVX512
	}
	return p
}

// transposeBy transposes blocks of side rows and columns in registers, and what
// is left at the end of the rows in plain Go.
func transposeBy(side int, f func(w, n int, b *float32, ldb int, dst *float32, width int), w, k int, b []float32, ldb int, dst []float32, width int) {
	n := k / side
	for j := 0; j < w && n > 0; j += side {
		f(min(side, w-j), n, &b[j*ldb], ldb, &dst[j], width)
	}
	if done := n * side; done < k {
		transposeGeneric(w, k-done, b[done:], ldb, dst[done*width:], width)
	}
}
