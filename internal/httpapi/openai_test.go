package httpapi_test

import (
	"context"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/contract"
	"afina/internal/engine"
	"afina/internal/sampling"
)

// echoes answers with the seed of the question, in two pieces with probabilities.
func echoes(seen *[]assistant.Question) fakeAssistant {
	var mu sync.Mutex
	return func(_ context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
		if seen != nil {
			mu.Lock()
			*seen = append(*seen, q)
			mu.Unlock()
		}
		return func(yield func(assistant.Delta, error) bool) {
			u := assistant.Usage{Prompt: 7, Completion: 1, Cached: 3}
			half := []assistant.Logprob{{ID: 1, Text: "\ufffd", Bytes: []byte{0xc3}, Logprob: -0.5,
				Top: []assistant.Logprob{{ID: 1, Text: "\ufffd", Bytes: []byte{0xc3}, Logprob: -0.5}, {ID: 9, Text: "<|end|>", Logprob: -9999}}}}
			if yield(assistant.Delta{Text: string(rune('a' + q.Sampling.Seed)), Tokens: half, Usage: u}, nil) {
				u.Completion++
				yield(assistant.Delta{Text: "!", Usage: u, Reason: engine.Stop}, nil)
			}
		}
	}
}

// TestChoices: n answers with seeds of their own, the prompt counted once.
func TestChoices(t *testing.T) {
	h := newHouse()
	h.Assistant = echoes(nil)
	s := h.open(t)
	r := s.send("POST", chatPath, asks(`"n":3,"seed":0,"logprobs":true,"top_logprobs":2`))
	for _, want := range []string{`"index":0,"message":{"role":"assistant","content":"a!","refusal":null}`, `"index":2,"message":{"role":"assistant","content":"c!","refusal":null}`,
		`"prompt_tokens":7,"completion_tokens":6,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3`,
		`"logprobs":{"content":[{"token":"\ufffd","logprob":-0.5,"bytes":[195],"top_logprobs":[{"token":"\ufffd","logprob":-0.5,"bytes":[195]},{"token":"<|end|>","logprob":-9999,"bytes":null}]}],"refusal":null}`} {
		if !strings.Contains(strings.ReplaceAll(r.text, "\ufffd", `\ufffd`), want) {
			t.Errorf("%s lacks %s", r.text, want)
		}
	}
	lines := h.open(t).streamed(asks(`"n":3,"seed":0,"stream":true,"stream_options":{"include_usage":true}`))
	var opened []string
	texts, ends, usages := map[string]string{}, 0, 0
	for _, l := range lines {
		event, ok := strings.CutPrefix(l, "data: ")
		if !ok || event == "[DONE]" {
			continue
		}
		contract.Matches(t, "ChatCompletionChunk", []byte(event))
		_, rest, _ := strings.Cut(event, `"index":`)
		index := rest[:min(1, len(rest))]
		switch {
		case strings.Contains(event, `"role":"assistant"`):
			if len(texts) > 0 {
				t.Errorf("%s opens after text", event)
			}
			opened = append(opened, index)
		case strings.Contains(event, `"content":"`):
			_, text, _ := strings.Cut(event, `"content":"`)
			texts[index] += text[:1]
		case strings.Contains(event, `"finish_reason":"stop"`):
			ends++
		}
		if strings.Contains(event, `"usage":{`) {
			usages++
		}
	}
	if strings.Join(opened, "") != "012" || ends != 3 || usages != 1 || texts["0"] != "a!" || texts["1"] != "b!" || texts["2"] != "c!" {
		t.Errorf("opened %v, %d ends, %d usages, texts %v", opened, ends, usages, texts)
	}
}

// TestCalls: calls on the wire, whole, and streamed while they are written: what
// belongs to a call as a whole is in its first piece only.
func TestCalls(t *testing.T) {
	h := newHouse()
	h.Assistant = fakeAssistant(func(context.Context, assistant.Question) iter.Seq2[assistant.Delta, error] {
		return func(yield func(assistant.Delta, error) bool) {
			for _, d := range []assistant.Delta{
				{Calls: []chat.CallPiece{{ID: "call_1", Name: "f"}}},
				{Calls: []chat.CallPiece{{Arguments: `{"a"`}}},
				{Calls: []chat.CallPiece{{Arguments: `:1}`}, {Index: 1, ID: "call_2", Name: "g"}}},
				{Calls: []chat.CallPiece{{Index: 1, Arguments: `{}`}}},
				{Reason: assistant.ToolCalls},
			} {
				if !yield(d, nil) {
					return
				}
			}
		}
	})
	s := h.open(t)
	tools := `"tools":[{"type":"function","function":{"name":"f"}}]`
	r := s.send("POST", chatPath, asks(tools))
	want := `"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"`
	if !strings.Contains(r.text, want) {
		t.Errorf("%s lacks %s", r.text, want)
	}
	var deltas []string
	for _, line := range s.streamed(asks(tools + `,"stream":true`)) {
		if _, rest, ok := strings.Cut(line, `"choices":[{"index":0,"delta":`); ok {
			deltas = append(deltas, rest)
		}
	}
	wants := []string{
		`{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}`,
		`{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]},"logprobs":null,"finish_reason":null}]}`,
		`{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]},"logprobs":null,"finish_reason":null}]}`,
		`{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"logprobs":null,"finish_reason":null}]}`,
		`{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":""}}]},"logprobs":null,"finish_reason":null}]}`,
		`{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]},"logprobs":null,"finish_reason":null}]}`,
		`{},"logprobs":null,"finish_reason":"tool_calls"}]}`,
	}
	if d := cmp.Diff(wants, deltas); d != "" {
		t.Error(d)
	}
}

