package catalog_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"afina/internal/catalog"
	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/model"
)

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
		"a": true, "mates-v1.2_x": true, "Matemáticas": true, "数学": true, strings.Repeat("a", 96): true,
		"": false, ".": false, "..": false, ".tmp-a": false, "a/b": false, `a\b`: false, "../a": false, "-a": false, "a b": false,
		"a\x00": false, "a\n": false, "a\xff": false, "a.": false, "a.gguf": false, strings.Repeat("a", 97): false, "a:b": false,
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
