package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/model"
)

// base is a model file on the shelf.
type base struct {
	stamp
	name string // how it is asked for
	rel  string // its path below the models folder without ".gguf", with slashes
	path string
}

// head is what a look at the header of a file told, good for one stamp.
type head struct {
	stamp
	skip    bool   // not a language model: an adapter, a projector
	problem string // why it cannot be opened
	failed  error  // what opening it came to, when that will not change
	print   string // see fingerprint; "" when not yet computed
}

// headBytes is how much of a file its fingerprint covers: metadata, tokenizer,
// tensor table and the first weights of any model in use.
const headBytes = 8 << 20

// opening is a base that is open or being opened.
type opening struct {
	done  chan struct{} // closed when the rest is set
	model *model.Model
	err   error
	size  int64 // of the file that was opened; another may lie there by now
	print string
}

// bases looks through the models folder. Files of one name, whatever its case,
// are told apart by their subfolder.
func (c *Catalog) bases() ([]base, error) {
	root, err := filepath.EvalSymlinks(c.options.Models)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("models folder: %w", err)
	}
	var all []base
	err = filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			if at == root {
				return fmt.Errorf("models folder: %w", err)
			}
			return fs.SkipDir // a subfolder that may not be read, or has just gone
		}
		if d.IsDir() {
			if at != root && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		if b, ok := c.look(root, at, d); ok {
			all = append(all, b)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	times := map[string]int{}
	for i := range all {
		all[i].name = path.Base(all[i].rel)
		times[strings.ToLower(all[i].name)]++
	}
	for i, b := range all {
		if times[strings.ToLower(b.name)] > 1 {
			all[i].name = b.rel
		}
	}
	return all, nil
}

// look reads the header of a file unless it has done so before.
func (c *Catalog) look(root, at string, d fs.DirEntry) (base, bool) {
	const suffix = ".gguf"
	if len(d.Name()) <= len(suffix) || !strings.EqualFold(filepath.Ext(d.Name()), suffix) {
		return base{}, false
	}
	info, err := d.Info()
	if err != nil {
		return base{}, false // it has just gone
	}
	rel, err := filepath.Rel(root, at)
	if err != nil {
		return base{}, false
	}
	b := base{stamp: stampOf(info), rel: strings.TrimSuffix(filepath.ToSlash(rel), filepath.Ext(rel)), path: at}
	c.mu.Lock()
	h, known := c.heads[at]
	c.mu.Unlock()
	if !known || !h.same(b.stamp) {
		h = readHead(at, info)
		c.mu.Lock()
		c.heads[at] = h
		c.mu.Unlock()
	}
	return b, !h.skip
}

func readHead(at string, info os.FileInfo) head {
	h := head{stamp: stampOf(info)}
	if !info.Mode().IsRegular() {
		h.problem = "it is not a regular file; put the file itself into the models folder"
		h.failed = fault.New(fault.Unprocessable, "%s cannot be opened: %s", filepath.Base(at), h.problem).WithCode("invalid_model")
		return h
	}
	f, err := gguf.Open(at)
	if err != nil {
		h.problem = said(err)
		return h
	}
	defer f.Close()
	kind, _ := f.Metadata.String("general.type")
	h.skip = kind == "adapter" || kind == "mmproj"
	return h
}

// said is what may be shown of an error: the sentence of a fault that is not
// internal, nothing else.
func said(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind != fault.Internal {
		return f.Message
	}
	return "it cannot be read"
}

// problem is why b cannot be opened, as far as is known.
func (c *Catalog) problem(b base) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.heads[b.path]; h.same(b.stamp) {
		return h.problem
	}
	return ""
}

// choose finds the base called name: as written, else whatever the case, else
// by its path below the models folder. A name that fits several is a fault.
func choose(bases []base, name string) (base, bool, error) {
	fits := []func(b base) bool{
		func(b base) bool { return b.name == name },
		func(b base) bool { return strings.EqualFold(b.name, name) },
		func(b base) bool { return strings.EqualFold(b.rel, name) },
		func(b base) bool { return strings.EqualFold(path.Base(b.rel), name) },
	}
	for _, fit := range fits {
		var found []base
		var names []string
		for _, b := range bases {
			if fit(b) {
				found, names = append(found, b), append(names, b.name)
			}
		}
		if len(found) == 1 {
			return found[0], true, nil
		}
		if len(found) > 1 {
			return base{}, false, fault.New(fault.Conflict, "several models are called %q; write one of: %s", name, strings.Join(names, ", ")).
				WithCode("model_ambiguous").WithParam("model")
		}
	}
	return base{}, false, nil
}

// openBase opens b, or waits for whoever is opening it.
func (c *Catalog) openBase(b base) (*model.Model, error) {
	c.mu.Lock()
	if o, ok := c.open[b.path]; ok {
		c.mu.Unlock()
		<-o.done
		return o.model, o.err
	}
	if h := c.heads[b.path]; h.failed != nil && h.same(b.stamp) {
		c.mu.Unlock()
		return nil, h.failed
	}
	o := &opening{done: make(chan struct{}), err: errors.New("the model's opening was cut off")}
	c.open[b.path] = o
	c.mu.Unlock()

	defer func() { // also when model.Open panics
		c.mu.Lock()
		if o.err != nil {
			delete(c.open, b.path)
			c.remember(b, o.err)
		}
		c.mu.Unlock()
		close(o.done)
	}()
	if o.size, o.print, o.err = c.identity(b.path); o.err == nil {
		o.model, o.err = model.Open(b.path, c.gang)
	}
	if o.err == nil {
		o.model.Name = b.name
	}
	return o.model, o.err
}

// identity is what tells the base at path from all others: that of the model
// which is open, else that of the file.
func (c *Catalog) identity(at string) (size int64, print string, err error) {
	c.mu.Lock()
	o := c.open[at]
	c.mu.Unlock()
	if o != nil {
		select {
		case <-o.done:
			return o.size, o.print, nil
		default: // it is being opened
		}
	}
	info, err := os.Stat(at)
	if err != nil {
		return 0, "", fmt.Errorf("look at %s: %w", at, err)
	}
	print, err = c.fingerprint(at, stampOf(info))
	return info.Size(), print, err
}

// remember keeps what opening b came to, if the file is to blame: it will not
// open before it changes.
func (c *Catalog) remember(b base, err error) {
	h, ok := c.heads[b.path]
	if ok && h.same(b.stamp) && fault.KindOf(err) == fault.Unprocessable {
		h.failed, h.problem = err, said(err)
		c.heads[b.path] = h
	}
}

// isOpen reports whether the base at path is open or being opened.
func (c *Catalog) isOpen(at string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[at] != nil
}

// fingerprint tells the contents of model files apart: the SHA-256 of the
// file's first headBytes. Together with the size it stands for the file.
func (c *Catalog) fingerprint(at string, s stamp) (string, error) {
	c.mu.Lock()
	h := c.heads[at]
	c.mu.Unlock()
	if h.print != "" && h.same(s) {
		return h.print, nil
	}
	f, err := os.Open(at)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", at, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(f, headBytes)); err != nil {
		return "", fmt.Errorf("read %s: %w", at, err)
	}
	print := hex.EncodeToString(sum.Sum(nil))
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.heads[at]; h.same(s) {
		h.print = print
		c.heads[at] = h
	}
	return print, nil
}
