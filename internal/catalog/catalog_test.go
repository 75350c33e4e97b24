package catalog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/kernel"
	"afina/internal/lora"
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

// adapter is a random adapter of m.
func (s *shelf) adapter(name string, m *model.Model, seed uint64) *lora.Adapter {
	s.t.Helper()
	a, err := lora.New(m, 2, 4, nil, seed)
	if err != nil {
		s.t.Fatal(err)
	}
	a.Name, a.Base = name, m.Name
	for _, layer := range a.Pairs {
		for _, p := range layer {
			for i := range p.B {
				p.B[i] = float32(seed) + float32(i%7)/8
			}
		}
	}
	return a
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

func TestPublish(t *testing.T) {
	s := newShelf(t)
	s.place("tiny.gguf", 1)
	m := s.base("tiny")
	a := s.adapter("Mates-1", m, 3)
	dir, err := s.Publish(a, m, "job_1")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"adapter.gguf", "adapter_config.json", "adapter_model.safetensors", "afina.json"}
	var got []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) || filepath.Base(dir) != "Mates-1" {
		t.Errorf("%s holds %v, want %v", dir, got, want)
	}
	all, err := s.Entries()
	if err != nil || len(all) != 2 || all[0].Name != "Mates-1" || all[0].Base != "tiny" || all[0].Job != "job_1" || all[0].Bytes == 0 || all[0].Problem != "" || all[0].Created.IsZero() {
		t.Errorf("entries %+v, %v", all, err)
	}

	check := func(name string) *lora.Adapter {
		t.Helper()
		base, got, err := s.Resolve(name)
		if err != nil || base != s.base("tiny") || got == nil {
			t.Fatalf("Resolve(%s) = %v, %v, %v", name, base, got, err)
		}
		for slot, p := range a.Pairs[0] {
			if q := got.Pairs[0][slot]; q == nil || !slices.Equal(p.A, q.A) || !slices.Equal(p.B, q.B) {
				t.Fatalf("%s of the loaded adapter differs", slot)
			}
		}
		return got
	}
	first := check("Mates-1")
	if check("mates-1") != first || first.Name != "Mates-1" || first.Base != "tiny" {
		t.Errorf("the adapter was loaded twice, or is %s on %s", first.Name, first.Base)
	}
	if d, err := s.AdapterDir("MATES-1"); err != nil || d != dir {
		t.Errorf("AdapterDir = %s, %v", d, err)
	}
	_, err = s.Model("mates-1")
	wantFault(t, err, fault.Invalid, "adapter")

	s.again()
	check("Mates-1")
	if left := s.files("adapters"); len(left) != 4 {
		t.Errorf("left %v", left)
	}
}

func TestPublishAgain(t *testing.T) {
	s := newShelf(t)
	s.place("tiny.gguf", 1)
	m := s.base("tiny")
	dir, err := s.Publish(s.adapter("a", m, 3), m, "job_1")
	if err != nil {
		t.Fatal(err)
	}
	note, _ := os.Stat(filepath.Join(dir, "afina.json"))
	s.Resolve("a")

	same, err := s.Publish(s.adapter("a", m, 3), m, "job_1") // the job did not know that it had published
	after, _ := os.Stat(filepath.Join(dir, "afina.json"))
	if err != nil || same != dir || !os.SameFile(note, after) {
		t.Errorf("publishing again: %s, %v", same, err)
	}
	if _, err := s.Publish(s.adapter("a", m, 5), m, "job_1"); err != nil {
		t.Error(err)
	}
	if _, a, err := s.Resolve("a"); err != nil || a.Pairs[0]["attn_q"].B[0] != 5 {
		t.Errorf("the adapter published last is not found: %v", err)
	}
	for _, c := range []struct{ name, job string }{{"a", "job_2"}, {"A", "job_2"}, {"a", ""}, {"tiny", "job_1"}, {"TINY", "job_1"}} {
		_, err := s.Publish(s.adapter(c.name, m, 3), m, c.job)
		wantFault(t, err, fault.Conflict, c.name)
	}
	if left := s.files("adapters"); len(left) != 4 {
		t.Errorf("left %v", left)
	}
}

