package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"afina/internal/evaluate"
	"afina/internal/exams"
	"afina/internal/fault"
	"afina/internal/jobs"
	"afina/internal/lint"
)

type fakeExams struct {
	submit func(s exams.Spec) (exams.Evaluation, error)
	find   func(id string) (exams.Evaluation, error)
	list   func(after string, limit int) ([]exams.Evaluation, bool, error)
	cancel func(id string) (exams.Evaluation, error)
	delete func(id string) error
}

func (f *fakeExams) Submit(_ context.Context, s exams.Spec) (exams.Evaluation, error) {
	return f.submit(s)
}
func (f *fakeExams) Find(_ context.Context, id string) (exams.Evaluation, error) { return f.find(id) }
func (f *fakeExams) List(_ context.Context, after string, limit int) ([]exams.Evaluation, bool, error) {
	return f.list(after, limit)
}
func (f *fakeExams) Cancel(_ context.Context, id string) (exams.Evaluation, error) {
	return f.cancel(id)
}
func (f *fakeExams) Delete(_ context.Context, id string) error { return f.delete(id) }

// anEvaluation is one that has succeeded, with everything in its report.
func anEvaluation() exams.Evaluation {
	at := time.Unix(1795419000, 0).UTC()
	share := &evaluate.Estimate{Value: 0.5, Low: 0.25, High: 0.75}
	marks := &evaluate.Marks{Questions: 2, Graded: 2, Claims: lint.Counts{Answers: 2, Claims: 1, True: 1}, Right: share, False: share}
	answer := &evaluate.Answer{Text: "x = 2", Final: "x = 2", Grade: evaluate.Right}
	return exams.Evaluation{
		ID: "eval_0a1b2c3d4e5f6g7h", Object: "evaluation", Status: jobs.Succeeded, Progress: 1, Created: at, Started: &at, Finished: &at,
		Spec: exams.Spec{Model: "mates", Dataset: aDataset.ID, Questions: 2, Samples: 1, MaxLength: 64, MaxTokens: 64},
		Report: &evaluate.Report{
			Model: "mates", Base: "tiny", LossInterval: share, BaseLossInterval: share, LossGain: share, BaseMarks: marks, Marks: marks,
			Verified: marks, Verify: 8, Gain: &evaluate.Gain{Right: share, False: share}, VerifyGain: &evaluate.Gain{},
			Samples: []evaluate.Sample{{Question: "¿?", Reference: "2", Base: answer}},
		},
	}
}

func TestEvaluations(t *testing.T) {
	h := newHouse()
	var asked exams.Spec
	e := anEvaluation()
	h.Exams = &fakeExams{
		submit: func(s exams.Spec) (exams.Evaluation, error) {
			asked, e.Spec = s, s
			return e, nil
		},
		find: func(string) (exams.Evaluation, error) { return e, nil },
		list: func(after string, limit int) ([]exams.Evaluation, bool, error) {
			return []exams.Evaluation{e}, after == "" && limit == 1, nil
		},
		cancel: func(id string) (exams.Evaluation, error) {
			return e, fault.New(fault.Conflict, "%s is over", id).WithCode("already_finished")
		},
		delete: func(id string) error {
			if id != e.ID {
				return fault.New(fault.Conflict, "%s is running", id).WithCode("evaluation_not_finished")
			}
			return nil
		},
	}
	s := h.open(t)
	r := s.send("POST", "/evaluations", `{"model":"mates","dataset":"x","questions":-1,"verify":8}`)
	if r.status != http.StatusAccepted || r.header.Get("Location") != "/evaluations/"+e.ID {
		t.Fatal(r.status, r.header, r.text)
	}
	train := h.Config.Train
	want := exams.Spec{Model: "mates", Dataset: "x", Questions: -1, Samples: 5, Verify: 8, TestSplit: train.TestSplit, Seed: train.Seed, MaxLength: train.MaxLength, MaxTokens: 256}
	if asked != want {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
	s.refused(s.send("POST", "/evaluations", `{"model":"mates","dataset":"x","verify":17}`), 400, "invalid_value", "verify", "at most 16")
	s.refused(s.send("POST", "/evaluations", `{"model":"mates"}`), 400, "missing_required_parameter", "dataset", "missing")
	var page struct {
		Data []json.RawMessage
		More bool `json:"has_more"`
	}
	r = s.send("GET", "/evaluations?limit=1", "")
	if err := json.Unmarshal([]byte(r.text), &page); err != nil || len(page.Data) != 1 || !page.More {
		t.Error(r.status, r.text)
	}
	if r = s.send("GET", "/evaluations/"+e.ID, ""); r.status != http.StatusOK || !strings.Contains(r.text, `"report":{"model":"mates"`) {
		t.Error(r.status, r.text)
	}
	s.refused(s.send("POST", "/evaluations/"+e.ID+"/cancel", ""), 409, "already_finished", "", "is over")
	s.refused(s.send("DELETE", "/evaluations/eval_other", ""), 409, "evaluation_not_finished", "", "is running")
	if r = s.send("DELETE", "/evaluations/"+e.ID, ""); r.status != http.StatusOK || strings.TrimSpace(r.text) != `{"id":"`+e.ID+`","object":"evaluation","deleted":true}` {
		t.Error(r.status, r.text)
	}
}

func TestEvaluationReports(t *testing.T) {
	h := newHouse()
	e := anEvaluation()
	h.Exams = &fakeExams{find: func(string) (exams.Evaluation, error) { return e, nil }}
	s := h.open(t)
	for _, c := range []struct{ query, kind, has string }{
		{"", "application/json", `"verified_marks":{`},
		{"?format=json", "application/json", `"right":{"value":0.5`},
		{"?format=markdown", "text/markdown; charset=utf-8", "| right answers | 50.0 % [25.0, 75.0] |"},
		{"?format=csv", "text/csv; charset=utf-8", "\nright,0.5,0.25,0.75,"},
	} {
		r := s.send("GET", "/evaluations/x/report"+c.query, "")
		if r.status != http.StatusOK || r.header.Get("Content-Type") != c.kind || !strings.Contains(r.text, c.has) {
			t.Errorf("%s: %d %s %s", c.query, r.status, r.header.Get("Content-Type"), r.text)
		}
	}
	s.refused(s.send("GET", "/evaluations/x/report?format=pdf", ""), 400, "invalid_value", "format", "markdown")
	e.Report, e.Status = nil, jobs.Running
	s.refused(s.send("GET", "/evaluations/x/report", ""), 409, "no_report", "", "is running")
}
