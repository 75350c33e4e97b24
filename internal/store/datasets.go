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

// Dataset is a row of datasets.
type Dataset struct {
	bun.BaseModel `bun:"table:datasets"`

	Seq           int64     `bun:"seq,pk,autoincrement"` // order of creation; set by AddDataset
	ID            string    `bun:"id"`
	Name          string    `bun:"name"`
	SHA256        string    `bun:"sha256"`
	Conversations int       `bun:"conversations"`
	Bytes         int64     `bun:"bytes"`
	Created       time.Time `bun:"created"` // UTC; set by AddDataset
	// Expires is when it may be removed; nil: never. UTC, whole seconds.
	Expires *time.Time `bun:"expires"`

	Math json.RawMessage `bun:"math,type:text,nullzero"` // counts of its claims, opaque here; may be nil
}

// AddDataset stores a new row and returns it with its Seq and Created.
func (s *Store) AddDataset(ctx context.Context, d Dataset) (Dataset, error) {
	d.Seq, d.Created = 0, s.clock()
	_, err := s.db.NewInsert().Model(&d).Exec(ctx)
	return d, broken(err, "store dataset "+d.ID)
}

// Dataset returns the dataset of that id; fault.NotFound when there is none.
func (s *Store) Dataset(ctx context.Context, id string) (Dataset, error) {
	return find[Dataset](ctx, s.db, datasets, id)
}

// DatasetLike returns the oldest dataset of that name and SHA-256 that stays for
// good, if there is one.
func (s *Store) DatasetLike(ctx context.Context, name, sha256 string) (d Dataset, found bool, err error) {
	err = s.db.NewSelect().Model(&d).Where("name = ? AND sha256 = ?", name, sha256).Where("expires IS NULL").OrderExpr("seq").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return d, false, nil
	}
	return d, err == nil, broken(err, "look for a dataset")
}

// DatasetsNamed returns the datasets of that name, oldest first, at most limit.
func (s *Store) DatasetsNamed(ctx context.Context, name string, limit int) ([]Dataset, error) {
	var all []Dataset
	err := s.db.NewSelect().Model(&all).Where("name = ?", name).OrderExpr("seq").Limit(int64(limit)).Scan(ctx)
	return all, broken(err, "read datasets by name")
}

// Datasets lists datasets, newest first, after the given id ("": from the
// newest).
func (s *Store) Datasets(ctx context.Context, after string, limit int) (page []Dataset, more bool, err error) {
	return list[Dataset](ctx, s.db, datasets, cursor{after: after, limit: limit}, nil)
}

// DatasetIDs returns the id of every dataset.
func (s *Store) DatasetIDs(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.db.NewSelect().Model((*Dataset)(nil)).Column("id").Scan(ctx, &ids)
	return ids, broken(err, "list datasets")
}

// DeleteDataset removes a row, unless a job that is not over needs it: then it
// is a fault.Conflict.
func (s *Store) DeleteDataset(ctx context.Context, id string) error {
	return s.change(ctx, "delete dataset "+id, func(tx bun.Tx) error {
		job, err := using(ctx, tx, id)
		if err != nil {
			return err
		}
		if job != "" {
			return fault.New(fault.Conflict, "dataset %s is needed by %s; wait for it, or cancel it first", id, job).
				WithCode("dataset_in_use")
		}
		res, err := tx.NewDelete().Model((*Dataset)(nil)).Where("id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return datasets.none(id)
	})
}

// Using returns the id of a job that is not over and needs the dataset of that
// id, by id or by name; "" when there is none.
func (s *Store) Using(ctx context.Context, dataset string) (job string, err error) {
	job, err = using(ctx, s.db, dataset)
	return job, broken(err, "read the jobs of dataset "+dataset)
}

func using(ctx context.Context, db bun.IDB, dataset string) (job string, err error) {
	err = db.NewSelect().Model((*Job)(nil)).Column("id").
		Where(live).
		Where("?0 IN (dataset, validation) OR (SELECT name FROM datasets WHERE id = ?0) IN (dataset, validation)", dataset).
		Limit(1).Scan(ctx, &job)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return job, err
}
