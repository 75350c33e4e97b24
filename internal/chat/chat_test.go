package chat_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/modeltest"
	"afina/internal/tokenizer"
)

// markers are the control tokens of the families whose templates are tested.
var markers = []string{"<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
	"<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>"}

// words is a byte-level vocabulary with merges that reach across blanks, which
// is where layouts go wrong.
func words(pre string) gguf.Metadata {
	merges := []string{"h o", "l a", "ho la", "Ġ hola", "Ċ Ċ", "Ġ Ġ", "ĠĠ ĠĠ", ": Ġ", "Ċ Ġ", "u s", "us er", "e r", "s s", "a ss", "] Ġ", "Ġ [", "Ġ a", "Ġ 4", "ĊĊ ĊĊ", "< |", "| >"}
	slices.SortStableFunc(merges, func(a, b string) int { return len(a) - len(b) })
	var tokens []string
	for c, next := 0, rune(0x100); c < 256; c++ {
		r := rune(c)
		if c <= ' ' || c >= 0x7F && c <= 0xA0 || c == 0xAD {
			r = next
			next++
		}
		tokens = append(tokens, string(r))
	}
	for _, m := range merges {
		tokens = append(tokens, strings.Replace(m, " ", "", 1))
	}
	types := make([]int64, len(tokens)+len(markers))
	for i := range types {
		if types[i] = 1; i >= len(tokens) {
			types[i] = 3
		}
	}
	bos := uint64(len(tokens))
	return gguf.Metadata{
		"general.architecture":        "llama",
		"tokenizer.ggml.model":        "gpt2",
		"tokenizer.ggml.pre":          pre,
		"tokenizer.ggml.tokens":       append(tokens, markers...),
		"tokenizer.ggml.token_type":   types,
		"tokenizer.ggml.merges":       merges,
		"tokenizer.ggml.bos_token_id": bos,
		"tokenizer.ggml.eos_token_id": bos + 1,
	}
}

// sentence is the vocabulary of a SentencePiece model.
func sentence() gguf.Metadata {
	tokens := []string{"<unk>", "<s>", "</s>"}
	types := []int64{2, 3, 3}
	scores := []float64{0, 0, 0}
	for c := range 256 {
		tokens, types, scores = append(tokens, fmt.Sprintf("<0x%02X>", c)), append(types, 6), append(scores, 0)
	}
	for i, s := range strings.Fields("▁ a h o l ▁h ▁ho ▁hol ▁hola ▁▁ ▁▁▁ : :▁ [ ] ]▁ I N S T / ▁[ INST [INST u s e r 1 4 ▁4 ▁a . x y z s▁") {
		tokens, types, scores = append(tokens, s), append(types, 1), append(scores, -float64(i))
	}
	for _, s := range markers[2:] {
		tokens, types, scores = append(tokens, s), append(types, 3), append(scores, 0)
	}
	return gguf.Metadata{
		"general.architecture": "llama", "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens,
		"tokenizer.ggml.token_type": types, "tokenizer.ggml.scores": scores,
		"tokenizer.ggml.bos_token_id": uint64(1), "tokenizer.ggml.eos_token_id": uint64(2),
	}
}

func newTokenizer(t testing.TB, md gguf.Metadata) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.FromGGUF(md)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// template makes a template of source over the vocabulary md.
func template(t testing.TB, md gguf.Metadata, source string) (*chat.Template, *tokenizer.Tokenizer) {
	t.Helper()
	tok := newTokenizer(t, md)
	md["tokenizer.chat_template"] = source
	tmpl, err := chat.FromGGUF(md, tok)
	if err != nil {
		t.Fatal(err)
	}
	if tmpl.Source != "file" {
		t.Fatalf("the template was not taken: %s", tmpl.Source)
	}
	return tmpl, tok
}

// talk is a conversation of the given contents, the user first.
func talk(contents ...string) chat.Conversation {
	var c chat.Conversation
	for i, s := range contents {
		c.Messages = append(c.Messages, chat.Message{Role: []chat.Role{chat.User, chat.Assistant}[i%2], Content: s})
	}
	return c
}

