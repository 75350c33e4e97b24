package data_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
)

// FuzzRead holds the reader to three things: it ends with a dataset or with
// problems inside the file; what it takes, encoding/json takes as well and
// reads alike; and what is written is read back.
func FuzzRead(f *testing.F) {
	for _, s := range []string{good, "[" + good + "]", good + "\n" + good, "{}", "[", "[]", "{\"messages\":[{}]}", "\uFEFF" + good,
		strings.Repeat("[", 100), `{"messages":[{"role":"user","content":"\ud83d\ude00 \u00f1\n"},` + bot + `]}`, "{\"a\":-1.5e+3,\"a\":[null,true]}", "\xFF\xFE", good + "}"} {
		f.Add([]byte(s))
	}
	limits := data.Limits{Bytes: 1 << 16, LineBytes: 1 << 12, Conversations: 50, Messages: 8, Depth: 16}
	f.Fuzz(func(t *testing.T, file []byte) {
		all, err := data.ReadAll(bytes.NewReader(file), limits)
		if err != nil {
			inside(t, file, err)
			return
		}
		if want := byTheBook(t, file); !cmp.Equal(want, all) {
			t.Fatal(cmp.Diff(want, all))
		}
		var b bytes.Buffer
		if err := data.Write(&b, slices.Values(all)); err != nil {
			t.Fatal(err)
		}
		again, err := data.ReadAll(&b, data.Limits{})
		if err != nil || !cmp.Equal(all, again) {
			t.Fatal(err, cmp.Diff(all, again))
		}
	})
}

// inside checks that every problem lies in the file.
func inside(t *testing.T, file []byte, err error) {
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("%v is no fault", err)
	}
	if f.Kind == fault.TooLarge {
		return
	}
	problems, ok := f.Details.([]data.Problem)
	if !ok || len(problems) == 0 {
		t.Fatalf("%v has no problems", err)
	}
	lines := bytes.SplitAfter(file, []byte("\n"))
	for _, p := range problems {
		if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len(lines[p.Line-1])+1 {
			t.Fatalf("%+v is outside of the file", p)
		}
	}
}

// byTheBook reads with encoding/json what Read has accepted.
func byTheBook(t *testing.T, file []byte) (all []chat.Conversation) {
	file = bytes.TrimPrefix(file, []byte("\uFEFF"))
	if bytes.HasPrefix(bytes.TrimSpace(file), []byte("[")) {
		if err := json.Unmarshal(file, &all); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		return all
	}
	for line := range bytes.Lines(file) {
		if len(bytes.Trim(line, " \t\r\n")) == 0 {
			continue
		}
		var c chat.Conversation
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		all = append(all, c)
	}
	return all
}
