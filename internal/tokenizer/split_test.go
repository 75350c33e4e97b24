package tokenizer_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
	"pgregory.net/rapid"

	"afina/internal/tokenizer"
)

// The expressions that each family applies, one after the other.
const (
	gpt2  = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	qwen2 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

var expressions = map[string][]string{
	"gpt-2":     {gpt2},
	"smollm":    {`\p{N}`, gpt2},
	"qwen2":     {qwen2},
	"llama-bpe": {strings.Replace(qwen2, `|\p{N}|`, `|\p{N}{1,3}|`, 1)},
	"default":   {`[\p{P}\$\+<=>\^~\|]+`, gpt2, `\p{N}+`, `[0-9][0-9][0-9]`},
}

// compiled is expressions for the engine that serves as oracle.
func compiled(t testing.TB) map[string][]*regexp2.Regexp {
	t.Helper()
	all := map[string][]*regexp2.Regexp{}
	for name, list := range expressions {
		for _, s := range list {
			r, err := regexp2.Compile(s, regexp2.None)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = append(all[name], r)
		}
	}
	return all
}

// cut splits pieces by matches; what lies between them are pieces too.
func cut(t testing.TB, r *regexp2.Regexp, pieces []string) (out []string) {
	for _, piece := range pieces {
		runes := []rune(piece)
		at := 0
		m, err := r.FindRunesMatch(runes)
		for ; m != nil && err == nil; m, err = r.FindNextMatch(m) {
			if m.RuneIndex > at {
				out = append(out, string(runes[at:m.RuneIndex]))
			}
			out = append(out, string(runes[m.RuneIndex:m.RuneIndex+m.RuneLength]))
			at = m.RuneIndex + m.RuneLength
		}
		if err != nil {
			t.Fatal(err)
		}
		if at < len(runes) {
			out = append(out, string(runes[at:]))
		}
	}
	return out
}

// checkSplit holds every scanner to its expression on one text.
func checkSplit(t testing.TB, all map[string][]*regexp2.Regexp, text string) {
	t.Helper()
	for name, list := range all {
		want := []string{text}
		for _, r := range list {
			want = cut(t, r, want)
		}
		want = slices.DeleteFunc(want, func(s string) bool { return s == "" })
		if got := tokenizer.Split(name, text); !slices.Equal(got, want) {
			t.Fatalf("%s, %q:\n got %q\nwant %q", name, text, got, want)
		}
	}
}

// morsels are what the expressions tell apart. The long s is missing: the
// oracle does not fold it, and transformers, whom we follow, does.
var morsels = []string{" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u2003", "\u0085", "\u2028", "'", "'s", "'S", "'re", "'LL", "'l", "a", "hola", "É", "ñ", "日本", "ǅ", "1", "12", "1234", "½", "Ⅷ", "٣",
	".", "...", "$", "^", "~", "|", "(", "_", "—", "¿", "😀", "\u0301", "\u200b", "\x00", "\ufeff", "\u0303", "^2"}

func TestSplit(t *testing.T) {
	all := compiled(t)
	for _, g := range goldens(t, "testdata/smollm2.jsonl") {
		if !strings.Contains(g.Text, "ſ") {
			checkSplit(t, all, g.Text)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		checkSplit(t, all, strings.Join(rapid.SliceOfN(rapid.SampledFrom(morsels), 0, 12).Draw(r, "text"), ""))
	})
	rapid.Check(t, func(r *rapid.T) {
		if text := rapid.String().Draw(r, "text"); !strings.Contains(text, "ſ") {
			checkSplit(t, all, text)
		}
	})
}

func FuzzSplit(f *testing.F) {
	all := compiled(f)
	for _, m := range morsels {
		f.Add(m + "a" + m + "1" + m)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if utf8.ValidString(text) && !strings.Contains(text, "ſ") {
			checkSplit(t, all, text)
		}
	})
}

// TestSplitKeepsAll: broken bytes included, nothing is lost.
func TestSplitKeepsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		for name := range expressions {
			pieces := tokenizer.Split(name, text)
			if strings.Join(pieces, "") != text || slices.Contains(pieces, "") {
				t.Fatalf("%s: %q", name, pieces)
			}
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	text := strings.Repeat("La solución de la ecuación $x^2 + 3x = 10$ es x = 2, ¿verdad?\n", 1000)
	for name := range expressions {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tokenizer.Split(name, text)
			}
		})
	}
}
