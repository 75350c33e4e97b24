package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"afina/internal/engine"
	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/sampling"
)

// serve starts an engine for some streams; it runs until ctx ends.
func (w *work) serve(ctx context.Context, streams, context int) *engine.Engine {
	pass := forward.New(w.model, w.gang, kernel.Fast, streams, context)
	e := engine.New(pass, engine.Options{Slots: streams, Context: context, Chunk: w.chunk, Lookup: -1})
	go func() { _ = e.Run(ctx) }() // it ends with ctx, and with it the process
	return e
}

// answer asks e for one answer, drawn as the service draws by default, and
// returns when each of its tokens was drawn.
func (w *work) answer(ctx context.Context, e *engine.Engine, seed uint64) (drawn []time.Time, err error) {
	r := engine.Request{
		Prompt: draw(w.tokens, w.model.Dims.Vocab, seed), Limit: w.limit,
		Sampling: sampling.Options{Temperature: 0.3, TopP: 0.9, Seed: seed},
		Never:    w.model.Tokens.Unused,
	}
	for t, err := range e.Generate(ctx, r) {
		if err != nil {
			return nil, err
		}
		drawn = append(drawn, t.At)
	}
	return drawn, nil
}

// generate measures the streams while all of them write: from the moment when
// the last has its first token to the moment when the first has its last.
func (w *work) generate(ctx context.Context) (measurement, error) {
	e := w.serve(ctx, w.streams, w.tokens+w.limit+1)
	seed := uint64(0)
	measure := func(ctx context.Context) (sample, error) {
		answers, errs := make([][]time.Time, w.streams), make([]error, w.streams)
		var wg sync.WaitGroup
		for i := range w.streams {
			seed++
			s := seed
			wg.Go(func() { answers[i], errs[i] = w.answer(ctx, e, s) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return sample{}, err
		}
		return together(answers)
	}
	_, err := measure(ctx)
	return measure, err
}

// together counts the tokens drawn while every answer was being written.
func together(answers [][]time.Time) (sample, error) {
	from, to := time.Time{}, time.Time{}
	for i, a := range answers {
		if len(a) < 2 {
			return sample{}, errors.New("an answer has fewer than two tokens")
		}
		if first := a[0]; first.After(from) {
			from = first
		}
		if last := a[len(a)-1]; i == 0 || last.Before(to) {
			to = last
		}
	}
	n := 0
	for _, a := range answers {
		for _, at := range a {
			if at.After(from) && !at.After(to) {
				n++
			}
		}
	}
	if n == 0 {
		return sample{}, errors.New("the streams never wrote together")
	}
	return sample{Seconds: to.Sub(from).Seconds(), Tokens: n}, nil
}

// spell is how long chat and training are each watched, alone and together.
const spell = 4 * time.Second

// chat measures one stream of answers alone, a training job alone, and both at
// once, in one process that shares its cores as the service's does.
func (w *work) chat(ctx context.Context) (measurement, error) {
	t, err := w.trainer(w.gang.Background())
	if err != nil {
		return nil, err
	}
	w.tokens, w.limit = 32, 128
	e := w.serve(ctx, 1, w.tokens+w.limit+1)
	if _, err := t.all(ctx); err != nil {
		return nil, err
	}
	if _, err := w.chatFor(ctx, e, spell/4); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (sample, error) {
		start := time.Now()
		idle, err := w.chatFor(ctx, e, spell)
		if err != nil {
			return sample{}, err
		}
		alone, err := t.trainFor(ctx, time.After(spell))
		if err != nil {
			return sample{}, err
		}
		beside, busy, err := w.both(ctx, t, e)
		if err != nil {
			return sample{}, err
		}
		return sample{Seconds: time.Since(start).Seconds(), Figures: map[string]float64{
			"idle_p95_ms": quantile(idle, 0.95) * 1000, "busy_p95_ms": quantile(busy, 0.95) * 1000,
			"p95_growth": quantile(busy, 0.95) / quantile(idle, 0.95), "train_share": beside / alone,
		}}, nil
	}, nil
}

// both trains while a stream is written: the job's tokens per second and the
// stream's gaps.
func (w *work) both(ctx context.Context, t *trainer, e *engine.Engine) (speed float64, gaps []float64, err error) {
	ended := make(chan time.Time)
	var chatErr error
	go func() {
		gaps, chatErr = w.chatFor(ctx, e, spell)
		close(ended)
	}()
	speed, err = t.trainFor(ctx, ended)
	<-ended
	return speed, gaps, errors.Join(err, chatErr)
}

// chatFor asks for one answer after another and returns the gaps between tokens
// of one answer, in seconds.
func (w *work) chatFor(ctx context.Context, e *engine.Engine, d time.Duration) (gaps []float64, err error) {
	for end, seed := time.Now().Add(d), uint64(1); time.Now().Before(end); seed++ {
		drawn, err := w.answer(ctx, e, seed)
		if err != nil {
			return nil, err
		}
		for i := 1; i < len(drawn); i++ {
			gaps = append(gaps, drawn[i].Sub(drawn[i-1]).Seconds())
		}
	}
	return gaps, nil
}

// trainFor trains until stop, and returns tokens per second over the steps that
// were made.
func (t *trainer) trainFor(ctx context.Context, stop <-chan time.Time) (float64, error) {
	start, tokens := time.Now(), 0
	for {
		s, err := t.all(ctx)
		if err != nil {
			return 0, err
		}
		tokens += s.Tokens
		select {
		case <-stop:
			return float64(tokens) / time.Since(start).Seconds(), nil
		default:
		}
	}
}