// goldens is testdata/templates.json.
type goldens struct {
	Templates map[string]string
	Rows      []struct {
		Template string
		Messages []chat.Message
		Open     bool
		Text     string
		Error    string
	}
}

func readGoldens(t testing.TB) (g goldens) {
	t.Helper()
	raw, err := os.ReadFile("testdata/templates.json")
	if err == nil {
		err = json.Unmarshal(raw, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestRender holds renderings to transformers.
func TestRender(t *testing.T) {
	g := readGoldens(t)
	made := map[string]*chat.Template{}
	for name, source := range g.Templates {
		made[name], _ = template(t, words("gpt-2"), source)
	}
	for i, row := range g.Rows {
		got, err := made[row.Template].Render(chat.Conversation{Messages: row.Messages}, row.Open)
		switch {
		case row.Error != "":
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), row.Error) {
				t.Errorf("row %d, %s: error %v, want %s", i, row.Template, err, row.Error)
			}
		case err != nil:
			t.Errorf("row %d, %s: %v", i, row.Template, err)
		case got != row.Text:
			t.Errorf("row %d, %s, %+v:\n got %q\nwant %q", i, row.Template, row.Messages, got, row.Text)
		}
	}
}

// TestBlanks holds blanks around tags, quotes and nested braces to Jinja2.
func TestBlanks(t *testing.T) {
	raw, err := os.ReadFile("testdata/blanks.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct{ Source, Text string }
	if err := json.Unmarshal(raw, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) < 500 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		if got, err := chat.RenderSource(row.Source, "value"); err != nil || got != row.Text {
			t.Errorf("%q:\n got %q, %v\nwant %q", row.Source, got, err, row.Text)
		}
	}
}

// families are templates over vocabularies, the defaults among them.
func families(t testing.TB) map[string]struct {
	*chat.Template
	*tokenizer.Tokenizer
} {
	t.Helper()
	type family = struct {
		*chat.Template
		*tokenizer.Tokenizer
	}
	all := map[string]family{}
	for name, source := range readGoldens(t).Templates {
		for kind, md := range map[string]gguf.Metadata{"gpt-2": words("gpt-2"), "qwen2": words("qwen2"), "spm": sentence()} {
			tmpl, tok := template(t, md, source)
			all[name+"/"+kind] = family{tmpl, tok}
		}
	}
	for name, arch := range map[string]string{"ChatML": "llama", "Phi-2": "phi2"} {
		md := words("gpt-2")
		md["general.architecture"] = arch
		tok := newTokenizer(t, md)
		tmpl, err := chat.FromGGUF(md, tok)
		if err != nil || tmpl.Source != name {
			t.Fatalf("%s: %v, %v", name, tmpl, err)
		}
		all[name] = family{tmpl, tok}
	}
	return all
}

// contents are hard on borders: blanks, merges across, names of tokens.
var contents = []string{"hola", " hola", "hola ", "\nhola", "\n\n", "\n\nhola\n\n", "  ", " 4", "4", "a", "[INST]", " [/INST]", "]", "<|im_end|>", "<|im_end|>\n", "</s>", "<s>", "|>", "<|", "im_end|>",
	"<end_of_turn>", "user", "Output:", "\nOutput: a", "ñ😀", "\u2581a", "{{x}}", "x\ufeff", "\u00a0a\u2003"}

func draw(t *rapid.T, system bool) chat.Conversation {
	content := rapid.OneOf(rapid.SampledFrom(contents), rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(contents), 1, 4).Draw(t, "parts"), "")
	})).Filter(func(s string) bool { return strings.TrimSpace(s) != "" })
	var c chat.Conversation
	if system && rapid.Bool().Draw(t, "system") {
		c.Messages = append(c.Messages, chat.Message{Role: chat.System, Content: content.Draw(t, "system content")})
	}
	for range rapid.IntRange(1, 3).Draw(t, "turns") {
		c.Messages = append(c.Messages,
			chat.Message{Role: chat.User, Content: content.Draw(t, "question")},
			chat.Message{Role: chat.Assistant, Content: content.Draw(t, "answer")})
	}
	return c
}

