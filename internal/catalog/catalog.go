// Package catalog is the shelf: which base models, adapters and datasets there
// are, by name. It opens each once.
package catalog

import (
	"context"
	"io"
	"time"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/store"
)

// Catalog opens things by name and keeps what is open. Safe for concurrent
// use.
type Catalog struct{}

// Entry describes a model that can be asked for.
type Entry struct {
	Name    string    `json:"id"`
	Base    string    `json:"base,omitempty"` // set for adapters: the base they change
	Job     string    `json:"job,omitempty"`  // the job that made the adapter
	Created time.Time `json:"created"`
	Bytes   int64     `json:"bytes"`
	Problem string    `json:"problem,omitempty"` // why it cannot be opened
}

// Dataset describes a stored dataset.
type Dataset struct {
	ID            string    `json:"id"` // ds_…
	Name          string    `json:"name"`
	Conversations int       `json:"conversations"`
	Bytes         int64     `json:"bytes"`
	SHA256        string    `json:"sha256"`
	Created       time.Time `json:"created_at"`
}

// Options say where things lie.
type Options struct {
	Models string // folder of *.gguf, looked through with its subfolders
	Data   string // folder of all that the server writes
	Limits data.Limits
}

// New returns a catalog; g packs the models that are opened.
func New(o Options, s *store.Store, g *kernel.Gang) (*Catalog, error) { panic("sketch") }

// Entries lists bases and adapters, by name.
func (c *Catalog) Entries() ([]Entry, error) { panic("sketch") }

// Model returns the base model of that name, opening it at most once. Names are
// file names without ".gguf"; case does not matter.
func (c *Catalog) Model(name string) (*model.Model, error) { panic("sketch") }

// Resolve returns the base and, when name is an adapter's, the adapter.
func (c *Catalog) Resolve(name string) (*model.Model, *lora.Adapter, error) { panic("sketch") }

// Publish stores an adapter under its Name, whole or not at all; from then on
// Resolve finds it. It returns the folder.
func (c *Catalog) Publish(a *lora.Adapter, m *model.Model, job string) (dir string, err error) {
	panic("sketch")
}

// Taken reports whether an adapter or base of that name exists.
func (c *Catalog) Taken(name string) bool { panic("sketch") }

// AdapterDir is the folder of a published adapter.
func (c *Catalog) AdapterDir(name string) (string, error) { panic("sketch") }

// DeleteAdapter removes a published adapter.
func (c *Catalog) DeleteAdapter(name string) error { panic("sketch") }

// AddDataset checks and stores the dataset that r holds. Nothing is left behind
// when it fails.
func (c *Catalog) AddDataset(ctx context.Context, name string, r io.Reader) (Dataset, error) {
	panic("sketch")
}

// Datasets lists datasets, newest first, after the given id.
func (c *Catalog) Datasets(ctx context.Context, after string, limit int) (page []Dataset, more bool, err error) {
	panic("sketch")
}

// Dataset returns the dataset of that id or, if unique, name.
func (c *Catalog) Dataset(ctx context.Context, id string) (Dataset, error) { panic("sketch") }

// Conversations reads a stored dataset.
func (c *Catalog) Conversations(ctx context.Context, id string) ([]chat.Conversation, error) {
	panic("sketch")
}

// DeleteDataset removes a dataset.
func (c *Catalog) DeleteDataset(ctx context.Context, id string) error { panic("sketch") }
