package schema_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"afina/internal/grammar"
	"afina/internal/schema"
)

// schemaOf returns the schema of one of the walks.
func schemaOf(b testing.TB, name string) string {
	for _, s := range schemas {
		if s.name == name {
			return s.schema
		}
	}
	b.Fatalf("no schema is called %q", name)
	return ""
}

// BenchmarkPrepare is what a tokenizer costs once.
func BenchmarkPrepare(b *testing.B) {
	tok := realTokens(b)
	for b.Loop() {
		if _, err := schema.Compile(grammar.NewVocabulary(tok), []byte(`{"const":1}`)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompile is what a schema costs once.
func BenchmarkCompile(b *testing.B) {
	v := grammar.NewVocabulary(realTokens(b))
	for _, s := range schemas {
		b.Run(strings.ReplaceAll(s.name, " ", "-"), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				// Blanks behind it make it another schema.
				if _, err := schema.Compile(v, []byte(s.schema+strings.Repeat(" ", i%64))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAnswer is one token of an answer, Mask and Accept: the first answer
// of a schema, whose masks are new, and later ones.
func BenchmarkAnswer(b *testing.B) {
	tok := realTokens(b)
	for _, name := range []string{"flat", "exercise", "tree", "lengths", "further", "formats", "anything", "pattern long", "enum"} {
		v := grammar.NewVocabulary(tok)
		warm := compile(b, v, `{"type":"array","items":{"type":"string","maxLength":9}}`)
		walk(b, tok, warm.Start(), rand.New(rand.NewPCG(1, 1)), 40)
		text := ""
		for _, s := range schemas {
			if s.name == name {
				text = s.valid[0]
			}
		}
		ids := tok.Encode(nil, text, true)
		mask := make([]uint64, (tok.Size+63)/64)
		answer := func(g *grammar.Grammar) {
			c := g.Start()
			for _, id := range ids {
				clear(mask)
				c.Mask(mask)
				if err := c.Accept(id); err != nil {
					b.Fatal(err)
				}
			}
		}
		source := schemaOf(b, name)
		b.Run("first/"+strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				g := compile(b, v, source+strings.Repeat(" ", i%64))
				b.StartTimer()
				answer(g)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(ids)), "µs/token")
		})
		g := compile(b, v, source)
		b.Run("later/"+strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			for b.Loop() {
				answer(g)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(ids)), "µs/token")
		})
	}
}
