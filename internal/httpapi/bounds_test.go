package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"afina/internal/catalog"
	"afina/internal/contract"
	"afina/internal/exams"
	"afina/internal/finetune"
	"afina/internal/jobs"
)

// TestBounds: what the contract does not allow is refused with the field's name,
// field by field and bound by bound, and what just keeps a bound is not.
func TestBounds(t *testing.T) {
	h := newHouse()
	h.Assistant = says("x")
	h.catalog.dataset = func(id string) (catalog.Dataset, error) { return aDataset, nil }
	h.jobs.place = func(o jobs.Order) (jobs.Job, error) { return aJob("job_0123456789abcdef", jobs.Queued), nil }
	h.jobs.submit = func(finetune.Spec, string) (jobs.Job, error) { return aJob("job_0123456789abcdef", jobs.Queued), nil }
	h.Exams = &fakeExams{submit: func(exams.Spec) (exams.Evaluation, error) { return anEvaluation(), nil }}
	s := h.open(t)
	for _, c := range []struct{ path, schema, good string }{
		{chatPath, "ChatCompletionRequest", `{"model":"m","logprobs":true,"tool_choice":"none","stream":true,"stream_options":{"include_usage":true},
			"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"}}},
			"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}],
			"messages":[{"role":"assistant","content":"y","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"user","content":"x"}]}`},
		{chatPath, "ChatCompletionRequest", `{"model":"m","logprobs":true,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`},
		{"/v1/completions", "CompletionRequest", `{"model":"m","prompt":"x","stream":true,"stream_options":{"include_usage":true}}`},
		{"/v1/embeddings", "EmbeddingRequest", `{"model":"m","input":"x","encoding_format":"base64"}`},
		{"/tokenize", "TokenizeRequest", `{"model":"m","content":"x","parse_special":false}`},
		{"/detokenize", "DetokenizeRequest", `{"model":"m","tokens":[1]}`},
		{"/apply-template", "TemplateRequest", `{"model":"m","tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}],
			"messages":[{"role":"assistant","content":"y","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"user","content":[{"type":"text","text":"x"}]}]}`},
		{"/jobs", "JobRequest", `{"model":"m","dataset":"ds_0123456789abcdef","lora":{"rank":1,"targets":["q"]}}`},
		{"/evaluations", "EvaluationRequest", `{"model":"m","dataset":"ds_0123456789abcdef"}`},
		{tunings, "FineTuningJobRequest", `{"model":"tiny","training_file":"file-0123456789abcdef","hyperparameters":{"n_epochs":1},"metadata":{"a":"b"}}`},
		{tunings, "FineTuningJobRequest", `{"model":"tiny","training_file":"file-0123456789abcdef","method":{"type":"supervised","supervised":{"hyperparameters":{"n_epochs":1,"batch_size":"auto"}}}}`},
	} {
		refused := 0
		for _, x := range contract.Broken(t, c.schema, c.good) {
			r := s.send("POST", c.path, x.Body)
			if x.Good {
				// It may be at odds with another field, be missed where it is null, or name
				// what is not there.
				if r.status/100 == 2 {
					continue
				}
				if f := r.failure(t); f.Param == x.At && f.Code != "missing_required_parameter" && f.Code != "file_not_found" || r.status != http.StatusBadRequest {
					t.Errorf("%s, %s: %d %s\n%.300s", x.At, x.What, r.status, r.text, x.Body)
				}
				continue
			}
			refused++
			if r.status != http.StatusBadRequest {
				t.Errorf("%s, %s: %d %s\n%.300s", x.At, x.What, r.status, r.text, x.Body)
				continue
			}
			// The field itself, or one inside it.
			if f := r.failure(t); !strings.HasPrefix(f.Param, x.At) {
				t.Errorf("%s, %s: the field at fault is %q, %s", x.At, x.What, f.Param, f.Message)
			}
		}
		t.Logf("%s: %d refused", c.schema, refused)
	}
}
