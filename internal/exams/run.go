package exams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"afina/internal/evaluate"
	"afina/internal/fault"
	"afina/internal/jobs"
	"afina/internal/store"
)

var (
	errCancelled = errors.New("the evaluation was cancelled")
	errNone      = errors.New("no evaluation is queued")
)

// retryPause is how long the worker waits when the store fails.
const retryPause = time.Second

// Run marks until ctx ends; the evaluation under way then goes back to the queue.
func (q *Queue) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := q.next(ctx)
		switch {
		case errors.Is(err, errNone):
			select {
			case <-q.wake:
			case <-ctx.Done():
			}
		case err != nil:
			q.log.Error("an evaluation could not be taken up or stored; the worker tries again", zap.Error(err))
			select {
			case <-time.After(retryPause):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// next claims the oldest evaluation and marks it.
func (q *Queue) next(ctx context.Context) error {
	kept := context.WithoutCancel(ctx) // what is stored is stored whole
	rows, err := q.store.EvaluationsIn(kept, string(jobs.Queued))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return errNone
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q.hold(rows[0].ID, cancel)
	defer q.hold("", nil)
	e, err := read(q.store.ChangeEvaluation(kept, rows[0].ID, func(row *store.Evaluation) error {
		if row.State != string(jobs.Queued) {
			return errNone
		}
		row.State, row.Started, row.Progress = string(jobs.Running), now(), 0
		return nil
	}))
	if errors.Is(err, errNone) || fault.KindOf(err) == fault.NotFound { // cancelled a moment ago, and perhaps deleted
		return nil
	}
	if err != nil {
		return err
	}
	report, err := q.mark(running, e)
	_, err = q.store.ChangeEvaluation(kept, e.ID, func(row *store.Evaluation) error {
		return q.outcome(running, row, report, err)
	})
	return err
}

// hold notes which evaluation is running.
func (q *Queue) hold(id string, cancel context.CancelCauseFunc) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.id, q.done, q.cancel = id, 0, cancel
}

// mark evaluates. A panic is an error; the worker lives on.
func (q *Queue) mark(ctx context.Context, e Evaluation) (report evaluate.Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("an evaluation panicked", zap.String("evaluation", e.ID), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	all, err := q.shelf.Conversations(ctx, e.Spec.Dataset)
	if err != nil {
		return report, err
	}
	return q.marker.Run(ctx, q.evaluation(e.Spec, all), func(done float64) {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.done = done
	})
}

// outcome writes what the marking came to into the row.
func (q *Queue) outcome(ctx context.Context, row *store.Evaluation, report evaluate.Report, err error) error {
	switch {
	case err == nil:
		if row.Report, err = json.Marshal(report); err == nil {
			row.State, row.Finished, row.Progress = string(jobs.Succeeded), now(), 1
			return nil
		}
	case errors.Is(context.Cause(ctx), errCancelled):
		row.State, row.Finished = string(jobs.Cancelled), now()
		return nil
	case ctx.Err() != nil: // the server is stopping
		row.State, row.Progress = string(jobs.Queued), 0
		return nil
	}
	q.log.Error("an evaluation failed", zap.String("evaluation", row.ID), zap.Error(err))
	f := jobs.Explain(err)
	row.State, row.Finished, row.Error, row.ErrorCode = string(jobs.Failed), now(), f.Message, f.Code
	return nil
}
