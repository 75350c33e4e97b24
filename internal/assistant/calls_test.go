package assistant

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/gguf"
	"afina/internal/kernel"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/schema"
)

// Templates that teach a form, shorter than any real one.
const (
	hermesTemplate = `{% if tools %}{{ '<tools>' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '</tools> write <tool_call> </tool_call>' }}{% endif %}` +
		`{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{% for c in m.tool_calls or [] %}{{ '<tool_call>{"name": "' + c.function.name + '", "arguments": ' }}{{ c.function.arguments | tojson }}{{ '}</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}` +
		`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`
	mistralTemplate = `{% for m in messages %}{% if m.role == 'user' and tools %}{{ '[AVAILABLE_TOOLS] [' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ ']' }}{% endif %}` +
		`{{ '<|im_start|>' + m.role + '\n' + m.content }}{% if m.tool_calls %}{{ '[TOOL_CALLS] [' }}{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}{{ ']' }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}` +
		`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`
)

var adding = schema.Tool{Name: "sumar", Parameters: []byte(`{"type":"object","additionalProperties":false,"required":["a","b"],"properties":{"a":{"type":"integer","minimum":0,"maximum":99},"b":{"type":"string","maxLength":6}}}`)}

// toolful is a tiny model whose template teaches a form; control marks are tokens
// of their own.
func toolful(t *testing.T, template string, control ...string) *model.Model {
	t.Helper()
	pool := parallel.New(2)
	t.Cleanup(pool.Close)
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(modeltest.Write(t, modeltest.Shape{Seed: 8, Context: 1024, Control: control, Metadata: []gguf.Pair{{Key: "tokenizer.chat_template", Value: template}}}), gang)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// forms are the models that the tests of calls go over.
var forms = map[string]struct {
	template string
	control  []string
}{
	"hermes":                 {hermesTemplate, nil},
	"hermes, control tokens": {hermesTemplate, []string{"<tool_call>", "</tool_call>"}},
	"mistral":                {mistralTemplate, nil},
	"mistral, control token": {mistralTemplate, []string{"[TOOL_CALLS]"}},
}

// TestScriptedCalls: tokens as a model writes them, from a script: a call is told
// while it is written, its name before its arguments, and its marks never.
func TestScriptedCalls(t *testing.T) {
	for name, c := range forms {
		t.Run(name, func(t *testing.T) {
			m := toolful(t, c.template, c.control...)
			script := "Veamos: <tool_call>\n{\"name\": \"sumar\", \"arguments\": {\"a\": 12, \"b\": \"ñ12\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"sumar\", \"arguments\": {\"a\": 3, \"b\": \"\"}}\n</tool_call>"
			if c.template == mistralTemplate {
				script = `Veamos: [TOOL_CALLS] [{"name": "sumar", "arguments": {"a": 12, "b": "ñ12"}}, {"name": "sumar", "arguments": {"a": 3, "b": ""}}]`
			}
			w := newWriter(m, nil, Question{Form: Form{Tools: []schema.Tool{adding}, Parallel: true}, Logprobs: true})
			ids := m.Tokens.EncodeSpecial(nil, script, true)
			for _, mark := range c.control {
				if id, ok := m.Tokens.Special(mark); !ok || !strings.Contains(m.Tokens.Text(id), mark) {
					t.Fatalf("%s is no control token", mark)
				}
			}
			var text string
			var calls []chat.Call
			var fragments, scores int
			for i, id := range append(ids, m.Tokens.Ends[0]) {
				token := engine.Token{ID: id}
				if i == len(ids) {
					token.Reason = engine.Stop
				}
				d := w.add(token)
				text += d.Text
				scores += len(d.Tokens)
				for _, p := range d.Calls {
					if (p.Name != "") != (p.Index == len(calls)) || p.Name != "" && p.Arguments != "" {
						t.Errorf("piece %+v after %d calls", p, len(calls))
					}
					if p.Arguments != "" {
						fragments++
					}
					calls = chat.Gather(calls, []chat.CallPiece{p})
				}
				if i == len(ids) && d.Reason != ToolCalls {
					t.Errorf("it ends by %q", d.Reason)
				}
			}
			want := []chat.Call{{Name: "sumar", Arguments: `{"a": 12, "b": "ñ12"}`}, {Name: "sumar", Arguments: `{"a": 3, "b": ""}`}}
			if d := cmp.Diff(want, calls, cmpopts.IgnoreFields(chat.Call{}, "ID")); d != "" || text != "Veamos:" {
				t.Errorf("text %q\n%s", text, d)
			}
			if fragments < 10 || scores != len(ids) {
				t.Errorf("%d pieces of arguments, %d scores of %d tokens", fragments, scores, len(ids))
			}
			if calls[0].ID == calls[1].ID {
				t.Error("two calls have one id")
			}
		})
	}
}

// TestScriptedCut: an answer that is cut off inside a call has what was written of
// it, and does not end in calls.
func TestScriptedCut(t *testing.T) {
	m := toolful(t, hermesTemplate)
	for script, want := range map[string]chat.Call{
		`<tool_call>{"name":"sumar","arguments":{"a":1,"b":"x`: {Name: "sumar", Arguments: `{"a":1,"b":"x`},
		`<tool_call>{"name":"su`:                               {},
	} {
		w := newWriter(m, nil, Question{Form: Form{Tools: []schema.Tool{adding}}})
		ids := m.Tokens.Encode(nil, script, true)
		var text string
		var calls []chat.Call
		for i, id := range ids {
			token := engine.Token{ID: id}
			if i == len(ids)-1 {
				token.Reason = engine.Length
			}
			d := w.add(token)
			text, calls = text+d.Text, chat.Gather(calls, d.Calls)
			if i == len(ids)-1 && d.Reason != engine.Length {
				t.Errorf("%s: it ends by %s", script, d.Reason)
			}
		}
		if want.Name == "" {
			if text != script || calls != nil {
				t.Errorf("text %q, calls %v", text, calls)
			}
			continue
		}
		if d := cmp.Diff([]chat.Call{want}, calls, cmpopts.IgnoreFields(chat.Call{}, "ID")); d != "" || text != "" {
			t.Errorf("text %q\n%s", text, d)
		}
	}
}

// TestDrawnCalls: a model of random weights, asked for calls, makes calls whose
// arguments obey their schema, piece by piece, at any seed.
func TestDrawnCalls(t *testing.T) {
	for name, c := range forms {
		t.Run(name, func(t *testing.T) {
			m := toolful(t, c.template, c.control...)
			a := serve(t, m)
			several, pieces, runs := 0, 0, 0
			for seed := range uint64(16) {
				q := Question{Model: "m", Limit: 500, Form: Form{Tools: []schema.Tool{adding}, Required: true, Parallel: seed%2 == 0},
					Conversation: chat.Conversation{Messages: []chat.Message{{Role: chat.User, Content: "x"}}, Tools: [][]byte{[]byte(`{"type":"function","function":{"name":"sumar"}}`)}}}
				q.Sampling.Temperature, q.Sampling.Seed = 1, seed
				if q.Form.Parallel { // else an end is likelier than the letters of a mark
					q.Sampling.Bias = map[int32]float32{m.Tokens.Ends[0]: -8}
				}
				var calls []chat.Call
				var text string
				var last Delta
				for d, err := range a.Ask(t.Context(), q) {
					if err != nil {
						t.Fatal(err)
					}
					calls, text, last, pieces = chat.Gather(calls, d.Calls), text+d.Text, d, pieces+len(d.Calls)
				}
				if last.Reason == engine.Length {
					continue
				}
				runs += len(calls)
				if last.Reason != ToolCalls || len(calls) == 0 || text != "" || seed%2 == 1 && len(calls) > 1 {
					t.Errorf("seed %d: %q, %d calls, %s", seed, text, len(calls), last.Reason)
				}
				if len(calls) > 1 {
					several++
				}
				for _, call := range calls {
					var v struct {
						A *int
						B *string
					}
					if err := json.Unmarshal([]byte(call.Arguments), &v); err != nil || call.Name != "sumar" || v.A == nil || *v.A < 0 || *v.A > 99 || v.B == nil {
						t.Errorf("seed %d: %+v, %v", seed, call, err)
					}
				}
			}
			if several == 0 || pieces < 5*runs {
				t.Errorf("%d answers of several calls, %d pieces of %d calls", several, pieces, runs)
			}
		})
	}
}
