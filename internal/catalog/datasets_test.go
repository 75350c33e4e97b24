package catalog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/lint"
	"afina/internal/store"
)

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
	if err != nil || len(page) != 1 || !more || !reflect.DeepEqual(page[0], e) {
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

// What is wrong in the answers is counted, and refused when that is asked for.
func TestMathematics(t *testing.T) {
	s := newShelf(t)
	text := `[{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"2 + 2 = 4"}]},
		{"messages":[{"role":"user","content":"b"},{"role":"assistant","content":"3 + 3 = 7"}]}]`
	_, err := s.AddStrict(t.Context(), "mates", strings.NewReader(text))
	wantFault(t, err, fault.Unprocessable, "conversation 1, message 1", "3 + 3 = 7")
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != "wrong_mathematics" {
		t.Errorf("error is %+v", err)
	}
	if p, ok := f.Details.([]data.Problem); !ok || len(p) != 1 || p[0].Conversation != 1 || p[0].Path != "[1].messages[1].content" || p[0].Code != "false_mathematics" {
		t.Errorf("details are %+v", f.Details)
	}
	if left := s.files("datasets"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	d := s.upload("mates", text)
	if want := (lint.Counts{Answers: 2, Claims: 2, True: 1, False: 1}); d.Math == nil || *d.Math != want {
		t.Errorf("counts %+v, want %+v", d.Math, want)
	}
	s.again()
	if e, err := s.Dataset(t.Context(), d.ID); err != nil || !reflect.DeepEqual(e, d) {
		t.Errorf("found again as %+v, %v", e, err)
	}
	if _, err := s.AddStrict(t.Context(), "sumas", strings.NewReader(strings.ReplaceAll(text, "7", "6"))); err != nil {
		t.Errorf("right mathematics is refused: %v", err)
	}
}
