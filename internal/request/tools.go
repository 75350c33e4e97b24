package request

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/form"
	"afina/internal/schema"
)

// responseFormat is what an answer has to look like.
type responseFormat struct {
	Type   string      `json:"type"`
	Schema *schemaBody `json:"json_schema"`
}

type schemaBody struct {
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Strict      *bool           `json:"strict"` // answers keep to the schema in any case
}

// toolBody is a function that may be called.
type toolBody struct {
	Type     string          `json:"type"`
	Function *functionBody   `json:"function"`
	Custom   json.RawMessage `json:"custom"`
}

type functionBody struct {
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict"` // calls keep to their schemas in any case
}

// callMessage is a call that the client sends back.
type callMessage struct {
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	Function *callBack       `json:"function"`
	Index    json.RawMessage `json:"index"` // of a chunk; without effect
}

type callBack struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

var functionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// mostTools is how many tools a request may bring.
const mostTools = 128

// form is what the answer has to look like, and puts the tools into the
// conversation.
func (q *Chat) form(c *chat.Conversation) (f assistant.Form, err error) {
	if err := q.ResponseFormat.into(&f); err != nil {
		return f, err
	}
	choice, named, err := toolChoice(q.ToolChoice)
	if err != nil {
		return f, err
	}
	var given []toolBody
	if q.Tools != nil {
		given = *q.Tools
	}
	shown, callable, err := tools(given)
	if err != nil {
		return f, err
	}
	switch {
	case len(given) == 0 && choice != "auto" && choice != "none":
		return f, wrong("tool_choice", "tool_choice asks for a call, and there are no tools")
	case len(given) == 0 || choice == "none":
		return f, nil
	case f.Object || f.Schema != nil:
		return f, unsupported("response_format", "response_format is not supported together with tools; give the tools' parameters a schema, or set tool_choice to none")
	}
	c.Tools, f.Tools = shown, callable
	f.Required, f.Parallel = choice == "required", or(q.Parallel, true)
	if named != "" {
		i := slices.IndexFunc(callable, func(t schema.Tool) bool { return t.Name == named })
		if i < 0 {
			return f, wrong("tool_choice.function.name", "tool_choice names %.64q, which is not among the tools", named)
		}
		f.Tools, f.Required, f.Parallel = callable[i:i+1], true, false
	}
	return f, nil
}

// into reads the response format.
func (r *responseFormat) into(f *assistant.Form) error {
	if r == nil {
		return nil
	}
	const at = "response_format"
	switch r.Type {
	case "text":
		return nil
	case "json_object":
		f.Object = true
		return nil
	case "json_schema":
		if r.Schema == nil || r.Schema.Name == "" {
			return fault.New(fault.Invalid, "%s.json_schema.name is missing; set it", at).WithCode(form.CodeMissing).WithParam(at + ".json_schema.name")
		}
		if err := object(r.Schema.Schema, at+".json_schema.schema"); err != nil {
			return err
		}
		f.Schema = []byte(r.Schema.Schema)
		if harmless(r.Schema.Schema, nil) {
			f.Schema, f.Object = nil, true
		}
		return nil
	}
	return wrong(at+".type", "%s.type is %.40q: it must be one of text, json_object, json_schema", at, r.Type)
}

// object checks that a schema is one: an object, or absent.
func object(raw json.RawMessage, path string) error {
	if !harmless(raw, nil) && bytes.TrimSpace(raw)[0] != '{' {
		return fault.New(fault.Invalid, "%s must be an object", path).WithCode(form.CodeType).WithParam(path)
	}
	return nil
}

// toolChoice reads none, auto, required, or the function to call.
func toolChoice(raw json.RawMessage) (choice, named string, err error) {
	const at = "tool_choice"
	if harmless(raw, nil) {
		return "auto", "", nil
	}
	if raw[0] == '"' {
		if err := form.Decode(raw, at, &choice); err != nil {
			return "", "", err
		}
		if choice != "none" && choice != "auto" && choice != "required" {
			return "", "", wrong(at, "tool_choice is %.40q: it must be none, auto, required, or a function", choice)
		}
		return choice, "", nil
	}
	var body struct {
		Type     string `json:"type"`
		Function *struct {
			Name string `json:"name"`
		} `json:"function"`
		Allowed json.RawMessage `json:"allowed_tools"`
		Custom  json.RawMessage `json:"custom"`
	}
	if err := form.Decode(raw, at, &body); err != nil {
		return "", "", err
	}
	if body.Type != "function" {
		return "", "", unsupported(at+".type", "tool_choice.type %.40q is not supported: name a function", body.Type)
	}
	if body.Function == nil || body.Function.Name == "" {
		return "", "", fault.New(fault.Invalid, "tool_choice.function.name is missing; set it").WithCode(form.CodeMissing).WithParam(at + ".function.name")
	}
	return "required", body.Function.Name, nil
}