// TestText: /v1/completions.
func TestText(t *testing.T) {
	var seen []assistant.Question
	h := newHouse()
	h.Assistant = echoes(&seen)
	s := h.open(t)
	r := s.send("POST", "/v1/completions", `{"model":"tiny","prompt":["x","y"],"echo":true,"seed":0,"stop":"z"}`)
	for _, want := range []string{`"object":"text_completion"`, `"text":"xa!","index":0,"logprobs":null,"finish_reason":"stop"`, `"text":"ya!","index":1`, `"prompt_tokens":14,"completion_tokens":4`} {
		if r.status != http.StatusOK || !strings.Contains(r.text, want) {
			t.Errorf("%s lacks %s", r.text, want)
		}
	}
	seen = nil
	r = s.send("POST", "/v1/completions", `{"model":"tiny","prompt":[1,2],"logprobs":2,"seed":0,"temperature":0}`)
	want := []assistant.Question{{Model: "tiny", Raw: &assistant.Raw{Tokens: []int32{1, 2}}, Limit: 16, Logprobs: true, Top: 2, Client: "127.0.0.1",
		Sampling: sampling.Options{TopP: 0.9, RepeatPenalty: 1}}}
	if diff := cmp.Diff(want, seen); diff != "" || !strings.Contains(r.text, `"token_logprobs":[-0.5]`) || !strings.Contains(r.text, `"text_offset":[0]`) {
		t.Error(diff, r.text)
	}
	r = s.send("POST", "/v1/completions", `{"model":"tiny","prompt":[[1],[2,3]],"n":2,"seed":0,"stream":true}`)
	if !strings.Contains(r.text, `"index":3`) || strings.Contains(r.text, "role") || !strings.HasSuffix(r.text, "data: [DONE]\n\n") {
		t.Error(r.text)
	}
	for _, c := range []struct{ fields, code, param string }{
		{``, "missing_required_parameter", "prompt"},
		{`,"prompt":[]`, "invalid_value", "prompt"},
		{`,"prompt":[[]]`, "invalid_value", "prompt"},
		{`,"prompt":[1,"x"]`, "invalid_type", "prompt[1]"},
		{`,"prompt":5`, "invalid_type", "prompt"},
		{`,"prompt":"x","best_of":2`, "unsupported_parameter", "best_of"},
		{`,"prompt":"x","suffix":"y"`, "unsupported_parameter", "suffix"},
		{`,"prompt":"x","echo":true,"logprobs":1`, "unsupported_parameter", "logprobs"},
		{`,"prompt":["x","y"],"n":128`, "invalid_value", "prompt"},
		{`,"prompt":"x","temprature":1`, "unknown_parameter", "temprature"},
	} {
		s.refused(s.send("POST", "/v1/completions", `{"model":"m"`+c.fields+`}`), http.StatusBadRequest, c.code, c.param, "")
	}
}

// TestTokens: embeddings, and the routes for programs that count tokens.
func TestTokens(t *testing.T) {
	s := newHouse().open(t)
	for _, c := range []struct{ path, body, want string }{
		{"/tokenize", `{"model":"m","content":"ab"}`, `{"tokens":[97,98]}`},
		{"/detokenize", `{"model":"m","tokens":[97,98]}`, `{"content":"ab"}`},
		{"/apply-template", `{"model":"m","messages":[{"role":"user","content":"hola"}]}`, `{"prompt":"hola"}`},
		{"/v1/embeddings", `{"model":"m","input":["a","bc"]}`, `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1,0.5]},{"object":"embedding","index":1,"embedding":[2,0.5]}],"model":"m","usage":{"prompt_tokens":2,"total_tokens":2}}`},
		{"/v1/embeddings", `{"model":"m","input":"a","encoding_format":"base64"}`, `{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAD8="}],"model":"m","usage":{"prompt_tokens":1,"total_tokens":1}}`},
	} {
		if r := s.send("POST", c.path, c.body); r.status != http.StatusOK || strings.TrimSpace(r.text) != c.want {
			t.Errorf("%s: %d %s, want %s", c.path, r.status, r.text, c.want)
		}
	}
	s.refused(s.send("POST", "/v1/embeddings", `{"model":"m"}`), http.StatusBadRequest, "missing_required_parameter", "input", "input is missing")
	s.refused(s.send("POST", "/v1/embeddings", `{"model":"m","input":"a","dimensions":8}`), http.StatusBadRequest, "unsupported_parameter", "dimensions", "")
}
