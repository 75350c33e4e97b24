package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"

	"go.uber.org/zap"

	"afina/internal/assistant"
	"afina/internal/catalog"
	"afina/internal/config"
	"afina/internal/data"
	"afina/internal/engine"
	"afina/internal/evaluate"
	"afina/internal/exams"
	"afina/internal/finetune"
	"afina/internal/kernel"
	"afina/internal/parallel"
	"afina/internal/store"
)

// rooms are the parts of the building that every command needs, built from the
// ground up.
type rooms struct {
	pool    *parallel.Pool
	gang    *kernel.Gang
	store   *store.Store
	catalog *catalog.Catalog
	tuner   *finetune.Tuner
}

// open builds the rooms of cfg. It holds the data folder until close.
func open(ctx context.Context, cfg config.Config) (_ *rooms, err error) {
	r := &rooms{pool: parallel.New(cfg.Threads)}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.gang, err = kernel.NewGang(r.pool, kernel.Level(cfg.Kernel)); err != nil {
		return nil, err
	}
	if r.store, err = store.Open(ctx, cfg.Data); err != nil {
		return nil, err
	}
	r.catalog, err = catalog.New(catalog.Options{
		Models: cfg.Models,
		Data:   cfg.Data,
		Limits: limits(cfg.Dataset),
	}, r.store, r.gang)
	if err != nil {
		return nil, err
	}
	r.tuner = &finetune.Tuner{
		Catalog:     r.catalog,
		Gang:        r.gang.Background(),
		MemoryLimit: cfg.Jobs.MemoryLimit,
	}
	return r, nil
}

// close lets go of the data folder and the cores.
func (r *rooms) close() {
	if r.store != nil {
		_ = r.store.Close() // nothing is written after the last commit
	}
	r.pool.Close()
}

// assistant returns an assistant that answers as cfg says.
func (r *rooms) assistant(cfg config.Config) (*assistant.Assistant, error) {
	p, err := finetune.Precision(cfg.Serve.Precision)
	if err != nil {
		return nil, err
	}
	lookup := cfg.Serve.Lookup
	if lookup == 0 {
		lookup = -1 // the engine takes 0 for its default
	}
	return assistant.New(r.catalog, r.gang, assistant.Options{
		Engine: engine.Options{Slots: cfg.Serve.Slots, Context: cfg.Serve.Context,
			Queue: cfg.Serve.Queue, Chunk: cfg.Serve.PromptChunk, Memory: cfg.Serve.CacheBytes, Lookup: lookup},
		Precision: p,
	}), nil
}

// exams returns the queue of evaluations. Their answers come from ask; their
// losses leave the cores to those who wait for an answer.
func (r *rooms) exams(cfg config.Config, ask *assistant.Assistant, log *zap.Logger) (*exams.Queue, error) {
	p, err := finetune.Precision(cfg.Serve.Precision)
	if err != nil {
		return nil, err
	}
	marker := &evaluate.Evaluator{Catalog: r.catalog, Assistant: ask, Gang: r.gang.Background()}
	return exams.New(r.store, r.catalog, marker, p, log)
}

// limits are the bounds of an upload.
func limits(c config.Dataset) data.Limits {
	l := data.DefaultLimits()
	l.Bytes, l.LineBytes = c.MaxBytes, c.MaxLineBytes
	l.Conversations, l.Messages, l.Depth = c.MaxConversations, c.MaxMessages, c.MaxDepth
	return l
}

// jobsDir is the folder of the checkpoints of jobs.
func jobsDir(cfg config.Config) string { return filepath.Join(cfg.Data, "jobs") }

// alongside runs f while g runs, and ends g when f is done. It returns f's error,
// or g's when g ended first.
func alongside(ctx context.Context, g func(context.Context) error, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- g(ctx); cancel() }()
	err := f(ctx)
	cancel()
	if gerr := <-ended; err == nil && ctx.Err() == nil {
		return gerr
	}
	return err
}

// openModels builds the rooms of a command that only reads models: it leaves the
// data folder's database to the service that may be running.
func openModels(cfg config.Config) (*rooms, error) {
	r := &rooms{pool: parallel.New(cfg.Threads)}
	var err error
	if r.gang, err = kernel.NewGang(r.pool, kernel.Level(cfg.Kernel)); err == nil {
		r.catalog, err = catalog.New(catalog.Options{Models: cfg.Models, Data: cfg.Data}, nil, r.gang)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// apiKey is the key that the terminal commands show to the service.
func apiKey(cfg config.Config) string {
	if len(cfg.HTTP.APIKeys) > 0 {
		return cfg.HTTP.APIKeys[0]
	}
	return ""
}

// randomSeed is a seed that nobody chose.
func randomSeed() uint64 { return rand.Uint64() }
