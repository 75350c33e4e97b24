package chat

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"afina/internal/fault"
)

// CallForm is how a model writes the calls of tools: objects with a name and
// arguments, each between two marks, or all in a list behind one. Without marks
// the whole answer is one call. A mark may be a control token or plain text, as
// the vocabulary has it.
type CallForm struct {
	Open, Close string
	List        bool   // calls are the elements of one array behind Open; there is no Close
	Arguments   string // the key of the arguments
}

// The forms known.
var (
	hermes  = CallForm{Open: "<tool_call>", Close: "</tool_call>", Arguments: "arguments"} // also Qwen's
	mistral = CallForm{Open: "[TOOL_CALLS]", List: true, Arguments: "arguments"}
	llama3  = CallForm{Arguments: "parameters"}
)

// callForm reads off a template which form it teaches its model.
func callForm(source string) (CallForm, bool) {
	switch {
	case !strings.Contains(source, "tools"):
	case strings.Contains(source, hermes.Open) && strings.Contains(source, hermes.Close):
		return hermes, true
	case strings.Contains(source, mistral.Open) && !strings.Contains(source, "[ARGS]"): // its later form, of names and [ARGS], is another
		return mistral, true
	case strings.Contains(source, `"parameters": dictionary of argument name and its value`):
		return llama3, true
	}
	return CallForm{}, false
}

// indentedTools is how Llama 3's template writes a tool.
var indentedTools = regexp.MustCompile(`tojson\(\s*indent\s*=\s*4\s*\)`)

// toolFields are the fields of a tool that templates look at, in their order.
var toolFields = []string{"name", "description", "parameters"}

// tool shows a tool to the template: as one mark, which keeps what the client
// wrote, or, if the template must look into it, a mark for each field.
func (t *Template) tool(m *marks, tool []byte) (shownTool, error) {
	if !t.apart {
		return shownTool{whole: m.add(written(string(tool), t.indented), given, true)}, nil
	}
	var body struct {
		Function map[string]json.RawMessage `json:"function"`
	}
	if err := json.Unmarshal(tool, &body); err != nil {
		return shownTool{}, fault.New(fault.Invalid, "a tool is no function in JSON: %v", err).WithParam("tools")
	}
	shown := shownTool{fields: map[string]string{}}
	for _, name := range toolFields {
		raw, ok := body.Function[name]
		var text string
		switch {
		case !ok:
		case json.Unmarshal(raw, &text) == nil:
			shown.fields[name] = m.addString(text)
		default:
			shown.fields[name] = m.add(written(string(raw), t.indented), given, true)
		}
	}
	return shown, nil
}

// quoted is text as a JSON string.
func quoted(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always can
	return strings.TrimSpace(b.String())
}

// shortened is a call's id as templates see it: nine letters and digits, which
// Mistral's insist on and others do not look at. Equal ids stay equal.
func shortened(id string) string {
	if shortIDs.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:shortID]
}

var shortIDs = regexp.MustCompile(`^[A-Za-z0-9]{9}$`)

// tryTools lays out a conversation with a tool, its call and its answer: a
// template that has no place for one, or writes it in a way that marks cannot
// follow, is not used with tools.
func (t *Template) tryTools() error {
	parts, err := t.skeleton(Conversation{
		Messages: []Message{{User, "x"}, {Assistant, ""}, {Tool, "y"}},
		Tools:    [][]byte{[]byte(`{"type":"function","function":{"name":"f","description":"d","parameters":{}}}`)},
		Calls:    map[int][]Call{1: {{Name: "f", Arguments: "{}"}}},
	}, true)
	for k, p := range parts {
		if p.message == given && (strings.HasSuffix(parts[k-1].text, `"`) || strings.HasPrefix(parts[k+1].text, `"`)) {
			return errors.New("the template writes tools in a form of its own")
		}
	}
	return err
}

// written is JSON as Python's json.dumps writes it, which is how models saw it
// in training: keys in their order, a blank behind commas and colons; or, with
// indented, over lines. What is no JSON stays as it is.
func written(text string, indented bool) string {
	var b bytes.Buffer
	if indented {
		if json.Indent(&b, []byte(text), "", "    ") != nil {
			return text
		}
		return b.String()
	}
	if json.Compact(&b, []byte(text)) != nil {
		return text
	}
	compact := b.Bytes()
	spaced := make([]byte, 0, len(compact)+len(compact)/8)
	quoted := false
	for i, c := range compact {
		spaced = append(spaced, c)
		switch {
		case c == '"' && !escaped(compact[:i]):
			quoted = !quoted
		case (c == ',' || c == ':') && !quoted:
			spaced = append(spaced, ' ')
		}
	}
	return string(spaced)
}

// escaped reports whether what follows text is behind an odd number of
// backslashes.
func escaped(text []byte) bool {
	return (len(text)-len(bytes.TrimRight(text, `\`)))%2 == 1
}

// CallForm returns how the model writes tool calls, false when its template says
// nothing of tools.
func (t *Template) CallForm() (CallForm, bool) { return t.form, t.tools }

// Call is a tool call that a model wrote.
type Call struct {
	ID        string // made by CallReader
	Name      string
	Arguments string // JSON text of an object
}
