package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"

	"afina/internal/fault"
)

// kind is a table whose rows have an id of their own and a seq, the order in
// which they came.
type kind struct{ table, word, code string }

var (
	datasets    = kind{"datasets", "dataset", "dataset_not_found"}
	jobs        = kind{"jobs", "job", "job_not_found"}
	evaluations = kind{"evaluations", "evaluation", "evaluation_not_found"}
	files       = kind{"files", "file", "file_not_found"}
)

// none says that there is no row of that id.
func (k kind) none(id string) *fault.Error {
	return fault.New(fault.NotFound, "there is no %s %q", k.word, id).WithCode(k.code)
}

// find returns the row of that id; fault.NotFound when there is none.
func find[T any](ctx context.Context, db bun.IDB, k kind, id string) (row T, err error) {
	err = db.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return row, k.none(id)
	}
	return row, broken(err, "read "+k.word+" "+id)
}

// cursor is where a page of a list begins: after the row of that id ("": from
// the newest, or with rising from the oldest), and how long it may be.
type cursor struct {
	after  string
	limit  int
	rising bool
}

// list returns a page of the rows that narrow lets through; nil lets all. An id
// to begin after that no row has is fault.Invalid.
func list[T any](ctx context.Context, db bun.IDB, k kind, at cursor, narrow func(q *bun.SelectQuery)) (page []T, more bool, err error) {
	order, beyond := "seq DESC", "seq < ?"
	if at.rising {
		order, beyond = "seq", "seq > ?"
	}
	q := db.NewSelect().Model(&page).OrderExpr(order).Limit(int64(at.limit) + 1)
	if narrow != nil {
		narrow(q)
	}
	if at.after != "" {
		var seq int64
		err := db.NewSelect().Table(k.table).Column("seq").Where("id = ?", at.after).Scan(ctx, &seq)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, false, strangeCursor(at.after)
		}
		if err != nil {
			return nil, false, broken(err, "read cursor "+at.after)
		}
		q.Where(beyond, seq)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, false, broken(err, "list "+k.table)
	}
	return page[:min(len(page), at.limit)], len(page) > at.limit, nil
}

// inState returns the rows in that state, oldest first.
func inState[T any](ctx context.Context, db bun.IDB, k kind, state string) (all []T, err error) {
	err = db.NewSelect().Model(&all).Where("state = ?", state).OrderExpr("seq").Scan(ctx)
	return all, broken(err, "list "+k.table+" by state")
}

// change reads a row, lets alter change and write it, in one transaction. An
// error of alter leaves the row as it is and is returned.
func change[T any](ctx context.Context, s *Store, k kind, id string, alter func(tx bun.Tx, row *T) error) (row T, err error) {
	err = s.change(ctx, "change "+k.word+" "+id, func(tx bun.Tx) (err error) {
		if row, err = find[T](ctx, tx, k, id); err != nil {
			return err
		}
		return alter(tx, &row)
	})
	return row, err
}

// remove deletes a row, and what goes with it, if may allows it.
func remove[T any](ctx context.Context, s *Store, k kind, id string, may func(row T) error) error {
	return s.change(ctx, "delete "+k.word+" "+id, func(tx bun.Tx) error {
		row, err := find[T](ctx, tx, k, id)
		if err != nil {
			return err
		}
		if err := may(row); err != nil {
			return err
		}
		_, err = tx.NewDelete().Model(&row).WherePK().Exec(ctx)
		return err
	})
}
