package catalog_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"afina/internal/catalog"
	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/store"
)

const aJob = "job_0123456789abcdef"

// withJobs makes the catalog anew with a folder for jobs.
func (s *shelf) withJobs() {
	s.t.Helper()
	c, err := catalog.New(catalog.Options{Models: s.models, Data: s.data, Jobs: filepath.Join(s.data, "jobs"), Limits: s.limits}, s.store, s.gang)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Catalog = c
}

func TestAdapterName(t *testing.T) {
	for suffix, want := range map[string]string{
		"mates":                  "mates-0123456789abcdef",
		"":                       "ft-0123456789abcdef",
		"custom model name":      "custom-model-name-0123456789abcdef",
		"../:/":                  "ft-0123456789abcdef",
		"Álgebra 2":              "Álgebra-2-0123456789abcdef",
		strings.Repeat("x", 100): strings.Repeat("x", 64) + "-0123456789abcdef",
	} {
		got := catalog.AdapterName(suffix, aJob)
		if got != want {
			t.Errorf("AdapterName(%q) = %q, want %q", suffix, got, want)
		}
		if err := catalog.CheckName(got); err != nil {
			t.Errorf("%q: %v", got, err)
		}
	}
}

// TestNames: an adapter is found under every name it has, and under no other.
func TestOpenAINames(t *testing.T) {
	s := newShelf(t)
	s.place("tiny.gguf", 1)
	s.withJobs()
	m := s.base("tiny")
	for _, name := range []string{catalog.AdapterName("mates", aJob), "sumas"} {
		job := aJob
		if name == "sumas" {
			job = "job_zzzzzzzzzzzzzzzz"
		}
		if _, err := s.Publish(s.adapter(name, m, 1), m, job); err != nil {
			t.Fatal(err)
		}
	}
	for step := 1; step <= 7; step++ {
		kept := catalog.Step{Number: step, TrainLoss: 2, EvalLoss: 1 / float64(step)}
		for range 2 { // a run that goes on from a checkpoint tells its step again
			if err := s.KeepStep(s.adapter(catalog.AdapterName("mates", aJob), m, uint64(step)), m, aJob, kept); err != nil {
				t.Fatal(err)
			}
		}
	}
	const ft = "ft:tiny:afina:mates:0123456789abcdef"
	for name, want := range map[string]float32{
		ft: 1, strings.ToUpper(ft[:3]) + ft[3:]: 1, "mates-0123456789abcdef": 1, "ft:tiny:afina:sumas:zzzzzzzzzzzzzzzz": 1, "sumas": 1,
		ft + ":ckpt-step-7": 7, ft + ":ckpt-step-3": 3,
	} {
		base, a, err := s.Resolve(name)
		if err != nil || base != m || a == nil || a.Pairs[0]["attn_q"].B[0] != want {
			t.Errorf("Resolve(%s) = %v, %v", name, a, err)
		}
	}
	for _, name := range []string{
		ft + ":ckpt-step-2", ft + ":ckpt-step-8", ft + ":ckpt-step-../7", ft + ":ckpt-step-07", ft + ":ckpt-step-", ft + "x",
		"ft:tiny:afina:other:0123456789abcdef", "ft:huge:afina:mates:0123456789abcdef", "ft:tiny:afina:mates:0123456789abcdeg", "ft:", aJob + ":live",
	} {
		_, _, err := s.Resolve(name)
		wantFault(t, err, fault.NotFound)
	}
	all, err := s.Steps(aJob)
	if err != nil || len(all) != 5 || all[0].Number != 7 || all[4].Number != 3 || all[0].Model != ft+":ckpt-step-7" ||
		all[0].EvalLoss != 1./7 || all[0].Created.IsZero() {
		t.Errorf("Steps: %+v, %v", all, err)
	}
	for _, strange := range []string{"../jobs", "job_unknownunknown1", ""} {
		if all, err := s.Steps(strange); err != nil || len(all) != 0 {
			t.Errorf("Steps(%q) = %v, %v", strange, all, err)
		}
	}
	if err := s.DeleteAdapter(ft + ":ckpt-step-7"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("delete a step: %v", err)
	}
	if err := s.DeleteAdapter(ft); err != nil {
		t.Error(err)
	}
	_, _, err = s.Resolve("mates-0123456789abcdef")
	wantFault(t, err, fault.NotFound)
}

func TestLiveName(t *testing.T) {
	s := newShelf(t)
	s.place("tiny.gguf", 1)
	m := s.base("tiny")
	var asked []string
	s.Live = func(job string) (*model.Model, *lora.Adapter, error) {
		asked = append(asked, job)
		return m, nil, nil
	}
	for _, name := range []string{aJob + ":live", "ftjob-0123456789abcdef:live"} {
		if got, _, err := s.Resolve(name); err != nil || got != m {
			t.Error(name, err)
		}
	}
	_, _, err := s.Resolve("0123456789abcdef:live")
	wantFault(t, err, fault.NotFound)
	if len(asked) != 2 || asked[0] != aJob || asked[1] != aJob {
		t.Error(asked)
	}
}

// TestFiles: a dataset is a file, byte for byte.
func TestFiles(t *testing.T) {
	s := newShelf(t)
	text := "\ufeff[" + strings.ReplaceAll(strings.TrimSpace(good(3)), "\n", " ,\r\n") + "]\n \n"
	d := s.upload("mates.json", text)
	e := s.upload("more.jsonl", good(2))
	page, more, err := s.Files(t.Context(), "", "", 1, false)
	if err != nil || !more || len(page) != 1 || page[0].ID != e.ID || page[0].Purpose != store.ForTraining {
		t.Errorf("%+v, %v, %v", page, more, err)
	}
	page, more, err = s.Files(t.Context(), store.ForTraining, d.ID, 5, true)
	if err != nil || more || len(page) != 1 || page[0].ID != e.ID {
		t.Errorf("%+v, %v, %v", page, more, err)
	}
	if page, _, err := s.Files(t.Context(), store.OfResults, "", 5, true); err != nil || len(page) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
	_, _, err = s.Files(t.Context(), "", "ds_ffffffffffffffff", 5, true)
	wantFault(t, err, fault.Invalid, "after")
	r, n, err := s.Content(t.Context(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || string(got) != text || n != int64(len(text)) || n != d.Bytes {
		t.Errorf("%q of %d bytes, %v", got, n, err)
	}
	if all, err := s.Conversations(t.Context(), d.ID); err != nil || len(all) != 3 {
		t.Error(all, err)
	}
	if err := s.DeleteFile(t.Context(), d.ID); err != nil {
		t.Error(err)
	}
	_, err = s.File(t.Context(), d.ID)
	wantFault(t, err, fault.NotFound)
	_, _, err = s.Content(t.Context(), d.ID)
	wantFault(t, err, fault.NotFound)
}

func TestExpiry(t *testing.T) {
	s := newShelf(t)
	short, err := s.AddExpiring(t.Context(), "a", strings.NewReader(good(1)), time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	long, err := s.AddExpiring(t.Context(), "a", strings.NewReader(good(1)), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if short.ID == long.ID {
		t.Error("two files with different ends are one")
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.File(t.Context(), short.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("what has expired is still there: %v", err)
	}
	if f, err := s.File(t.Context(), long.ID); err != nil || f.Expires == nil || time.Until(*f.Expires) < 59*time.Minute {
		t.Errorf("%+v, %v", f, err)
	}
	if left, err := os.ReadDir(filepath.Join(s.data, "datasets")); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
}
