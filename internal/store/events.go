package store

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"database/sql"

	"github.com/uptrace/bun"

	"afina/internal/fault"
)

// Event is something that happened to a job: a change of its state, in words, or
// the numbers of a step.
type Event struct {
	bun.BaseModel `bun:"table:events"`

	Seq     int64           `bun:"seq,pk,autoincrement"`
	Job     int64           `bun:"job"`
	Step    *int            `bun:"step"`
	Level   string          `bun:"level"` // "info", "warn" or "error"
	Message string          `bun:"message"`
	Data    json.RawMessage `bun:"data,type:text,nullzero"` // of a step: its Point's
	Created time.Time       `bun:"created"`                 // UTC
}

// news stores what is to be told of a change to j.
func (s *Store) news(ctx context.Context, tx bun.Tx, j *Job) error {
	if j.News == "" {
		return nil
	}
	level := "info"
	if j.State == "failed" {
		level = "error"
	}
	_, err := tx.NewInsert().Model(&Event{Job: j.Seq, Level: level, Message: j.News, Created: s.clock()}).Exec(ctx)
	return err
}

// steps stores the numbers of steps as events. A step told again, by a run that
// goes on from a checkpoint, keeps its first place.
func (s *Store) steps(ctx context.Context, tx bun.Tx, job int64, points []Point) error {
	rows := make([]Event, len(points))
	for i, p := range points {
		rows[i] = Event{Job: job, Step: &p.Step, Level: "info", Data: p.Data, Created: s.clock()}
	}
	_, err := tx.NewInsert().Model(&rows).On("CONFLICT (job, step) WHERE step IS NOT NULL DO UPDATE").Set("data = EXCLUDED.data").Exec(ctx)
	return err
}

// Events lists what happened to a job, newest first, after the event of that
// number ("": from the newest).
func (s *Store) Events(ctx context.Context, id, after string, limit int) (page []Event, more bool, err error) {
	j, err := s.Job(ctx, id)
	if err != nil {
		return nil, false, err
	}
	q := s.db.NewSelect().Model(&page).Where("job = ?", j.Seq).OrderExpr("seq DESC").Limit(int64(limit) + 1)
	if after != "" {
		seq, err := s.eventSeq(ctx, j.Seq, after)
		if err != nil {
			return nil, false, err
		}
		q = q.Where("seq < ?", seq)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, false, broken(err, "list the events of "+id)
	}
	return page[:min(len(page), limit)], len(page) > limit, nil
}

// eventSeq checks a cursor: it must be an event of the job.
func (s *Store) eventSeq(ctx context.Context, job int64, after string) (seq int64, err error) {
	n, err := strconv.ParseInt(after, 10, 64)
	if err == nil {
		err = s.db.NewSelect().Model((*Event)(nil)).Column("seq").Where("job = ? AND seq = ?", job, n).Scan(ctx, &seq)
	} else {
		err = sql.ErrNoRows
	}
	if errors.Is(err, sql.ErrNoRows) {
		return 0, strangeCursor(after)
	}
	return seq, broken(err, "read cursor "+after)
}

func strangeCursor(after string) error {
	return fault.New(fault.Invalid, "after names %.100q, which is not in the list; leave it out to begin with the newest", after).
		WithParam("after").WithCode("invalid_value")
}
