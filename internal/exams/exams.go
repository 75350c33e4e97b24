// Package exams keeps evaluations: a queue on disk and the worker that marks one
// after the other, beside the training jobs.
//
//	queued → running → succeeded | failed | cancelled
//
// The states are those of package jobs. An evaluation found running at start-up
// was cut off: it goes back to queued and begins anew, unless the process has
// died under it too often.
package exams

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/evaluate"
	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/store"
)

// Spec says what to mark. It is also the body of POST /evaluations: start from
// Defaults and decode over it.
type Spec struct {
	Model     string  `json:"model" validate:"required,max=200"`
	Dataset   string  `json:"dataset" validate:"required,max=200"`
	Questions int     `json:"questions" validate:"min=-1,max=1000000"` // held-out questions to answer; -1: all
	Samples   int     `json:"samples" validate:"min=0,max=1000000"`    // answered questions in the report
	Verify    int     `json:"verify" validate:"min=0,max=16"`          // candidates of the verified answers; 0: none
	TestSplit float64 `json:"test_split" validate:"gte=0,lte=0.9"`
	Seed      int64   `json:"seed" validate:"gte=0"`
	MaxLength int     `json:"max_length" validate:"min=8,max=131072"`
	MaxTokens int     `json:"max_tokens" validate:"min=1,max=131072"` // of an answer
}

// Defaults are the settings used where the caller says nothing: the split is that
// of training.
func Defaults(train finetune.Spec) Spec {
	return Spec{Questions: 100, Samples: 5, TestSplit: train.TestSplit, Seed: train.Seed, MaxLength: train.MaxLength, MaxTokens: 256}
}

// Evaluation is one request to mark.
type Evaluation struct {
	ID       string           `json:"id"`     // eval_…
	Object   string           `json:"object"` // "evaluation"
	Status   jobs.State       `json:"status"`
	Spec     Spec             `json:"spec"`
	Progress float64          `json:"progress"` // 0 … 1
	Report   *evaluate.Report `json:"report"`   // null before it has succeeded, and in lists
	Error    *jobs.Failure    `json:"error"`
	Created  time.Time        `json:"created_at"`
	Started  *time.Time       `json:"started_at"`
	Finished *time.Time       `json:"finished_at"`
}

// Location is its address.
func (e Evaluation) Location() string { return "/evaluations/" + e.ID }

// Marker does the work; *evaluate.Evaluator does.
type Marker interface {
	Run(ctx context.Context, s evaluate.Spec, progress func(done float64)) (evaluate.Report, error)
}

// Shelf is what the queue asks of the catalog; *catalog.Catalog is one.
type Shelf interface {
	Resolve(name string) (*model.Model, *lora.Adapter, error)
	Dataset(ctx context.Context, id string) (catalog.Dataset, error)
	Conversations(ctx context.Context, id string) ([]chat.Conversation, error)
}

// Queue is the evaluations and their worker.
type Queue struct {
	store     *store.Store
	shelf     Shelf
	marker    Marker
	precision kernel.Precision
	log       *zap.Logger
	wake      chan struct{}

	mu     sync.Mutex
	id     string // of the evaluation that is running; "": none
	done   float64
	cancel context.CancelCauseFunc
}

// The bounds of the queue.
const (
	mostQueued   = 100
	mostAttempts = 3
)