// TestLayProperties holds every family to what Lay promises.
func TestLayProperties(t *testing.T) {
	for name, f := range families(t) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				c := draw(t, !strings.HasPrefix(name, "gemma"))
				asked := chat.Conversation{Messages: c.Messages[:len(c.Messages)-1]}
				whole, err := f.Lay(f.Tokenizer, c, false)
				if err != nil {
					t.Fatal(err)
				}
				open, err := f.Lay(f.Tokenizer, asked, true)
				if err != nil {
					t.Fatal(err)
				}
				check(t, f.Tokenizer, c, whole, open)
				for n, m := range c.Messages {
					if m.Role != chat.User {
						continue
					}
					// Earlier answers, too, are laid out as they were once asked for.
					early, err := f.Lay(f.Tokenizer, chat.Conversation{Messages: c.Messages[:n+1]}, true)
					if err != nil {
						t.Fatal(err)
					}
					if k := len(early.Tokens); k >= len(whole.Tokens) || !slices.Equal(early.Tokens, whole.Tokens[:k]) || !whole.Learn[k] {
						t.Fatalf("turn %d was asked as\n%s\nand is laid out as\n%s", n, spell(f.Tokenizer, early), spell(f.Tokenizer, whole))
					}
				}
			})
		})
	}
}

func check(t *rapid.T, tok *tokenizer.Tokenizer, c chat.Conversation, whole, open chat.Sequence) {
	if len(whole.Tokens) != len(whole.Learn) || len(open.Tokens) != len(open.Learn) {
		t.Fatal("tokens without a word on learning")
	}
	n := len(open.Tokens)
	if n >= len(whole.Tokens) || !slices.Equal(whole.Tokens[:n], open.Tokens) || !slices.Equal(whole.Learn[:n], open.Learn) {
		t.Fatalf("the open conversation is not the beginning of the whole:\n%v\n%v", spell(tok, open), spell(tok, whole))
	}
	// Behind the open part: the answer, learned without a gap, its end, and what is not learned.
	end := n
	for end < len(whole.Learn) && whole.Learn[end] {
		end++
	}
	if end == n || slices.Contains(whole.Learn[end:], true) {
		t.Fatalf("learned in the last turn: %v of %v", whole.Learn[n:], spell(tok, whole))
	}
	if last := whole.Tokens[end-1]; !slices.Contains(tok.Ends, last) {
		t.Fatalf("the answer ends with %q, which is no end: %v", tok.Text(last), spell(tok, whole))
	}
	for _, id := range whole.Tokens[n : end-1] {
		if tok.Control(id) {
			t.Fatalf("control token %q inside of the answer: %v", tok.Text(id), spell(tok, whole))
		}
	}
	answer := c.Messages[len(c.Messages)-1].Content
	// SentencePiece has one character for a space and for the sign that stands for it.
	plain := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\u2581", " ")) }
	if got := tok.Decode(whole.Tokens[n : end-1]); plain(got) != plain(answer) {
		t.Fatalf("the answer is laid out as %q, want %q", got, answer)
	}
	// Contents add no control tokens: as many as with contents that name none.
	ends := 0
	for i, id := range whole.Tokens {
		if whole.Learn[i] && slices.Contains(tok.Ends, id) {
			ends++
		}
	}
	if turns := len(c.Messages) / 2; ends != turns {
		t.Fatalf("%d ends of turn learned in %d turns: %v", ends, turns, spell(tok, whole))
	}
}

func spell(tok *tokenizer.Tokenizer, s chat.Sequence) string {
	var b strings.Builder
	for i, id := range s.Tokens {
		mark := ""
		if s.Learn[i] {
			mark = "*"
		}
		fmt.Fprintf(&b, "%q%s ", tok.Text(id), mark)
	}
	return b.String()
}

