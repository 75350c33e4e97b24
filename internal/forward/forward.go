// Package forward runs a model for inference: one call, one batch of rows,
// logits out. It walks model.Spec, so it knows what a block is made of but not
// which architecture it serves; it knows token ids and positions, not requests.
//
// Invariant: a slot holds the keys and values of positions 0 … n-1 of one
// sequence, computed with one adapter; Run extends it, Reset shortens it, Begin
// starts it from pages that are there already. A row's logits are the same bits
// whatever rows are beside it, and however its sequence was cut into runs.
package forward

import (
	"fmt"
	"math"

	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
)

// Row is one token of one sequence, to be run at its place in the cache. Rows of
// one slot come in order of position, and follow what the slot holds.
type Row struct {
	Token   int32
	Slot    int           // which sequence of the cache
	Pos     int           // which position in it
	Adapter *lora.Adapter // nil: the bare base
	Logits  bool          // whether the caller wants this row's logits
}

// Pass owns the scratch memory and the KV cache of a forward pass over one
// model. It is not safe for concurrent use.
type Pass struct {
	m         *model.Model
	gang      *kernel.Gang
	precision kernel.Precision
	context   int

	slots    []slot
	keep     kernel.Keeping
	free     []*Page
	used     int // pages that are held
	adapters adapters

	all, asked batch // every row; those whose logits are wanted
	work       scratch
	in, inner  kernel.Operand // the normed input; what attention and the MLP end with
	logits     []float32      // (asked, Vocab)
	views      [][]float32
}

// NumericError says that the logits of some rows are not finite. The logits of
// the other rows are sound.
type NumericError struct {
	Rows []int // indexes into the rows given to Run
}

func (e *NumericError) Error() string {
	return fmt.Sprintf("the model computed logits that are not finite for %d of the rows", len(e.Rows))
}

// New returns a pass whose cache has slots sequences of at most context tokens,
// and never more than the model was made for; memory for keys and values grows
// as positions are used. They take 16 bits a number, with Exact 32.
func New(m *model.Model, g *kernel.Gang, p kernel.Precision, slots, context int) *Pass {
	if slots < 1 || context < 1 {
		panic(fmt.Sprintf("forward: a pass of %d slots and a context of %d tokens", slots, context))
	}
	d := &m.Dims
	return &Pass{
		m: m, gang: g, precision: p,
		context: min(context, d.Context),
		slots:   make([]slot, slots),
		keep: kernel.Keeping{
			Layers: d.Layers,
			Heads:  kernel.Heads{Query: d.Heads, KV: d.KVHeads, Dim: d.HeadDim, Scale: float32(1 / math.Sqrt(float64(d.HeadDim)))},
			Half:   p != kernel.Exact,
		},
	}
}

// Slots is how many sequences the cache holds.
func (p *Pass) Slots() int { return len(p.slots) }

// Context is how many tokens a sequence may have.
func (p *Pass) Context() int { return p.context }

// Vocab is how many logits a row has.
func (p *Pass) Vocab() int { return p.m.Dims.Vocab }

// Run computes rows and returns the logits of those that asked, in order.
// The slices are valid until the next Run, and the caller may overwrite them.
// With a NumericError the cache has still been extended; after any other error
// it is as it was.
func (p *Pass) Run(rows []Row) ([][]float32, error) { return p.run(rows, p.head) }

// States is Run, but returns the final states of the rows that asked for logits:
// (Hidden) each, behind the last norm, before the output matrix.
func (p *Pass) States(rows []Row) ([][]float32, error) { return p.run(rows, p.states) }

// run computes rows; end makes of the last block's output what is returned.
func (p *Pass) run(rows []Row, end func() ([][]float32, error)) ([][]float32, error) {
	if err := p.check(rows); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, nil
	}
	defer p.all.clear()
	defer p.asked.clear()
	if err := p.lay(rows); err != nil {
		return nil, err
	}
	p.embed(rows)
	for l := range p.m.Layers {
		p.block(l)
	}
	for i := range p.slots {
		p.slots[i].len = p.slots[i].next
	}
	return end()
}

// Reset forgets positions ≥ keep of a slot.
func (p *Pass) Reset(slot, keep int) { p.cut(&p.slots[slot], max(0, keep)) }

// check refuses rows that do not continue their slots, and counts where each
// slot will end.
func (p *Pass) check(rows []Row) error {
	for i := range p.slots {
		p.slots[i].next = p.slots[i].len
	}
	for i, r := range rows {
		switch {
		case r.Slot < 0 || r.Slot >= len(p.slots):
			return fmt.Errorf("row %d: slot %d of %d", i, r.Slot, len(p.slots))
		case r.Token < 0 || int(r.Token) >= p.m.Dims.Vocab:
			return fmt.Errorf("row %d: token %d of a vocabulary of %d", i, r.Token, p.m.Dims.Vocab)
		case r.Pos != p.slots[r.Slot].next:
			return fmt.Errorf("row %d: position %d where slot %d goes on at %d", i, r.Pos, r.Slot, p.slots[r.Slot].next)
		case r.Pos >= p.context:
			return fmt.Errorf("row %d: position %d of a context of %d", i, r.Pos, p.context)
		case r.Adapter != nil && len(r.Adapter.Pairs) != len(p.m.Layers):
			return fmt.Errorf("row %d: adapter %q has %d layers, model %q has %d",
				i, r.Adapter.Name, len(r.Adapter.Pairs), p.m.Name, len(p.m.Layers))
		}
		p.slots[r.Slot].next++
	}
	return nil
}

// lay sorts rows into the two batches and makes room for them.
func (p *Pass) lay(rows []Row) error {
	p.adapters.runs++
	for i := range p.slots {
		if err := p.grow(&p.slots[i]); err != nil {
			return err
		}
	}
	if err := p.sort(rows); err != nil {
		return err
	}
	p.work.grow(len(rows), &p.m.Dims)
	return nil
}

// width is how many numbers the keys of one position have.
func (p *Pass) width() int { return p.m.Dims.KVHeads * p.m.Dims.HeadDim }
