//go:build amd64 && !purego

package kernel

// attending returns the loops of attention in bfloat16 of g's level, nil on levels
// without.
func (g *Gang) attending() *attendLoops {
	if g.level != AMX {
		return nil
	}
	return &amxAttention
}

// amxAttention are the loops of tiled_amd64.s.
var amxAttention = attendLoops{
	layRows: layRowsAVX512, layRowsTurned: layRowsTurnedAVX512,
	layPairs: layPairsAVX512, layPairsTurned: layPairsTurnedAVX512,
	roundedDots: roundedDotsAVX512,
	keepWords:   keepWordsAVX512,
	attend:      attendTiles32, few: attendTiles16, back: attendBackTiles, queries: attendQueries,
}
