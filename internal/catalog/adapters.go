package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/model"
)

// note is afina.json: what is to be known of an adapter beside its weights.
type note struct {
	Name      string    `json:"name"`
	Base      string    `json:"base"`             // name of the base model
	BaseBytes int64     `json:"base_bytes"`       // size of its file
	BaseHead  string    `json:"base_head_sha256"` // of the first headBytes of its file
	Job       string    `json:"job,omitempty"`
	Created   time.Time `json:"created"`
	Rank      int       `json:"rank"`
	SHA256    string    `json:"sha256"` // of adapter_model.safetensors

	Step *Step `json:"step,omitempty"` // of an adapter as it was in the middle of its job
}

// noted is a note as it was read from a folder.
type noted struct {
	note
	stamp
	dir     string
	bytes   int64 // of all files
	problem string
}

// loaded is an adapter in memory.
type loaded struct {
	adapter *lora.Adapter
	model   *model.Model
	stamp   stamp // of its afina.json
	used    time.Time
}

// keepLoaded is how many adapters stay in memory; the one longest unused goes
// first. Requests that run on it keep it until they end.
const keepLoaded = 32

const (
	noteFile    = "afina.json"
	weightsFile = "adapter_model.safetensors"
	ggufFile    = "adapter.gguf"
)

// CheckName says what is wrong with the name of an adapter, which is also the
// name of a folder.
func CheckName(name string) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "the name %s: use 1 to 96 letters, digits, '.', '_' or '-', beginning with a letter or digit", why).
			WithParam("name").WithCode("invalid_name")
	}
	if name == "" || utf8.RuneCountInString(name) > 96 || len(name) > 200 {
		return bad("is empty or too long")
	}
	if !utf8.ValidString(name) {
		return bad("is not valid UTF-8")
	}
	for i, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && (i == 0 || !strings.ContainsRune("._-", r)) {
			return bad(fmt.Sprintf("has %q at byte %d", r, i))
		}
	}
	if strings.HasSuffix(name, ".") || strings.EqualFold(filepath.Ext(name), ".gguf") {
		return bad("ends in '.' or \".gguf\"")
	}
	return nil
}

// published lists the adapters.
func (c *Catalog) published() ([]noted, error) {
	entries, err := os.ReadDir(c.adapters())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list adapters: %w", err)
	}
	var all []noted
	for _, e := range entries {
		if e.IsDir() && CheckName(e.Name()) == nil {
			if n, ok := c.read(filepath.Join(c.adapters(), e.Name())); ok {
				all = append(all, n)
			}
		}
	}
	return all, nil
}

// adapter finds the adapter of that name, whatever the case.
func (c *Catalog) adapter(name string) (noted, bool, error) {
	if CheckName(name) != nil {
		return noted{}, false, nil
	}
	all, err := c.published()
	if err != nil {
		return noted{}, false, err
	}
	for _, n := range all {
		if strings.EqualFold(n.Name, name) {
			return n, true, nil
		}
	}
	return noted{}, false, nil
}

// read reads the note of a folder unless it has done so before. ok is false
// when the folder has gone.
func (c *Catalog) read(dir string) (n noted, ok bool) {
	info, err := os.Stat(filepath.Join(dir, noteFile))
	if err != nil {
		n = noted{dir: dir, problem: noteFile + " cannot be read"}
		n.Name = filepath.Base(dir)
		_, err := os.Stat(dir)
		return n, err == nil
	}
	c.mu.Lock()
	n, known := c.notes[dir]
	c.mu.Unlock()
	if known && n.same(stampOf(info)) {
		return n, true
	}
	n = noted{stamp: stampOf(info), dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, noteFile))
	if err == nil {
		err = json.Unmarshal(text, &n.note)
	}
	if err != nil {
		n.problem = noteFile + " cannot be read"
	}
	if n.Step == nil { // a step's folder has the step's number
		n.Name = filepath.Base(dir)
	}
	if files, err := os.ReadDir(dir); err == nil {
		for _, f := range files {
			if info, err := f.Info(); err == nil {
				n.bytes += info.Size()
			}
		}
	}
	c.mu.Lock()
	c.notes[dir] = n
	c.mu.Unlock()
	return n, true
}

// load returns an adapter with the base it was trained on.
func (c *Catalog) load(bases []base, n noted) (*model.Model, *lora.Adapter, error) {
	if n.problem != "" {
		return nil, nil, fault.New(fault.Unprocessable, "adapter %s cannot be opened: %s", n.Name, n.problem).WithCode("invalid_adapter")
	}
	c.mu.Lock()
	if l, ok := c.loaded[n.dir]; ok && l.stamp.same(n.stamp) {
		l.used = time.Now()
		c.mu.Unlock()
		return l.model, l.adapter, nil
	}
	c.mu.Unlock()

	b, err := c.baseOf(bases, n)
	if err != nil {
		return nil, nil, err
	}
	m, err := c.openBase(b)
	if err != nil {
		return nil, nil, err
	}
	a, err := lora.LoadPEFT(n.dir, m)
	if err != nil {
		return nil, nil, fmt.Errorf("load adapter %s: %w", n.Name, err)
	}
	a.Name, a.Base = n.Name, m.Name
	return m, c.keep(n, m, a), nil
}

