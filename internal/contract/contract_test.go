package contract_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"afina/internal/contract"
)

// witness takes down what a checker finds.
type witness struct {
	testing.TB
	found []string
}

func (w *witness) Errorf(format string, args ...any) {
	w.found = append(w.found, fmt.Sprintf(format, args...))
}

// serve answers everything with one answer.
func serve(t *testing.T, status int, kind, body string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", kind)
		w.Header().Set("X-Request-Id", "req_"+strings.Repeat("a", 26))
		if strings.HasPrefix(kind, "text/event-stream") {
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("X-Accel-Buffering", "no")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const (
	question  = `{"model":"m","messages":[{"role":"user","content":"x"}]}`
	streaming = `{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}`
	counting  = `{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}`

	usageText = `{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`
	whole     = `{"id":"chatcmpl-A","object":"chat.completion","created":1,"model":"m","system_fingerprint":"f","choices":[{"index":0,"message":{"role":"assistant","content":"a","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":` + usageText + `}`
	failure   = `{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}`

	first = `{"id":"chatcmpl-A","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}`
	last  = `{"id":"chatcmpl-A","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}`
	costs = `{"id":"chatcmpl-A","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"f","choices":[],"usage":` + usageText + `}`
)

// sse writes events.
func sse(events ...string) string {
	return "data: " + strings.Join(events, "\n\ndata: ") + "\n\n"
}

// withNull is a chunk with a usage that is yet to come.
func withNull(chunk string) string { return strings.TrimSuffix(chunk, "}") + `,"usage":null}` }

// TestFinds: each difference from the contract is found, and nothing else.
func TestFinds(t *testing.T) {
	const events, chat = "text/event-stream; charset=utf-8", "/v1/chat/completions"
	for _, c := range []struct {
		name, path, asked string
		status            int
		kind, answered    string
		want              string // within what is found; "": nothing is
	}{
		{"an answer", chat, question, 200, "application/json", whole, ""},
		{"a refusal", chat, question, 400, "application/json", failure, ""},
		{"a refusal of what the contract lacks", chat, `{"x":1}`, 400, "application/json", failure, ""},
		{"granted, and not in the contract", chat, `{"model":"m","messages":[],"x":1}`, 200, "application/json", whole, "no such request"},
		{"granted, out of bounds", chat, strings.Replace(question, "{", `{"temperature":3,`, 1), 200, "application/json", whole, "temperature"},
		{"a field too many", chat, question, 200, "application/json", strings.Replace(whole, "{", `{"x":1,`, 1), "\"x\" is unsupported"},
		{"a field too few", chat, question, 200, "application/json", strings.Replace(whole, `"logprobs":null,`, "", 1), "logprobs"},
		{"an unknown reason", chat, question, 200, "application/json", strings.Replace(whole, `"stop"`, `"x"`, 1), "finish_reason"},
		{"no JSON", chat, question, 200, "text/plain", whole, "Content-Type"},
		{"an error of another form", chat, question, 400, "application/json", `{"error":"no"}`, "Error"},
		{"an error without a key", chat, question, 400, "application/json", strings.Replace(failure, `"param":null,`, "", 1), "param"},
		{"an error as text", chat, question, 500, "text/plain", "no", "Content-Type"},
		{"no such route", "/nothing", question, 200, "application/json", "{}", "no such route"},
		{"a stream where none is", "/v1/embeddings", `{"model":"m","input":"x"}`, 200, events, sse("{}"), "no stream here"},

		{"a stream", chat, streaming, 200, events, sse(first, last, "[DONE]"), ""},
		{"kept alive", chat, streaming, 200, events, sse(first) + ": ping\n" + sse(last, "[DONE]"), ""},
		{"usage", chat, counting, 200, events, sse(withNull(first), withNull(last), costs, "[DONE]"), ""},
		{"it fails on its way", chat, streaming, 200, events, sse(first, failure), ""},
		{"a chunk of another form", chat, streaming, 200, events, sse(first, strings.Replace(last, `"delta":{},`, "", 1), "[DONE]"), "delta"},
		{"a null error", chat, streaming, 200, events, sse(first, strings.TrimSuffix(last, "}")+`,"error":null}`, "[DONE]"), "error"},
		{"another id", chat, streaming, 200, events, sse(first, strings.Replace(last, "chatcmpl-A", "chatcmpl-B", 1), "[DONE]"), "not of chatcmpl-A"},
		{"another time", chat, streaming, 200, events, sse(first, strings.Replace(last, `"created":1`, `"created":2`, 1), "[DONE]"), "not of chatcmpl-A 1"},
		{"no role", chat, streaming, 200, events, sse(last, "[DONE]"), "begins with"},
		{"choice 1 first", chat, streaming, 200, events, sse(strings.Replace(first, `"index":0`, `"index":1`, 1)), "choice 1 comes before 0"},
		{"no end", chat, streaming, 200, events, sse(first, last), "without [DONE]"},
		{"no reason", chat, streaming, 200, events, sse(first, "[DONE]"), "no finish_reason"},
		{"two ends", chat, streaming, 200, events, sse(first, last, last, "[DONE]"), "goes on after its end"},
		{"after the end", chat, streaming, 200, events, sse(first, last, "[DONE]", last), "after the end"},
		{"done and failed", chat, streaming, 200, events, sse(first, failure, "[DONE]"), "after the end"},
		{"usage nobody asked for", chat, streaming, 200, events, sse(first, last, costs, "[DONE]"), "a chunk has it: true"},
		{"usage not told", chat, counting, 200, events, sse(withNull(first), withNull(last), "[DONE]"), "usage was not told"},
		{"usage twice", chat, counting, 200, events, sse(withNull(first), withNull(last), costs, costs, "[DONE]"), "after the usage"},
		{"a chunk without its usage", chat, counting, 200, events, sse(first, withNull(last), costs, "[DONE]"), "a chunk has it: false"},
		{"an id line", chat, streaming, 200, events, "id: 1\n" + sse(first, last, "[DONE]"), `"id: 1"`},
		{"a blank line", chat, streaming, 200, events, "\n" + sse(first, last, "[DONE]"), `line ""`},
		{"a ping with a blank line", chat, streaming, 200, events, sse(first) + ": ping\n\n" + sse(last, "[DONE]"), `line ""`},
		{"cut off", chat, streaming, 200, events, sse(first) + "data: {", "inside an event"},
		{"an unknown event", "/jobs/j/events", "", 200, events, "event: x\ndata: {}\n\n", `no event "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := serve(t, c.status, c.kind, c.answered)
			direct, through := &witness{TB: t}, &witness{TB: t}
			for w, client := range map[*witness]struct {
				base string
				*http.Client
			}{
				direct:  {target, &http.Client{Transport: contract.Transport(direct, nil)}},
				through: {contract.Proxy(through, target), http.DefaultClient},
			} {
				method, body := "GET", io.Reader(nil)
				if c.asked != "" {
					method, body = "POST", strings.NewReader(c.asked)
				}
				r, err := http.NewRequest(method, client.base+c.path, body)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				resp, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(text) != c.answered || resp.StatusCode != c.status {
					t.Errorf("%v: %d %s came through", err, resp.StatusCode, text)
				}
				if all := strings.Join(w.found, "\n"); (all == "") != (c.want == "") || !strings.Contains(all, c.want) {
					t.Errorf("found %q, want %q", all, c.want)
				}
			}
		})
	}
}

// TestForms: the fields of a form are held against their schema.
func TestForms(t *testing.T) {
	for name, c := range map[string]struct{ fields, want string }{
		"as it should be":  {"file=x;purpose=fine-tune;expires_after[seconds]=3600", ""},
		"no purpose":       {"file=x", "purpose"},
		"another purpose":  {"file=x;purpose=vision", "purpose"},
		"too short a time": {"file=x;purpose=fine-tune;expires_after[seconds]=60", "3600"},
		"no number":        {"file=x;purpose=fine-tune;expires_after[seconds]=x", "integer"},
		"unknown":          {"file=x;purpose=fine-tune;colour=red", "colour"},
		"twice":            {"file=x;file=x;purpose=fine-tune", "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			var body strings.Builder
			for field := range strings.SplitSeq(c.fields, ";") {
				key, value, _ := strings.Cut(field, "=")
				file := ""
				if key == "file" {
					file = `; filename="a.jsonl"`
				}
				fmt.Fprintf(&body, "--B\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n%s\r\n", key, file, value)
			}
			body.WriteString("--B--\r\n")
			file := `{"id":"file-0123456789abcdef","object":"file","bytes":1,"created_at":1,"filename":"a.jsonl","purpose":"fine-tune","status":"processed"}`
			w := &witness{TB: t}
			client := &http.Client{Transport: contract.Transport(w, nil)}
			resp, err := client.Post(serve(t, 200, "application/json", file)+"/v1/files", "multipart/form-data; boundary=B", strings.NewReader(body.String()))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if all := strings.Join(w.found, "\n"); (all == "") != (c.want == "") || !strings.Contains(all, c.want) {
				t.Errorf("found %q, want %q", all, c.want)
			}
		})
	}
}
