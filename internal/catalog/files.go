package catalog

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"afina/internal/store"
)

// File is a dataset, or the result file of a job, as a file to be listed and
// read. Its id is the dataset's or the job's.
type File struct {
	ID      string
	Purpose string // store.ForTraining or store.OfResults
	Name    string
	Bytes   int64
	Created time.Time
	Expires *time.Time // nil: never
}

func asFile(f store.File) File {
	return File{ID: f.ID, Purpose: f.Purpose, Name: f.Name, Bytes: f.Bytes, Created: f.Created, Expires: f.Expires}
}

// Files lists files after the given id, newest first or, with rising, oldest
// first: of one purpose, or of all ("").
func (c *Catalog) Files(ctx context.Context, purpose, after string, limit int, rising bool) (page []File, more bool, err error) {
	rows, more, err := c.store.Files(ctx, purpose, after, limit, rising)
	if err != nil {
		return nil, false, err
	}
	page = make([]File, len(rows))
	for i, f := range rows {
		page[i] = asFile(f)
	}
	return page, more, nil
}

// File returns the file of that id.
func (c *Catalog) File(ctx context.Context, id string) (File, error) {
	f, err := c.store.File(ctx, id)
	return asFile(f), err
}

// Content is what a file holds, and its length; the caller closes it.
func (c *Catalog) Content(ctx context.Context, id string) (io.ReadCloser, int64, error) {
	f, err := c.store.File(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	if f.Purpose == store.OfResults {
		return io.NopCloser(strings.NewReader(f.Text)), f.Bytes, nil
	}
	file, err := os.Open(c.file(f.ID))
	if err != nil {
		return nil, 0, fmt.Errorf("read dataset %s: %w", f.ID, err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, 0, fmt.Errorf("read dataset %s: %w", f.ID, err)
	}
	return file, info.Size(), nil
}

// DeleteFile removes a file; a dataset that a job needs is fault.Conflict.
func (c *Catalog) DeleteFile(ctx context.Context, id string) error {
	f, err := c.store.File(ctx, id)
	if err != nil {
		return err
	}
	if f.Purpose == store.OfResults {
		return c.store.DeleteResult(ctx, id)
	}
	return c.DeleteDataset(ctx, id)
}