// keep puts a loaded adapter into memory, or returns the one that is there
// already: an adapter is one value to all who ask.
func (c *Catalog) keep(n noted, m *model.Model, a *lora.Adapter) *lora.Adapter {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.loaded[n.dir]; ok && l.stamp.same(n.stamp) {
		return l.adapter
	}
	for len(c.loaded) >= keepLoaded {
		var oldest string
		for dir, l := range c.loaded {
			if oldest == "" || l.used.Before(c.loaded[oldest].used) {
				oldest = dir
			}
		}
		delete(c.loaded, oldest)
	}
	c.loaded[n.dir] = &loaded{adapter: a, model: m, stamp: n.stamp, used: time.Now()}
	return a
}

// baseOf finds the file an adapter was trained on: by name, or, when that file
// was renamed, by its contents.
func (c *Catalog) baseOf(bases []base, n noted) (base, error) {
	named, found, _ := choose(bases, n.Base)
	candidates := bases
	if found {
		candidates = append([]base{named}, bases...)
	}
	for _, b := range candidates {
		if b.size != n.BaseBytes && !c.isOpen(b.path) {
			continue // without reading it
		}
		size, print, err := c.identity(b.path)
		if err != nil {
			return base{}, err
		}
		if size == n.BaseBytes && print == n.BaseHead {
			return b, nil
		}
	}
	if found {
		return base{}, fault.New(fault.Conflict, "adapter %s was trained on another file called %s; put that file back into the models folder", n.Name, n.Base).
			WithCode("base_mismatch").WithParam("model")
	}
	return base{}, fault.New(fault.Conflict, "adapter %s needs the base model %s; put its file into the models folder", n.Name, n.Base).
		WithCode("base_missing").WithParam("model")
}

// Publish stores an adapter under its Name, whole or not at all; from then on
// Resolve finds it. It returns the folder. A job that publishes its adapter once
// more (it was cut off before it could say so) finds it there; a name that is
// taken otherwise is fault.Conflict.
func (c *Catalog) Publish(a *lora.Adapter, m *model.Model, job string) (dir string, err error) {
	if err := CheckName(a.Name); err != nil {
		return "", err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	old, again, err := c.adapter(a.Name)
	if err != nil {
		return "", err
	}
	if again && (job == "" || old.Job != job) || !again && c.Taken(a.Name) {
		return "", fault.New(fault.Conflict, "a model called %q exists already; choose another name", a.Name).
			WithCode("name_taken").WithParam("name")
	}
	temp := filepath.Join(c.adapters(), unfinished+random(16))
	if err := os.MkdirAll(temp, 0o750); err != nil {
		return "", onDisk(err, "publish "+a.Name)
	}
	defer os.RemoveAll(temp)
	n, err := c.write(temp, a, m, note{Name: a.Name, Job: job})
	if err != nil {
		return "", onDisk(err, "publish "+a.Name)
	}
	if again && old.SHA256 == n.SHA256 {
		return old.dir, nil
	}
	if again {
		if err := discard(old.dir); err != nil {
			return "", onDisk(err, "publish "+a.Name)
		}
		c.forget(old.dir)
	}
	dir = filepath.Join(c.adapters(), a.Name)
	if err := os.Rename(temp, dir); err != nil {
		return "", onDisk(err, "publish "+a.Name)
	}
	return dir, onDisk(syncPath(c.adapters()), "publish "+a.Name)
}

// write makes the files of an adapter in dir, completes its note, and brings all
// to disk. A step in the middle of a job is for chat only: it gets no GGUF.
func (c *Catalog) write(dir string, a *lora.Adapter, m *model.Model, n note) (note, error) {
	err := a.SavePEFT(dir, m, "")
	if err == nil && n.Step == nil {
		err = a.SaveGGUF(filepath.Join(dir, ggufFile), m)
	}
	if err != nil {
		return n, err
	}
	n.Base, n.Created, n.Rank = m.Name, time.Now().UTC().Truncate(time.Second), a.Rank
	if n.BaseBytes, n.BaseHead, err = c.identity(m.Path); err != nil {
		return n, err
	}
	if n.SHA256, err = hash(filepath.Join(dir, weightsFile)); err != nil {
		return n, err
	}
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return n, err
	}
	if err := os.WriteFile(filepath.Join(dir, noteFile), append(text, '\n'), 0o640); err != nil {
		return n, err
	}
	return n, syncTree(dir)
}

func hash(at string) (string, error) {
	f, err := os.Open(at)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (c *Catalog) forget(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.notes, dir)
	delete(c.loaded, dir)
}

// AdapterDir is the folder of a published adapter.
func (c *Catalog) AdapterDir(name string) (string, error) {
	n, found, err := c.named(name)
	if err != nil {
		return "", err
	}
	if !found || n.Step != nil {
		return "", fault.New(fault.NotFound, "there is no adapter %q", name).WithCode("model_not_found").WithParam("model")
	}
	return n.dir, nil
}

// DeleteAdapter removes a published adapter. Requests that run on it end on it.
func (c *Catalog) DeleteAdapter(name string) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	dir, err := c.AdapterDir(name)
	if err != nil {
		_, modelErr := c.Model(name) // Invalid: it is an adapter, and the first error says why it is not deleted
		if kind := fault.KindOf(modelErr); kind != fault.NotFound && kind != fault.Invalid {
			return fault.New(fault.Conflict, "%q is a base model; remove its file from the models folder to be rid of it", name).
				WithCode("not_an_adapter").WithParam("model")
		}
		return err
	}
	if err := discard(dir); err != nil {
		return onDisk(err, "delete adapter "+name)
	}
	c.forget(dir)
	return nil
}
