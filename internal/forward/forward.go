// Package forward runs a model for inference: one call, one batch of rows,
// logits out.
package forward

import (
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
	m    *model.Model
	gang *kernel.Gang
}

// New returns a pass whose cache has slots sequences of at most context tokens;
// memory for keys and values grows as positions are used.
func New(m *model.Model, g *kernel.Gang, p kernel.Precision, slots, context int) *Pass {
	panic("sketch")
}

// Run computes rows and returns the logits of those that asked, in order.
// The slices are valid until the next Run.
func (p *Pass) Run(rows []Row) ([][]float32, error) { panic("sketch") }

// Reset forgets positions ≥ keep of a slot.
func (p *Pass) Reset(slot, keep int) { panic("sketch") }
