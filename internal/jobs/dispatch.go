package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"

	"afina/internal/store"
)

// ticket is what River hands to a worker: leave to run the job that is next in
// our own table. It names no job, so there is nothing on which the two tables
// could disagree: there only have to be at least as many tickets as jobs that
// are not over, and each job adds one.
type ticket struct{}

// Kind is the name of tickets in River's table.
func (ticket) Kind() string { return "afina_ticket" }

// worker is the Queue as River sees it.
type worker struct {
	river.WorkerDefaults[ticket]
	q *Queue
}

// Timeout is none: a job gives way by itself, by slices, and only between
// steps. (River rescues only what has a timeout; the process lock of the store
// and the tickets made anew at start do that here.)
func (w *worker) Timeout(*river.Job[ticket]) time.Duration { return -1 }

// Work runs the next job for a slice. It never fails: a ticket that failed too
// often would be lost. Snoozing costs no attempt.
func (w *worker) Work(context.Context, *river.Job[ticket]) error {
	again, err := w.q.work()
	switch {
	case err != nil:
		w.q.log.Error("a worker could not take up a job; it tries again", zap.Error(err))
		return river.JobSnooze(time.Second)
	case again:
		return river.JobSnooze(0)
	}
	return nil
}

// Between questions to the database for new tickets, when idle and when busy.
const (
	pollEvery = 100 * time.Millisecond
	pollAgain = 50 * time.Millisecond
)

// dispatcher makes River's tables and its client.
func (q *Queue) dispatcher(ctx context.Context) (*river.Client[*sql.Tx], error) {
	log := quiet(q.log)
	driver := riversqlite.New(q.store.DB())
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: log})
	if err != nil {
		return nil, fmt.Errorf("prepare the dispatcher: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("prepare the dispatcher's tables: %w", err)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{q: q})
	client, err := river.NewClient(driver, &river.Config{
		Queues:                      map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: q.options.Workers}},
		Workers:                     workers,
		Logger:                      log,
		PollOnly:                    true,
		FetchPollInterval:           pollEvery,
		FetchCooldown:               pollAgain,
		CompletedJobRetentionPeriod: time.Hour,
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the dispatcher: %w", err)
	}
	return client, nil
}

// quiet is log for River, from warnings up.
func quiet(log *zap.Logger) *slog.Logger {
	if log.Level() < zapcore.WarnLevel {
		log = log.WithOptions(zap.IncreaseLevel(zapcore.WarnLevel))
	}
	return slog.New(zapslog.NewHandler(log.Core(), zapslog.WithName("river")))
}

// ticket adds a ticket in the transaction of the job it is for.
func (q *Queue) ticket(ctx context.Context, tx *sql.Tx) error {
	_, err := q.river.InsertTx(ctx, tx, ticket{}, nil)
	return err
}

// recover puts the jobs that were running when the process died back into the
// queue, and removes the checkpoints of jobs that are no more.
func (q *Queue) recover(ctx context.Context) error {
	rows, err := q.store.JobsIn(ctx, string(Running))
	if err != nil {
		return err
	}
	for _, row := range rows {
		row, err := q.store.ChangeJob(ctx, row.ID, q.crashed)
		if err != nil {
			return err
		}
		q.log.Warn("a job was cut off when the process ended", zap.String("job", row.ID),
			zap.String("now", row.State), zap.Int("attempts", row.Attempts))
	}
	return q.dropStrays(ctx)
}

// crashed is what becomes of a job that the process died under.
func (q *Queue) crashed(row *store.Job) error {
	row.Attempts++
	row.News = "The server stopped while the job ran; it goes on from its last checkpoint"
	switch {
	case row.Cancel:
		row.State, row.Finished, row.News = string(Cancelled), now(), "The job was cancelled"
	case row.Attempts >= q.options.Attempts:
		row.State, row.Finished, row.ErrorCode = string(Failed), now(), "crashed"
		row.News = "The job failed: the server stopped under it too often"
		row.Error = fmt.Sprintf("the server stopped %d times while this job ran, without a checkpoint in between; it may need more memory than there is", row.Attempts)
	default:
		row.State = string(Queued)
	}
	return nil
}

// dropStrays removes checkpoints whose job was deleted just before the process
// died.
func (q *Queue) dropStrays(ctx context.Context) error {
	entries, err := os.ReadDir(q.options.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !jobID.MatchString(e.Name()) {
			continue
		}
		_, err := q.store.Job(ctx, e.Name())
		if isNotFound(err) {
			err = os.RemoveAll(filepath.Join(q.options.Dir, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Run works until ctx ends, then lets running jobs save a checkpoint; they go
// back to the queue. It is called once.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.renew(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("fill the dispatcher: %w", err)
	}
	if err := q.review(context.WithoutCancel(ctx)); err != nil {
		q.log.Error("the observer was not told of earlier jobs", zap.Error(err))
	}
	if err := q.river.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start the dispatcher: %w", err)
	}
	<-ctx.Done()
	q.stop(errShutdown)
	defer q.watch.end()

	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.options.Grace)
	defer cancel()
	err := q.river.Stop(grace)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return q.abandon(context.WithoutCancel(ctx))
}

// reviewed is how many earlier jobs an observer is told of at the start.
const reviewed = 20

// review tells the observer of the newest jobs as they stand, oldest first.
func (q *Queue) review(ctx context.Context) error {
	if q.Observe == nil {
		return nil
	}
	page, _, err := q.List(ctx, "", reviewed)
	for _, j := range slices.Backward(page) {
		q.Observe(Event{Job: j})
	}
	return err
}

// renew makes River's table say what ours does. Nobody else has the store, so
// what is in it of an earlier process is of no use.
func (q *Queue) renew(ctx context.Context) error {
	return q.store.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM river_job"); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM jobs WHERE state = 'queued'").Scan(&n); err != nil {
			return err
		}
		for range n {
			if err := q.ticket(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// abandon puts jobs that did not stop in time back into the queue: they go on
// from their last checkpoint, and it does not count as a crash.
func (q *Queue) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	var errs []error
	for id := range q.runs {
		_, err := q.store.ChangeJob(ctx, id, func(row *store.Job) error {
			if State(row.State) == Running {
				row.State = string(Queued)
			}
			return nil
		})
		errs = append(errs, err)
		q.log.Warn("a job did not stop in time; it goes on from its last checkpoint", zap.String("job", id))
	}
	return errors.Join(errs...)
}
