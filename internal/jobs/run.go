package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/store"
	"afina/internal/train"
)

// Why a run's context ended before the run did.
var (
	errCancelled = errors.New("the job was cancelled")
	errSlice     = errors.New("the job's slice is over")
	errShutdown  = errors.New("the server is stopping")
	errStorage   = errors.New("the job's curve cannot be stored")
	errPaused    = errors.New("the job was paused")
)

// errGone ends a change of a job that is no longer this run's.
var errGone = errors.New("the job is not running any more")

// run is a job while a worker has it.
type run struct {
	q      *Queue
	job    Job // as it was claimed
	ctx    context.Context
	cancel context.CancelCauseFunc
	due    atomic.Bool // the slice's time is over

	mu         sync.Mutex
	progress   Progress
	pending    []store.Point // not yet stored
	checkpoint bool          // a new one was saved since the last write
	broken     error         // why the curve could not be stored

	writing sync.Mutex // one write at a time, so that points do not overtake
}

// work claims the next job and runs it for a slice. again says that the job
// goes on later.
func (q *Queue) work() (again bool, err error) {
	if q.alive.Err() != nil {
		return true, nil
	}
	r, found, err := q.claim()
	if err != nil || !found {
		return false, err
	}
	defer func() {
		q.mu.Lock()
		delete(q.runs, r.job.ID)
		q.mu.Unlock()
		r.cancel(nil)
	}()
	q.tell(Event{Job: r.job})
	o := r.execute()
	return r.finish(o)
}

// claim takes the oldest job of the queue: a job whose slice is over is older
// than those that wait, and goes on first.
func (q *Queue) claim() (*run, bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	row, found, err := q.store.ClaimJob(ctx, string(Queued), func(row *store.Job) error {
		row.State = string(Running)
		if row.Started == nil {
			row.Started, row.News = now(), "The job started"
		}
		return nil
	})
	if err != nil || !found {
		return nil, false, err
	}
	job, err := asJob(row, nil)
	if err != nil {
		return nil, false, err
	}
	r := &run{q: q, job: job, progress: job.Progress}
	r.ctx, r.cancel = context.WithCancelCause(q.alive)
	q.runs[job.ID] = r
	return r, true, nil
}

// execute runs the job until it is done, fails, or its context ends.
func (r *run) execute() outcome {
	slice := time.AfterFunc(r.q.options.Slice, func() { r.due.Store(true) })
	defer slice.Stop()
	return r.judge(r.call())
}

// call calls the runner. A panic is an error; the worker lives on.
func (r *run) call() (result finetune.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.q.log.Error("a job panicked", zap.String("job", r.job.ID), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = &panicked{}
		}
	}()
	dir := filepath.Join(r.q.options.Dir, r.job.ID)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return result, fmt.Errorf("make the folder of checkpoints: %w", err)
	}
	return r.q.runner.Run(r.ctx, r.job.Spec, dir, r.job.ID, r.observe)
}

// panicked is the error of a runner that panicked; the log has the rest.
type panicked struct{}

func (*panicked) Error() string { return "panic" }

// observe takes the news of a step, and stores it before the next step begins:
// so every step before a checkpoint is on the curve whenever the process dies.
// (The checkpoint's own step is told again when training goes on from it.) That
// costs a step one small commit, milliseconds.
func (r *run) observe(e train.Event) {
	point := ProgressOf(e)
	text, err := json.Marshal(point)
	if err != nil { // ProgressOf leaves no number that JSON lacks
		panic(fmt.Sprintf("jobs: point %+v: %v", point, err))
	}
	further := point.Step > r.job.Progress.Step // than any run before this slice
	r.mu.Lock()
	r.pending = append(r.pending, store.Point{Step: point.Step, Data: text})
	r.checkpoint = r.checkpoint || e.Checkpoint && further
	last := r.progress
	r.progress = point
	if point.EvalLoss == nil {
		r.progress.EvalLoss, r.progress.EvalAccuracy = last.EvalLoss, last.EvalAccuracy
	}
	job := r.job
	job.Progress = r.progress
	r.mu.Unlock()

	r.record()
	if further && r.due.Load() { // a slice gets further, however short it is
		r.cancel(errSlice)
	}
	r.q.tell(Event{Job: job, Point: &point})
}

// record writes what is pending. What cannot be written now is kept for the next
// time, unless the disk is to blame: then the run ends.
func (r *run) record() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := r.flush(ctx)
	if err == nil {
		return
	}
	r.q.log.Error("the curve of a job cannot be stored", zap.String("job", r.job.ID), zap.Error(err))
	if store.IsStorage(err) {
		r.mu.Lock()
		r.broken = err
		r.mu.Unlock()
		r.cancel(errStorage)
	}
}

// now is how far the run is.
func (r *run) now() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress
}

