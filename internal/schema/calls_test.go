package schema_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/grammar"
	"afina/internal/schema"
)

var (
	hermes = chat.CallForm{Open: "<tool_call>", Close: "</tool_call>", Arguments: "arguments"}
	llama3 = chat.CallForm{Arguments: "parameters"}
)

// parameters of the tools, by name.
var parameters = map[string]string{
	"sumar":  `{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"],"additionalProperties":false}`,
	"buscar": `{"properties":{"tema":{"type":"string","maxLength":20},"grado":{"enum":[1,2,3]}},"required":["tema"]}`,
	"libre":  ``,
	"nada":   `{"type":"object","properties":{}}`,
}

func tools() (list []schema.Tool) {
	for _, name := range []string{"sumar", "buscar", "libre", "nada"} {
		tool := schema.Tool{Name: name}
		if parameters[name] != "" {
			tool.Parameters = []byte(parameters[name])
		}
		list = append(list, tool)
	}
	return list
}

// TestCalls: what is drawn is read back as calls whose arguments are valid.
func TestCalls(t *testing.T) {
	tok := realTokens(t)
	v := grammar.NewVocabulary(tok)
	for _, test := range []struct {
		name string
		schema.Calling
		most int
	}{
		{"hermes", schema.Calling{Form: hermes, Tools: tools(), Required: true}, 1},
		{"hermes parallel", schema.Calling{Form: hermes, Tools: tools(), Required: true, Parallel: true}, 16},
		{"llama 3", schema.Calling{Form: llama3, Tools: tools(), Required: true, Parallel: true}, 1},
		{"one tool", schema.Calling{Form: hermes, Tools: tools()[:1], Required: true}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, err := schema.Calls(v, test.Calling)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			ids := map[string]bool{}
			several := false
			for seed := range 3 * walks(100) / 2 {
				text := walk(t, tok, g.Start(), rand.New(rand.NewPCG(seed, 1)), 20)
				content, calls := test.Form.Parse(text)
				if strings.TrimSpace(content) != "" || len(calls) == 0 || len(calls) > test.most {
					t.Fatalf("%q: content %q, %d calls", text, content, len(calls))
				}
				several = several || len(calls) > 1
				for _, c := range calls {
					seen[c.Name] = true
					if ids[c.ID] || !strings.HasPrefix(c.ID, "call_") {
						t.Errorf("the id %q comes twice or is none", c.ID)
					}
					ids[c.ID] = true
					s := parameters[c.Name]
					if s == "" {
						s = `{"type":"object"}`
					}
					validate(t, validator(t, s), c.Arguments)
				}
			}
			if !testing.Short() && len(seen) != len(test.Tools) || several != (test.most > 1) {
				t.Errorf("only %v were called; several at once: %t", seen, several)
			}
		})
	}
}

// TestAuto: text is free up to the mark of a call, and a call is whole.
func TestAuto(t *testing.T) {
	tok := realTokens(t)
	v := grammar.NewVocabulary(tok)
	for _, test := range []struct {
		form           chat.CallForm
		valid, invalid []string
	}{
		{hermes, []string{
			"", "Hola.", "a < b y <tool", "<tool_cal", "<<tool_calls\xf0\x9f", "{\"name\":\"x\"}",
			"<tool_call>\n{\"name\": \"sumar\", \"arguments\": {\"a\": 1, \"b\": -2}}\n</tool_call>",
			"Veamos <<tool_call>{\"name\":\"nada\",\"arguments\":{}}</tool_call>",
			"<tool_call>\n{\"name\": \"nada\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"name\": \"nada\", \"arguments\": {}}\n</tool_call>",
		}, []string{
			"<tool_call>", "x<tool_call>\nhola", "<tool_call>{\"name\":\"nadie\",\"arguments\":{}}</tool_call>",
			"<tool_call>{\"name\":\"nada\",\"arguments\":{\"x\":1}}</tool_call>", "<tool_call>{\"name\":\"nada\",\"arguments\":{}}</tool_call> Listo.",
		}},
		{llama3, []string{"", "Hola {", " \nHola", `{"name": "sumar", "parameters": {"a": 1, "b": 2}}`}, []string{"{", " {hola", `{"name":"nadie"`, `{"name":"nada","parameters":{}} x`}},
	} {
		g, err := schema.Calls(v, schema.Calling{Form: test.form, Tools: tools(), Parallel: true})
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(10) {
			rng := rand.New(rand.NewPCG(seed, 2))
			for _, text := range test.valid {
				if err := accepts(tok, g.Start(), text, rng); err != nil {
					t.Errorf("%q: %v", text, err)
				}
			}
			for _, text := range test.invalid {
				if err := accepts(tok, g.Start(), text, rng); err == nil {
					t.Errorf("%q is accepted", text)
				}
			}
		}
		exact(t, tok, g.Start(), rand.New(rand.NewPCG(1, 3)), 1)
	}
}

// TestCallsRefused: the tool at fault is named.
func TestCallsRefused(t *testing.T) {
	v := grammar.NewVocabulary(tinyTokens(t))
	for _, test := range []struct{ parameters, want string }{
		{`{"type":"string"}`, "tools[1].function.parameters"},
		{`{`, "tools[1].function.parameters"},
		{`{"type":"object","properties":{"a":{"not":{}}}}`, "tools[1].function.parameters"},
		{`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`, "tools[1].function.parameters"},
	} {
		_, err := schema.Calls(v, schema.Calling{Form: hermes, Required: true, Tools: []schema.Tool{{Name: "ok"}, {Name: "x", Parameters: []byte(test.parameters)}}})
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Param != test.want {
			t.Errorf("%s: %v", test.parameters, err)
		}
	}
	if _, err := schema.Calls(v, schema.Calling{Form: hermes}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no tools: %v", err)
	}
}

// TestRecursiveTool: references of one tool's schema are its own.
func TestRecursiveTool(t *testing.T) {
	tok := realTokens(t)
	tree := `{"type":"object","properties":{"v":{"type":"%"},"kids":{"type":"array","items":{"$ref":"#"},"maxItems":2}},"required":["v"],"additionalProperties":false}`
	first, second := strings.Replace(tree, "%", "integer", 1), strings.Replace(tree, "%", "boolean", 1)
	g, err := schema.Calls(grammar.NewVocabulary(tok), schema.Calling{Form: llama3, Required: true, Tools: []schema.Tool{{"a", []byte(first)}, {"b", []byte(second)}}})
	if err != nil {
		t.Fatal(err)
	}
	for seed := range walks(50) {
		text := walk(t, tok, g.Start(), rand.New(rand.NewPCG(seed, 1)), 30)
		var call struct {
			Name       string
			Parameters json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &call); err != nil {
			t.Fatal(err)
		}
		validate(t, validator(t, map[string]string{"a": first, "b": second}[call.Name]), string(call.Parameters))
	}
}
