package kernel

import "math"

// What the tests see beyond the exported surface.

// Available are the levels of this machine.
var Available = available

// Peak is a loop of n rounds of Ops operations.
type Peak struct {
	Loop func(n int)
	Ops  float64
}

// Compare compares the loops of a level with their twins: np panels, nblk
// blocks, inputs from number in memory from alloc.
func Compare(level Level, np, nblk int, seed uint64, number func() float32, alloc func(bytes int) []byte) error {
	t := newTrial(productsOf(level))
	t.seed = seed
	if number != nil {
		t.number = number
	}
	if alloc != nil {
		t.alloc = alloc
	}
	return t.all(np, nblk)
}

// CompareAttention compares the loops of attention in bfloat16 of g's level with
// their twins: n strips of keys and queries, heads of 32d numbers, in memory from
// alloc.
func (g *Gang) CompareAttention(n, d int, seed uint64, alloc func(bytes int) []byte) error {
	t := newTrial(g.kit)
	t.seed, t.alloc = seed, alloc
	return t.attends(g.attending(), n, d)
}

// Waves is in how many waves of queries AttentionBack goes in bfloat16.
func (g *Gang) Waves(first []int32, h Heads) (n int) {
	g.eachPart(first, h, 4, 3, func(a *pairing, _, _ int) {
		b := &pairsBack{pairing: a}
		for lo := 0; lo < len(b.list); n++ {
			lo, _, _ = b.wave(lo)
		}
	})
	return n
}

// ScalesOf are the scales that 32 activations get in the forms of whole numbers that
// a level has, as of numbers up to 127.
func ScalesOf(level Level, x []float32) (scales []float32) {
	kit := productsOf(level)
	if kit.shorts == nil {
		var a [2 * block]int8
		var s, sum [2]float32
		var init4, init8 [2]int32
		kit.fine.quantise(1, 1, &x[0], &a[0], &s[0], &init4[0], &init8[0], &sum[0])
		return s[:1]
	}
	for _, l := range []*panelLoops{kit.shorts, kit.bytes} {
		row := make([]uint32, l.block())
		l.round(1, &x[0], &row[0])
		scales = append(scales, math.Float32frombits(row[l.words]))
	}
	scales[0] *= topShort / topByte
	return scales
}

// Dense is what the packed form of w stands for, row by row.
func (w *Matrix) Dense() []float32 {
	panel := make([]float32, (w.Rows+narrow)*block)
	x := make([]float32, w.Rows*w.Cols)
	for b := range w.blocks {
		genericProducts().spread(panel, w, b, 0, w.Rows)
		for i := range w.Rows {
			copy(x[i*w.Cols+b*block:][:min(block, w.Cols-b*block)], panel[i*block:])
		}
	}
	return x
}

// Slabs is how many pieces of memory hold the gang's matrices, and its factors.
func (g *Gang) Slabs() (matrices, factors int) {
	for i, a := range []*arena{g.weights, g.factors} {
		a.lock.Lock()
		*[]*int{&matrices, &factors}[i] = a.slabs
		a.lock.Unlock()
	}
	return matrices, factors
}

// CompareHalves compares the loops over float16 of a level with their twins.
func CompareHalves(level Level) error {
	return checkHalves(halvesOf(level))
}
