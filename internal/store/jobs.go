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

// Job is a row of jobs. Spec, Progress and Result are JSON, opaque here.
type Job struct {
	bun.BaseModel `bun:"table:jobs"`

	Seq         int64           `bun:"seq,pk,autoincrement"` // order of creation; set by AddJob
	ID          string          `bun:"id"`
	State       string          `bun:"state"`
	Name        string          `bun:"name"`    // of the adapter to be made; two live jobs never share one
	Dataset     string          `bun:"dataset"` // id or name of the dataset it needs
	Spec        json.RawMessage `bun:"spec,type:text"`
	Progress    json.RawMessage `bun:"progress,type:text,nullzero"`
	Result      json.RawMessage `bun:"result,type:text,nullzero"`
	Error       string          `bun:"error"`
	ErrorCode   string          `bun:"error_code"`
	ErrorStep   int             `bun:"error_step"`
	Cancel      bool            `bun:"cancel"` // asked to stop
	Paused      bool            `bun:"paused"` // asked to wait: while queued, no worker takes it
	Metadata    json.RawMessage `bun:"metadata,type:text,nullzero"`
	Validation  string          `bun:"validation"`   // id or name of a second dataset it needs, or ""
	Attempts    int             `bun:"attempts"`     // how often the process died under it since its last checkpoint
	Key         string          `bun:"key,nullzero"` // idempotency key; may be empty
	Fingerprint string          `bun:"fingerprint"`  // of the request that came with Key
	Created     time.Time       `bun:"created"`      // UTC; set by AddJob
	Started     *time.Time      `bun:"started"`
	Finished    *time.Time      `bun:"finished"`

	// News is told of the job when the row is next written: what changed, in
	// words. Report is the text of its result file, stored with it; both may be
	// empty.
	News   string `bun:"-"`
	Report string `bun:"-"`
}

// live is the condition of a job that is not over.
const live = "state IN ('queued', 'running')"

// Point is one step of a job's curve, JSON in Data; a later Point of the same
// step replaces it.
type Point struct {
	Step int
	Data json.RawMessage
}

// row is a Point in its table.
type row struct {
	bun.BaseModel `bun:"table:points"`

	Job  int64           `bun:"job,pk"`
	Step int             `bun:"step,pk"`
	Data json.RawMessage `bun:"data,type:text"`
}

// AddJob stores a new job and returns it with its Seq and Created; fresh is
// true. When a job with the same Key is there, that one is returned instead, or
// fault.Conflict when its Fingerprint is another. With limit jobs queued it is
// fault.Busy; a Name that a live job has is fault.Conflict. also runs in the
// same transaction, when the job is new; it may be nil.
func (s *Store) AddJob(ctx context.Context, j Job, limit int, also func(tx *sql.Tx) error) (_ Job, fresh bool, err error) {
	err = s.change(ctx, "store job "+j.ID, func(tx bun.Tx) error {
		old, found, err := keyed(ctx, tx, j.Key, j.Fingerprint)
		if err != nil || found {
			j, fresh = old, false
			return err
		}
		if err := admit(ctx, tx, j, limit); err != nil {
			return err
		}
		j.Seq, j.Created, fresh = 0, s.clock(), true
		if _, err := tx.NewInsert().Model(&j).Exec(ctx); err != nil {
			return err
		}
		if err := s.news(ctx, tx, &j); err != nil {
			return err
		}
		if also == nil {
			return nil
		}
		return also(tx.Tx)
	})
	return j, fresh && err == nil, err
}

// admit refuses a job for which there is no room, or whose name is taken.
func admit(ctx context.Context, tx bun.Tx, j Job, limit int) error {
	if j.State != "queued" { // it is over before it began
		return nil
	}
	queued, err := tx.NewSelect().Model((*Job)(nil)).Where("state = 'queued'").Count(ctx)
	if err != nil {
		return err
	}
	if queued >= int64(limit) {
		return fault.New(fault.Busy, "%d jobs are waiting, which is the limit; try again when some are done", queued).
			WithCode("quota_exceeded")
	}
	if j.Name == "" {
		return nil
	}
	var other string
	err = tx.NewSelect().Model((*Job)(nil)).Column("id").Where(live).Where("name = ? COLLATE NOCASE", j.Name).Limit(1).Scan(ctx, &other)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "%s is already making an adapter called %q; choose another name", other, j.Name).
		WithCode("name_taken").WithParam("name")
}

// JobByKey returns the job that came with that idempotency key, if there is one;
// fault.Conflict when its fingerprint is another.
func (s *Store) JobByKey(ctx context.Context, key, fingerprint string) (Job, bool, error) {
	j, found, err := keyed(ctx, s.db, key, fingerprint)
	return j, found, broken(err, "read a job by its key")
}

func keyed(ctx context.Context, db bun.IDB, key, fingerprint string) (j Job, found bool, err error) {
	if key == "" {
		return j, false, nil
	}
	err = db.NewSelect().Model(&j).Where("key = ?", key).Scan(ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return j, false, nil
	case err != nil:
		return j, false, err
	case j.Fingerprint != fingerprint:
		return j, false, fault.New(fault.Conflict, "this Idempotency-Key came before with another body, for %s; use a new key", j.ID).
			WithCode("idempotency_conflict")
	}
	return j, true, nil
}

