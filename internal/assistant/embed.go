package assistant

import (
	"context"
	"fmt"
	"math"
	"sync"

	"afina/internal/fault"
	"afina/internal/forward"
	"afina/internal/lora"
	"afina/internal/model"
)

// embedder reads texts of one model, one at a time: it has a cache of its own,
// so that it disturbs no answer.
type embedder struct {
	mu   sync.Mutex
	pass *forward.Pass
}

// embedChunk is how many tokens of a text are read at once.
const embedChunk = 128

// Embed returns for each text the mean of the model's final states over its
// tokens, at length 1, and how many tokens were read.
func (a *Assistant) Embed(ctx context.Context, name string, texts []Raw) (vectors [][]float32, read int, err error) {
	m, adapter, err := a.models.Resolve(name)
	if err != nil {
		return nil, 0, err
	}
	a.mu.Lock()
	e := a.readers[m]
	if e == nil {
		e = &embedder{pass: forward.New(m, a.gang, a.opts.Precision, 1, a.opts.Engine.Context)}
		a.readers[m] = e
	}
	a.mu.Unlock()
	for i := range texts {
		tokens, err := texts[i].tokens(m)
		if err != nil {
			return nil, 0, err
		}
		v, err := e.embed(ctx, m, adapter, tokens)
		if err != nil {
			return nil, 0, err
		}
		vectors, read = append(vectors, v), read+len(tokens)
	}
	return vectors, read, nil
}

func (e *embedder) embed(ctx context.Context, m *model.Model, a *lora.Adapter, tokens []int32) ([]float32, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.pass.Context(); len(tokens) > n {
		return nil, fault.New(fault.Invalid, "a text of input has %d tokens, the context of %q holds %d; shorten it", len(tokens), m.Name, n).
			WithCode("context_length_exceeded").WithParam("input")
	}
	defer e.pass.Reset(0, 0)
	sum := make([]float64, m.Dims.Hidden)
	for at := 0; at < len(tokens); at += embedChunk {
		if err := ctx.Err(); err != nil {
			return nil, fault.New(fault.Canceled, "the request was given up: %w", err)
		}
		var rows []forward.Row
		for i, id := range tokens[at:min(at+embedChunk, len(tokens))] {
			rows = append(rows, forward.Row{Token: id, Pos: at + i, Adapter: a, Logits: true})
		}
		states, err := e.pass.States(rows)
		if err != nil {
			return nil, fmt.Errorf("embed: %w", err)
		}
		for _, s := range states {
			for i, x := range s {
				sum[i] += float64(x)
			}
		}
	}
	return unit(sum), nil
}

// unit is x at length 1.
func unit(x []float64) []float32 {
	square := 0.0
	for _, v := range x {
		square += v * v
	}
	scale := 1 / math.Sqrt(max(square, math.SmallestNonzeroFloat64))
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v * scale)
	}
	return out
}
