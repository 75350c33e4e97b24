package catalog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"afina/internal/catalog"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/kernel"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/store"
)

// shelf is a catalog over folders of the test.
type shelf struct {
	*catalog.Catalog
	t      *testing.T
	models string
	data   string
	store  *store.Store
	gang   *kernel.Gang
	limits data.Limits
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	pool := parallel.New(1)
	t.Cleanup(pool.Close)
	g, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	s := &shelf{t: t, models: filepath.Join(root, "models"), data: filepath.Join(root, "data"), gang: g, limits: data.DefaultLimits()}
	if err := os.Mkdir(s.models, 0o700); err != nil {
		t.Fatal(err)
	}
	if s.store, err = store.Open(t.Context(), s.data); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	s.again()
	return s
}

// again makes a new catalog over the same folders, as a restart does.
func (s *shelf) again() {
	s.t.Helper()
	c, err := catalog.New(catalog.Options{Models: s.models, Data: s.data, Limits: s.limits}, s.store, s.gang)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Catalog = c
}

// place puts a tiny model on the shelf.
func (s *shelf) place(rel string, seed uint64) string {
	s.t.Helper()
	return s.put(rel, modeltest.Shape{Seed: seed, Layers: 1, Hidden: 32, FFN: 32, Heads: 2})
}

func (s *shelf) put(rel string, shape modeltest.Shape) string {
	s.t.Helper()
	to := filepath.Join(s.models, rel)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile(modeltest.Write(s.t, shape))
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return to
}

func (s *shelf) base(name string) *model.Model {
	s.t.Helper()
	m, err := s.Model(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *shelf) names() string {
	s.t.Helper()
	entries, err := s.Entries()
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Problem != "" {
			e.Name += "!"
		}
		names = append(names, e.Name)
	}
	return strings.Join(names, " ")
}