func TestCheckName(t *testing.T) {
	s := newShelf(t)
	s.place("tiny.gguf", 1)
	m := s.base("tiny")
	for name, ok := range map[string]bool{
		"a": true, "mates-v1.2_x": true, "Matemáticas": true, "数学": true, strings.Repeat("a", 64): true,
		"": false, ".": false, "..": false, ".tmp-a": false, "a/b": false, `a\b`: false, "../a": false, "-a": false, "a b": false,
		"a\x00": false, "a\n": false, "a\xff": false, "a.": false, "a.gguf": false, strings.Repeat("a", 65): false, "a:b": false,
	} {
		if err := catalog.CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v, want ok %v", name, err, ok)
		}
		if !ok {
			_, err := s.Publish(s.adapter(name, m, 1), m, "job")
			wantFault(t, err, fault.Invalid)
			if s.Taken(name) {
				t.Errorf("%q is taken", name)
			}
		}
	}
	if left := s.files("adapters"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// An adapter finds its base when the file was renamed, and refuses another file
// of the same name.
func TestBaseOfAnAdapter(t *testing.T) {
	s := newShelf(t)
	file := s.place("tiny.gguf", 1)
	m := s.base("tiny")
	if _, err := s.Publish(s.adapter("a", m, 3), m, "job_1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, filepath.Join(s.models, "renamed.gguf")); err != nil {
		t.Fatal(err)
	}
	s.again()
	if m, _, err := s.Resolve("a"); err != nil || m.Name != "renamed" {
		t.Errorf("after renaming the base: %v, %v", m, err)
	}
	os.Remove(filepath.Join(s.models, "renamed.gguf"))
	s.again()
	_, _, err := s.Resolve("a")
	wantFault(t, err, fault.Conflict, "tiny")
	s.place("tiny.gguf", 2)
	_, _, err = s.Resolve("a")
	wantFault(t, err, fault.Conflict, "another file")
}

// A base that is open stays what it is, for its adapters too, when another file
// takes its place.
func TestReplacedWhileOpen(t *testing.T) {
	s := newShelf(t)
	file := s.place("tiny.gguf", 1)
	m := s.base("tiny")
	os.Remove(file)
	s.place("tiny.gguf", 2)
	if s.base("tiny") != m {
		t.Fatal("an open model was opened again")
	}
	if _, err := s.Publish(s.adapter("a", m, 3), m, "job_1"); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Resolve("a"); err != nil || got != m {
		t.Errorf("Resolve: %v, %v", got, err)
	}
	s.again()
	_, _, err := s.Resolve("a")
	wantFault(t, err, fault.Conflict, "another file")
}

func TestDamagedAdapters(t *testing.T) {
	s := newShelf(t)
	s.place("tiny.gguf", 1)
	m := s.base("tiny")
	for _, name := range []string{"cut", "bare"} {
		if _, err := s.Publish(s.adapter(name, m, 3), m, "job"); err != nil {
			t.Fatal(err)
		}
	}
	os.Truncate(filepath.Join(s.data, "adapters", "cut", "adapter_model.safetensors"), 100)
	os.Remove(filepath.Join(s.data, "adapters", "bare", "afina.json"))
	s.place("bare2.gguf", 9)
	os.MkdirAll(filepath.Join(s.data, "adapters", "bare2"), 0o700)
	s.again()
	if got, want := s.names(), "bare! bare2 bare2! cut tiny"; got != want {
		t.Errorf("entries %s, want %s", got, want)
	}
	_, _, err := s.Resolve("cut")
	wantFault(t, err, fault.Unprocessable)
	_, _, err = s.Resolve("bare")
	wantFault(t, err, fault.Unprocessable, "bare")
	for _, name := range []string{"bare", "cut"} {
		if err := s.DeleteAdapter(name); err != nil {
			t.Error(err)
		}
	}
}

func TestDeleteAdapter(t *testing.T) {
	s := newShelf(t)
	s.place("tiny.gguf", 1)
	m := s.base("tiny")
	if _, err := s.Publish(s.adapter("a", m, 3), m, "job_1"); err != nil {
		t.Fatal(err)
	}
	_, held, err := s.Resolve("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAdapter("A"); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Resolve("a")
	wantFault(t, err, fault.NotFound, "a")
	if held.Pairs[0]["attn_q"].B[0] != 3 {
		t.Error("a request's adapter changed under it")
	}
	wantFault(t, s.DeleteAdapter("a"), fault.NotFound)
	wantFault(t, s.DeleteAdapter("tiny"), fault.Conflict, "base model")
	if left := s.files("adapters"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if _, err := s.Publish(s.adapter("a", m, 4), m, "job_2"); err != nil {
		t.Error(err)
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

// good is a dataset of n conversations.
func good(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"messages":[{"role":"user","content":"¿%d + 1? <b>"},{"role":"assistant","content":"%d"}]}`+"\n", i, i+1)
	}
	return b.String()
}

func (s *shelf) upload(name, text string) catalog.Dataset {
	s.t.Helper()
	d, err := s.AddDataset(s.t.Context(), name, strings.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func TestDatasets(t *testing.T) {
	s := newShelf(t)
	d := s.upload("mates.jsonl", good(3))
	if d.Conversations != 3 || d.Bytes != int64(len(good(3))) || len(d.ID) != 19 || len(d.SHA256) != 64 || d.Created.IsZero() {
		t.Errorf("%+v", d)
	}
	for _, ask := range []string{d.ID, "mates.jsonl"} {
		all, err := s.Conversations(t.Context(), ask)
		if err != nil || len(all) != 3 || all[2].Messages[0] != (chat.Message{Role: chat.User, Content: "¿2 + 1? <b>"}) {
			t.Errorf("Conversations(%s): %+v, %v", ask, all, err)
		}
	}
	if again := s.upload("mates.jsonl", good(3)); again.ID != d.ID {
		t.Errorf("the same dataset is %s and %s", d.ID, again.ID)
	}
	array := "[" + strings.ReplaceAll(strings.TrimSpace(good(3)), "\n", ",") + "]"
	e := s.upload("mates.jsonl", array)
	if e.ID == d.ID {
		t.Error("another file is the same dataset")
	}
	_, err := s.Dataset(t.Context(), "mates.jsonl")
	wantFault(t, err, fault.Conflict, d.ID)
	page, more, err := s.Datasets(t.Context(), "", 1)
	if err != nil || len(page) != 1 || !more || page[0] != e {
		t.Errorf("%+v, %v, %v", page, more, err)
	}
	s.again()
	one, _ := s.Conversations(t.Context(), d.ID)
	two, err := s.Conversations(t.Context(), e.ID)
	if err != nil || fmt.Sprint(one) != fmt.Sprint(two) {
		t.Errorf("array and lines differ: %v", err)
	}

	if err := s.DeleteDataset(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	if left := s.files("datasets"); len(left) != 1 {
		t.Errorf("left %v", left)
	}
	for _, id := range []string{d.ID, "mates.jsonl", "../afina.db", "ds_", "ds_AAAAAAAAAAAAAAAA", "ds_../../../../etc"} {
		wantFault(t, s.DeleteDataset(t.Context(), id), fault.NotFound)
	}
	_, err = s.Conversations(t.Context(), "../datasets/"+e.ID)
	wantFault(t, err, fault.NotFound)
}

func TestLabels(t *testing.T) {
	s := newShelf(t)
	for i, c := range []struct{ name, want string }{
		{"mates.jsonl", "mates.jsonl"}, {"../../etc/passwd", "passwd"}, {`..\..\CON`, "CON"}, {"/abs/x", "x"}, {"a\x00b\r\nc", "abc"},
		{"", "dataset"}, {"..", "dataset"}, {"  ", "dataset"}, {"x/", "dataset"}, {"\xff\xfe", "dataset"}, {"clase 1 ñ.json", "clase 1 ñ.json"},
		{strings.Repeat("ñ", 300), strings.Repeat("ñ", 100)}, {"%2e%2e%2fx", "%2e%2e%2fx"},
	} {
		if d := s.upload(c.name, good(i+1)); d.Name != c.want {
			t.Errorf("%q became %q, want %q", c.name, d.Name, c.want)
		}
	}
	for _, f := range s.files("datasets") {
		if ok, _ := filepath.Match("datasets/ds_????????????????.jsonl", f); !ok {
			t.Errorf("a file is called %s", f)
		}
	}
}

func TestBadDatasetsLeaveNothing(t *testing.T) {
	s := newShelf(t)
	s.limits.Bytes = 10_000
	s.again()
	broken := errors.New("connection reset")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		r    io.Reader
		kind fault.Kind
	}{
		{"empty", t.Context(), strings.NewReader(""), fault.Unprocessable},
		{"one bad line", t.Context(), strings.NewReader(good(5) + "{}\n" + good(5)), fault.Unprocessable},
		{"too large", t.Context(), strings.NewReader(good(500)), fault.TooLarge},
		{"cut off", t.Context(), io.MultiReader(strings.NewReader(good(5)), iotest.ErrReader(broken)), fault.Internal},
		{"given up", ended, strings.NewReader(good(5)), fault.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.AddDataset(c.ctx, "x", c.r)
			if fault.KindOf(err) != c.kind {
				t.Errorf("got %v, want kind %s", err, c.kind)
			}
			if c.kind == fault.Internal && !errors.Is(err, broken) {
				t.Errorf("got %v, want the error of the reader", err)
			}
			if c.name == "one bad line" {
				var f *fault.Error
				errors.As(err, &f)
				if p, ok := f.Details.([]data.Problem); !ok || len(p) == 0 || p[0].Line != 6 {
					t.Errorf("details %+v", f.Details)
				}
			}
		})
	}
	page, _, err := s.Datasets(t.Context(), "", 10)
	if left := s.files("datasets"); len(left) != 0 || len(page) != 0 || err != nil {
		t.Errorf("left %v, %+v, %v", left, page, err)
	}
	s.upload("x", good(5))
}

func TestDatasetInUse(t *testing.T) {
	s := newShelf(t)
	d := s.upload("x", good(2))
	if _, _, err := s.store.AddJob(t.Context(), store.Job{ID: "job_1", State: "queued", Dataset: "x", Spec: json.RawMessage("{}")}, 9, nil); err != nil {
		t.Fatal(err)
	}
	wantFault(t, s.DeleteDataset(t.Context(), d.ID), fault.Conflict, "job_1")
	if _, err := s.Conversations(t.Context(), d.ID); err != nil {
		t.Errorf("the file of a dataset in use is gone: %v", err)
	}
}

func TestDamagedDataset(t *testing.T) {
	s := newShelf(t)
	d := s.upload("x", good(4))
	file := filepath.Join(s.data, "datasets", d.ID+".jsonl")
	for _, text := range []string{good(3), good(3) + "{", ""} {
		os.WriteFile(file, []byte(text), 0o600)
		if _, err := s.Conversations(t.Context(), d.ID); err == nil || fault.KindOf(err) != fault.Internal {
			t.Errorf("a damaged file of %d bytes: %v", len(text), err)
		}
	}
}
