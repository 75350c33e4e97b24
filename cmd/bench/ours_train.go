package main

import (
	"context"
	"slices"
	"time"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/optim"
)

// trainer takes optimiser steps over a list of batches, as train.Run does.
type trainer struct {
	graph *graph.Graph
	adam  *optim.AdamW
	steps []data.Step

	tokens, conversations int // of all steps
	taken                 uint64
}

// trainer is the graph with a new adapter of rank 16 on all projections.
func (w *work) trainer(gang *kernel.Gang) (*trainer, error) {
	batches, err := w.readBatches()
	if err != nil {
		return nil, err
	}
	a, err := lora.New(w.model, 16, 32, nil, 1)
	if err != nil {
		return nil, err
	}
	t := &trainer{adam: optim.NewAdamW(gang, 0.01)} // the decay of PyTorch's AdamW
	o := graph.Options{Precision: kernel.Fast, Memory: graph.Memory(w.memory), Dropout: float32(w.dropout)}
	if t.graph, err = graph.Build(w.model, a, gang, o); err != nil {
		return nil, err
	}
	longest, places := 0, 0
	for _, b := range batches {
		var seqs []chat.Sequence
		for _, s := range b {
			seqs = append(seqs, chat.Sequence{Tokens: s.Tokens, Learn: s.Learn})
			t.tokens += len(s.Tokens)
			t.conversations++
		}
		step := data.Plan{BatchSize: len(seqs), Accumulate: 1, Epochs: 1, MaxTokens: 512, Share: true, Seed: 1}.Step(seqs, 0)
		for _, x := range step.Batches {
			longest, places = max(longest, len(x.Tokens)), max(places, len(x.Shared))
		}
		t.steps = append(t.steps, step)
	}
	return t, t.graph.Reserve(longest, places)
}

// step is one optimiser step: gradients, clip to norm 1, AdamW.
func (t *trainer) step(ctx context.Context, s data.Step) (loss float64, err error) {
	params := t.graph.Params()
	optim.Zero(t.graph.Gang(), params)
	for i, b := range s.Batches {
		t.taken++
		sum, _, err := t.graph.Gradients(ctx, b, 1/float32(s.Counted), t.taken<<8+uint64(i))
		if err != nil {
			return 0, err
		}
		loss += sum
	}
	scale := 1.0
	if norm := optim.GradNorm(t.graph.Gang(), params); norm > 1 {
		scale = 1 / norm
	}
	t.adam.Step(params, 1e-6, scale)
	return loss / float64(s.Counted), nil
}

// all takes every step once.
func (t *trainer) all(ctx context.Context) (sample, error) {
	start, total := time.Now(), 0.0
	for _, s := range t.steps {
		loss, err := t.step(ctx, s)
		if err != nil {
			return sample{}, err
		}
		total += loss
	}
	return sample{Seconds: time.Since(start).Seconds(), Tokens: t.tokens, Conversations: t.conversations,
		Loss: total / float64(len(t.steps))}, nil
}

// train measures the steps of all batches.
func (w *work) train(ctx context.Context) (measurement, error) {
	t, err := w.trainer(w.gang)
	if err != nil {
		return nil, err
	}
	for i := range 2 { // as the peer warms up
		if _, err := t.step(ctx, t.steps[i%len(t.steps)]); err != nil {
			return nil, err
		}
	}
	return t.all, nil
}

// quantile is the value below which a share of x lies.
func quantile(x []float64, share float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	return s[min(len(s)-1, int(share*float64(len(s))))]
}
