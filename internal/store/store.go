// Package store is the database: one SQLite file under the data folder, with
// the truth about datasets, jobs and their curves. Its migrations are embedded.
package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"
)

// Store is an open database. It is safe for concurrent use. One process at a
// time: the data folder is locked.
type Store struct{}

// Open opens, or makes, dir/afina.db, and brings its tables up to date. A folder
// that another process holds is a fault.Conflict that says so.
func Open(ctx context.Context, dir string) (*Store, error) { panic("sketch") }

// Close closes the database and lets go of the folder.
func (s *Store) Close() error { panic("sketch") }

// DB is the database for those that bring tables of their own (the job
// dispatcher).
func (s *Store) DB() *sql.DB { panic("sketch") }

// Dataset is a row of datasets.
type Dataset struct {
	ID, Name, SHA256 string
	Conversations    int
	Bytes            int64
	Created          time.Time
}

// Job is a row of jobs. Spec, Progress and Result are JSON, opaque here.
type Job struct {
	Seq       int64 // order of creation
	ID        string
	State     string
	Spec      json.RawMessage
	Progress  json.RawMessage
	Result    json.RawMessage
	Error     string
	ErrorCode string
	Cancel    bool   // asked to stop
	Attempts  int    // how often it was started
	Key       string // idempotency key; may be empty
	Created   time.Time
	Started   *time.Time
	Finished  *time.Time
}

// Point is one step of a job's curve, JSON in Data; a later Point of the same
// step replaces it.
type Point struct {
	Step int
	Data json.RawMessage
}
