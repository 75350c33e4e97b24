package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"afina/internal/catalog"
	"afina/internal/config"
	"afina/internal/httpapi"
	"afina/internal/jobs"
	"afina/internal/metrics"
)

// serveCmd runs the HTTP service.
type serveCmd struct{}

// Run builds the rooms from the ground up and serves until ctx ends: then jobs
// save a checkpoint, streams finish, and the process ends with status 0.
func (serveCmd) Run(ctx context.Context, cfg config.Config) error {
	log, err := logger(cfg.Log)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }() // stderr may refuse to be synced
	r, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer r.close()
	ask, err := r.assistant(cfg)
	if err != nil {
		return err
	}
	meters := metrics.New(version)
	ask.Observe, ask.Pass = meters.Answer, meters.Pass

	queue, err := jobs.New(r.store, r.tuner, jobs.Options{
		Workers:  cfg.Jobs.Workers,
		Dir:      jobsDir(cfg),
		Slice:    cfg.Jobs.Slice,
		MaxJobs:  cfg.Jobs.MaxQueued,
		Attempts: cfg.Jobs.Attempts,
	}, log)
	if err != nil {
		return err
	}
	queue.Observe = meters.Job
	marking, err := r.exams(cfg, ask, log)
	if err != nil {
		return err
	}
	api := &httpapi.Server{
		Config: cfg, Jobs: queue, Catalog: r.catalog, Assistant: ask, Exams: marking, Meters: meters, Log: log, Build: version,
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s (choose another address with --listen): %w", cfg.Listen, err)
	}
	log.Info("serving", zap.String("address", "http://"+ln.Addr().String()), zap.String("version", version),
		zap.String("kernel", string(r.gang.Level())), zap.Int("cores", r.pool.Workers()),
		zap.String("models", cfg.Models), zap.String("data", cfg.Data))

	// The assistant outlives the doors, so that streams can finish.
	return alongside(context.WithoutCancel(ctx), ask.Run, func(context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		worked := make(chan error, 2)
		go func() { worked <- queue.Run(ctx); cancel() }()
		go func() { worked <- marking.Run(ctx); cancel() }()
		go count(ctx, queue, meters)
		go sweep(ctx, r.catalog, log)
		err := api.Serve(ctx, ln)
		cancel()
		err = errors.Join(err, <-worked, <-worked)
		if err == nil {
			log.Info("stopped")
		}
		return err
	})
}

// count keeps the gauge of jobs by state, until ctx ends.
func count(ctx context.Context, queue *jobs.Queue, meters *metrics.Meters) {
	for tick := time.NewTicker(2 * time.Second); ; {
		if counts, err := queue.Counts(ctx); err == nil {
			meters.Queue(counts)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// sweep removes the datasets whose time is over, now and every minute until ctx
// ends.
func sweep(ctx context.Context, shelf *catalog.Catalog, log *zap.Logger) {
	for tick := time.NewTicker(time.Minute); ; {
		if err := shelf.Sweep(ctx); err != nil && ctx.Err() == nil {
			log.Error("datasets whose time is over could not be removed", zap.Error(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// logger writes JSON lines to stderr.
func logger(c config.Log) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, err
	}
	z := zap.NewProductionConfig()
	z.Level = zap.NewAtomicLevelAt(level)
	z.Sampling = nil
	z.DisableStacktrace = true
	z.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	return z.Build()
}
