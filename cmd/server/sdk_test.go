package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"afina/internal/gguf"
	"afina/internal/modeltest"
)

// sdkKey is the API key of the services that OpenAI's clients speak to.
const sdkKey = "0123456789abcdef"

// hermes is a chat template that knows tools, in the form of Qwen and Hermes.
const hermes = `{%- if tools %}{{- '<|im_start|>system\n# Tools\n<tools>' }}{%- for tool in tools %}{{- "\n" }}{{- tool | tojson }}{%- endfor %}` +
	`{{- "\n</tools>\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n" }}{%- endif %}` +
	`{%- for message in messages %}{%- if message.role == 'tool' %}{{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}` +
	`{%- else %}{{- '<|im_start|>' + message.role + '\n' + message.content }}{%- for tool_call in message.tool_calls or [] %}` +
	`{{- '\n<tool_call>\n{"name": "' + tool_call.function.name + '", "arguments": ' }}{{- tool_call.function.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\n' }}{%- endif %}{%- endfor %}` +
	`{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}`

// mistral is one that knows them in the form of Mistral.
const mistral = `{%- for message in messages %}{%- if message.role == 'user' and tools %}{{- '[AVAILABLE_TOOLS] [' }}{%- for tool in tools %}{%- set tool = tool.function %}` +
	`{{- '{"type": "function", "function": {' }}{%- for key, val in tool.items() %}{{- '"' + key + '": ' + val|tojson }}{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- '}}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- ']' }}{%- endif %}` +
	`{%- if message.tool_calls is defined %}{{- '[TOOL_CALLS] [' }}{%- for tool_call in message.tool_calls %}{%- set out = tool_call.function|tojson %}{{- out[:-1] }}` +
	`{%- if tool_call.id|length != 9 %}{{- raise_exception('ids have nine characters') }}{%- endif %}{{- ', "id": "' + tool_call.id + '"}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- ']<|im_end|>' }}` +
	`{%- elif message.role == 'tool' %}{%- if message.tool_call_id|length != 9 %}{{- raise_exception('ids have nine characters') }}{%- endif %}{{- '[TOOL_RESULTS] {"content": ' + message.content + ', "call_id": "' + message.tool_call_id + '"}' }}` +
	`{%- else %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}`

// newSDKService is a service with three tiny models: "tiny"; "toolful", whose
// template knows tools; and "mistral", whose mark of calls is a control token.
// It asks for a key.
func newSDKService(t *testing.T) *service {
	t.Helper()
	s := newService(t, "AFINA_HTTP__API_KEYS="+sdkKey)
	for name, shape := range map[string]modeltest.Shape{
		"toolful": {Context: 1024, Seed: 5, Metadata: []gguf.Pair{{Key: "tokenizer.chat_template", Value: hermes}}},
		"mistral": {Context: 1024, Seed: 6, Control: []string{"[TOOL_CALLS]"}, Metadata: []gguf.Pair{{Key: "tokenizer.chat_template", Value: mistral}}},
	} {
		if err := os.Rename(modeltest.Write(t, shape), filepath.Join(s.models, name+".gguf")); err != nil {
			t.Fatal(err)
		}
	}
	s.Client.Key = sdkKey
	s.start()
	return s
}

// training writes a small file to train on.
func training(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for i := range 12 {
		b.WriteString(`{"messages":[{"role":"user","content":"¿` + strings.Repeat("x", i%4+1) + `?"},{"role":"assistant","content":"sí ` + strings.Repeat("y", i%3+1) + `"}]}` + "\n")
	}
	path := filepath.Join(t.TempDir(), "training.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// sdk is the folder that `make sdk` fills.
func sdk(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", ".cache", "sdk", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there: run `make sdk`", path)
	}
	return path
}

// script runs a script that says "all well" at its end, and returns what it said.
func script(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil || !strings.HasSuffix(strings.TrimSpace(out.String()), "all well") {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return out.String()
}

// node runs a script under testdata with OpenAI's client for Node at hand.
func node(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	modules := sdk(t, "node_modules")
	program, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	c := exec.Command(program, append([]string{filepath.Join("testdata", name)}, args...)...)
	c.Env = append(os.Environ(), "NODE_PATH="+modules)
	return c
}

// walk runs a script against a service of its own.
func walk(t *testing.T, cmd func(base, file string) *exec.Cmd) {
	t.Helper()
	s := newSDKService(t)
	began := time.Now()
	out := script(t, cmd(s.Base+"/v1", training(t)))
	t.Logf("%d checks in %v", strings.Count(out, "ok "), time.Since(began).Round(time.Second))
	if log := s.log.String(); strings.Contains(log, `"status":500`) || strings.Contains(log, "panic") {
		t.Errorf("the service failed:\n%s", log)
	}
}

// TestPythonSDK walks the API with OpenAI's client for Python.
func TestPythonSDK(t *testing.T) {
	python := sdk(t, filepath.Join("venv", "bin", "python"))
	walk(t, func(base, file string) *exec.Cmd {
		return exec.Command(python, filepath.Join("testdata", "sdk.py"), base, file)
	})
}

// TestNodeSDK walks the API with OpenAI's client for Node.
func TestNodeSDK(t *testing.T) {
	walk(t, func(base, file string) *exec.Cmd { return node(t, "sdk.cjs", base, file) })
}
