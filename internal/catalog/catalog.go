// Package catalog is the shelf: which base models, adapters and datasets there
// are, by name. It opens each once.
//
//	models/**/*.gguf         bases: looked through at every question, headers remembered
//	data/adapters/<name>/    one folder per adapter: PEFT, GGUF and afina.json
//	data/datasets/<id>.jsonl one file per dataset, its row in the store
//
// What is written appears whole or not at all: it is made under a name that
// begins with ".tmp-", brought to disk and renamed. What a killed process left
// under such names is removed at the next start. A base that is open stays as it
// was opened until the process ends, whatever happens to its file's name.
package catalog

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/store"
)

// Catalog opens things by name and keeps what is open. Safe for concurrent
// use.
type Catalog struct {
	options Options
	store   *store.Store
	gang    *kernel.Gang

	// Live returns the base of a running job and its adapter as it stands; nil
	// where no jobs run. Set before the catalog is used.
	Live func(job string) (*model.Model, *lora.Adapter, error)

	mu     sync.Mutex
	heads  map[string]head     // by path: what a look at a file's header told
	notes  map[string]noted    // by folder: what afina.json says
	open   map[string]*opening // by path: bases open or being opened
	loaded map[string]*loaded  // by folder: adapters in memory

	writing sync.Mutex // one Publish or DeleteAdapter at a time
}

// Entry describes a model that can be asked for.
type Entry struct {
	Name    string    `json:"id"`
	Base    string    `json:"base,omitempty"`  // set for adapters: the base they change
	Job     string    `json:"job,omitempty"`   // the job that made the adapter
	Alias   string    `json:"alias,omitempty"` // of such an adapter: the name OpenAI's clients know it by
	Created time.Time `json:"created"`
	Bytes   int64     `json:"bytes"`
	Problem string    `json:"problem,omitempty"` // why it cannot be opened
}

// Options say where things lie.
type Options struct {
	Models string // folder of *.gguf, looked through with its subfolders
	Data   string // folder of all that the server writes
	Jobs   string // folder of the jobs' checkpoints, one folder for each; "": there are none
	Limits data.Limits
}

// New returns a catalog; g packs the models that are opened. s holds the lock of
// the data folder. Without it (nil) the catalog only reads: it has no datasets
// and leaves leftovers alone.
func New(o Options, s *store.Store, g *kernel.Gang) (*Catalog, error) {
	c := &Catalog{options: o, store: s, gang: g,
		heads: map[string]head{}, notes: map[string]noted{},
		open: map[string]*opening{}, loaded: map[string]*loaded{}}
	if s == nil {
		return c, nil
	}
	for _, dir := range []string{c.adapters(), c.datasets()} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, onDisk(err, "make "+dir)
		}
		if err := tidy(dir); err != nil {
			return nil, err
		}
	}
	return c, c.dropStrays()
}

func (c *Catalog) adapters() string { return filepath.Join(c.options.Data, "adapters") }
func (c *Catalog) datasets() string { return filepath.Join(c.options.Data, "datasets") }

// Entries lists bases and adapters, by name. A file that cannot be opened is
// listed with its Problem.
func (c *Catalog) Entries() ([]Entry, error) {
	bases, err := c.bases()
	if err != nil {
		return nil, err
	}
	notes, err := c.published()
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(bases)+len(notes))
	for _, b := range bases {
		entries = append(entries, Entry{Name: b.name, Created: b.time.UTC(), Bytes: b.size, Problem: c.problem(b)})
	}
	for _, n := range notes {
		e := Entry{Name: n.Name, Base: n.Base, Job: n.Job, Alias: n.alias(), Created: n.Created, Bytes: n.bytes, Problem: n.problem}
		if _, found, _ := choose(bases, n.Name); found && e.Problem == "" {
			e.Problem = "a base model has the same name and is found in its stead; rename one of them"
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Base, b.Base))
	})
	return entries, nil
}

// Model returns the base model of that name, opening it at most once. Names are
// file names without ".gguf"; case does not matter.
func (c *Catalog) Model(name string) (*model.Model, error) {
	bases, err := c.bases()
	if err != nil {
		return nil, err
	}
	b, found, err := choose(bases, name)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, c.missing(name)
	}
	return c.openBase(b)
}

// Resolve returns the base and, when name is an adapter's, the adapter. Names are
// also those that OpenAI's clients use (see names.go): of adapters, of the steps
// kept of a job, and of what a running job has learnt so far.
func (c *Catalog) Resolve(name string) (*model.Model, *lora.Adapter, error) {
	bases, err := c.bases()
	if err != nil {
		return nil, nil, err
	}
	b, found, err := choose(bases, name)
	if err != nil {
		return nil, nil, err
	}
	if found {
		m, err := c.openBase(b)
		return m, nil, err
	}
	if job, ok := liveOf(name); ok && c.Live != nil {
		return c.Live(job)
	}
	n, found, err := c.named(name)
	if err != nil {
		return nil, nil, err
	}
	if !found {
		return nil, nil, c.missing(name)
	}
	return c.load(bases, n)
}

// Taken reports whether an adapter or base of that name exists.
func (c *Catalog) Taken(name string) bool {
	if bases, err := c.bases(); err == nil {
		if _, found, err := choose(bases, name); found || err != nil {
			return true
		}
	}
	_, found, err := c.adapter(name)
	return found || err != nil
}

// missing is the fault of asking for a model that is not there.
func (c *Catalog) missing(name string) error {
	if _, found, err := c.named(name); err == nil && found {
		return fault.New(fault.Invalid, "%q is an adapter; name the base model instead", name).
			WithCode("not_a_base_model").WithParam("model")
	}
	return fault.New(fault.NotFound, "there is no model %q; GET /v1/models lists those there are, and a *.gguf file put into the models folder joins them", name).
		WithCode("model_not_found").WithParam("model")
}

// stamp tells versions of a file apart without reading it.
type stamp struct {
	size int64
	time time.Time
}

func stampOf(info os.FileInfo) stamp { return stamp{info.Size(), info.ModTime()} }

func (s stamp) same(t stamp) bool { return s.size == t.size && s.time.Equal(t.time) }

// onDisk wraps an error of the disk; a full one is a fault.NoSpace.
func onDisk(err error, what string) error {
	if err == nil {
		return nil
	}
	if full(err) {
		return fault.New(fault.NoSpace, "the disk that holds the data folder is full; free some space and try again (%w)", err).
			WithCode("storage_full")
	}
	return fmt.Errorf("%s: %w", what, err)
}
