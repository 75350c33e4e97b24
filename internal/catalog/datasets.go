package catalog

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/lint"
	"afina/internal/store"
)

// Dataset describes a stored dataset.
type Dataset struct {
	ID            string    `json:"id"` // ds_…
	Name          string    `json:"name"`
	Conversations int       `json:"conversations"`
	Bytes         int64     `json:"bytes"`
	SHA256        string    `json:"sha256"`
	Created       time.Time `json:"created_at"`

	// Math counts the claims of mathematics in its answers; nil for datasets that
	// were stored before they were counted.
	Math *lint.Counts `json:"math"`
}

func fromRow(d store.Dataset) Dataset {
	return Dataset{ID: d.ID, Name: d.Name, Conversations: d.Conversations, Bytes: d.Bytes, SHA256: d.SHA256, Created: d.Created, Math: mathOf(d)}
}

var jobName = regexp.MustCompile(`^job_[a-z0-9]{16}$`)

var datasetID = regexp.MustCompile(`^ds_[a-z0-9]{16}$`)

// AddDataset checks and stores the dataset that r holds. Nothing is left behind
// when it fails. What is kept is what r held, byte for byte. The same bytes
// under the same name are the dataset that is there already.
func (c *Catalog) AddDataset(ctx context.Context, name string, r io.Reader) (Dataset, error) {
	return c.add(ctx, name, r, 0, false)
}

// AddExpiring is AddDataset for a dataset that may be removed after a time (see
// Sweep); 0 means never.
func (c *Catalog) AddExpiring(ctx context.Context, name string, r io.Reader, after time.Duration) (Dataset, error) {
	return c.add(ctx, name, r, after, false)
}

// AddStrict is AddDataset for those who want no wrong mathematics: a dataset with
// a claim that is false, or a formula that cannot be read, is
// fault.Unprocessable, its Details the []data.Problem.
func (c *Catalog) AddStrict(ctx context.Context, name string, r io.Reader) (Dataset, error) {
	return c.add(ctx, name, r, 0, true)
}

func (c *Catalog) add(ctx context.Context, name string, r io.Reader, after time.Duration, strict bool) (Dataset, error) {
	if c.store == nil {
		return Dataset{}, errors.New("add a dataset: the catalog was opened without a store")
	}
	row := store.Dataset{ID: "ds_" + random(16), Name: label(name)}
	temp := filepath.Join(c.datasets(), unfinished+random(16))
	defer os.Remove(temp)
	if err := c.receive(ctx, r, temp, &row, strict); err != nil {
		return Dataset{}, err
	}
	if after > 0 {
		end := time.Now().UTC().Truncate(time.Second).Add(after)
		row.Expires = &end
	} else if d, found, err := c.store.DatasetLike(ctx, row.Name, row.SHA256); err != nil || found {
		return fromRow(d), err
	}
	if err := os.Rename(temp, c.file(row.ID)); err != nil {
		return Dataset{}, onDisk(err, "store a dataset")
	}
	err := syncPath(c.datasets())
	if err == nil {
		row, err = c.store.AddDataset(ctx, row)
	}
	if err != nil {
		return Dataset{}, onDisk(errors.Join(err, os.Remove(c.file(row.ID))), "store a dataset")
	}
	return fromRow(row), nil
}

func (c *Catalog) file(id string) string { return filepath.Join(c.datasets(), id+".jsonl") }

// receive streams r through the checks into the file temp, and fills in what
// it counts on the way.
func (c *Catalog) receive(ctx context.Context, r io.Reader, temp string, row *store.Dataset, strict bool) error {
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return onDisk(err, "store a dataset")
	}
	defer f.Close()
	sum, out := sha256.New(), bufio.NewWriterSize(f, 1<<16)
	kept := io.MultiWriter(sum, out)
	source := &counted{ctx: ctx, r: io.TeeReader(r, kept)}
	var claims lint.Linter
	err = data.Read(source, c.options.Limits, func(conv chat.Conversation) error {
		row.Conversations++
		return claims.Take(ctx, conv)
	})
	if err == nil && source.err == nil { // what follows the last conversation
		_, err = io.Copy(io.Discard, source)
	}
	switch {
	case source.err != nil: // the reader's fault, not the content's
		return fmt.Errorf("read the dataset: %w", source.err)
	case err != nil:
		return onDisk(err, "store a dataset")
	}
	if err := errors.Join(out.Flush(), f.Sync(), f.Close()); err != nil {
		return onDisk(err, "store a dataset")
	}
	row.Bytes, row.SHA256 = source.n, hex.EncodeToString(sum.Sum(nil))
	return judge(ctx, &claims, row, strict)
}

