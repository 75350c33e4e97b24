// Package graph builds the training graph of a model on Gorgonia. It is the
// only package that imports gorgonia.org: outside it, a training step is slices
// and a number.
package graph

import (
	"context"

	"afina/internal/data"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/optim"
)

// Memory says what the forward keeps for the backward.
type Memory string

// The memory policies.
const (
	Store     Memory = "store"     // keep what the backward reads
	Recompute Memory = "recompute" // keep block inputs, compute the rest again
)

// Options are how the graph computes.
type Options struct {
	Precision kernel.Precision
	Memory    Memory
	Dropout   float32 // on the input of the low-rank products
}

// Graph is a model with an adapter, ready to be differentiated for batches of
// any length. It belongs to one goroutine.
type Graph struct{}

// Build walks m's Spec and returns its graph.
func Build(m *model.Model, a *lora.Adapter, g *kernel.Gang, o Options) (*Graph, error) {
	panic("sketch")
}

// Params are the adapter's own slices with their gradients, in a fixed order.
func (g *Graph) Params() []optim.Param { panic("sketch") }

// Gradients adds scale times the gradient of b's summed loss to the gradients
// of Params and returns the sum of the loss. seed draws the dropout masks.
func (g *Graph) Gradients(ctx context.Context, b data.Batch, scale float32, seed uint64) (sum float64, err error) {
	panic("sketch")
}

// Loss returns the summed loss of b without dropout and without gradients.
func (g *Graph) Loss(ctx context.Context, b data.Batch) (sum float64, err error) { panic("sketch") }

// Close frees what the graph holds.
func (g *Graph) Close() error { panic("sketch") }

// Estimate predicts the memory in bytes that training m takes beyond the model
// itself, for batches of at most tokens.
func Estimate(m *model.Model, a *lora.Adapter, tokens int, o Options) int64 { panic("sketch") }
