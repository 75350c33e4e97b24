package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
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
	e, err := findEvaluation(ctx, s.db, id)
	return e, broken(err, "read evaluation "+id)
}

func findEvaluation(ctx context.Context, db bun.IDB, id string) (e Evaluation, err error) {
	err = db.NewSelect().Model(&e).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return e, fault.New(fault.NotFound, "there is no evaluation %q", id).WithCode("evaluation_not_found")
	}
	return e, err
}

// Evaluations lists evaluations without their reports, newest first, after the
// given id ("": from the newest).
func (s *Store) Evaluations(ctx context.Context, after string, limit int) (page []Evaluation, more bool, err error) {
	q := s.db.NewSelect().Model(&page).ExcludeColumn("report").OrderExpr("seq DESC").Limit(int64(limit) + 1)
	if q, err = s.from(ctx, q, "evaluations", after); err != nil {
		return nil, false, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, false, broken(err, "list evaluations")
	}
	return page[:min(len(page), limit)], len(page) > limit, nil
}

// EvaluationsIn returns the evaluations in that state, oldest first.
func (s *Store) EvaluationsIn(ctx context.Context, state string) ([]Evaluation, error) {
	var all []Evaluation
	err := s.db.NewSelect().Model(&all).Where("state = ?", state).OrderExpr("seq").Scan(ctx)
	return all, broken(err, "list evaluations by state")
}

// ChangeEvaluation reads a row, lets change alter it, and writes it back, in one
// transaction. An error of change leaves the row as it is and is returned.
func (s *Store) ChangeEvaluation(ctx context.Context, id string, change func(e *Evaluation) error) (Evaluation, error) {
	var e Evaluation
	err := s.change(ctx, "change evaluation "+id, func(tx bun.Tx) (err error) {
		if e, err = findEvaluation(ctx, tx, id); err != nil {
			return err
		}
		if err := change(&e); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model(&e).WherePK().Exec(ctx)
		return err
	})
	return e, err
}
