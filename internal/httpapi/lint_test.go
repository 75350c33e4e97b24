package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
)

func sums(texts ...string) []chat.Conversation {
	var all []chat.Conversation
	for _, t := range texts {
		all = append(all, chat.Conversation{Messages: []chat.Message{{Role: chat.User, Content: "?"}, {Role: chat.Assistant, Content: t}}})
	}
	return all
}

func TestLint(t *testing.T) {
	h := newHouse()
	h.catalog.dataset = func(string) (catalog.Dataset, error) { return aDataset, nil }
	h.catalog.conversations = func(string) ([]chat.Conversation, error) {
		return sums("2 + 2 = 4", "2 + 2 = 5", "Es 3 + 3 = 7 y 1 + 1 = 3"), nil
	}
	s := h.open(t)
	for _, c := range []struct {
		query string
		n     int
		more  bool
	}{{"", 3, false}, {"?all=true", 4, false}, {"?all=false", 3, false}, {"?limit=2", 2, true}} {
		r := s.send("GET", "/datasets/x/lint"+c.query, "")
		var got struct {
			Claims, False int
			More          bool
			Findings      []struct {
				Conversation, Message int
				Span                  struct{ Start, End int }
				Verdict, Reason       string
			}
		}
		if err := json.Unmarshal([]byte(r.text), &got); err != nil || r.status != http.StatusOK {
			t.Fatal(r.status, r.text)
		}
		if got.Claims != 4 || got.False != 3 || len(got.Findings) != c.n || got.More != c.more {
			t.Errorf("%s: %s", c.query, r.text)
		}
		if f := got.Findings[c.n-1]; c.query == "" && (f.Conversation != 2 || f.Message != 1 || f.Span.Start != 15 || f.Verdict != "false" || f.Reason == "") {
			t.Errorf("the last finding is %+v", f)
		}
	}
	s.refused(s.send("GET", "/datasets/x/lint?all=yes", ""), 400, "invalid_value", "all", "true or false")
	s.refused(s.send("GET", "/datasets/x/lint?limit=0", ""), 400, "invalid_value", "limit", "1 to")
}

// The statistics have the counts of the upload, or count when there are none.
func TestStatsOfMathematics(t *testing.T) {
	h := newHouse()
	d := aDataset
	h.catalog.dataset = func(string) (catalog.Dataset, error) { return d, nil }
	h.catalog.conversations = func(string) ([]chat.Conversation, error) { return sums("2 + 2 = 5"), nil }
	s := h.open(t)
	falses := func() int {
		var got struct{ Math struct{ False, True int } }
		r := s.send("GET", "/datasets/x/stats", "")
		if err := json.Unmarshal([]byte(r.text), &got); err != nil || r.status != http.StatusOK {
			t.Fatal(r.status, r.text)
		}
		return 10*got.Math.True + got.Math.False
	}
	if n := falses(); n != 21 {
		t.Errorf("with the counts of the upload: %d", n)
	}
	d.Math = nil
	if n := falses(); n != 1 {
		t.Errorf("without: %d", n)
	}
}

func TestStrictUpload(t *testing.T) {
	h := newHouse()
	h.Config.Data = t.TempDir()
	strict := 0
	h.catalog.add = func(string, io.Reader) (catalog.Dataset, error) { return aDataset, nil }
	h.catalog.strict = func(string, io.Reader) (catalog.Dataset, error) {
		strict++
		return catalog.Dataset{}, fault.New(fault.Unprocessable, "conversation 1 is wrong").WithCode("wrong_mathematics").WithParam("file").
			WithDetails([]data.Problem{{Conversation: 1, Path: "[1].messages[1].content", Code: "false_mathematics", Message: "2 + 2 = 5"}})
	}
	s := h.open(t)
	file := [3]string{"file", "a.jsonl", twoLines}
	body, kind := form(t, file, [3]string{"strict", "", "true"})
	s.refused(s.send("POST", "/datasets", body, "Content-Type", kind), 422, "wrong_mathematics", "file", "conversation 1")
	s.refused(s.send("POST", "/datasets?strict=true", twoLines, "Content-Type", "application/jsonl"), 422, "wrong_mathematics", "file", "conversation 1")
	if strict != 2 {
		t.Errorf("%d strict uploads", strict)
	}
	if r := s.send("POST", "/datasets?strict=false", twoLines, "Content-Type", "application/jsonl"); r.status != http.StatusCreated {
		t.Error(r.status, r.text)
	}
	body, kind = form(t, [3]string{"strict", "", "perhaps"}, file)
	s.refused(s.send("POST", "/datasets", body, "Content-Type", kind), 400, "invalid_form", "strict", "true or false")
}