// New returns the queue kept in s. Evaluations that a killed process left running
// are put back.
func New(s *store.Store, shelf Shelf, m Marker, p kernel.Precision, log *zap.Logger) (*Queue, error) {
	q := &Queue{store: s, shelf: shelf, marker: m, precision: p, log: log, wake: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rows, err := s.EvaluationsIn(ctx, string(jobs.Running))
	for _, row := range rows {
		if err == nil {
			_, err = s.ChangeEvaluation(ctx, row.ID, crashed)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("take up the evaluations of the last run: %w", err)
	}
	return q, nil
}

// crashed is what becomes of an evaluation that the process died under.
func crashed(row *store.Evaluation) error {
	row.Attempts++
	row.State, row.Progress = string(jobs.Queued), 0
	switch {
	case row.Cancel:
		row.State, row.Finished = string(jobs.Cancelled), now()
	case row.Attempts >= mostAttempts:
		row.State, row.Finished, row.ErrorCode = string(jobs.Failed), now(), "crashed"
		row.Error = fmt.Sprintf("the server stopped %d times while this evaluation ran; it may need more memory than there is", row.Attempts)
	}
	return nil
}

// now is the time as it is stored.
func now() *time.Time {
	t := time.Now().UTC().Truncate(time.Microsecond)
	return &t
}

// evaluation is what the evaluator is asked.
func (q *Queue) evaluation(s Spec, all []chat.Conversation) evaluate.Spec {
	return evaluate.Spec{
		Model: s.Model, Conversations: all, Questions: s.Questions, Samples: s.Samples, Verify: s.Verify,
		TestSplit: s.TestSplit, Seed: s.Seed, MaxLength: s.MaxLength, MaxTokens: s.MaxTokens, Precision: q.precision,
	}
}

// Submit checks and stores a new evaluation and wakes the worker.
func (q *Queue) Submit(ctx context.Context, s Spec) (Evaluation, error) {
	if err := q.evaluation(s, nil).Check(); err != nil {
		return Evaluation{}, err
	}
	if _, _, err := q.shelf.Resolve(s.Model); err != nil {
		return Evaluation{}, err
	}
	set, err := q.shelf.Dataset(ctx, s.Dataset)
	if err != nil {
		return Evaluation{}, err
	}
	s.Dataset = set.ID
	spec, err := json.Marshal(s)
	if err != nil {
		return Evaluation{}, fmt.Errorf("store an evaluation: %w", err)
	}
	id := "eval_" + strings.ToLower(rand.Text()[:16])
	e, err := read(q.store.AddEvaluation(ctx, store.Evaluation{ID: id, State: string(jobs.Queued), Spec: spec}, mostQueued))
	if err == nil {
		select {
		case q.wake <- struct{}{}:
		default: // it is awake
		}
	}
	return e, err
}

// read is a row as the world sees it.
func read(row store.Evaluation, err error) (Evaluation, error) {
	if err != nil {
		return Evaluation{}, err
	}
	e := Evaluation{
		ID: row.ID, Object: "evaluation", Status: jobs.State(row.State), Progress: row.Progress,
		Created: row.Created, Started: row.Started, Finished: row.Finished,
	}
	if row.ErrorCode != "" {
		e.Error = &jobs.Failure{Code: row.ErrorCode, Message: row.Error}
	}
	if err := json.Unmarshal(row.Spec, &e.Spec); err != nil {
		return Evaluation{}, fmt.Errorf("read evaluation %s: %w", row.ID, err)
	}
	if len(row.Report) > 0 {
		if err := json.Unmarshal(row.Report, &e.Report); err != nil {
			return Evaluation{}, fmt.Errorf("read evaluation %s: %w", row.ID, err)
		}
	}
	return e, nil
}

// Find returns an evaluation as it stands.
func (q *Queue) Find(ctx context.Context, id string) (Evaluation, error) {
	e, err := read(q.store.Evaluation(ctx, id))
	return q.fresh(e), err
}

// fresh puts the progress in memory into a running evaluation.
func (q *Queue) fresh(e Evaluation) Evaluation {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.ID == q.id && e.Status == jobs.Running {
		e.Progress = q.done
	}
	return e
}

// List returns evaluations without their reports, newest first, after the given
// id.
func (q *Queue) List(ctx context.Context, after string, limit int) (page []Evaluation, more bool, err error) {
	rows, more, err := q.store.Evaluations(ctx, after, limit)
	if err != nil {
		return nil, false, err
	}
	for _, row := range rows {
		e, err := read(row, nil)
		if err != nil {
			return nil, false, err
		}
		page = append(page, q.fresh(e))
	}
	return page, more, nil
}

// Cancel asks an evaluation to stop. One that is over is fault.Conflict.
func (q *Queue) Cancel(ctx context.Context, id string) (Evaluation, error) {
	e, err := read(q.store.ChangeEvaluation(ctx, id, func(row *store.Evaluation) error {
		switch state := jobs.State(row.State); {
		case state.Over():
			return fault.New(fault.Conflict, "%s is %s already", id, state).WithCode("already_finished")
		case state == jobs.Queued:
			row.State, row.Finished = string(jobs.Cancelled), now()
		}
		row.Cancel = true
		return nil
	}))
	if err != nil {
		return Evaluation{}, err
	}
	q.mu.Lock()
	if q.id == id {
		q.cancel(errCancelled)
	}
	q.mu.Unlock()
	return q.fresh(e), nil
}

// Delete removes an evaluation and its report. One that is not over is
// fault.Conflict.
func (q *Queue) Delete(ctx context.Context, id string) error {
	return q.store.DeleteEvaluation(ctx, id, func(row store.Evaluation) error {
		if state := jobs.State(row.State); !state.Over() {
			return fault.New(fault.Conflict, "%s is %s; cancel it first", id, state).WithCode("evaluation_not_finished")
		}
		return nil
	})
}