// counted counts what it reads, stops when ctx ends, and keeps the error that
// ended it.
type counted struct {
	ctx context.Context
	r   io.Reader
	n   int64
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		c.err = fault.New(fault.Canceled, "the upload was cut off (%w)", err)
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// label makes a name that is fit to be shown: no folders, no control
// characters, not too long. It is never the name of a file.
func label(name string) string {
	name = strings.ToValidUTF8(name, "")
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, name)
	name = strings.TrimSpace(name)
	if runes := []rune(name); len(runes) > 100 {
		name = string(runes[:100])
	}
	if strings.Trim(name, ". ") == "" {
		return "dataset"
	}
	return name
}

// Datasets lists datasets, newest first, after the given id.
func (c *Catalog) Datasets(ctx context.Context, after string, limit int) (page []Dataset, more bool, err error) {
	rows, more, err := c.store.Datasets(ctx, after, limit)
	if err != nil {
		return nil, false, err
	}
	page = make([]Dataset, len(rows))
	for i, d := range rows {
		page[i] = fromRow(d)
	}
	return page, more, nil
}

// Dataset returns the dataset of that id or, if unique, name.
func (c *Catalog) Dataset(ctx context.Context, id string) (Dataset, error) {
	if datasetID.MatchString(id) {
		d, err := c.store.Dataset(ctx, id)
		return fromRow(d), err
	}
	named, err := c.store.DatasetsNamed(ctx, id, 2)
	switch {
	case err != nil:
		return Dataset{}, err
	case len(named) == 0:
		return Dataset{}, fault.New(fault.NotFound, "there is no dataset %q; GET /datasets lists those there are", id).
			WithCode("dataset_not_found").WithParam("dataset")
	case len(named) > 1:
		return Dataset{}, fault.New(fault.Conflict, "several datasets are called %q; name one by its id, e.g. %s", id, named[0].ID).
			WithCode("dataset_ambiguous").WithParam("dataset")
	}
	return fromRow(named[0]), nil
}

// Conversations reads a stored dataset.
func (c *Catalog) Conversations(ctx context.Context, id string) ([]chat.Conversation, error) {
	d, err := c.Dataset(ctx, id)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(c.file(d.ID))
	if err != nil {
		return nil, fmt.Errorf("read dataset %s: %w", d.ID, err)
	}
	defer f.Close()
	all, err := data.ReadAll(bufio.NewReaderSize(f, 1<<16), data.Limits{})
	if err != nil {
		return nil, fmt.Errorf("the stored file of dataset %s is damaged: %s", d.ID, err) // not the caller's doing: no %w
	}
	if len(all) != d.Conversations {
		return nil, fmt.Errorf("the stored file of dataset %s is damaged: it has %d conversations of %d", d.ID, len(all), d.Conversations)
	}
	return all, nil
}

// DeleteDataset removes a dataset; fault.Conflict while a job needs it.
func (c *Catalog) DeleteDataset(ctx context.Context, id string) error {
	if !datasetID.MatchString(id) {
		return fault.New(fault.NotFound, "there is no dataset %q", id).WithCode("dataset_not_found")
	}
	if err := c.store.DeleteDataset(ctx, id); err != nil {
		return err
	}
	return onDisk(discard(c.file(id)), "delete dataset "+id)
}

// dropStrays removes files of datasets that have no row: a process was killed
// between the two.
func (c *Catalog) dropStrays() error {
	ids, err := c.store.DatasetIDs(context.Background())
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(c.datasets())
	if err != nil {
		return onDisk(err, "tidy up")
	}
	for _, e := range entries {
		id := strings.TrimSuffix(e.Name(), ".jsonl")
		if datasetID.MatchString(id) && !slices.Contains(ids, id) {
			if err := os.Remove(filepath.Join(c.datasets(), e.Name())); err != nil {
				return onDisk(err, "tidy up")
			}
		}
	}
	return nil
}
