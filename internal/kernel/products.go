package kernel

// The shapes of tiles. A tile is up to maxHeight rows of activations times one
// panel of weights.
const (
	narrow    = 16 // columns of a panel of quantised weights
	wide      = 32 // columns of a panel of floats
	block     = 32 // numbers along k that share a scale
	maxHeight = 12
)

// A zeroTile computes c = x·Wᵀ for a tile of int8 activations and np panels of
// quantised weights that follow each other, each nblk blocks long. Weights are
// unsigned and stand for (u-zero)·d. A row of activations is parts rows of int8
// that are added up: a coarse one, and in fine tiles one of what that leaves.
//
//	qs (np, nblk) blocks, see Matrix; ds (np, nblk, 16) float16
//	a  (nblk, 8, height, parts, 4) int8; s (nblk, height, parts), the scales of a
//	init (nblk, height, parts) = -zero · sum of a over the block
//	c  (height, np*16), rows ldc numbers apart
type zeroTile func(np, nblk int, qs *byte, ds *uint16, a *int8, s *float32, init *int32, c *float32, ldc int)

// A minTile is a zeroTile for weights that stand for u·d + m.
//
//	ms  (np, nblk, 16) float16
//	sum (nblk, height, parts): s · sum of a over the block, all parts in the first
//	    place; the second is not read
type minTile func(np, nblk int, qs *byte, ds, ms *uint16, a *int8, s, sum *float32, c *float32, ldc int)

// intTiles are the products of int8 activations of so many parts. The arrays are
// indexed by the height of the tile.
type intTiles struct {
	parts        int
	heights      *heights // of the next tile, by the rows that are left
	zero4, zero8 [maxHeight + 1]zeroTile
	min4, min8   [maxHeight + 1]minTile

	// quantise makes one row of a tile from nblk blocks of x: int8 numbers with
	// a scale per block, in two parts also what they leave as int8 numbers with a
	// scale 254 times finer (together some 15 bits), and what zeroTile and minTile
	// need beside; the height of the tile gives the distances between its places.
	quantise func(nblk, height int, x *float32, a *int8, s *float32, init4, init8 *int32, sum *float32)
}

// A floatTile computes c = alpha·a·b, or adds it to c when add is 1, for one
// tile after another downwards. Element (i, l) of a is at a[i*rs+l*ks].
//
//	b (k, width), rows ldb numbers apart
//	c (tiles*height, width), rows ldc numbers apart
type floatTile func(tiles, k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc int, alpha float32, add int)

// A pairTile is a floatTile 32 wide over pairs of bfloat16 along k: k2 pairs,
// a (tiles*height, k2) with rows rs pairs apart, b (k2, 32) without gaps.
type pairTile func(tiles, k2 int, a *uint32, rs int, b *uint32, c *float32, ldc int, add int)

// products are the loops inside the matrix products at one level. The generic
// set is the definition; every other set is compared to it by table and by fuzz.
// The arrays are indexed by the height of the tile.
type products struct {
	fine, coarse intTiles
	float16      [maxHeight + 1]floatTile // 16 columns
	float32      [maxHeight + 1]floatTile // 32 columns
	pair         [maxHeight + 1]pairTile

	wholeZero, wholeMin [maxHeight + 1]wholeTile

	tiles         *tileLoops  // nil on levels without
	shorts, bytes *panelLoops // nil on levels without, and on those with something faster

	// wholeHeights and floatHeights give the height of the next tile of whole
	// numbers, and of floats and pairs, by the rows that are left. Every row is computed in the same
	// order in a tile of any height, so that it has the same result alone and in a
	// batch.
	wholeHeights, floatHeights *heights

	// integers and pairs report whether the level multiplies int8 and bfloat16 in
	// hardware. 4-bit weights go by bfloat16 where there is, else by int8; without
	// either and without shorts, Fast products are float32.
	integers, pairs bool

	// round makes pairs of bfloat16 of 32n numbers.
	round func(n int, x *float32, dst *uint32)

	// roundWhole makes a row of the activations of a wholeTile.
	roundWhole func(nblk int, x *float32, dst *uint32)

	// expand4 and expand8 turn one block of 32 columns of np panels, step bytes
	// and numbers apart, into pairs of bfloat16 along the rows: dst is (8np, 32).
	// ms is nil for weights with a zero.
	expand4, expand8 func(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *uint32)

	// spread4 and spread8 turn the same block into float32: dst is (16np, 32).
	spread4, spread8 func(np int, qs *byte, qstep int, ds, ms *uint16, dstep int, dst *float32)

	// expandPairs does the same from a bfloat16 panel of 32 rows: src is
	// (16, 32) pairs along the columns, dst (16, 32) pairs along the rows.
	expandPairs func(np int, src *uint32, step int, dst *uint32)

	// transpose copies b (w, k), rows ldb apart, to dst (k, w), rows width apart,
	// for width 16 or 32. Columns from w on hold any finite numbers.
	transpose func(w, k int, b []float32, ldb int, dst []float32, width int)
}

func genericProducts() *products {
	p := &products{
		fine:         intTiles{parts: 2, heights: heightsTo8, quantise: quantiseGeneric(2)},
		coarse:       intTiles{parts: 1, heights: heightsTo12, quantise: quantiseGeneric(1)},
		round:        roundGeneric,
		roundWhole:   roundWholeGeneric,
		expand4:      expand4Generic,
		expand8:      expand8Generic,
		spread4:      spread4Generic,
		spread8:      spread8Generic,
		wholeHeights: heightsTo6, floatHeights: heightsTo12,
		expandPairs: expandPairsGeneric,
		transpose:   transposeGeneric,
	}
	for h := 1; h <= maxHeight; h++ {
		for _, t := range []*intTiles{&p.fine, &p.coarse} {
			t.zero4[h], t.zero8[h] = zeroTileGeneric(h, 4, t.parts), zeroTileGeneric(h, 8, t.parts)
			t.min4[h], t.min8[h] = minTileGeneric(h, 4, t.parts), minTileGeneric(h, 8, t.parts)
		}
		p.float16[h], p.float32[h] = floatTileGeneric(h, narrow), floatTileGeneric(h, wide)
		p.pair[h] = pairTileGeneric(h)
		p.wholeZero[h], p.wholeMin[h] = wholeTileGeneric(h, false), wholeTileGeneric(h, true)
	}
	return p
}

// heights is how tall the next tile is when so many rows, or 12 and more, are
// left. Tiles of the full height come first, so that they end at its multiples, but
// for heightsTo6, which activations that lie in tiles must not use.
type heights [13]int

var (
	heightsTo3  = &heights{0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}
	heightsTo4  = &heights{0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4}
	heightsTo6  = &heights{0, 1, 2, 3, 4, 3, 6, 4, 4, 6, 6, 6, 6}
	heightsTo8  = &heights{0, 1, 2, 3, 4, 3, 6, 4, 8, 8, 8, 8, 8}
	heightsTo12 = &heights{0, 1, 2, 3, 4, 3, 6, 4, 8, 6, 6, 8, 12}
)

func (h *heights) next(rest int) int { return h[min(rest, 12)] }

// same is how many tiles of height n come next when rest rows are left.
func (h *heights) same(rest, n int) int {
	if n < h[12] {
		return 1
	}
	return rest / n
}
