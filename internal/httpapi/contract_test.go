package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"

	"afina/api"
	"afina/internal/catalog"
	"afina/internal/contract"
	"afina/internal/data"
	"afina/internal/evaluate"
	"afina/internal/exams"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/lint"
	"afina/internal/mathcheck"
)

// site is a house that is open, and a client that checks all it is told.
type site struct {
	*house
	t      testing.TB
	base   string
	client *http.Client
}

func (h *house) open(t testing.TB) *site {
	t.Helper()
	server := httptest.NewServer(h.Handler())
	t.Cleanup(server.Close)
	return &site{h, t, server.URL, &http.Client{Transport: contract.Transport(t, nil)}}
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	text   string
}

// failure is the inside of an error body; null reads as "".
type failure struct {
	Message, Type string
	Param, Code   string
	Errors        []data.Problem
}

func (r reply) failure(t testing.TB) failure {
	t.Helper()
	var body struct{ Error failure }
	if err := json.Unmarshal([]byte(r.text), &body); err != nil {
		t.Fatalf("%q: %v", r.text, err)
	}
	return body.Error
}

// send sends a request; headers come as name, value, ….
func (s *site) send(method, path, body string, headers ...string) reply {
	s.t.Helper()
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, s.base+path, b)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// refused sends and expects an error of this status, code and param.
func (s *site) refused(r reply, status int, code, param, says string) {
	s.t.Helper()
	f := r.failure(s.t)
	if r.status != status || f.Code != code || f.Param != param || !strings.Contains(f.Message, says) {
		s.t.Errorf("got %d %s\nwant %d, code %s, param %q, saying %q", r.status, r.text, status, code, param, says)
	}
}

// TestContractAndRouter: what the one has, the other has.
func TestContractAndRouter(t *testing.T) {
	var routed, described []string
	err := chi.Walk(newHouse().Handler().(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed = append(routed, method+" "+route)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range contract.Document(t).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	for _, r := range routed {
		if !slices.Contains(described, r) {
			t.Errorf("%s is not described in api/openapi.yaml", r)
		}
	}
	for _, d := range described {
		if !slices.Contains(routed, d) {
			t.Errorf("%s is described but not routed", d)
		}
	}
}

// TestContractAndTypes: schemas and wire types have the same fields.
func TestContractAndTypes(t *testing.T) {
	for schema, typ := range map[string]reflect.Type{
		"Dataset": reflect.TypeFor[catalog.Dataset](), "Stats": reflect.TypeFor[data.Stats](),
		"Distribution": reflect.TypeFor[data.Distribution](), "Job": reflect.TypeFor[jobs.Job](),
		"Progress": reflect.TypeFor[jobs.Progress](), "JobFailure": reflect.TypeFor[jobs.Failure](),
		"Result": reflect.TypeFor[finetune.Result](), "JobRequest": reflect.TypeFor[finetune.Spec](),
		"LoRA": reflect.TypeFor[finetune.LoRA](), "MathCounts": reflect.TypeFor[lint.Counts](),
		"Claim": reflect.TypeFor[mathcheck.Finding](), "Evaluation": reflect.TypeFor[exams.Evaluation](),
		"EvaluationRequest": reflect.TypeFor[exams.Spec](), "EvaluationReport": reflect.TypeFor[evaluate.Report](),
		"Marks": reflect.TypeFor[evaluate.Marks](), "MarkedAnswer": reflect.TypeFor[evaluate.Answer](),
		"Estimate": reflect.TypeFor[evaluate.Estimate](),
	} {
		got, want := properties(contract.Document(t).Components.Schemas[schema].Value), []string{}
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			want = append(want, name)
		}
		got = slices.DeleteFunc(got, func(p string) bool { // what the door adds
			return !slices.Contains(want, p) && (p == "object" || p == "dataset" || p == "math")
		})
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the contract has %v, the type has %v", schema, got, want)
		}
	}
}

// TestOrders: orders are what the contract says, also in their types.
func TestOrders(t *testing.T) {
	contract.Asked(t, "JobRequest", finetune.Spec{})
	contract.Asked(t, "EvaluationRequest", exams.Spec{})
}

func properties(s *openapi3.Schema) (all []string) {
	for name := range s.Properties {
		all = append(all, name)
	}
	for _, part := range s.AllOf {
		all = append(all, properties(part.Value)...)
	}
	return all
}

// TestContractServed: what is served is what is described.
func TestContractServed(t *testing.T) {
	r := newHouse().open(t).send("GET", "/openapi.yaml", "")
	if r.status != http.StatusOK || r.text != string(api.Contract) || r.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("got %d, %s, %d bytes", r.status, r.header.Get("Content-Type"), len(r.text))
	}
}

// TestRequestFields: the door takes every field that the contract has, and no
// other: null is known, except where it is the wrong type.
func TestRequestFields(t *testing.T) {
	h := newHouse()
	h.Assistant = says("x")
	s := h.open(t)
	for _, name := range properties(contract.Document(t).Components.Schemas["ChatCompletionRequest"].Value) {
		if name == "model" || name == "messages" {
			continue
		}
		r := s.send("POST", "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}],"`+name+`":null}`)
		if r.status != http.StatusOK {
			t.Errorf("%s: null: %d %s", name, r.status, r.text)
		}
	}
	for _, name := range properties(contract.Document(t).Components.Schemas["ChatMessage"].Value) {
		if name == "role" || name == "content" {
			continue
		}
		r := s.send("POST", "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x","`+name+`":null}]}`)
		if r.status != http.StatusOK {
			t.Errorf("messages[0].%s: null: %d %s", name, r.status, r.text)
		}
	}
}