// TestLayIsTheText holds layouts of harmless contents to the rendered text,
// tokenised as one piece up to the last answer.
func TestLayIsTheText(t *testing.T) {
	for name, f := range families(t) {
		rapid.Check(t, func(t *rapid.T) {
			c := talk(rapid.SampledFrom([]string{"hola", "hola hola", " a\n", "\n\nhola", "4 "}).Draw(t, "question"))
			text, err := f.Render(c, true)
			if err != nil {
				t.Fatal(err)
			}
			open, err := f.Lay(f.Tokenizer, c, true)
			if err != nil {
				t.Fatal(err)
			}
			want := f.EncodeSpecial(nil, text, true)
			if f.AddBOS && want[0] != f.BOS {
				want = append([]int32{f.BOS}, want...)
			}
			if !slices.Equal(open.Tokens, want) {
				t.Fatalf("%s: %q\n got %v\nwant %v", name, text, spell(f.Tokenizer, open), want)
			}
		})
	}
}

// TestLayFamilies spells layouts out, learned tokens with a star.
func TestLayFamilies(t *testing.T) {
	all := families(t)
	tests := map[string]string{
		"smollm2/gpt-2":  `"<|im_start|>" … "\n" "<|im_start|>" "user" "\n" "hola" "<|im_end|>" "\n" "<|im_start|>" "ass" "i" "s" "t" "a" "n" "t" "\n" " 4"* "<|im_end|>"* "\n"`,
		"ChatML":         `"<|im_start|>" "user" "\n" "hola" "<|im_end|>" "\n" "<|im_start|>" "ass" "i" "s" "t" "a" "n" "t" "\n" " 4"* "<|im_end|>"* "\n"`,
		"llama3/gpt-2":   `"<s>" "<|start_header_id|>" "user" "<|end_header_id|>" "\n" "\n" "hola" "<|eot_id|>" "<|start_header_id|>" "ass" "i" "s" "t" "a" "n" "t" "<|end_header_id|>" "\n\n" "4"* "<|eot_id|>"*`,
		"gemma/spm":      `"<s>" "<start_of_turn>" " " "u" "s" "e" "r" "\n" "h" "o" "l" "a" "<end_of_turn>" " " "\n" "<start_of_turn>" " " "m" "o" "d" "e" "l" "\n" "4"* "<end_of_turn>"* " " "\n"`,
		"mistral/spm":    `"<s>" "  " "[" "I" "N" "S" "T" "]" " hola" " [" "/" "I" "N" "S" "T" "]" "  "* "4"* "</s>"*`,
		"Phi-2":          `"I" "n" "s" "t" "r" "u" "c" "t" ":" " hola" "\n" "O" "u" "t" "p" "u" "t" ":" " "* " 4"* "</s>"* "\n"`,
		"llama2/gpt-2":   `"<s>" "[" "I" "N" "S" "T" "]" " hola" " [" "/" "I" "N" "S" "T" "]" " 4"* " "* "</s>"*`,
		"zephyr/gpt-2":   `"<|user|>" "\n" "hola" "</s>" "\n" "<|assistant|>" "\n" " 4"* "</s>"* "\n"`,
		"macros/gpt-2":   `"<|user|>" "\n" "hola" "<|end|>" "\n" "<|assistant|>" "\n" "4"* "<|end|>"* "\n"`,
		"llama3.1/gpt-2": `"<s>" "<|start_header_id|>" …`,
	}
	for name, want := range tests {
		f, ok := all[name]
		if !ok {
			t.Fatalf("no family %s", name)
		}
		seq, err := f.Lay(f.Tokenizer, talk("hola", " 4"), false)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.TrimSpace(spell(f.Tokenizer, seq))
		head, tail, cut := strings.Cut(want, "…")
		if !cut && got != want || !strings.HasPrefix(got, head) || !strings.HasSuffix(got, tail) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

// TestReal lays out on the real model: the system turn that its template
// inserts stays, and the answer and its end are learned.
func TestReal(t *testing.T) {
	f, err := gguf.Open(modeltest.Real(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok := newTokenizer(t, f.Metadata)
	tmpl, err := chat.FromGGUF(f.Metadata, tok)
	if err != nil || tmpl.Source != "file" {
		t.Fatal(tmpl, err)
	}
	seq, err := tmpl.Lay(tok, talk("¿2 + 2?", "Son 4."), false)
	if err != nil {
		t.Fatal(err)
	}
	want := "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n¿2 + 2?<|im_end|>\n<|im_start|>assistant\n"
	var text, learned strings.Builder
	for i, id := range seq.Tokens {
		if seq.Learn[i] {
			learned.WriteString(tok.Text(id))
		} else if learned.Len() == 0 {
			text.WriteString(tok.Text(id))
		}
	}
	if text.String() != want || learned.String() != "Son 4.<|im_end|>" {
		t.Errorf("asked %q, learned %q", text.String(), learned.String())
	}
}

// TestAnswer: what is read from an answer's tokens is its content, and laying
// that out again gives the same tokens.
func TestAnswer(t *testing.T) {
	for name, f := range families(t) {
		rapid.Check(t, func(t *rapid.T) {
			content := rapid.SampledFrom([]string{"hola", "4", "a hola\n\nhola", "ñ😀", "x  ", "hola hola"}).Draw(t, "answer")
			c := talk("hola", content)
			whole, err := f.Lay(f.Tokenizer, c, false)
			if err != nil {
				t.Fatal(err)
			}
			open, err := f.Lay(f.Tokenizer, talk("hola"), true)
			if err != nil {
				t.Fatal(err)
			}
			a := f.Answer(f.Tokenizer, open.Tokens)
			got := ""
			for i := len(open.Tokens); whole.Learn[i] && !slices.Contains(f.Ends, whole.Tokens[i]); i++ {
				got += a.Next(whole.Tokens[i])
			}
			// Templates that trim, or end with a space, leave other blanks at the end.
			if got += a.Flush(); strings.TrimRight(got, " ") != strings.TrimRight(content, " ") {
				t.Fatalf("%s: read %q, want %q", name, got, content)
			}
			again, err := f.Lay(f.Tokenizer, talk("hola", strings.TrimRight(got, " ")), false)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(open.Tokens); !strings.HasSuffix(content, " ") && !slices.Equal(again.Tokens[n:], whole.Tokens[n:]) {
				t.Fatalf("%s: laid out again as %s", name, spell(f.Tokenizer, again))
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	without := func(md gguf.Metadata, names ...string) gguf.Metadata {
		tokens := slices.Clone(md["tokenizer.ggml.tokens"].([]string))
		for i, s := range tokens {
			if slices.Contains(names, s) {
				tokens[i] = "filler " + s
			}
		}
		md["tokenizer.ggml.tokens"] = tokens
		return md
	}
	with := func(md gguf.Metadata, key, value string) gguf.Metadata { md[key] = value; return md }
	const templateKey, arch = "tokenizer.chat_template", "general.architecture"
	tests := map[string]struct {
		md     gguf.Metadata
		source string // "" for a refusal
	}{
		"ChatML":               {words("gpt-2"), "ChatML"},
		"Phi-2":                {with(words("gpt-2"), arch, "phi2"), "Phi-2"},
		"neither":              {without(words("gpt-2"), "<|im_end|>"), ""},
		"syntax error":         {with(words("gpt-2"), templateKey, "{% if %}{{ x "), "ChatML: the model file's own template cannot be used: "},
		"unknown statement":    {with(words("gpt-2"), templateKey, "{% import 'x' %}"), "ChatML: the model file's own template cannot be used: "},
		"says nothing":         {with(words("gpt-2"), templateKey, "hola"), "ChatML: the model file's own template cannot be used: "},
		"broken without other": {with(without(words("gpt-2"), "<|im_start|>"), templateKey, "{% for %}"), ""},
		"refuses everything":   {with(words("gpt-2"), templateKey, "{{ raise_exception('no') }}"), "ChatML: the model file's own template cannot be used: "},
		"too long":             {with(words("gpt-2"), templateKey, strings.Repeat(" ", 1<<20)), "ChatML: the model file's own template cannot be used: "},
		"marks of our own":     {with(words("gpt-2"), templateKey, "\U000F0000{{ messages[0].content }}"), "ChatML: the model file's own template cannot be used: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := chat.FromGGUF(test.md, newTokenizer(t, test.md))
			if test.source == "" {
				if fault.KindOf(err) != fault.Unprocessable {
					t.Errorf("%v, want a refusal", err)
				}
				return
			}
			if err != nil || !strings.HasPrefix(got.Source, test.source) {
				t.Errorf("%v, %v, want %s", got, err, test.source)
			}
		})
	}
}

// TestHostileTemplates: templates are programs from strangers. None may hang,
// fill the memory or end the process.
func TestHostileTemplates(t *testing.T) {
	const body = "{{ messages[0].content }}"
	tests := map[string]string{
		"endless loop":         "{% for i in range(1000000000) %}x{% endfor %}" + body,
		"loops in loops":       "{% for a in range(5000) %}{% for b in range(5000) %}{% for c in range(5000) %}{% endfor %}{% endfor %}{% endfor %}" + body,
		"recursion":            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}" + body,
		"two macros":           "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}" + body,
		"macro on itself":      "{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}" + body,
		"caller":               "{% set ns = namespace() %}{% macro f() %}{% set ns.c = caller %}{{ caller() }}{% endmacro %}{% call f() %}{{ ns.c() }}{% endcall %}" + body,
		"doubling":             "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}" + body,
		"doubling unrolled":    "{% set x = 'aaaaaaaa' %}" + strings.Repeat("{% set x = x ~ x %}", 60) + "{{ x }}" + body,
		"doubling in a block":  "{% set x = 'aaaaaaaa' %}" + strings.Repeat("{% set x %}{{ x }}{{ x }}{% endset %}", 60) + body,
		"doubling a list":      "{% set x = ['a'] %}" + strings.Repeat("{% set x = [x, x] %}", 60) + "{{ x }}" + body,
		"doubling by argument": "{% macro f(x, n) %}{{ f(x ~ x, n) }}{% endmacro %}{{ f('aaaa', 1) }}" + body,
		"brackets":             "{{ " + strings.Repeat("(", 50000) + "1" + strings.Repeat(")", 50000) + " }}" + body,
		"nots":                 "{{ " + strings.Repeat("not ", 30000) + "1 }}" + body,
		"blocks":               strings.Repeat("{% if true %}", 9000) + strings.Repeat("{% endif %}", 1000) + body,
		"the meter's names":    "{% macro f() %}{{ _meter_leave() }}{{ f() }}{% endmacro %}{{ f() }}" + body,
		"itself in a list":     "{% set l = [] %}{% set _ = l.append(l) %}{% set m = l %}{{ l }}" + body,
		"output":               "{% for i in range(60000) %}" + strings.Repeat("y", 60000) + "{% endfor %}" + body,
	}
	for name, source := range tests {
		t.Run(name, func(t *testing.T) {
			md := words("gpt-2")
			md["tokenizer.chat_template"] = source
			start := time.Now()
			tmpl, err := chat.FromGGUF(md, newTokenizer(t, md))
			// Deep expressions are foolish, but they end.
			if deep := name == "brackets" || name == "nots"; err != nil || tmpl.Source == "file" && !deep {
				t.Errorf("taken: %v, %v", tmpl, err)
			}
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestToday: the day in a prompt stands still.
func TestToday(t *testing.T) {
	tmpl, _ := template(t, words("gpt-2"), `{{ strftime_now("%d %b %Y") }} {{ messages[0].content }}`)
	if got, err := tmpl.Render(talk("x"), true); err != nil || got != "26 Jul 2024 x" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNoPlace(t *testing.T) {
	tmpl, tok := template(t, words("gpt-2"), `{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}`)
	c := chat.Conversation{Messages: []chat.Message{{Role: chat.System, Content: "x"}, {Role: chat.User, Content: "y"}}}
	if _, err := tmpl.Lay(tok, c, true); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "system") {
		t.Errorf("%v, want a word on the system message", err)
	}
}

func BenchmarkLay(b *testing.B) {
	f := families(b)["smollm2/gpt-2"]
	c := talk(strings.Repeat("¿Cuánto es? ", 50), strings.Repeat("Son cuatro. ", 50))
	for b.Loop() {
		if _, err := f.Lay(f.Tokenizer, c, false); err != nil {
			b.Fatal(err)
		}
	}
}
