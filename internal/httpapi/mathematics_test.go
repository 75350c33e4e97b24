package httpapi_test

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"strings"
	"testing"

	"afina/internal/assistant"
	"afina/internal/contract"
	"afina/internal/fault"
	"afina/internal/lint"
)

// found is the mathematics of an answer or of a chunk.
type found struct {
	Choices []struct{ Message, Delta struct{ Content string } }
	Usage   *struct {
		Completion int `json:"completion_tokens"`
	}
	Math *struct {
		True, False, Claims int
		Verdicts            []struct {
			Span    struct{ Start, End int }
			Verdict string
		}
		Verify *struct {
			Candidates, Chosen int
			Passed             bool
		}
	}
}

func read(t *testing.T, text string) (f found) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return f
}

func TestMathCheck(t *testing.T) {
	h := newHouse()
	h.Assistant = says("2 + 2 ", "= 4, y 3 + 3", " = 7.")
	s := h.open(t)
	r := s.send("POST", chatPath, asks(`"math_check":true`))
	f := read(t, r.text)
	if r.status != http.StatusOK || f.Math == nil || f.Math.True != 1 || f.Math.False != 1 || len(f.Math.Verdicts) != 2 || f.Math.Verify != nil {
		t.Fatalf("%d %s", r.status, r.text)
	}
	if v := f.Math.Verdicts[1]; v.Verdict != "false" || f.Choices[0].Message.Content[v.Span.Start:v.Span.End] != "3 + 3 = 7" {
		t.Errorf("the second verdict is %+v", v)
	}
	if c := h.meters.verdicts["tiny"]; c != (lint.Counts{Answers: 1, Claims: 2, True: 1, False: 1}) {
		t.Errorf("counted %+v", h.meters.verdicts)
	}
	for _, body := range []string{asks(""), asks(`"math_check":false`), asks(`"math_check":null,"math_verify":1`)} {
		if r := s.send("POST", chatPath, body); strings.Contains(r.text, "math") {
			t.Errorf("%s: %s", body, r.text)
		}
	}
	s.refused(s.send("POST", chatPath, asks(`"math_verify":17`)), 400, "invalid_value", "math_verify", "at most 16")
	s.refused(s.send("POST", chatPath, asks(`"math_verify":0`)), 400, "invalid_value", "math_verify", "at least 1")
}

// TestMathCheckStream: the verdicts come in a chunk without choices, behind the
// reason and before the usage, which stays the last.
func TestMathCheckStream(t *testing.T) {
	h := newHouse()
	h.Assistant = says("2 + 2 = ", "5")
	s := h.open(t)
	for _, usage := range []bool{false, true} {
		options := ""
		if usage {
			options = `,"stream_options":{"include_usage":true}`
		}
		r := s.send("POST", chatPath, asks(`"stream":true,"math_check":true`+options))
		events := strings.Split(strings.TrimSpace(r.text), "\n\n")
		if events[len(events)-1] != "data: [DONE]" || strings.Contains(r.text, `"error"`) {
			t.Fatal(r.text)
		}
		at := len(events) - 2
		if usage {
			last := read(t, strings.TrimPrefix(events[at], "data: "))
			if last.Usage == nil || len(last.Choices) != 0 || last.Math != nil {
				t.Errorf("the usage is %s", events[at])
			}
			at--
		}
		text := strings.TrimPrefix(events[at], "data: ")
		contract.Matches(t, "ChatCompletionChunk", []byte(text))
		if f := read(t, text); f.Math == nil || f.Math.False != 1 || f.Choices == nil || len(f.Choices) != 0 || f.Usage != nil {
			t.Errorf("the mathematics is %s", text)
		}
		if strings.Count(r.text, `"math"`) != 1 || !strings.Contains(events[at-1], `"finish_reason":"stop"`) {
			t.Error(r.text)
		}
	}
}

func TestMathVerify(t *testing.T) {
	h := newHouse()
	texts := map[bool]string{true: "2 + 2 = 5", false: "2 + 2 = 4"}
	h.Assistant = fakeAssistant(func(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
		return says(texts[q.Sampling.Seed == 9])(ctx, q) // the first candidate is wrong
	})
	s := h.open(t)
	r := s.send("POST", chatPath, asks(`"math_verify":4,"seed":9,"temperature":0`))
	f := read(t, r.text)
	if r.status != http.StatusOK || f.Choices[0].Message.Content != "2 + 2 = 4" || f.Math == nil || f.Math.Verify == nil {
		t.Fatal(r.status, r.text)
	}
	if v := f.Math.Verify; v.Candidates != 4 || v.Chosen != 1 || !v.Passed || f.Usage.Completion != 2 {
		t.Errorf("%s", r.text)
	}
	r = s.send("POST", chatPath, asks(`"math_verify":4,"seed":9,"stream":true`))
	if !strings.Contains(r.text, `"content":"2 + 2 = 4"`) || strings.Contains(r.text, "= 5") || !strings.Contains(r.text, `"chosen":1`) {
		t.Error(r.text)
	}
	h = newHouse()
	h.Assistant = breaks(fault.New(fault.Busy, "full"), "2 +")
	s = h.open(t)
	if r := s.send("POST", chatPath, asks(`"math_verify":3,"stream":true`)); r.status != http.StatusTooManyRequests {
		t.Error(r.status, r.text)
	}
}
