package chat

import (
	"crypto/rand"
	"encoding/json"
	"strings"
)

// CallForm is how a model writes the calls of tools: an object with a name and
// arguments, between two marks where the form has them. Without marks the whole
// answer is one call.
type CallForm struct {
	Open, Close string
	Arguments   string // the key of the arguments
}

// The forms known.
var (
	hermes = CallForm{Open: "<tool_call>", Close: "</tool_call>", Arguments: "arguments"} // also Qwen's
	llama3 = CallForm{Arguments: "parameters"}
)

// callForm reads off a template which form it teaches its model.
func callForm(source string) (CallForm, bool) {
	switch {
	case !strings.Contains(source, "tools"):
	case strings.Contains(source, hermes.Open) && strings.Contains(source, hermes.Close):
		return hermes, true
	case strings.Contains(source, `"parameters": dictionary of argument name and its value`):
		return llama3, true
	}
	return CallForm{}, false
}

// CallForm returns how the model writes tool calls, false when its template says
// nothing of tools.
func (t *Template) CallForm() (CallForm, bool) { return t.form, t.tools }

// Call is a tool call that a model wrote.
type Call struct {
	ID        string // made here, "call_…"
	Name      string
	Arguments string // JSON text of an object
}

// Parse takes a finished answer apart. What is no whole call, such as one that
// was cut off, stays in content.
func (f CallForm) Parse(text string) (content string, calls []Call) {
	if f.Open == "" {
		call, rest, ok := f.call(text)
		if ok && strings.TrimSpace(rest) == "" {
			return "", []Call{call}
		}
		return text, nil
	}
	content, rest, found := strings.Cut(text, f.Open)
	for found {
		call, behind, ok := f.call(rest)
		behind, closed := strings.CutPrefix(strings.TrimLeft(behind, " \t\r\n"), f.Close)
		if !ok || !closed {
			return content + f.Open + rest, calls
		}
		calls = append(calls, call)
		var between string
		between, rest, found = strings.Cut(behind, f.Open)
		content += strings.TrimSpace(between)
	}
	if len(calls) > 0 {
		content = strings.TrimRight(content, " \t\r\n")
	}
	return content, calls
}

// call reads one call and returns what is behind it.
func (f CallForm) call(text string) (call Call, rest string, ok bool) {
	var fields map[string]json.RawMessage
	d := json.NewDecoder(strings.NewReader(text))
	if d.Decode(&fields) != nil || json.Unmarshal(fields["name"], &call.Name) != nil || call.Name == "" {
		return Call{}, "", false
	}
	var arguments map[string]json.RawMessage
	if json.Unmarshal(fields[f.Arguments], &arguments) != nil || arguments == nil {
		return Call{}, "", false
	}
	call.ID = "call_" + rand.Text()
	call.Arguments = string(fields[f.Arguments])
	return call, text[d.InputOffset():], true
}
