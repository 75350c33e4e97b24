package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// The purposes of files.
const (
	ForTraining = "fine-tune"         // a dataset, under the dataset's id
	OfResults   = "fine-tune-results" // the curve of a job, under the job's id
)

// File is a dataset, or the result file of a job, in one sequence.
type File struct {
	bun.BaseModel `bun:"table:files"`

	Seq     int64      `bun:"seq,pk,autoincrement"`
	ID      string     `bun:"id"`
	Purpose string     `bun:"purpose"`
	Name    string     `bun:"name"`
	Bytes   int64      `bun:"bytes"`
	Text    string     `bun:"text,nullzero"` // of a result; a dataset's text is on disk
	Created time.Time  `bun:"created"`       // UTC
	Expires *time.Time `bun:"expires"`
}

// report stores the result file of a job that has succeeded.
func (s *Store) report(ctx context.Context, tx bun.Tx, j *Job) error {
	_, err := tx.NewInsert().Model(&File{
		ID: j.ID, Purpose: OfResults, Name: j.Name + "_step_metrics.csv",
		Bytes: int64(len(j.Report)), Text: j.Report, Created: s.clock(),
	}).Exec(ctx)
	return err
}

// Files lists files after the given id, newest first or, with rising, oldest
// first: of one purpose, or of all ("").
func (s *Store) Files(ctx context.Context, purpose, after string, limit int, rising bool) (page []File, more bool, err error) {
	return list[File](ctx, s.db, files, cursor{after, limit, rising}, func(q *bun.SelectQuery) {
		if q.ExcludeColumn("text"); purpose != "" {
			q.Where("purpose = ?", purpose)
		}
	})
}

// File returns the file of that id; fault.NotFound when there is none.
func (s *Store) File(ctx context.Context, id string) (File, error) {
	return find[File](ctx, s.db, files, id)
}

// DeleteResult removes the result file of a job.
func (s *Store) DeleteResult(ctx context.Context, id string) error {
	_, err := s.db.NewDelete().Model((*File)(nil)).Where("id = ? AND purpose = ?", id, OfResults).Exec(ctx)
	return broken(err, "delete file "+id)
}

// Expired returns the ids of the datasets whose time is over.
func (s *Store) Expired(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.db.NewSelect().Model((*Dataset)(nil)).Column("id").Where("expires <= ?", s.clock()).Scan(ctx, &ids)
	return ids, broken(err, "look for expired datasets")
}
