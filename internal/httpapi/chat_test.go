package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/contract"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/sampling"
	"afina/internal/schema"
)

const chatPath = "/v1/chat/completions"

// asks is a request with further fields.
func asks(fields string) string {
	if fields != "" {
		fields = "," + fields
	}
	return `{"model":"tiny","messages":[{"role":"user","content":"hola"}]` + fields + `}`
}

func TestCompletion(t *testing.T) {
	h := newHouse()
	h.Assistant = says("2 + ", "3 = <5>.")
	r := h.open(t).send("POST", chatPath, asks(""))
	var got map[string]any
	if err := json.Unmarshal([]byte(r.text), &got); err != nil {
		t.Fatal(err)
	}
	if id, _ := got["id"].(string); !strings.HasPrefix(id, "chatcmpl-") {
		t.Errorf("id %v", got["id"])
	}
	delete(got, "id")
	want := map[string]any{
		"object": "chat.completion", "created": 1795419000., "model": "tiny", "system_fingerprint": "afina-test",
		"choices": []any{map[string]any{
			"index": 0., "finish_reason": "stop", "logprobs": nil,
			"message": map[string]any{"role": "assistant", "content": "2 + 3 = <5>.", "refusal": nil},
		}},
		"usage": map[string]any{
			"prompt_tokens": 7., "completion_tokens": 2., "total_tokens": 9.,
			"prompt_tokens_details": map[string]any{"cached_tokens": 0., "audio_tokens": 0.},
			"completion_tokens_details": map[string]any{"reasoning_tokens": 0., "audio_tokens": 0.,
				"accepted_prediction_tokens": 0., "rejected_prediction_tokens": 0.},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(r.text, "<5>") {
		t.Errorf("escapes what needs no escape: %s", r.text)
	}
}

// TestQuestion: what of the request reaches the assistant.
func TestQuestion(t *testing.T) {
	var got assistant.Question
	h := newHouse()
	h.Assistant = fakeAssistant(func(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
		got = q
		return says("x")(ctx, q)
	})
	s := h.open(t)
	user := chat.Conversation{Messages: []chat.Message{{Role: chat.User, Content: "hola"}}}
	defaults := sampling.Options{Temperature: 0.3, TopP: 0.9, RepeatPenalty: 1, Seed: 5}
	for _, c := range []struct {
		name, body string
		want       assistant.Question
	}{
		{"defaults", asks(`"seed":5`), assistant.Question{Conversation: user, Sampling: defaults, Limit: 1024}},
		{"all of it", asks(`"temperature":0,"top_p":1,"top_k":40,"min_p":0.1,"repetition_penalty":1.5,"max_tokens":9,"stop":["a","\n"],"seed":-1`),
			assistant.Question{Conversation: user, Limit: 9, Stop: []string{"a", "\n"},
				Sampling: sampling.Options{TopP: 1, TopK: 40, MinP: 0.1, RepeatPenalty: 1.5, Seed: 1<<64 - 1}}},
		{"other names", asks(`"max_completion_tokens":9,"stop":"a","seed":5`),
			assistant.Question{Conversation: user, Limit: 9, Stop: []string{"a"}, Sampling: defaults}},
		{"both names alike", asks(`"max_completion_tokens":9,"max_tokens":9,"seed":5`),
			assistant.Question{Conversation: user, Limit: 9, Sampling: defaults}},
		{"penalties and bias", asks(`"seed":5,"frequency_penalty":1.5,"presence_penalty":-2,"logit_bias":{"7":-100,"9":0.5},"logprobs":true,"top_logprobs":3`),
			assistant.Question{Conversation: user, Limit: 1024, Logprobs: true, Top: 3, Sampling: sampling.Options{Temperature: 0.3, TopP: 0.9,
				RepeatPenalty: 1, Seed: 5, FrequencyPenalty: 1.5, PresencePenalty: -2, Bias: map[int32]float32{7: -100, 9: 0.5}}}},
		{"json", asks(`"seed":5,"response_format":{"type":"json_object"}`),
			assistant.Question{Conversation: user, Limit: 1024, Sampling: defaults, Form: assistant.Form{Object: true}}},
		{"schema", asks(`"seed":5,"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object"}}}`),
			assistant.Question{Conversation: user, Limit: 1024, Sampling: defaults, Form: assistant.Form{Schema: []byte(`{"type":"object"}`)}}},
		{"tools", asks(`"seed":5,"parallel_tool_calls":false,"tools":[{"type":"function","function":{"name":"f","description":"<d>","parameters":{"type":"object"},"strict":true}}]`),
			assistant.Question{Limit: 1024, Sampling: defaults,
				Conversation: chat.Conversation{Messages: user.Messages, Tools: [][]byte{[]byte(`{"type":"function","function":{"name":"f","description":"<d>","parameters":{"type":"object"}}}`)}},
				Form:         assistant.Form{Tools: []schema.Tool{{Name: "f", Parameters: []byte(`{"type":"object"}`)}}}}},
		{"a tool by name", asks(`"seed":5,"tool_choice":{"type":"function","function":{"name":"g"}},"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]`),
			assistant.Question{Limit: 1024, Sampling: defaults,
				Conversation: chat.Conversation{Messages: user.Messages, Tools: [][]byte{[]byte(`{"type":"function","function":{"name":"f"}}`), []byte(`{"type":"function","function":{"name":"g"}}`)}},
				Form:         assistant.Form{Tools: []schema.Tool{{Name: "g"}}, Required: true}}},
		{"no tool", asks(`"seed":5,"tool_choice":"none","tools":[{"type":"function","function":{"name":"f"}}]`),
			assistant.Question{Conversation: user, Limit: 1024, Sampling: defaults}},
		{"calls and answers", `{"model":"tiny","seed":5,"messages":[{"role":"user","content":"x"},
			{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]},
			{"role":"tool","tool_call_id":"call_1","name":"f","content":[{"type":"text","text":"5"}]}]}`,
			assistant.Question{Limit: 1024, Sampling: defaults, Conversation: chat.Conversation{
				Messages: []chat.Message{{Role: chat.User, Content: "x"}, {Role: chat.Assistant}, {Role: chat.Tool, Content: "5"}},
				Calls:    map[int][]chat.Call{1: {{ID: "call_1", Name: "f", Arguments: "{}"}}},
				Answered: map[int]string{2: "call_1"}}}},
		{"without effect", asks(`"seed":5,"user":"u","metadata":{"a":"b"},"store":true,"service_tier":"auto","parallel_tool_calls":true,
			"n":1,"tools":[],"tool_choice":"none","response_format":{ "type": "text" },"logprobs":false,"logit_bias":{},"prompt_cache_key":"k",
			"reasoning_effort":"high","prediction":{"type":"content","content":"x"},
			"presence_penalty":0,"frequency_penalty":0.0,"modalities":["text"],"stream":false`),
			assistant.Question{Conversation: user, Sampling: defaults, Limit: 1024}},
		{"a conversation", `{"model":"tiny","seed":5,"messages":[
			{"role":"developer","content":"<|im_end|>"},
			{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
			{"role":"assistant","content":"c","refusal":null,"tool_calls":[],"annotations":[]},
			{"role":"user","content":""}]}`,
			assistant.Question{Limit: 1024, Sampling: defaults, Conversation: chat.Conversation{Messages: []chat.Message{
				{Role: chat.System, Content: "<|im_end|>"}, {Role: chat.User, Content: "a\nb"},
				{Role: chat.Assistant, Content: "c"}, {Role: chat.User, Content: ""}}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := s.send("POST", chatPath, c.body); r.status != http.StatusOK {
				t.Fatal(r.status, r.text)
			}
			c.want.Model, c.want.Client = "tiny", got.Client
			if got.Client != "127.0.0.1" {
				t.Errorf("the client is %q", got.Client)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	s.send("POST", chatPath, asks(""))
	first := got.Sampling.Seed
	s.send("POST", chatPath, asks(""))
	if got.Sampling.Seed == first {
		t.Error("two requests without a seed have the same")
	}
}

func TestCompletionRefuses(t *testing.T) {
	s := newHouse().open(t)
	const unsupported = "unsupported_parameter"
	for _, c := range []struct{ name, body, code, param, says string }{
		{"no model", `{"messages":[{"role":"user","content":"x"}]}`, "missing_required_parameter", "model", "model is missing"},
		{"no messages", `{"model":"m"}`, "missing_required_parameter", "messages", "messages is missing"},
		{"empty messages", `{"model":"m","messages":[]}`, "invalid_value", "messages", "at least 1"},
		{"many messages", `{"model":"m","messages":[` + strings.Repeat(`{"role":"user","content":""},`, 4096) + `{"role":"user","content":""}]}`, "invalid_value", "messages", "4096"},
		{"unknown field", asks(`"temprature":1`), "unknown_parameter", "temprature", `did you mean "temperature"`},
		{"temperature", asks(`"temperature":2.1`), "invalid_value", "temperature", "at most 2"},
		{"temperature text", asks(`"temperature":"0"`), "invalid_type", "temperature", "a number"},
		{"top_p 0", asks(`"top_p":0`), "invalid_value", "top_p", "greater than 0"},
		{"top_k", asks(`"top_k":-1`), "invalid_value", "top_k", "at least 0"},
		{"penalty", asks(`"repetition_penalty":0`), "invalid_value", "repetition_penalty", "greater than 0"},
		{"max_tokens 0", asks(`"max_tokens":0`), "invalid_value", "max_tokens", "at least 1"},
		{"max_tokens -1", asks(`"max_tokens":-1`), "invalid_value", "max_tokens", "at least 1"},
		{"max_tokens 2^31", asks(`"max_tokens":2147483648`), "invalid_value", "max_tokens", "at most 2147483647"},
		{"max_tokens 1e308", asks(`"max_tokens":1e308`), "invalid_type", "max_tokens", "whole number"},
		{"max_tokens 1.5", asks(`"max_tokens":1.5`), "invalid_type", "max_tokens", "whole number"},
		{"max_tokens text", asks(`"max_tokens":"5"`), "invalid_type", "max_tokens", "whole number"},
		{"two limits", asks(`"max_tokens":5,"max_completion_tokens":6`), "invalid_value", "max_tokens", "send one"},
		{"five stops", asks(`"stop":["a","b","c","d","e"]`), "invalid_value", "stop", "1 to 4"},
		{"no stops", asks(`"stop":[]`), "invalid_value", "stop", "1 to 4"},
		{"empty stop", asks(`"stop":["a",""]`), "invalid_value", "stop[1]", "1 to 256"},
		{"long stop", asks(`"stop":"` + strings.Repeat("a", 257) + `"`), "invalid_value", "stop[0]", "1 to 256"},
		{"stop type", asks(`"stop":[5]`), "invalid_type", "stop[0]", "text"},
		{"stop number", asks(`"stop":5`), "invalid_type", "stop", "array"},
		{"seed", asks(`"seed":9223372036854775808`), "invalid_type", "seed", "whole number"},
		{"stream options alone", asks(`"stream_options":{"include_usage":true}`), "invalid_value", "stream_options", "stream"},
		{"stream option", asks(`"stream":true,"stream_options":{"include_usages":true}`), "unknown_parameter", "stream_options.include_usages", "include_usage"},
		{"n 129", asks(`"n":129`), "invalid_value", "n", "at most 128"},
		{"n 0", asks(`"n":0`), "invalid_value", "n", "at least 1"},
		{"custom tool", asks(`"tools":[{"type":"custom","custom":{"name":"f"}}]`), unsupported, "tools[0].type", "function"},
		{"tool without name", asks(`"tools":[{"type":"function","function":{"name":"a b"}}]`), "invalid_value", "tools[0].function.name", "letters"},
		{"tool twice", asks(`"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]`), "invalid_value", "tools[1].function.name", "twice"},
		{"choice without tools", asks(`"tool_choice":"required"`), "invalid_value", "tool_choice", "no tools"},
		{"other choice", asks(`"tool_choice":"any"`), "invalid_value", "tool_choice", "auto"},
		{"choice of another", asks(`"tool_choice":{"type":"function","function":{"name":"g"}},"tools":[{"type":"function","function":{"name":"f"}}]`), "invalid_value", "tool_choice.function.name", "not among"},
		{"allowed tools", asks(`"tool_choice":{"type":"allowed_tools","allowed_tools":{}},"tools":[{"type":"function","function":{"name":"f"}}]`), unsupported, "tool_choice.type", "function"},
		{"tools and json", asks(`"response_format":{"type":"json_object"},"tools":[{"type":"function","function":{"name":"f"}}]`), unsupported, "response_format", "tools"},
		{"functions", asks(`"functions":[{"name":"f"}]`), unsupported, "functions", "use tools"},
		{"format", asks(`"response_format":{"type":"xml"}`), "invalid_value", "response_format.type", "json_schema"},
		{"schema without name", asks(`"response_format":{"type":"json_schema","json_schema":{"schema":{}}}`), "missing_required_parameter", "response_format.json_schema.name", "missing"},
		{"top without logprobs", asks(`"top_logprobs":3`), "invalid_value", "top_logprobs", "logprobs"},
		{"top 21", asks(`"logprobs":true,"top_logprobs":21`), "invalid_value", "top_logprobs", "at most 20"},
		{"logit_bias word", asks(`"logit_bias":{"x":1}`), "invalid_value", "logit_bias", "ids"},
		{"logit_bias 101", asks(`"logit_bias":{"5":101}`), "invalid_value", "logit_bias.5", "100"},
		{"presence", asks(`"presence_penalty":2.5`), "invalid_value", "presence_penalty", "at most 2"},
		{"effort", asks(`"reasoning_effort":"hard"`), "invalid_value", "reasoning_effort", "low"},
		{"verbosity", asks(`"verbosity":"low"`), unsupported, "verbosity", "max_tokens"},
		{"audio", asks(`"modalities":["text","audio"]`), unsupported, "modalities", "text"},
		{"image", `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"data:"}}]}]}`,
			unsupported, "messages[0].content[1].type", "read text"},
		{"part without text", `{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}`, "missing_required_parameter", "messages[0].content[0].text", "missing"},
		{"tool message", `{"model":"m","messages":[{"role":"tool","content":"x"}]}`, "missing_required_parameter", "messages[0].tool_call_id", "missing"},
		{"tool call", `{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function"}]}]}`, "missing_required_parameter", "messages[0].tool_calls[0].function", "set it"},
		{"call of the user", `{"model":"m","messages":[{"role":"user","content":"x","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":""}}]}]}`, "invalid_value", "messages[0].tool_calls", "assistant"},
		{"name", `{"model":"m","messages":[{"role":"user","content":"x","name":"Ana"}]}`, unsupported, "messages[0].name", "content"},
		{"role", `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"robot","content":"x"}]}`, "invalid_value", "messages[1].role", "system, developer, user, assistant"},
		{"no role", `{"model":"m","messages":[{"content":"x"}]}`, "missing_required_parameter", "messages[0].role", "missing"},
		{"no content", `{"model":"m","messages":[{"role":"user"}]}`, "missing_required_parameter", "messages[0].content", "missing"},
		{"null content", `{"model":"m","messages":[{"role":"user","content":null}]}`, "invalid_type", "messages[0].content", "text"},
		{"number content", `{"model":"m","messages":[{"role":"user","content":5}]}`, "invalid_type", "messages[0].content", "text"},
		{"unknown in message", `{"model":"m","messages":[{"role":"user","contents":"x"}]}`, "unknown_parameter", "messages[0].contents", `"content"`},
		{"assistant last", `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}`, "invalid_value", "messages[1].role", "user"},
		{"trailing data", asks("") + "{}", "invalid_json", "", "not valid JSON"},
		{"key twice", asks(`"model":"n"`), "duplicate_parameter", "model", "twice"},
		{"not an object", `["x"]`, "invalid_type", "", "an object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			(&site{s.house, t, s.base, s.client}).refused(s.send("POST", chatPath, c.body), http.StatusBadRequest, c.code, c.param, c.says)
		})
	}
}

// TestKinds: each kind of failure has its status, envelope and headers.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		err        error
		status     int
		word, code string
		retry      string // Retry-After
		should     string // X-Should-Retry
	}{
		{fault.New(fault.Invalid, "no").WithCode("x").WithParam("messages"), 400, "invalid_request_error", "x", "", ""},
		{fmt.Errorf("ask: %w", fault.New(fault.NotFound, "no").WithCode("model_not_found")), 404, "not_found_error", "model_not_found", "", ""},
		{fault.New(fault.Conflict, "no"), 409, "conflict_error", "", "", "false"},
		{fault.New(fault.TooLarge, "no"), 413, "payload_too_large", "", "", ""},
		{fault.New(fault.Unprocessable, "no"), 422, "unprocessable_error", "", "", ""},
		{fault.New(fault.Busy, "no"), 429, "rate_limit_exceeded", "", "5", ""},
		{fault.New(fault.Busy, "no").WithCode("shutting_down"), 503, "overloaded_error", "shutting_down", "10", ""},
		{fmt.Errorf("ask: %w", fault.New(fault.Busy, "no").WithCode("overloaded").WithRetry(27*time.Second)), 503, "overloaded_error", "overloaded", "27", ""},
		{fault.New(fault.Busy, "no").WithCode("quota_exceeded").WithRetry(1200 * time.Millisecond), 429, "rate_limit_exceeded", "quota_exceeded", "2", ""},
		{fault.New(fault.Busy, "no").WithCode("timeout"), 503, "overloaded_error", "timeout", "10", "false"},
		{fault.New(fault.NoSpace, "no"), 507, "insufficient_storage", "", "", "false"},
		{fault.New(fault.Canceled, "no"), 499, "canceled", "", "", ""},
		{errors.New("open /secret/path: EIO"), 500, "internal_error", "internal_error", "", ""},
		{fault.New(fault.Internal, "secret"), 500, "internal_error", "internal_error", "", ""},
	} {
		for _, stream := range []string{"", `"stream":true`} {
			t.Run(fmt.Sprint(c.status, c.code, stream), func(t *testing.T) {
				h := newHouse()
				h.Assistant = breaks(c.err)
				r := h.open(t).send("POST", chatPath, asks(stream))
				f := r.failure(t)
				if r.status != c.status || f.Type != c.word || f.Code != c.code ||
					r.header.Get("Retry-After") != c.retry || r.header.Get("X-Should-Retry") != c.should {
					t.Errorf("got %d %v %s", r.status, r.header, r.text)
				}
				logged := h.log.FilterMessage("request failed").Len()
				if c.status != 500 && logged != 0 || c.status == 500 && logged != 1 {
					t.Errorf("logged %d times", logged)
				}
				if strings.Contains(r.text, "secret") {
					t.Errorf("tells what is the operator's: %s", r.text)
				}
				if c.status == 500 && !strings.Contains(f.Message, r.header.Get("X-Request-Id")) {
					t.Errorf("%q does not name the request", f.Message)
				}
			})
		}
	}
}

// TestNoRoomForAChoice: what is begun is not broken off because there is no room
// for another choice; that one waits. When none has begun it is a 503.
func TestNoRoomForAChoice(t *testing.T) {
	full := fault.New(fault.Busy, "full").WithCode("overloaded").WithRetry(3 * time.Second)
	for _, stream := range []string{"", `"stream":true,`} {
		h := newHouse()
		var asked atomic.Int32
		isBegun, isRefused := make(chan struct{}), make(chan struct{})
		h.Assistant = fakeAssistant(func(context.Context, assistant.Question) iter.Seq2[assistant.Delta, error] {
			return func(yield func(assistant.Delta, error) bool) {
				switch asked.Add(1) {
				case 1:
					if !yield(assistant.Delta{Text: "a"}, nil) {
						return
					}
					close(isBegun)
					<-isRefused
				case 2:
					<-isBegun
					yield(assistant.Delta{}, full)
					close(isRefused)
					return
				}
				yield(assistant.Delta{Text: "b", Reason: engine.Stop}, nil)
			}
		})
		s := h.open(t)
		r := s.send("POST", chatPath, asks(stream+`"n":2`))
		if r.status != http.StatusOK || strings.Contains(r.text, `"error"`) || strings.Count(r.text, `"finish_reason":"stop"`) != 2 || asked.Load() != 3 {
			t.Errorf("asked %d times: %d %s", asked.Load(), r.status, r.text)
		}
		h = newHouse()
		h.Assistant = breaks(full)
		if r = h.open(t).send("POST", chatPath, asks(stream+`"n":3`)); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") != "3" {
			t.Errorf("%d %v %s", r.status, r.header, r.text)
		}
	}
}

// streamed asks for a stream and returns its lines as they were sent.
func (s *site) streamed(body string) []string {
	s.t.Helper()
	r := s.send("POST", chatPath, body, "Accept", "text/event-stream")
	if kind := r.header.Get("Content-Type"); r.status != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		s.t.Fatal(r.status, r.text)
	}
	if r.header.Get("Cache-Control") != "no-cache" || r.header.Get("X-Accel-Buffering") != "no" {
		s.t.Errorf("headers %v", r.header)
	}
	return strings.Split(r.text, "\n")
}

func TestStream(t *testing.T) {
	for _, c := range []struct {
		name, fields string
		want         []string // events without id
	}{
		{"plain", `"stream":true`, []string{
			`"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}`,
			`"choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}]}`,
			`"choices":[{"index":0,"delta":{"content":"ñ😀"},"logprobs":null,"finish_reason":null}]}`,
			`"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}`,
		}},
		{"usage", `"stream":true,"stream_options":{"include_usage":true}`, []string{
			`"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null}`,
			`"choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}],"usage":null}`,
			`"choices":[{"index":0,"delta":{"content":"ñ😀"},"logprobs":null,"finish_reason":null}],"usage":null}`,
			`"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}`,
			`"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse()
			h.Assistant = says("a", "ñ😀")
			lines := h.open(t).streamed(asks(c.fields))
			var events []string
			id := ""
			for i, l := range lines[:len(lines)-1] {
				if i%2 == 1 {
					if l != "" {
						t.Errorf("line %d is %q", i, l)
					}
					continue
				}
				event := strings.TrimPrefix(l, "data: ")
				if event == "[DONE]" {
					continue
				}
				contract.Matches(t, "ChatCompletionChunk", []byte(event))
				head, rest, _ := strings.Cut(event, `"choices"`)
				if id == "" {
					id = head
				}
				if head != id || strings.Contains(event, `"error"`) {
					t.Errorf("chunk %s after %s", event, id)
				}
				events = append(events, `"choices"`+rest)
			}
			if diff := cmp.Diff(c.want, events); diff != "" {
				t.Error(diff)
			}
			if lines[len(lines)-3] != "data: [DONE]" {
				t.Errorf("ends with %q", lines[len(lines)-3])
			}
		})
	}
}

// TestStreamBreaks: a failure after the first byte is told in the stream.
func TestStreamBreaks(t *testing.T) {
	h := newHouse()
	h.Assistant = breaks(errors.New("pass: not a number"), "a")
	lines := h.open(t).streamed(asks(`"stream":true`))
	last := strings.TrimPrefix(lines[len(lines)-3], "data: ")
	contract.Matches(t, "Error", []byte(last))
	if strings.Contains(last, "not a number") || slices.Contains(lines, "data: [DONE]") {
		t.Errorf("%q", lines)
	}
	if h.log.FilterMessage("request failed").Len() != 1 {
		t.Error("not logged once")
	}
}

// TestPanics: one becomes a 500, or an error in the stream; the server lives.
func TestPanics(t *testing.T) {
	h := newHouse()
	well := false
	h.Assistant = fakeAssistant(func(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
		if well {
			return says("still here")(ctx, q)
		}
		return func(yield func(assistant.Delta, error) bool) {
			yield(assistant.Delta{Text: "a"}, nil)
			panic("secret")
		}
	})
	s := h.open(t)
	r := s.send("POST", chatPath, asks(""))
	s.refused(r, http.StatusInternalServerError, "internal_error", "", r.header.Get("X-Request-Id"))
	lines := s.streamed(asks(`"stream":true`))
	contract.Matches(t, "Error", []byte(strings.TrimPrefix(lines[len(lines)-3], "data: ")))
	if n := h.log.FilterMessage("panic").Len(); n != 2 {
		t.Errorf("logged %d panics", n)
	}
	well = true
	if r := s.send("POST", chatPath, asks("")); r.status != http.StatusOK {
		t.Error(r.status, r.text)
	}
}

// held is an assistant that says a, waits for release and says b.
func held(release <-chan struct{}, left chan<- error) fakeAssistant {
	return func(ctx context.Context, _ assistant.Question) iter.Seq2[assistant.Delta, error] {
		return func(yield func(assistant.Delta, error) bool) {
			if !yield(assistant.Delta{Text: "a"}, nil) {
				return
			}
			select {
			case <-release:
				yield(assistant.Delta{Text: "b", Reason: engine.Length}, nil)
			case <-ctx.Done():
				left <- ctx.Err()
				yield(assistant.Delta{}, fault.New(fault.Canceled, "given up: %w", ctx.Err()))
			}
		}
	}
}

// begin opens a stream and reads its first two events.
func (s *site) begin(ctx context.Context) (*http.Response, *bufio.Scanner) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", s.base+chatPath, strings.NewReader(asks(`"stream":true`)))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	for range 4 {
		if !lines.Scan() {
			s.t.Fatal("the stream ended early")
		}
	}
	return resp, lines
}

// TestDisconnect: who leaves ends the answer.
func TestDisconnect(t *testing.T) {
	left := make(chan error, 1)
	h := newHouse()
	h.Assistant = held(nil, left)
	s := h.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	resp, _ := s.begin(ctx)
	cancel()
	resp.Body.Close()
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the answer went on")
	}
}

// TestKeepAlive: a silent stream gets comment lines, each alone.
func TestKeepAlive(t *testing.T) {
	release, left := make(chan struct{}), make(chan error, 1)
	h := newHouse()
	h.KeepAlive = time.Millisecond
	h.Assistant = held(release, left)
	s := h.open(t)
	resp, lines := s.begin(t.Context())
	defer resp.Body.Close()
	for range 3 {
		if lines.Scan(); lines.Text() != ": ping" {
			t.Fatalf("%q", lines.Text())
		}
	}
	close(release)
	var rest []string
	for lines.Scan() {
		if lines.Text() != ": ping" {
			rest = append(rest, lines.Text())
		}
	}
	if len(rest) != 6 || !strings.Contains(rest[0], `"content":"b"`) || !strings.Contains(rest[2], `"finish_reason":"length"`) || rest[4] != "data: [DONE]" {
		t.Errorf("%q", rest)
	}
}

// TestKeepAliveBeforeFirst: headers and pings go out while the first token is
// still being computed; a failure then comes as an event.
func TestKeepAliveBeforeFirst(t *testing.T) {
	release := make(chan struct{})
	h := newHouse()
	h.KeepAlive = time.Millisecond
	h.Assistant = fakeAssistant(func(context.Context, assistant.Question) iter.Seq2[assistant.Delta, error] {
		return func(yield func(assistant.Delta, error) bool) {
			<-release
			yield(assistant.Delta{}, fault.New(fault.Busy, "full"))
		}
	})
	s := h.open(t)
	resp, err := s.client.Post(s.base+chatPath, "application/json", strings.NewReader(asks(`"stream":true`)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if lines.Scan(); lines.Text() != ": ping" || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.StatusCode, lines.Text())
	}
	close(release)
	for lines.Scan() && lines.Text() == ": ping" {
	}
	contract.Matches(t, "Error", []byte(strings.TrimPrefix(lines.Text(), "data: ")))
}

// TestTooLong: an answer that takes longer than allowed is a 503 that says so.
func TestTooLong(t *testing.T) {
	h := newHouse()
	h.Config.HTTP.GenerateTimeout = time.Millisecond
	h.Assistant = held(nil, make(chan error, 2))
	s := h.open(t)
	r := s.send("POST", chatPath, asks(""))
	s.refused(r, http.StatusServiceUnavailable, "timeout", "", "time")
	if r.header.Get("X-Should-Retry") != "false" {
		t.Error("asks the client to try again")
	}
	lines := s.streamed(asks(`"stream":true`))
	if !strings.Contains(lines[len(lines)-3], `"code":"timeout"`) {
		t.Errorf("%q", lines)
	}
}

// TestUnfinished: an answer without a reason is our fault, not a short answer.
func TestUnfinished(t *testing.T) {
	h := newHouse()
	h.Assistant = fakeAssistant(func(context.Context, assistant.Question) iter.Seq2[assistant.Delta, error] {
		return func(yield func(assistant.Delta, error) bool) { yield(assistant.Delta{Text: "a"}, nil) }
	})
	s := h.open(t)
	s.refused(s.send("POST", chatPath, asks("")), http.StatusInternalServerError, "internal_error", "", "internal")
	lines := s.streamed(asks(`"stream":true`))
	if !strings.Contains(lines[len(lines)-3], `"internal_error"`) {
		t.Errorf("%q", lines)
	}
}
