//go:build amd64 && !purego

package kernel

// amxTiles are the loops of amx_amd64.s.
func amxTiles() *tileLoops {
	return &tileLoops{
		pairs32: tilePairs32, pairs16: tilePairs16,
		blocks:  [tileRows + 1]tileBlocks{1: tileBlocks1, 2: tileBlocks2, 4: tileBlocks4, 8: tileBlocks8, 16: tileBlocks16},
		round:   roundTilesAVX512,
		unpack4: unpackTiles4, unpack8: unpackTiles8,
	}
}