// Job returns the job of that id; fault.NotFound when there is none.
func (s *Store) Job(ctx context.Context, id string) (Job, error) {
	return find[Job](ctx, s.db, jobs, id)
}

// Jobs lists jobs, newest first, after the given id ("": from the newest): all
// of them, or those whose metadata has all of the given pairs.
func (s *Store) Jobs(ctx context.Context, after string, limit int, metadata map[string]string) (page []Job, more bool, err error) {
	return list[Job](ctx, s.db, jobs, cursor{after: after, limit: limit}, func(q *bun.SelectQuery) {
		for key, value := range metadata {
			q.Where("EXISTS (SELECT 1 FROM json_each(metadata) AS m WHERE m.key = ? AND m.value = ?)", key, value)
		}
	})
}

// JobsIn returns the jobs in that state, oldest first.
func (s *Store) JobsIn(ctx context.Context, state string) ([]Job, error) {
	return inState[Job](ctx, s.db, jobs, state)
}

// CountJobs is how many jobs are in each state, "paused" being one of them;
// states without jobs are absent.
func (s *Store) CountJobs(ctx context.Context) (map[string]int, error) {
	var rows []struct {
		State string
		N     int
	}
	err := s.db.NewSelect().Model((*Job)(nil)).
		ColumnExpr("CASE WHEN state = 'queued' AND paused THEN 'paused' ELSE state END AS state").
		ColumnExpr("count(*) AS n").GroupExpr("1").Scan(ctx, &rows)
	counts := make(map[string]int, len(rows))
	for _, r := range rows {
		counts[r.State] = r.N
	}
	return counts, broken(err, "count jobs")
}

// ChangeJob reads a job, lets alter change it, and writes it back, in one
// transaction. An error of alter leaves the job as it is and is returned. A
// move between states that is not legal is an error.
func (s *Store) ChangeJob(ctx context.Context, id string, alter func(j *Job) error) (Job, error) {
	return change(ctx, s, jobs, id, func(tx bun.Tx, j *Job) error { return s.alter(ctx, tx, j, alter) })
}

// ClaimJob is ChangeJob on the oldest job in the given state that is not paused.
// found is false when there is none.
func (s *Store) ClaimJob(ctx context.Context, state string, change func(j *Job) error) (j Job, found bool, err error) {
	err = s.change(ctx, "claim a job", func(tx bun.Tx) error {
		err := tx.NewSelect().Model(&j).Where("state = ?", state).Where("NOT paused").OrderExpr("seq").Limit(1).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			found = false
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		return s.alter(ctx, tx, &j, change)
	})
	return j, found && err == nil, err
}

func (s *Store) alter(ctx context.Context, tx bun.Tx, j *Job, change func(j *Job) error) error {
	if err := change(j); err != nil {
		return err
	}
	if _, err := tx.NewUpdate().Model(j).WherePK().Exec(ctx); err != nil {
		return err
	}
	if err := s.news(ctx, tx, j); err != nil || j.Report == "" {
		return err
	}
	return s.report(ctx, tx, j)
}

// DeleteJob removes a job and its curve, if may allows it.
func (s *Store) DeleteJob(ctx context.Context, id string, may func(j Job) error) error {
	return remove(ctx, s, jobs, id, may)
}

// Record stores points of a running job's curve and its progress. With
// checkpoint the job has shown that it gets on: its Attempts begin anew. It
// reports whether the job was running; when not, nothing is stored.
func (s *Store) Record(ctx context.Context, id string, progress json.RawMessage, points []Point, checkpoint bool) (running bool, err error) {
	err = s.change(ctx, "store the curve of "+id, func(tx bun.Tx) error {
		q := tx.NewUpdate().Model((*Job)(nil)).Set("progress = ?", string(progress)).
			Where("id = ?", id).Where("state = 'running'").Returning("seq")
		if checkpoint {
			q = q.Set("attempts = 0")
		}
		var seq int64
		err := q.Scan(ctx, &seq)
		running = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil || len(points) == 0 {
			return err
		}
		rows := make([]row, len(points))
		for i, p := range points {
			rows[i] = row{Job: seq, Step: p.Step, Data: p.Data}
		}
		_, err = tx.NewInsert().Model(&rows).On("CONFLICT (job, step) DO UPDATE").Set("data = EXCLUDED.data").Exec(ctx)
		if err != nil {
			return err
		}
		return s.steps(ctx, tx, seq, points)
	})
	return running && err == nil, err
}

// Points returns the curve of a job, by step.
func (s *Store) Points(ctx context.Context, id string) ([]Point, error) {
	j, err := s.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	var rows []row
	err = s.db.NewSelect().Model(&rows).Where("job = ?", j.Seq).OrderExpr("step").Scan(ctx)
	points := make([]Point, len(rows))
	for i, r := range rows {
		points[i] = Point{Step: r.Step, Data: r.Data}
	}
	return points, broken(err, "read the curve of "+id)
}
