package schema_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/grammar"
	"afina/internal/modeltest"
	"afina/internal/schema"
)

var (
	hermes  = chat.CallForm{Open: "<tool_call>", Close: "</tool_call>", Arguments: "arguments"}
	mistral = chat.CallForm{Open: "[TOOL_CALLS]", List: true, Arguments: "arguments"}
	llama3  = chat.CallForm{Arguments: "parameters"}
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
		{"mistral", schema.Calling{Form: mistral, Tools: tools(), Required: true}, 1},
		{"mistral parallel", schema.Calling{Form: mistral, Tools: tools(), Required: true, Parallel: true}, 16},
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
			patience := 20
			if test.Form.List { // out of patience, a list is closed
				patience = 80
			}
			for seed := range 3 * walks(100) / 2 {
				text := walk(t, tok, g.Start(), rand.New(rand.NewPCG(seed, 1)), patience)
				r := test.Form.Reader(nil)
				content, pieces := r.Next(text)
				content += r.End()
				calls := chat.Gather(nil, pieces)
				if !r.Called() {
					t.Fatalf("%q: the last call is not whole", text)
				}
				if strings.TrimSpace(content) != "" || len(calls) == 0 || len(calls) > test.most {
					t.Fatalf("%q: content %q, %d calls", text, content, len(calls))
				}
				several = several || len(calls) > 1
				for _, c := range calls {
					seen[c.Name] = true
					if ids[c.ID] || c.ID == "" {
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
		{mistral, []string{
			"", "Hola [TOOL_CALL", `[TOOL_CALLS] [{"name": "nada", "arguments": {}}]`, `a[TOOL_CALLS][{"name":"nada","arguments":{}}, {"name": "sumar", "arguments": {"a": 1, "b": 2}}]`,
		}, []string{
			"[TOOL_CALLS]", "[TOOL_CALLS] []", `[TOOL_CALLS] [{"name": "nada", "arguments": {}}] x`, `[TOOL_CALLS] {"name": "nada", "arguments": {}}`,
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

// TestControlMarks: marks that are control tokens are written by those tokens
// only, and come nowhere but where a call begins or ends.
func TestControlMarks(t *testing.T) {
	for _, form := range []chat.CallForm{hermes, mistral} {
		names := []string{form.Open}
		if form.Close != "" {
			names = append(names, form.Close)
		}
		tok := open(t, modeltest.Write(t, modeltest.Shape{Control: names}))
		v := grammar.NewVocabulary(tok, names...)
		begin, _ := tok.Special(form.Open)
		end, _ := tok.Special(names[len(names)-1])
		if v.Mark(begin) == "" || v.Mark(0) != "" || v.Spelled(form.Open) != v.Mark(begin) || v.Spelled("x") != "x" {
			t.Fatal("marks are not spelled as they are written")
		}
		for _, required := range []bool{true, false} {
			g, err := schema.Calls(v, schema.Calling{Form: form, Tools: tools(), Required: required, Parallel: true})
			if err != nil {
				t.Fatal(err)
			}
			called, spoken, several := 0, 0, 0
			for seed := range uint64(150) {
				rng := rand.New(rand.NewPCG(seed, 5))
				c, r := g.Start(), form.Reader(v.Spelled)
				var content string
				var calls []chat.Call
				take := func(id int32, text string) {
					if err := c.Accept(id); err != nil {
						t.Fatal(err)
					}
					more, pieces := r.Next(text)
					content, calls = content+more, chat.Gather(calls, pieces)
				}
				mask := make([]uint64, (tok.Size+63)/64)
				for n := range 4000 {
					clear(mask)
					c.Mask(mask)
					ids := tokens(mask)
					if i := rng.IntN(len(ids)); n > 25 && slices.Contains(ids, begin) {
						take(begin, v.Mark(begin)) // a walk in prose comes to a call
					} else if slices.Contains(tok.Ends, ids[i]) || n > 400 && c.Complete() {
						break
					} else {
						take(ids[i], string(tok.Bytes(ids[i]))+v.Mark(ids[i]))
					}
				}
				content += r.End()
				if !c.Complete() {
					continue // a long string; nothing to check
				}
				if strings.Contains(content, "\xff") || required && (len(calls) == 0 || content != "") {
					t.Errorf("%+v: content %q, calls %v", form, content, calls)
				}
				for _, call := range calls {
					if s := parameters[call.Name]; s != "" {
						validate(t, validator(t, s), call.Arguments)
					}
				}
				if len(calls) > 0 {
					called++
				} else {
					spoken++
				}
				if len(calls) > 1 {
					several++
				}
			}
			if called == 0 || several == 0 || !required && spoken == 0 {
				t.Errorf("%+v, required %t: %d called, %d several times, %d spoke", form, required, called, several, spoken)
			}
			// Spelled out, a mark is text like any other, and so it begins no call.
			c := g.Start()
			for i, id := range tok.Encode(nil, form.Open, true) {
				if err := c.Accept(id); (err == nil) == required && i == 0 {
					t.Errorf("required %t: the name of the mark as text: %v", required, err)
				}
			}
			for _, id := range []int32{end, begin} { // neither stands in the middle of a call
				c := g.Start()
				if err := c.Accept(begin); err != nil {
					t.Fatal(err)
				}
				if err := c.Accept(id); err == nil {
					t.Errorf("token %d is taken where a call begins", id)
				}
			}
		}
		// Without the marks, control tokens are in no text.
		plain := grammar.NewVocabulary(tok)
		g, err := schema.Calls(plain, schema.Calling{Form: form, Tools: tools()})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Start().Accept(begin); err == nil {
			t.Error("a control token is taken for text")
		}
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
