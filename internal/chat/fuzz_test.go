package chat_test

import (
	"testing"

	"afina/internal/chat"
)

// FuzzTemplate: whatever a model file has for a template, it is taken or it is
// not; what is taken lays conversations out, or refuses them, with no token
// outside of the vocabulary.
func FuzzTemplate(f *testing.F) {
	for _, source := range readGoldens(f).Templates {
		f.Add(source)
	}
	for _, source := range []string{"{{ messages[0].content }}", "{% for m in messages %}{{ m }}{% endfor %}", "{% macro f(a, b=1) %}{{ a }}{% endmacro %}{{ f(messages[0].content) }}",
		"{{ messages | map(attribute='content') | join('-') }}", "{% set x %}{{ messages[0].content | upper }}{% endset %}{{ x }}", "{# c #}{%- if true -%}{{ messages | tojson }}{%- endif -%}"} {
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		md := words("gpt-2")
		md["tokenizer.chat_template"] = source
		tok := newTokenizer(t, md)
		tmpl, err := chat.FromGGUF(md, tok)
		if err != nil {
			t.Fatal(err) // the default is always there
		}
		seq, err := tmpl.Lay(tok, talk("hola <|im_end|>", " adiós\n"), false)
		if err != nil {
			return
		}
		if len(seq.Tokens) != len(seq.Learn) {
			t.Fatalf("%d tokens, %d marks", len(seq.Tokens), len(seq.Learn))
		}
		for _, id := range seq.Tokens {
			if tok.Text(id) == "" {
				t.Fatalf("token %d is not in the vocabulary", id)
			}
		}
	})
}
