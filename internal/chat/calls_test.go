package chat_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"afina/internal/chat"
)

var (
	mistral = chat.CallForm{Open: "[TOOL_CALLS]", List: true, Arguments: "arguments"}
	hermes  = chat.CallForm{Open: "<tool_call>", Close: "</tool_call>", Arguments: "arguments"}
	llama3  = chat.CallForm{Arguments: "parameters"}
)

// read reads an answer that comes in pieces. It checks what holds of every stream:
// a call's first piece has its name and nothing else, and pieces come in order.
func read(t *testing.T, form chat.CallForm, pieces []string) (content string, calls []chat.Call, whole bool) {
	t.Helper()
	r := form.Reader(nil)
	for _, p := range pieces {
		text, found := r.Next(p)
		content += text
		for _, c := range found {
			if first := c.Index == len(calls); first != (c.ID != "") || first != (c.Name != "") || first == (c.Arguments != "") || c.Index > len(calls) {
				t.Errorf("piece %+v after %d calls", c, len(calls))
			}
			calls = chat.Gather(calls, []chat.CallPiece{c})
		}
	}
	return content + r.End(), calls, r.Called()
}

func TestCallReader(t *testing.T) {
	sum := chat.Call{Name: "sumar", Arguments: `{"a": 1}`}
	none := chat.Call{Name: "nada", Arguments: `{}`}
	for _, test := range []struct {
		name, text string
		form       chat.CallForm
		content    string
		calls      []chat.Call
		whole      bool
	}{
		{"text", "Hola.\n", hermes, "Hola.\n", nil, false},
		{"call", "<tool_call>\n{\"name\": \"sumar\", \"arguments\": {\"a\": 1}}\n</tool_call>", hermes, "", []chat.Call{sum}, true},
		{"text and calls", "Veamos.\n<tool_call>{\"name\":\"sumar\",\"arguments\":{\"a\": 1}}</tool_call>\n<tool_call>\n{ \"name\": \"nada\" , \"arguments\" : {} }\n</tool_call>\n", hermes, "Veamos.", []chat.Call{sum, none}, true},
		{"a mark in a string", `<tool_call>{"name":"x","arguments":{"s":"</tool_call><tool_call>}\""}}</tool_call>`, hermes, "", []chat.Call{{Name: "x", Arguments: `{"s":"</tool_call><tool_call>}\""}`}}, true},
		{"objects in arguments", `<tool_call>{"name":"x","arguments":{"ñ":[{"b":"€"},[]]}}</tool_call>`, hermes, "", []chat.Call{{Name: "x", Arguments: `{"ñ":[{"b":"€"},[]]}`}}, true},
		{"nearly a mark", "a <tool_cal b <", hermes, "a <tool_cal b <", nil, false},
		{"cut off in a string", `<tool_call>{"name":"x","arguments":{"s":"a`, hermes, "", []chat.Call{{Name: "x", Arguments: `{"s":"a`}}, false},
		{"cut off before the name", `<tool_call>{"na`, hermes, `<tool_call>{"na`, nil, false},
		{"cut off behind a call", `<tool_call>{"name":"nada","arguments":{}}</tool_call><tool_call>{"na`, hermes, `<tool_call>{"na`, []chat.Call{none}, true},
		{"not closed", `<tool_call>{"name":"nada","arguments":{}}`, hermes, "", []chat.Call{none}, false},
		{"no name", `<tool_call>{"arguments":{}}</tool_call>`, hermes, `<tool_call>{"arguments":{}}</tool_call>`, nil, false},
		{"arguments of another kind", `<tool_call>{"name":"x","arguments":[1]}</tool_call>`, hermes, `<tool_call>{"name":"x","arguments":[1]}</tool_call>`, nil, false},
		{"list", ` [TOOL_CALLS] [{"name": "sumar", "arguments": {"a": 1}}]`, mistral, "", []chat.Call{sum}, true},
		{"list of several", `Veamos. [TOOL_CALLS][{"name": "sumar", "arguments": {"a": 1}}, {"name":"nada","arguments":{}}]`, mistral, "Veamos.", []chat.Call{sum, none}, true},
		{"list not closed", `[TOOL_CALLS] [{"name": "nada", "arguments": {}}`, mistral, "", []chat.Call{none}, false},
		{"list cut off", `[TOOL_CALLS] [{"name": "nada", "arguments": {}}, {"name": "sumar", "arguments": {"a"`, mistral, "", []chat.Call{none, {Name: "sumar", Arguments: `{"a"`}}, false},
		{"whole answer", ` {"name": "sumar", "parameters": {"a": 1}}`, llama3, "", []chat.Call{sum}, true},
		{"text first", "x {\"name\": \"sumar\", \"parameters\": {}}", llama3, "x {\"name\": \"sumar\", \"parameters\": {}}", nil, false},
		{"other object", `{"a":1}`, llama3, `{"a":1}`, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			content, calls, whole := read(t, test.form, []string{test.text})
			if content != test.content || whole != test.whole {
				t.Errorf("content %q, whole %t; want %q, %t", content, whole, test.content, test.whole)
			}
			unnamed := cmpopts.IgnoreFields(chat.Call{}, "ID")
			if d := cmp.Diff(test.calls, calls, unnamed); d != "" {
				t.Error(d)
			}
			for _, pieces := range [][]string{strings.Split(test.text, ""), strings.SplitAfter(test.text, `"`), strings.SplitAfter(test.text, "}")} {
				again, same, also := read(t, test.form, pieces)
				if d := cmp.Diff(calls, same, unnamed); d != "" || again != content || also != whole {
					t.Errorf("in pieces %q: content %q, whole %t, calls %v", pieces, again, also, same)
				}
			}
		})
	}
}

// TestCallIDs: ids are what the form's templates take, and never come twice.
func TestCallIDs(t *testing.T) {
	seen := map[string]bool{}
	for form, want := range map[chat.CallForm]string{hermes: `^call_[A-Z2-7]{26}$`, mistral: `^[A-Z2-7]{9}$`} {
		text := `<tool_call>{"name":"f","arguments":{}}</tool_call>`
		if form.List {
			text = `[TOOL_CALLS][{"name":"f","arguments":{}}]`
		}
		for range 20 {
			_, calls, _ := read(t, form, []string{text})
			if len(calls) != 1 || seen[calls[0].ID] || !regexp.MustCompile(want).MatchString(calls[0].ID) {
				t.Fatalf("%+v", calls)
			}
			seen[calls[0].ID] = true
		}
	}
}
