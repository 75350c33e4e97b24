package train_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"afina/internal/data"
	"afina/internal/engine"
	"afina/internal/forward"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/modeltest"
	"afina/internal/optim"
	"afina/internal/sampling"
)

// BenchmarkBeside is one stream of answers alone and beside a training job, on
// SmolLM2 and one pool of cores: the 95th percentile of the time between tokens,
// and what share of its speed alone the job keeps. A round is 3 s of each.
func BenchmarkBeside(b *testing.B) {
	const spell = 3 * time.Second
	g := gang(b, 0)
	m := open(b, modeltest.Real(b), g)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e := engine.New(forward.New(m, g, kernel.Fast, 1, 256), engine.Options{Slots: 1, Context: 256})
	go func() { _ = e.Run(ctx) }()
	a, err := lora.New(m, 16, 32, nil, 1)
	if err != nil {
		b.Fatal(err)
	}
	t, err := graph.Build(m, a, g.Background(), graph.Options{Precision: kernel.Fast, Memory: graph.Store, Dropout: 0.05})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()

	chat := func() (gaps []float64, tokens int) {
		for end := time.Now().Add(spell); time.Now().Before(end); {
			var last time.Time
			r := engine.Request{Prompt: []int32{1, 520, 9531, 198, 260, 340, 286}, Limit: 128, Sampling: sampling.Options{Temperature: 0.3, TopP: 0.9, Seed: 1}}
			for token, err := range e.Generate(ctx, r) {
				if err != nil {
					b.Error(err)
					return nil, 0
				}
				if !last.IsZero() {
					gaps = append(gaps, token.At.Sub(last).Seconds())
				}
				last, tokens = token.At, tokens+1
			}
		}
		slices.Sort(gaps)
		return gaps, tokens
	}
	job := newJob(t)
	train := func(stop *atomic.Bool) float64 {
		start, steps := time.Now(), 0
		for ; !stop.Load(); steps++ {
			if err := job.step(); err != nil {
				b.Error(err)
				return 0
			}
		}
		return float64(steps) / time.Since(start).Seconds()
	}
	chat()
	for b.Loop() {
		idle, aloneTokens := chat()
		var stop atomic.Bool
		time.AfterFunc(spell, func() { stop.Store(true) })
		alone := train(&stop)

		stop.Store(false)
		speed := make(chan float64)
		go func() { speed <- train(&stop) }()
		busy, besideTokens := chat()
		stop.Store(true)
		beside := <-speed

		p95 := func(x []float64) float64 { return x[len(x)*95/100] }
		b.ReportMetric(p95(idle)*1e3, "idle-p95-ms")
		b.ReportMetric(p95(busy)*1e3, "busy-p95-ms")
		b.ReportMetric(p95(busy)/p95(idle), "p95-ratio")
		b.ReportMetric(float64(besideTokens)/float64(aloneTokens), "chat-share")
		b.ReportMetric(beside/alone, "job-share")
	}
}

// job is optimiser steps over one packed batch of 512 tokens.
type job struct {
	graph *graph.Graph
	batch data.Batch
	adam  *optim.AdamW
}

func newJob(g *graph.Graph) *job {
	seqs := sequences(64, 0)
	step := data.Plan{BatchSize: len(seqs), Epochs: 1, MaxTokens: 512, Seed: 1}.Step(seqs, 0)
	return &job{g, step.Batches[0], optim.NewAdamW(g.Gang(), 0)}
}

func (j *job) step() error {
	g := j.graph
	optim.Zero(g.Gang(), g.Params())
	if _, _, err := g.Gradients(context.Background(), j.batch, 1/float32(j.batch.Counted), 1); err != nil {
		return err
	}
	j.adam.Step(g.Params(), 1e-6, 1)
	return nil
}
