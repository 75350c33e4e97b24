package forward

import (
	"slices"

	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
)

// batch is rows in the order of computation: sorted by adapter, so that the
// rows of one adapter lie together, else as the caller gave them.
type batch struct {
	row    []int // index into the rows given to Run
	from   []int // index into the batch of all rows
	place  []int // index into the logits, when this row wants them
	pos    []int32
	groups []group
	lanes  []kernel.Lane
	angles kernel.Angles
}

// group is a stretch of rows with one adapter.
type group struct {
	adapter *lora.Adapter
	packed  *packed // nil for the bare base
	lo, hi  int
}

func (b *batch) len() int { return len(b.row) }

func (b *batch) clear() {
	b.row, b.from, b.place, b.pos = b.row[:0], b.from[:0], b.place[:0], b.pos[:0]
	clear(b.groups) // lets go of the adapters and pages, which their owner may want to free
	clear(b.lanes)
	b.groups, b.lanes = b.groups[:0], b.lanes[:0]
}

func (b *batch) add(row, from, place int, r Row, pages []*kernel.Page, ready *packed) {
	n := len(b.row)
	if len(b.groups) == 0 || b.groups[len(b.groups)-1].adapter != r.Adapter {
		b.groups = append(b.groups, group{adapter: r.Adapter, packed: ready, lo: n})
	}
	b.groups[len(b.groups)-1].hi = n + 1
	b.row = append(b.row, row)
	b.from = append(b.from, from)
	b.place = append(b.place, place)
	b.pos = append(b.pos, int32(r.Pos))
	b.lanes = append(b.lanes, kernel.Lane{Pages: pages, Len: r.Pos + 1})
}

// sort deals rows into the batch of all and the batch of those that want logits.
func (p *Pass) sort(rows []Row) error {
	for first, of := range rows {
		sameAdapter := func(r Row) bool { return r.Adapter == of.Adapter }
		if slices.ContainsFunc(rows[:first], sameAdapter) {
			continue
		}
		ready, err := p.ready(of.Adapter)
		if err != nil {
			return err
		}
		asked := 0
		for i, r := range rows {
			if sameAdapter(r) {
				pages := p.slots[r.Slot].table
				if r.Logits {
					p.asked.add(i, p.all.len(), asked, r, pages, ready)
				}
				p.all.add(i, p.all.len(), asked, r, pages, ready)
			}
			if r.Logits {
				asked++
			}
		}
	}
	p.gang.Turns(&p.all.angles, p.all.pos, p.m.Dims.Rotary)
	p.gang.Turns(&p.asked.angles, p.asked.pos, p.m.Dims.Rotary)
	return nil
}

// scratch is the memory of one pass, by the names of the block's steps. It is
// kept from pass to pass.
type scratch struct {
	x, normed, out []float32 // (n, Hidden)
	q, mixed       []float32 // (n, Heads*HeadDim)
	k, v           []float32 // (n, KVHeads*HeadDim)
	gate, up       []float32 // (n, FFN)

	products []kernel.Product
	low      [3][]kernel.LowRank // of up to three products
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