// tools reads the tools: as they are shown to the model, and as they are called.
func tools(given []toolBody) (shown [][]byte, callable []schema.Tool, err error) {
	if len(given) > mostTools {
		return nil, nil, wrong("tools", "there are %d tools: there may be %d", len(given), mostTools)
	}
	for i, t := range given {
		at := fmt.Sprintf("tools[%d]", i)
		if t.Type != "function" {
			return nil, nil, unsupported(at+".type", "%s.type %.40q is not supported: it must be function", at, t.Type)
		}
		if t.Function == nil || !functionName.MatchString(t.Function.Name) {
			return nil, nil, wrong(at+".function.name", "%s.function.name must have 1 to 64 letters, digits, _ or -", at)
		}
		if slices.ContainsFunc(callable, func(c schema.Tool) bool { return c.Name == t.Function.Name }) {
			return nil, nil, wrong(at+".function.name", "%s.function.name %s is given twice", at, t.Function.Name)
		}
		call := schema.Tool{Name: t.Function.Name}
		if err := object(t.Function.Parameters, at+".function.parameters"); err != nil {
			return nil, nil, err
		}
		if !harmless(t.Function.Parameters, nil) {
			call.Parameters = t.Function.Parameters
		}
		callable = append(callable, call)
		text, err := t.show()
		if err != nil {
			return nil, nil, err
		}
		shown = append(shown, text)
	}
	return shown, callable, nil
}

// show is the tool as templates expect it.
func (t toolBody) show() ([]byte, error) {
	type function struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters,omitempty"`
	}
	f := function{t.Function.Name, or(t.Function.Description, ""), nil}
	if !harmless(t.Function.Parameters, nil) {
		f.Parameters = t.Function.Parameters
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Type     string   `json:"type"`
		Function function `json:"function"`
	}{"function", f})
	if err != nil {
		return nil, fmt.Errorf("write a tool: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// calls reads what an earlier answer called.
func (m *messageBody) calls(role chat.Role, path string) ([]chat.Call, error) {
	if role == chat.Tool && (m.CallID == nil || *m.CallID == "") {
		return nil, fault.New(fault.Invalid, "%s.tool_call_id is missing; set it to the id of the call that is answered", path).
			WithCode(form.CodeMissing).WithParam(path + ".tool_call_id")
	}
	if m.CallID != nil && role != chat.Tool {
		return nil, wrong(path+".tool_call_id", "%s.tool_call_id goes with the role tool", path)
	}
	if m.Calls == nil || len(*m.Calls) == 0 {
		return nil, nil
	}
	if role != chat.Assistant {
		return nil, wrong(path+".tool_calls", "%s.tool_calls goes with the role assistant", path)
	}
	var all []chat.Call
	for i, c := range *m.Calls {
		at := fmt.Sprintf("%s.tool_calls[%d]", path, i)
		if c.Type != "function" && c.Type != "" {
			return nil, unsupported(at+".type", "%s.type %.40q is not supported: it must be function", at, c.Type)
		}
		if c.Function == nil {
			return nil, fault.New(fault.Invalid, "%s.function is missing; set it to the call", at).WithCode(form.CodeMissing).WithParam(at + ".function")
		}
		if !functionName.MatchString(c.Function.Name) {
			return nil, wrong(at+".function.name", "%s.function.name must have 1 to 64 letters, digits, _ or -", at)
		}
		arguments := c.Function.Arguments
		if arguments == "" {
			arguments = "{}"
		}
		all = append(all, chat.Call{ID: c.ID, Name: c.Function.Name, Arguments: arguments})
	}
	return all, nil
}
