package lint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/lint"
)

// talk is a conversation of questions and answers, in turn.
func talk(texts ...string) chat.Conversation {
	var c chat.Conversation
	for i, text := range texts {
		role := chat.User
		if i%2 == 1 {
			role = chat.Assistant
		}
		c.Messages = append(c.Messages, chat.Message{Role: role, Content: text})
	}
	return c
}

func TestFindings(t *testing.T) {
	all := []chat.Conversation{
		talk("¿Cuánto es 2 + 2?", "2 + 2 = 4."),
		talk("¿Cuánto es 2 + 3?", "2 + 3 = 5.", "¿Y 5 + 5? Creo que 5 + 5 = 11.", "No: 5 + 5 = 12."),
		talk("Hola", "Buenos días."),
	}
	r, err := lint.Conversations(t.Context(), all, lint.Linter{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (lint.Counts{Answers: 4, Claims: 3, True: 2, False: 1}); r.Counts != want {
		t.Errorf("counts %+v, want %+v", r.Counts, want)
	}
	if len(r.Findings) != 1 || r.More {
		t.Fatalf("findings %+v", r.Findings)
	}
	f := r.Findings[0]
	if f.Conversation != 1 || f.Message != 3 || f.Text != "5 + 5 = 12" || f.Span.Start != 4 || !strings.Contains(f.Correction, "10") {
		t.Errorf("finding %+v", f)
	}
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var wire map[string]any
	if err := json.Unmarshal(text, &wire); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"conversation", "message", "span", "verdict", "reason", "correction"} {
		if _, ok := wire[key]; !ok {
			t.Errorf("the JSON %s has no %s", text, key)
		}
	}
	if s := f.String(); !strings.HasPrefix(s, `conversation 1, message 3: "5 + 5 = 12" is false`) {
		t.Errorf("as text: %s", s)
	}
}

// However many there are, order and counts are those of one after the other.
func TestManyInOrder(t *testing.T) {
	var all []chat.Conversation
	for i := range 1000 {
		all = append(all, talk("?", fmt.Sprintf("%d + 1 = %d", i, i+1+i%2)))
	}
	r, err := lint.Conversations(t.Context(), all, lint.Linter{Most: 100})
	if err != nil {
		t.Fatal(err)
	}
	if r.True != 500 || r.False != 500 || len(r.Findings) != 100 || !r.More {
		t.Errorf("%+v, %d findings, more %v", r.Counts, len(r.Findings), r.More)
	}
	if !slices.IsSortedFunc(r.Findings, func(a, b lint.Finding) int { return a.Conversation - b.Conversation }) {
		t.Error("the findings are not in order")
	}
	if r, err = lint.Conversations(t.Context(), all, lint.Linter{All: true}); err != nil || len(r.Findings) != lint.Most {
		t.Errorf("%d findings of all, %v", len(r.Findings), err)
	}
}

// Our own dataset is large enough and right.
func TestOurDataset(t *testing.T) {
	f, err := os.Open("../../dataset/matematicas.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := data.ReadAll(f, data.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	for _, c := range all {
		asked[c.Messages[0].Content] = true
	}
	if len(all) < 500 || len(asked) != len(all) {
		t.Errorf("%d conversations, %d different first questions", len(all), len(asked))
	}
	r, err := lint.Conversations(t.Context(), all, lint.Linter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		t.Error(f)
	}
	if r.True < r.Claims*9/10 || r.Claims < 500 {
		t.Errorf("only %d of %d claims are proven", r.True, r.Claims)
	}
}

func TestGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := lint.Conversations(ctx, []chat.Conversation{talk("?", "1 + 1 = 2")}, lint.Linter{})
	if fault.KindOf(err) != fault.Canceled {
		t.Errorf("got %v", err)
	}
}