// files lists what lies under a folder of the data folder.
func (s *shelf) files(dir string) []string {
	s.t.Helper()
	var all []string
	err := filepath.WalkDir(filepath.Join(s.data, dir), func(at string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(s.data, at)
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

func wantFault(t *testing.T, err error, kind fault.Kind, words ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != kind {
		t.Fatalf("got error %v, want a fault of kind %s", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(f.Message, w) {
			t.Errorf("got %q, want it to name %q", f.Message, w)
		}
	}
}

func TestNames(t *testing.T) {
	s := newShelf(t)
	s.place("Solo.gguf", 1)
	s.place("deep/er/lone.GGUF", 2)
	s.place("a/twin.gguf", 3)
	s.place("b/TWIN.gguf", 4)
	s.place("top.gguf", 5)
	s.place("c/top.gguf", 6)
	s.place(".hidden/x.gguf", 7)
	os.WriteFile(filepath.Join(s.models, "README.md"), []byte("x"), 0o600)
	os.WriteFile(filepath.Join(s.models, "half.gguf.part"), []byte("x"), 0o600)
	os.WriteFile(filepath.Join(s.models, ".gguf"), []byte("x"), 0o600)

	if got, want := s.names(), "a/twin b/TWIN c/top lone Solo top"; got != want {
		t.Errorf("entries %s, want %s", got, want)
	}
	for ask, rel := range map[string]string{
		"Solo": "Solo.gguf", "solo": "Solo.gguf", "LONE": "deep/er/lone.GGUF", "deep/er/lone": "deep/er/lone.GGUF",
		"a/twin": "a/twin.gguf", "B/twin": "b/TWIN.gguf", "top": "top.gguf", "c/top": "c/top.gguf",
	} {
		m, err := s.Model(ask)
		if err != nil || m.Path != filepath.Join(s.models, rel) {
			t.Errorf("Model(%q) = %v, %v; want the file %s", ask, m, err, rel)
		}
		if again := s.base(ask); again != m {
			t.Errorf("%s was opened twice", ask)
		}
		if !s.Taken(ask) {
			t.Errorf("%s is not taken", ask)
		}
	}
	_, err := s.Model("twin")
	wantFault(t, err, fault.Conflict, "a/twin", "b/TWIN")
	for _, ask := range []string{"", "x", ".hidden/x", "../models/Solo", "Solo.gguf", "/etc/passwd", "sol\x00o"} {
		_, err := s.Model(ask)
		wantFault(t, err, fault.NotFound)
		_, _, err = s.Resolve(ask)
		wantFault(t, err, fault.NotFound)
	}
}

func TestNoModelsFolder(t *testing.T) {
	s := newShelf(t)
	os.Remove(s.models)
	if got := s.names(); got != "" {
		t.Errorf("entries %s", got)
	}
	_, err := s.Model("x")
	wantFault(t, err, fault.NotFound, "x")
}

func TestOddFiles(t *testing.T) {
	s := newShelf(t)
	real := s.place("good.gguf", 1)
	s.put("lora.gguf", modeltest.Shape{Metadata: []gguf.Pair{{Key: "general.type", Value: "adapter"}}})
	s.put("eyes.gguf", modeltest.Shape{Metadata: []gguf.Pair{{Key: "general.type", Value: "mmproj"}}})
	s.put("strange.gguf", modeltest.Shape{Metadata: []gguf.Pair{{Key: "general.architecture", Value: "mamba"}}})
	os.WriteFile(filepath.Join(s.models, "broken.gguf"), []byte("GGUF\x03"), 0o600)
	os.Symlink(real, filepath.Join(s.models, "link.gguf"))
	if err := syscall.Mkfifo(filepath.Join(s.models, "pipe.gguf"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := s.names(), "broken! good link! pipe! strange"; got != want {
		t.Errorf("entries %s, want %s", got, want)
	}
	for _, name := range []string{"broken", "link", "pipe", "strange"} {
		for range 2 { // the second answer is remembered
			_, err := s.Model(name)
			wantFault(t, err, fault.Unprocessable)
			if strings.Contains(err.Error(), s.models) {
				t.Errorf("%q shows a path", err)
			}
		}
	}
	if got, want := s.names(), "broken! good link! pipe! strange!"; got != want {
		t.Errorf("entries %s, want %s", got, want)
	}

	text, _ := os.ReadFile(real)
	os.WriteFile(filepath.Join(s.models, "broken.gguf"), text, 0o600)
	if m := s.base("broken"); m.Name != "broken" {
		t.Errorf("a mended file opens as %q", m.Name)
	}
}

func TestListingIsCheap(t *testing.T) {
	s := newShelf(t)
	for i := range 20 {
		s.place(fmt.Sprintf("m%d.gguf", i), uint64(i))
	}
	s.names()
	best := time.Hour
	for range 5 {
		began := time.Now()
		s.names()
		best = min(best, time.Since(began))
	}
	t.Logf("20 models listed in %v", best)
	if best > 20*time.Millisecond {
		t.Errorf("a listing takes %v", best)
	}
}

func TestOpenedOnce(t *testing.T) {
	s := newShelf(t)
	s.place("m.gguf", 1)
	var wg sync.WaitGroup
	models := make([]*model.Model, 16)
	for i := range models {
		wg.Go(func() { models[i], _ = s.Model("m") })
	}
	wg.Wait()
	for _, m := range models {
		if m == nil || m != models[0] {
			t.Fatalf("got different models %v", models)
		}
	}
}

// What a killed process leaves is removed at the next start, and only that.
func TestLeftovers(t *testing.T) {
	s := newShelf(t)
	s.place("tiny.gguf", 1)
	m := s.base("tiny")
	if _, err := s.Publish(s.adapter("a", m, 3), m, "job_1"); err != nil {
		t.Fatal(err)
	}
	d := s.upload("x.jsonl", good(2))
	before := append(s.files("adapters"), s.files("datasets")...)
	os.MkdirAll(filepath.Join(s.data, "adapters", ".tmp-abc", "sub"), 0o700)
	os.WriteFile(filepath.Join(s.data, "adapters", ".tmp-abc", "sub", "f"), nil, 0o600)
	os.WriteFile(filepath.Join(s.data, "datasets", ".tmp-abc"), nil, 0o600)
	os.WriteFile(filepath.Join(s.data, "datasets", "ds_aaaaaaaaaaaaaaaa.jsonl"), nil, 0o600)

	reader, err := catalog.New(catalog.Options{Models: s.models, Data: s.data}, nil, s.gang)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := reader.Entries(); err != nil || len(e) != 2 {
		t.Errorf("without a store: %+v, %v", e, err)
	}
	if now := append(s.files("adapters"), s.files("datasets")...); len(now) != len(before)+3 {
		t.Errorf("a catalog without a store removed files: %v", now)
	}
	s.again()
	if now := append(s.files("adapters"), s.files("datasets")...); !slices.Equal(now, before) {
		t.Errorf("left %v, want %v", now, before)
	}
	if _, err := s.Conversations(t.Context(), d.ID); err != nil {
		t.Error(err)
	}
}
