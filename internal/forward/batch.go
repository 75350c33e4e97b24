package forward

import (
	"slices"

	"afina/internal/lora"
	"afina/internal/model"
)

// batch is rows in the order of computation: sorted by adapter, so that the
// rows of one adapter lie together, else as the caller gave them.
type batch struct {
	row    []int // index into the rows given to Run
	from   []int // index into the batch of all rows
	place  []int // index into the logits, when this row wants them
	slot   []int
	pos    []int32
	groups []group
}

// group is a stretch of rows with one adapter.
type group struct {
	adapter *lora.Adapter
	lo, hi  int
}

func (b *batch) len() int { return len(b.row) }

func (b *batch) clear() {
	b.row, b.from, b.place, b.slot, b.pos = b.row[:0], b.from[:0], b.place[:0], b.slot[:0], b.pos[:0]
	clear(b.groups) // lets go of the adapters, which their owner may want to free
	b.groups = b.groups[:0]
}

func (b *batch) add(row, from, place int, r Row) {
	n := len(b.row)
	if len(b.groups) == 0 || b.groups[len(b.groups)-1].adapter != r.Adapter {
		b.groups = append(b.groups, group{adapter: r.Adapter, lo: n})
	}
	b.groups[len(b.groups)-1].hi = n + 1
	b.row = append(b.row, row)
	b.from = append(b.from, from)
	b.place = append(b.place, place)
	b.slot = append(b.slot, r.Slot)
	b.pos = append(b.pos, int32(r.Pos))
}

// sort deals rows into the batch of all and the batch of those that want logits.
func (p *Pass) sort(rows []Row) {
	for first, of := range rows {
		sameAdapter := func(r Row) bool { return r.Adapter == of.Adapter }
		if slices.ContainsFunc(rows[:first], sameAdapter) {
			continue
		}
		asked := 0
		for i, r := range rows {
			if sameAdapter(r) {
				if r.Logits {
					p.asked.add(i, p.all.len(), asked, r)
				}
				p.all.add(i, p.all.len(), asked, r)
			}
			if r.Logits {
				asked++
			}
		}
	}
}

// scratch is the memory of one pass, by the names of the block's steps. It is
// kept from pass to pass.
type scratch struct {
	x, normed, out []float32 // (n, Hidden)
	q, mixed       []float32 // (n, Heads*HeadDim)
	k, v           []float32 // (n, KVHeads*HeadDim)
	gate, up       []float32 // (n, FFN)
	low            []float32 // (n, Rank)
}

// grow makes room for n rows.
func (s *scratch) grow(n int, d *model.Dims) {
	query, kv := d.Heads*d.HeadDim, d.KVHeads*d.HeadDim
	s.x = sized(s.x, n*d.Hidden)
	s.normed = sized(s.normed, n*d.Hidden)
	s.out = sized(s.out, n*d.Hidden)
	s.q = sized(s.q, n*query)
	s.mixed = sized(s.mixed, n*query)
	s.k = sized(s.k, n*kv)
	s.v = sized(s.v, n*kv)
	s.gate = sized(s.gate, n*d.FFN)
	s.up = sized(s.up, n*d.FFN)
}

// sized returns a slice of n numbers, buf's memory when it is enough. What it
// holds is not defined.
func sized(buf []float32, n int) []float32 {
	if cap(buf) < n {
		return make([]float32, n)
	}
	return buf[:n]
}
