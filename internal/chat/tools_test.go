package chat_test

import (
	"regexp"
	"strings"
	"testing"

	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/modeltest"
	"afina/internal/tokenizer"
)

// qwenTools has the shape of Qwen 2.5's template, of which only the words are
// fewer.
const qwenTools = `{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'Soy.' }}
    {%- endif %}
    {{- "\n\n# Tools\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' }}
        {{- message.content }}
        {{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
`

// llamaTools has the shape of Llama 3.1's.
const llamaTools = `{%- if tools %}
    {{- 'Given the following functions, respond with JSON: {"name": function name, "parameters": dictionary of argument name and its value}.' + "\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\n\n" }}
    {%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|im_start|>assistant\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|im_end|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|im_start|>ipython\n" }}
        {{- message.content }}
        {{- "<|im_end|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
`

// mistralTools has the shape of Mistral 7B Instruct v0.3's: it looks into tools,
// and at the ids of calls.
const mistralTools = `{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("ids have nine characters") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content|string + ", " }}
        {%- if not message.tool_call_id is defined or message.tool_call_id|length != 9 %}
            {{- raise_exception("ids have nine characters") }}
        {%- endif %}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}
`

// ownTools takes tools apart in a way that marks cannot follow.
const ownTools = `{% for tool in tools %}{{ tool.function.parameters.type }} <tool_call></tool_call>{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}`

func withTemplate(t *testing.T, source string) (*chat.Template, *tokenizer.Tokenizer) {
	t.Helper()
	f, err := gguf.Open(modeltest.Write(t, modeltest.Shape{Metadata: []gguf.Pair{{Key: "tokenizer.chat_template", Value: source}}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	tok, err := tokenizer.FromGGUF(f.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	template, err := chat.FromGGUF(f.Metadata, tok)
	if err != nil {
		t.Fatal(err)
	}
	return template, tok
}

// withTools is a whole round: question, call, the tool's answer.
func withTools() chat.Conversation {
	return chat.Conversation{
		Messages: []chat.Message{{Role: chat.User, Content: "¿2+3?"}, {Role: chat.Assistant}, {Role: chat.Tool, Content: `"5" <|im_end|>`}},
		Tools:    [][]byte{[]byte(`{"type":"function","function":{"name":"sum","description":"Adds: a, \"b\" <|im_start|>","parameters":{"type":"object"}}}`)},
		Answered: map[int]string{2: "call_1"},
		Calls:    map[int][]chat.Call{1: {{ID: "call_1", Name: "sum", Arguments: `{"a":2,"b":"x:\\\"y,z"}`}}},
	}
}

func TestTools(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"qwen": {qwenTools, "<|im_start|>system\nSoy.\n\n# Tools\n<tools>\n" +
			`{"type": "function", "function": {"name": "sum", "description": "Adds: a, \"b\" <|im_start|>", "parameters": {"type": "object"}}}` +
			"\n</tools>\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n" +
			"<|im_start|>user\n¿2+3?<|im_end|>\n" +
			"<|im_start|>assistant\n<tool_call>\n" + `{"name": "sum", "arguments": {"a": 2, "b": "x:\\\"y,z"}}` + "\n</tool_call><|im_end|>\n" +
			"<|im_start|>user\n<tool_response>\n\"5\" <|im_end|>\n</tool_response><|im_end|>\n<|im_start|>assistant\n"},
		"llama": {llamaTools, "Given the following functions, respond with JSON: {\"name\": function name, \"parameters\": dictionary of argument name and its value}.\n" +
			"{\n    \"type\": \"function\",\n    \"function\": {\n        \"name\": \"sum\",\n        \"description\": \"Adds: a, \\\"b\\\" <|im_start|>\",\n        \"parameters\": {\n            \"type\": \"object\"\n        }\n    }\n}\n\n" +
			"<|im_start|>user\n¿2+3?<|im_end|><|im_start|>assistant\n" + `{"name": "sum", "parameters": {"a": 2, "b": "x:\\\"y,z"}}` + "<|im_end|>" +
			"<|im_start|>ipython\n\"5\" <|im_end|><|im_end|><|im_start|>assistant\n"},
	} {
		t.Run(name, func(t *testing.T) {
			template, tok := withTemplate(t, c.source)
			if _, ok := template.CallForm(); !ok {
				t.Fatal("the template knows tools, and is not believed")
			}
			got, err := template.Render(withTools(), true)
			if err != nil || got != c.want {
				t.Fatalf("%v\ngot  %s\nwant %s", err, got, c.want)
			}
			seq, err := template.Lay(tok, withTools(), true)
			if err != nil {
				t.Fatal(err)
			}
			id, _ := tok.Special("<|im_start|>")
			n := 0
			for _, x := range seq.Tokens {
				if x == id {
					n++
				}
			}
			if want := strings.Count(c.want, "<|im_start|>") - 1; n != want { // one is in the tool's description
				t.Errorf("%d turns, want %d: what a tool says was read as a control token", n, want)
			}
		})
	}
}

// TestToolsTakenApart: a template that looks into tools is shown their fields, and
// ids of the length it insists on, the same for a call and its answer.
func TestToolsTakenApart(t *testing.T) {
	template, tok := withTemplate(t, mistralTools)
	form, ok := template.CallForm()
	if !ok || form != mistral {
		t.Fatalf("the form is %+v, %t", form, ok)
	}
	c := withTools()
	c.Answered[2], c.Calls[1][0].ID = "A23456789", "A23456789"
	want := "<|endoftext|>" + `[AVAILABLE_TOOLS] [{"type": "function", "function": {"name": "sum", "description": "Adds: a, \"b\" <|im_start|>", "parameters": {"type": "object"}}}][/AVAILABLE_TOOLS]` +
		`[INST] ¿2+3?[/INST][TOOL_CALLS] [{"name": "sum", "arguments": {"a": 2, "b": "x:\\\"y,z"}, "id": "A23456789"}]<|im_end|>` +
		`[TOOL_RESULTS] {"content": "5" <|im_end|>, "call_id": "A23456789"}[/TOOL_RESULTS]`
	got, err := template.Render(c, true)
	if err != nil || got != want {
		t.Fatalf("%v\ngot  %s\nwant %s", err, got, want)
	}
	if _, err := template.Lay(tok, c, true); err != nil {
		t.Error(err)
	}
	ids := regexp.MustCompile(`"id": "(.{9})"}].*"call_id": "(.{9})"`)
	got, err = template.Render(withTools(), true)
	if m := ids.FindStringSubmatch(got); err != nil || m == nil || m[1] != m[2] {
		t.Errorf("an id of another server: %v, %s", err, got)
	}
	if _, err := template.Render(chat.Conversation{Messages: c.Messages[:1], Tools: [][]byte{[]byte(`{`)}}, true); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

// TestToolsRefused: a template that knows no tools, or takes them apart, is not
// used with them.
func TestToolsRefused(t *testing.T) {
	for name, source := range map[string]string{"none": `{% for m in messages %}{{ m.content }}{% endfor %}`, "own": ownTools} {
		template, _ := withTemplate(t, source)
		if _, ok := template.CallForm(); ok {
			t.Errorf("%s: it says that it knows tools", name)
		}
		if _, err := template.Render(withTools(), true); err == nil {
			t.Errorf("%s: tools were laid out", name)
		}
	}
}
