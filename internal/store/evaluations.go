package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/uptrace/bun"

	"afina/internal/fault"
)

// Evaluation is a row of evaluations. Spec and Report are JSON, opaque here.
type Evaluation struct {
	bun.BaseModel `bun:"table:evaluations"`

	Seq       int64           `bun:"seq,pk,autoincrement"` // order of creation; set by AddEvaluation
	ID        string          `bun:"id"`
	State     string          `bun:"state"`
	Spec      json.RawMessage `bun:"spec,type:text"`
	Progress  float64         `bun:"progress"` // 0 … 1
	Report    json.RawMessage `bun:"report,type:text,nullzero"`
	Error     string          `bun:"error"`
	ErrorCode string          `bun:"error_code"`
	Cancel    bool            `bun:"cancel"`   // asked to stop
	Attempts  int             `bun:"attempts"` // how often the process died under it
	Created   time.Time       `bun:"created"`  // UTC; set by AddEvaluation
	Started   *time.Time      `bun:"started"`
	Finished  *time.Time      `bun:"finished"`
}

// AddEvaluation stores a new row and returns it with its Seq and Created. With
// limit evaluations queued it is fault.Busy.
func (s *Store) AddEvaluation(ctx context.Context, e Evaluation, limit int) (Evaluation, error) {
	err := s.change(ctx, "store evaluation "+e.ID, func(tx bun.Tx) error {
		queued, err := tx.NewSelect().Model((*Evaluation)(nil)).Where("state = 'queued'").Count(ctx)
		if err != nil {
			return err
		}
		if queued >= int64(limit) {
			return fault.New(fault.Busy, "%d evaluations are waiting, which is the limit; try again when some are done", queued).
				WithCode("quota_exceeded")
		}
		e.Seq, e.Created = 0, s.clock()
		_, err = tx.NewInsert().Model(&e).Exec(ctx)
		return err
	})
	return e, err
}

// Evaluation returns the evaluation of that id; fault.NotFound when there is
// none.
func (s *Store) Evaluation(ctx context.Context, id string) (Evaluation, error) {
	return find[Evaluation](ctx, s.db, evaluations, id)
}

// Evaluations lists evaluations without their reports, newest first, after the
// given id ("": from the newest).
func (s *Store) Evaluations(ctx context.Context, after string, limit int) (page []Evaluation, more bool, err error) {
	return list[Evaluation](ctx, s.db, evaluations, cursor{after: after, limit: limit}, func(q *bun.SelectQuery) { q.ExcludeColumn("report") })
}

// EvaluationsIn returns the evaluations in that state, oldest first.
func (s *Store) EvaluationsIn(ctx context.Context, state string) ([]Evaluation, error) {
	return inState[Evaluation](ctx, s.db, evaluations, state)
}

// ChangeEvaluation reads a row, lets alter change it, and writes it back, in one
// transaction. An error of alter leaves the row as it is and is returned.
func (s *Store) ChangeEvaluation(ctx context.Context, id string, alter func(e *Evaluation) error) (Evaluation, error) {
	return change(ctx, s, evaluations, id, func(tx bun.Tx, e *Evaluation) error {
		if err := alter(e); err != nil {
			return err
		}
		_, err := tx.NewUpdate().Model(e).WherePK().Exec(ctx)
		return err
	})
}

// DeleteEvaluation removes an evaluation, if may allows it.
func (s *Store) DeleteEvaluation(ctx context.Context, id string, may func(e Evaluation) error) error {
	return remove(ctx, s, evaluations, id, may)
}
