//go:build amd64 && !purego

package kernel

// amxTiles are the loops of amx_amd64.s.
func amxTiles() *tileLoops {
	return &tileLoops{
		pairs32: tilePairs32, pairs16: tilePairs16,
		blocks:  [tileRows + 1]tileBlocks{1: tileBlocks1, 2: tileBlocks2, 4: tileBlocks4, 8: tileBlocks8, 16: tileBlocks16},
		stream4: [tileRows + 1]tileStream{8: tileStream4x8, 16: tileStream4x16},
		stream8: [tileRows + 1]tileStream{8: tileStream8x8, 16: tileStream8x16},
		lanes4:  [laneRows + 1]tileLane{1: tileLane4x1, 2: tileLane4x2, 3: tileLane4x3, 4: tileLane4x4},
		lanes8:  [laneRows + 1]tileLane{1: tileLane8x1, 2: tileLane8x2, 3: tileLane8x3, 4: tileLane8x4},
		floats:  tileFloatsAVX512,
		round:   roundTilesAVX512,
		low:     &lowLoops{drop: dropPairs, over: dropOverPairs, onto: dropOntoPairs, weave: weavePairs},
		dense4:  dense4, dense8: dense8,
		unpack4: unpackTiles4, unpack8: unpackTiles8,
	}
}
