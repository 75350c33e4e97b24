// Package store is the database: one SQLite file under the data folder, with
// the truth about datasets, jobs and their curves. Its migrations are embedded.
//
// Every change is one transaction that is on disk when the call returns. Lists
// are ordered by sequence, never by clock. The states of a job and the moves
// between them are guarded by the database itself (migrations/00001_init.sql).
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"afina/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// connections is how many may be open at once: a writer and some readers.
const connections = 4

// Store is an open database. It is safe for concurrent use. One process at a
// time: the data folder is locked.
type Store struct {
	db    *bun.DB
	now   func() time.Time
	close func() error // once
}

// Open opens, or makes, dir/afina.db, and brings its tables up to date. A folder
// that another process holds, and goes on holding, is a fault.Conflict that says
// so.
func Open(ctx context.Context, dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, broken(err, "make the data folder")
	}
	lock, err := hold(ctx, dir)
	if err != nil {
		return nil, err
	}
	db, err := connect(ctx, filepath.Join(dir, "afina.db"))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	end := sync.OnceValue(func() error { return errors.Join(db.Close(), lock.Close()) })
	return &Store{db: db, now: time.Now, close: end}, nil
}

// patience is how long Open waits for the folder: a killed process holds it until
// the kernel has taken its memory apart.
const patience = 2 * time.Second

// hold takes the lock of the data folder. The kernel lets go of it when the
// process ends, however it ends.
func hold(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "afina.lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, broken(err, "open the lock of the data folder")
	}
	for began := time.Now(); ; {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || ctx.Err() != nil || time.Since(began) > patience {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fault.New(fault.Conflict,
			"the data folder %s is in use by another afina process; stop it, or choose another folder with --data", dir).
			WithCode("data_folder_in_use")
	}
	return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
}

// connect opens the database file and applies the migrations it lacks.
func connect(ctx context.Context, path string) (*bun.DB, error) {
	// WAL lets readers go on beside the writer; FULL makes a commit outlive a
	// power cut; "immediate" takes the write lock at BEGIN, where waiting for it
	// cannot end in a deadlock (https://www.sqlite.org/wal.html).
	q := url.Values{"_txlock": {"immediate"}, "_timezone": {"UTC"}, "_pragma": {
		"busy_timeout(15000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"}}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	pool, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	if err := migrate(ctx, pool); err != nil {
		return nil, errors.Join(broken(err, "open "+path), pool.Close())
	}
	return bun.NewDB(pool, texts{sqlitedialect.New()}), nil
}

// texts is the dialect for texts that callers made up: bun writes values into
// statements, where SQLite stops reading at a NUL.
type texts struct{ *sqlitedialect.Dialect }

// AppendString writes a text as a literal, one with a NUL by its bytes.
func (d texts) AppendString(b []byte, s string) []byte {
	if strings.IndexByte(s, 0) < 0 {
		return d.Dialect.AppendString(b, s)
	}
	return fmt.Appendf(b, "CAST(x'%x' AS TEXT)", s)
}

func migrate(ctx context.Context, pool *sql.DB) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, pool, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// Close closes the database and lets go of the folder.
func (s *Store) Close() error { return s.close() }

// DB is the database for those that bring tables of their own (the job
// dispatcher).
func (s *Store) DB() *sql.DB { return s.db.DB }

// Tx runs do in one transaction that holds the write lock from its start.
func (s *Store) Tx(ctx context.Context, do func(tx *sql.Tx) error) error {
	return s.change(ctx, "change the database", func(tx bun.Tx) error { return do(tx.Tx) })
}

// change runs do in a transaction; what says for the operator what was tried.
func (s *Store) change(ctx context.Context, what string, do func(tx bun.Tx) error) error {
	err := s.db.RunInTx(ctx, nil, func(_ context.Context, tx bun.Tx) error { return do(tx) })
	return broken(err, what)
}

// clock is the time as it is stored: UTC, microseconds.
func (s *Store) clock() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// broken wraps an error of the database or disk. A fault passes as it is; a full
// disk becomes one.
func broken(err error, what string) error {
	var f *fault.Error
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case full(err):
		return fault.New(fault.NoSpace, "the disk that holds the data folder is full; free some space and try again (%w)", err).
			WithCode("storage_full")
	}
	return fmt.Errorf("%s: %w", what, err)
}

func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || code(err) == sqlite3.SQLITE_FULL
}

// code is the primary result code of a SQLite error, 0 for any other.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// IsStorage reports whether err says that the disk or the database is at fault:
// full, read-only, failing. It knows the errors of files as well as those of
// this room.
func IsStorage(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CORRUPT,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB:
		return true
	}
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