// flush stores the points that are not yet stored.
func (r *run) flush(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	points, checkpoint := r.pending, r.checkpoint
	progress, err := json.Marshal(r.progress)
	r.pending, r.checkpoint = nil, false
	r.mu.Unlock()
	if len(points) == 0 {
		return nil
	}
	if err == nil {
		_, err = r.q.store.Record(ctx, r.job.ID, progress, points, checkpoint)
	}
	if err != nil {
		r.mu.Lock()
		r.pending = append(points, r.pending...)
		r.checkpoint = r.checkpoint || checkpoint
		r.mu.Unlock()
	}
	return err
}

// outcome is what a slice came to: a state, and what goes with it.
type outcome struct {
	state   State
	result  json.RawMessage // of a job that succeeded
	report  string          // its result file
	failure Failure
}

// judge reads the runner's answer. A run that was done before it heard that it
// should stop is done.
func (r *run) judge(result finetune.Result, err error) outcome {
	if err == nil {
		text, err := json.Marshal(result)
		if err == nil {
			return outcome{state: Succeeded, result: text}
		}
		return r.failed(fmt.Errorf("the result has a number that JSON lacks: %w", err))
	}
	cause := context.Cause(r.ctx)
	if r.ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, cause)) {
		switch cause {
		case errCancelled:
			return outcome{state: Cancelled}
		case errStorage:
			r.mu.Lock()
			err = r.broken
			r.mu.Unlock()
		default:
			return outcome{state: Queued}
		}
	}
	return r.failed(err)
}

// failed logs why a job failed, whole, and keeps what its caller may see.
func (r *run) failed(err error) outcome {
	f := explain(err)
	r.q.log.Error("a job failed", zap.String("job", r.job.ID), zap.String("code", f.Code), zap.Error(err))
	return outcome{state: Failed, failure: f}
}

// explain is err as its caller may see it.
func explain(err error) Failure {
	var diverged *train.Diverged
	var f *fault.Error
	switch {
	case errors.As(err, &diverged):
		return Failure{Code: "diverged", Message: diverged.Error(), Step: diverged.Step}
	case store.IsStorage(err):
		return Failure{Code: "storage_error", Message: "the disk that holds the data folder is full or failing; the last checkpoint is kept"}
	case errors.As(err, &f) && f.Kind != fault.Internal:
		code := f.Code
		if code == "" {
			code = string(f.Kind)
		}
		return Failure{Code: code, Message: f.Message}
	}
	return Failure{Code: "internal", Message: "internal error; the server's log says more"}
}

// finish stores the rest of the curve and the new state. It tries again while
// the disk fails: the outcome of a run is not to be lost.
func (r *run) finish(o outcome) (again bool, err error) {
	var job Job
	err = r.q.insist(func(ctx context.Context) error {
		if err := r.flush(ctx); err != nil {
			return err
		}
		if o.state == Succeeded {
			if o.report, err = r.q.report(ctx, r.job.ID); err != nil {
				return err
			}
		}
		job, err = asJob(r.q.store.ChangeJob(ctx, r.job.ID, o.apply))
		return err
	})
	if errors.Is(err, errGone) {
		return false, nil
	}
	if err != nil {
		r.q.log.Error("the outcome of a job could not be stored; it is found when the server starts again",
			zap.String("job", r.job.ID), zap.String("state", string(o.state)), zap.Error(err))
		return false, nil
	}
	again = job.Status == Queued
	if !again || r.q.alive.Err() != nil { // a change of slices is nobody's concern
		r.q.tell(Event{Job: job})
	}
	return again, nil
}

// apply writes the outcome into a job.
func (o outcome) apply(row *store.Job) error {
	if State(row.State) != Running {
		return errGone
	}
	state := o.state
	if state == Queued && row.Cancel {
		state = Cancelled
	}
	switch {
	case state == Queued && row.Paused:
		row.News = "The job was paused"
	case state == Cancelled:
		row.News = "The job was cancelled"
	case state == Succeeded:
		row.News, row.Report = "The job has completed", o.report
	case state == Failed:
		row.News = "The job failed: " + o.failure.Message
	}
	row.State = string(state)
	row.Error, row.ErrorCode, row.ErrorStep = o.failure.Message, o.failure.Code, o.failure.Step
	if state.Over() {
		row.Finished, row.Attempts = now(), 0
	}
	row.Result = o.result
	return nil
}

// insist calls do until it succeeds: for as long as the disk fails and the
// queue runs, else a few times.
func (q *Queue) insist(do func(ctx context.Context) error) error {
	const tries = 8
	wait := 20 * time.Millisecond
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		err := do(ctx)
		cancel()
		if err == nil || errors.Is(err, errGone) || isNotFound(err) {
			return err
		}
		if try >= tries && (!store.IsStorage(err) || q.alive.Err() != nil) {
			return err
		}
		time.Sleep(wait)
		wait = min(2*wait, 2*time.Second)
	}
}

func isNotFound(err error) bool { return fault.KindOf(err) == fault.NotFound }
