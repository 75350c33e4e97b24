package chat_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"afina/internal/chat"
)

var (
	hermes = chat.CallForm{Open: "<tool_call>", Close: "</tool_call>", Arguments: "arguments"}
	llama3 = chat.CallForm{Arguments: "parameters"}
)

func TestParseCalls(t *testing.T) {
	sum := chat.Call{Name: "sumar", Arguments: `{"a": 1}`}
	none := chat.Call{Name: "nada", Arguments: `{}`}
	for _, test := range []struct {
		name, text string
		form       chat.CallForm
		content    string
		calls      []chat.Call
	}{
		{"text", "Hola.\n", hermes, "Hola.\n", nil},
		{"call", "<tool_call>\n{\"name\": \"sumar\", \"arguments\": {\"a\": 1}}\n</tool_call>", hermes, "", []chat.Call{sum}},
		{"text and calls", "Veamos.\n<tool_call>{\"name\":\"sumar\",\"arguments\":{\"a\": 1}}</tool_call>\n<tool_call>\n{\"arguments\":{},\"name\":\"nada\"}\n</tool_call>\n", hermes, "Veamos.", []chat.Call{sum, none}},
		{"a mark in a string", `<tool_call>{"name":"x","arguments":{"s":"</tool_call><tool_call>"}}</tool_call>`, hermes, "", []chat.Call{{Name: "x", Arguments: `{"s":"</tool_call><tool_call>"}`}}},
		{"cut off", `<tool_call>{"name":"x","arguments":{"s":"a`, hermes, `<tool_call>{"name":"x","arguments":{"s":"a`, nil},
		{"cut off behind a call", `<tool_call>{"name":"nada","arguments":{}}</tool_call><tool_call>{"na`, hermes, `<tool_call>{"na`, []chat.Call{none}},
		{"not closed", `<tool_call>{"name":"nada","arguments":{}}`, hermes, `<tool_call>{"name":"nada","arguments":{}}`, nil},
		{"no name", `<tool_call>{"arguments":{}}</tool_call>`, hermes, `<tool_call>{"arguments":{}}</tool_call>`, nil},
		{"arguments of another kind", `<tool_call>{"name":"x","arguments":[1]}</tool_call>`, hermes, `<tool_call>{"name":"x","arguments":[1]}</tool_call>`, nil},
		{"whole answer", ` {"name": "sumar", "parameters": {"a": 1}}`, llama3, "", []chat.Call{sum}},
		{"object and more", `{"name":"sumar","parameters":{"a": 1}} x`, llama3, `{"name":"sumar","parameters":{"a": 1}} x`, nil},
		{"other object", `{"a":1}`, llama3, `{"a":1}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			content, calls := test.form.Parse(test.text)
			if content != test.content {
				t.Errorf("content %q, want %q", content, test.content)
			}
			if d := cmp.Diff(test.calls, calls, cmpopts.IgnoreFields(chat.Call{}, "ID")); d != "" {
				t.Error(d)
			}
		})
	}
}
