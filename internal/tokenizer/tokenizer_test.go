package tokenizer_test

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"afina/internal/gguf"
	"afina/internal/modeltest"
	"afina/internal/tokenizer"
)

// golden is a line of smollm2.jsonl.
type golden struct {
	Text    string
	IDs     []int32
	Special []int32 // by EncodeSpecial, where it differs
}

func goldens(t testing.TB, path string) []golden {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []golden
	for s := bufio.NewScanner(f); s.Scan(); {
		var g golden
		if err := json.Unmarshal(s.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		if g.Special == nil {
			g.Special = g.IDs
		}
		all = append(all, g)
	}
	return all
}

// made is families.json and spm.json: a vocabulary and the ids of texts.
type made struct {
	Keys struct {
		Tokens    []string  `json:"tokens"`
		Merges    []string  `json:"merges"`
		Scores    []float64 `json:"scores"`
		TokenType []int64   `json:"token_type"`
		BOS       uint64    `json:"bos_token_id"`
		EOS       uint64    `json:"eos_token_id"`
	}
	Special json.RawMessage
	Texts   []string
	IDs     json.RawMessage
}

func readMade(t testing.TB, path string, ids, special any) made {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m made
	for _, step := range []struct {
		raw []byte
		to  any
	}{{raw, &m}, {nil, ids}, {nil, special}} {
		switch step.to {
		case ids:
			step.raw = m.IDs
		case special:
			step.raw = m.Special
		}
		if err := json.Unmarshal(step.raw, step.to); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// bytePairs is the vocabulary of families.json as a model file has it.
func bytePairs(t testing.TB) (md gguf.Metadata, texts []string, ids map[string][][]int32) {
	t.Helper()
	var special []string
	m := readMade(t, "testdata/families.json", &ids, &special)
	types := make([]int64, len(m.Keys.Tokens))
	for i, s := range m.Keys.Tokens {
		if types[i] = 1; slices.Contains(special, s) {
			types[i] = 3
		}
	}
	return gguf.Metadata{
		"general.architecture":        "llama",
		"tokenizer.ggml.model":        "gpt2",
		"tokenizer.ggml.pre":          "gpt-2",
		"tokenizer.ggml.tokens":       m.Keys.Tokens,
		"tokenizer.ggml.merges":       m.Keys.Merges,
		"tokenizer.ggml.token_type":   types,
		"tokenizer.ggml.bos_token_id": m.Keys.BOS,
		"tokenizer.ggml.eos_token_id": m.Keys.EOS,
	}, m.Texts, ids
}

// sentences is the vocabulary of spm.json as a model file has it.
func sentences(t testing.TB) (md gguf.Metadata, texts []string, ids, special [][]int32) {
	t.Helper()
	m := readMade(t, "testdata/spm.json", &ids, &special)
	return gguf.Metadata{
		"general.architecture":        "llama",
		"tokenizer.ggml.model":        "llama",
		"tokenizer.ggml.tokens":       m.Keys.Tokens,
		"tokenizer.ggml.scores":       m.Keys.Scores,
		"tokenizer.ggml.token_type":   m.Keys.TokenType,
		"tokenizer.ggml.bos_token_id": m.Keys.BOS,
		"tokenizer.ggml.eos_token_id": m.Keys.EOS,
	}, m.Texts, ids, special
}

func load(t testing.TB, md gguf.Metadata, changes gguf.Metadata) *tokenizer.Tokenizer {
	t.Helper()
	md = maps.Clone(md)
	maps.Copy(md, changes)
	tok, err := tokenizer.FromGGUF(md)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func smollm2(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	f, err := gguf.Open(modeltest.Real(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return load(t, f.Metadata, nil)
}

// TestSmolLM2 holds Encode to transformers.
func TestSmolLM2(t *testing.T) {
	tok := smollm2(t)
	all := goldens(t, "testdata/smollm2.jsonl")
	if len(all) < 200 {
		t.Fatalf("%d golden texts, want at least 200", len(all))
	}
	for _, g := range all {
		if got := tok.Encode(nil, g.Text, true); !slices.Equal(got, g.IDs) {
			t.Errorf("Encode(%q) = %v, want %v", g.Text, got, g.IDs)
		}
		if got := tok.EncodeSpecial(nil, g.Text, true); !slices.Equal(got, g.Special) {
			t.Errorf("EncodeSpecial(%q) = %v, want %v", g.Text, got, g.Special)
		}
	}
	if tok.Name != "smollm" || tok.Size != 49152 || tok.BOS != 1 || tok.EOS != 2 || tok.AddBOS || tok.AddEOS || !slices.Equal(tok.Ends, []int32{0, 2}) {
		t.Errorf("%s, %d tokens, bos %d, eos %d, add %v %v, ends %v", tok.Name, tok.Size, tok.BOS, tok.EOS, tok.AddBOS, tok.AddEOS, tok.Ends)
	}
}

// TestFamilies holds every pre-tokeniser to tokenizers and llama.cpp.
func TestFamilies(t *testing.T) {
	md, texts, all := bytePairs(t)
	for name, ids := range all {
		tok := load(t, md, gguf.Metadata{"tokenizer.ggml.pre": name})
		for i, text := range texts {
			if got := tok.Encode(nil, text, true); !slices.Equal(got, ids[i]) {
				t.Errorf("%s: Encode(%q) = %v, want %v", name, text, got, ids[i])
			}
		}
		if want := name == "llama-bpe"; tok.AddBOS != want {
			t.Errorf("%s: AddBOS %v, want %v", name, tok.AddBOS, want)
		}
	}
}

// TestSentencePiece holds the other kind to sentencepiece and llama.cpp.
func TestSentencePiece(t *testing.T) {
	md, texts, ids, special := sentences(t)
	tok := load(t, md, nil)
	for i, text := range texts {
		if got := tok.Encode(nil, text, true); !slices.Equal(got, ids[i]) {
			t.Errorf("Encode(%q) = %v, want %v", text, got, ids[i])
		}
		if got := tok.EncodeSpecial(nil, text, true); !slices.Equal(got, special[i]) {
			t.Errorf("EncodeSpecial(%q) = %v, want %v", text, got, special[i])
		}
	}
	if tok.Name != "spm" || !tok.AddBOS || tok.AddEOS || tok.BOS != 1 || tok.EOS != 2 || !slices.Equal(tok.Ends, []int32{2}) {
		t.Errorf("%s, add %v %v, bos %d, eos %d, ends %v", tok.Name, tok.AddBOS, tok.AddEOS, tok.BOS, tok.EOS, tok.Ends)
	}
}

// TestSentencePieceHidden: unused pieces may be joined on the way to others, but
// are not put out.
func TestSentencePieceHidden(t *testing.T) {
	md, _, _, _ := sentences(t)
	tokens := append(slices.Clone(md["tokenizer.ggml.tokens"].([]string)), "qw", "qwx", "wx")
	scores := append(slices.Clone(md["tokenizer.ggml.scores"].([]float64)), 3, 2, 1)
	types := append(slices.Clone(md["tokenizer.ggml.token_type"].([]int64)), 5, 1, 1)
	tok := load(t, md, gguf.Metadata{"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": scores, "tokenizer.ggml.token_type": types})
	n := int32(len(tokens))
	for text, want := range map[string]func(ids []int32) bool{
		"qwx": func(ids []int32) bool { return slices.Equal(ids, []int32{n - 2}) },
		"wx":  func(ids []int32) bool { return slices.Equal(ids, []int32{n - 1}) },
		"qw":  func(ids []int32) bool { return len(ids) > 1 && !slices.Contains(ids, n-3) && tok.Decode(ids) == "qw" },
	} {
		if got := tok.Encode(nil, text, false); !want(got) {
			t.Errorf("Encode(%q) = %v of %d", text, got, n)
		}
	}
	if !tok.Unused(n-3) || tok.Unused(n-2) || len(tok.Bytes(n-3)) != 0 {
		t.Error("the hidden piece is not unused")
	}
}

// every is a tokenizer of each kind.
func every(t testing.TB) map[string]*tokenizer.Tokenizer {
	t.Helper()
	md, _, _ := bytePairs(t)
	sp, _, _, _ := sentences(t)
	all := map[string]*tokenizer.Tokenizer{
		"spm":        load(t, sp, nil),
		"spm, bare":  load(t, sp, gguf.Metadata{"tokenizer.ggml.add_space_prefix": false}),
		"phi2, old":  load(t, md, gguf.Metadata{"tokenizer.ggml.pre": nil, "general.architecture": "phi2"}),
		"no pre key": load(t, md, gguf.Metadata{"tokenizer.ggml.pre": nil}),
	}
	for name := range expressions {
		all[name] = load(t, md, gguf.Metadata{"tokenizer.ggml.pre": name})
	}
	return all
}

// checkRoundTrip: text comes back; no control token comes of content; and a
// stream of ids gives the text that they give at once.
func checkRoundTrip(t interface{ Fatalf(string, ...any) }, name string, tok *tokenizer.Tokenizer, text string) {
	ids := tok.Encode(nil, text, true)
	want := strings.ToValidUTF8(text, "\uFFFD")
	if strings.HasPrefix(name, "spm") {
		want = strings.ReplaceAll(want, "\u2581", " ")
	}
	got := tok.Decode(ids)
	if utf8.ValidString(text) && got != want && !(name == "spm, bare" && got == strings.TrimPrefix(want, " ")) {
		t.Fatalf("%s: %q came back as %q by %v", name, text, got, ids)
	}
	if !utf8.ValidString(got) {
		t.Fatalf("%s: %q came back broken: %q", name, text, got)
	}
	d := tok.NewDecoder()
	var b strings.Builder
	var raw []byte
	for _, id := range ids {
		if tok.Control(id) || tok.Unused(id) {
			t.Fatalf("%s: Encode(%q) has the token %q", name, text, tok.Text(id))
		}
		s := d.Next(id)
		if !utf8.ValidString(s) {
			t.Fatalf("%s: the stream of %q broke a rune: %q", name, text, s)
		}
		b.WriteString(s)
		raw = append(raw, tok.Bytes(id)...)
	}
	b.WriteString(d.Flush())
	if b.String() != got {
		t.Fatalf("%s: %q streamed as %q, decoded as %q", name, text, b.String(), got)
	}
	if s := string(raw); s != text && s != " "+text && !strings.HasPrefix(name, "spm") {
		t.Fatalf("%s: the bytes of %q are %q", name, text, raw)
	}
}

func TestRoundTrip(t *testing.T) {
	all := every(t)
	_, texts, _ := bytePairs(t)
	for name, tok := range all {
		for _, text := range texts {
			checkRoundTrip(t, name, tok, text)
		}
		rapid.Check(t, func(r *rapid.T) {
			checkRoundTrip(r, name, tok, rapid.String().Draw(r, "text"))
			checkRoundTrip(r, name, tok, string(rapid.SliceOf(rapid.Byte()).Draw(r, "bytes")))
		})
	}
}

func FuzzRoundTrip(f *testing.F) {
	all := every(f)
	_, texts, _ := bytePairs(f)
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, tok := range all {
			checkRoundTrip(t, name, tok, text)
		}
	})
}

// TestLong: the ways of merging short and long words agree, whatever the word.
func TestLong(t *testing.T) {
	md, _, _ := bytePairs(t)
	tok := load(t, md, nil)
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-eou]{1,32}`).Draw(t, "word")
		short := tok.Encode(nil, word, true)
		// A letter without merges ends the word's own merging, and makes it long.
		long := tok.Encode(nil, word+strings.Repeat("ð", 40), true)
		if !slices.Equal(long[:len(short)], short) {
			t.Fatalf("%q alone is %v, with a long tail %v", word, short, long)
		}
	})
}

func TestSpecial(t *testing.T) {
	md, _, _ := bytePairs(t)
	tokens := append(slices.Clone(md["tokenizer.ggml.tokens"].([]string)), "<|im_end|>x", "  ", "<tool>", "<|user|>", "<unk>", "[PAD1]")
	types := append(slices.Clone(md["tokenizer.ggml.token_type"].([]int64)), 3, 4, 4, 4, 2, 5)
	tok := load(t, md, gguf.Metadata{"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types})
	n := int32(len(tokens))
	end, ok := tok.Special("<|im_end|>")
	if !ok {
		t.Fatal("no <|im_end|>")
	}
	if id, ok := tok.Special("<|user|>"); !ok || id != n-3 {
		t.Error("a marker that was called user-defined is no control token")
	}
	if _, ok := tok.Special("<tool>"); ok {
		t.Error("a user-defined word is a control token")
	}
	a, b := tok.Encode(nil, "a", true)[0], tok.Encode(nil, "b", true)[0]
	for _, test := range []struct {
		text    string
		special bool
		want    []int32
	}{
		{"a<|im_end|>b", true, []int32{a, end, b}},
		{"a<|im_end|>xb", true, []int32{a, n - 6, b}},
		{"<|im_end|><|im_end|>", true, []int32{end, end}},
		{"a<tool>b", true, []int32{a, n - 4, b}},
		{"a<tool>b", false, []int32{a, n - 4, b}},
		{"a  b", false, []int32{a, n - 5, b}},
		{"a<unk>b", true, []int32{a, n - 2, b}},
		{"", true, nil},
	} {
		encode := tok.Encode
		if test.special {
			encode = tok.EncodeSpecial
		}
		if got := encode(nil, test.text, true); !slices.Equal(got, test.want) {
			t.Errorf("%q, special %v: %v, want %v", test.text, test.special, got, test.want)
		}
	}
	for _, text := range []string{"a<|im_end|>b", "<|user|>", "<unk>"} {
		if got := tok.Encode(nil, text, true); tok.Decode(got) != text {
			t.Errorf("%q read as special tokens: %v", text, got)
		}
	}
	if id, at, size := tok.Marker("a<tool><|im_end|>"); id != end || at != 7 || size != 10 {
		t.Errorf("Marker found %d at %d of %d", id, at, size)
	}
	if _, at, size := tok.Marker("a<tool>"); at != 7 || size != 0 {
		t.Errorf("Marker found something at %d of %d", at, size)
	}
	if got := tok.Text(end) + tok.Text(n-1) + tok.Text(n-4); got != "<|im_end|>[PAD1]<tool>" {
		t.Errorf("Text gives %q", got)
	}
	if !tok.Control(end) || !tok.Control(n-2) || tok.Control(a) || !tok.Unused(n-1) || tok.Unused(a) {
		t.Error("kinds are mixed up")
	}
	for _, id := range []int32{-1, n, 1 << 30} {
		if tok.Control(id) || !tok.Unused(id) || tok.Bytes(id) != nil || tok.Text(id) != "" || tok.Decode([]int32{id}) != "" {
			t.Errorf("there is a token %d", id)
		}
	}
}

func TestSpecialSentencePiece(t *testing.T) {
	md, _, _, _ := sentences(t)
	tok := load(t, md, nil)
	plain := tok.Encode(nil, "hola", false)
	spaced := tok.Encode(nil, "hola", true)
	if slices.Equal(plain, spaced) || !slices.Equal(tok.Encode(nil, " hola", false), spaced) {
		t.Errorf("with a space %v, without %v", spaced, plain)
	}
	// The space is put in after a special token again.
	want := slices.Concat(spaced, []int32{2}, spaced)
	if got := tok.EncodeSpecial(nil, "hola</s>hola", true); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := tok.Decode(want); got != "holahola" {
		t.Errorf("decoded %q", got)
	}
	for text, prompt := range map[string][]int32{"hola": {1}, " hola": plain} {
		d := tok.Continue(prompt)
		got := ""
		for _, id := range spaced {
			got += d.Next(id)
		}
		if got+d.Flush() != text {
			t.Errorf("after %v: %q, want %q", prompt, got, text)
		}
	}
}

func TestDecoder(t *testing.T) {
	md, _, _ := bytePairs(t)
	tok := load(t, md, nil)
	b := func(s string) (ids []int32) { // one id per byte
		for i := range len(s) {
			ids = append(ids, tok.Encode(nil, s[i:i+1], true)...)
		}
		return ids
	}
	for name, test := range map[string]struct {
		bytes string
		want  []string // the last is of Flush
	}{
		"whole":              {"añ", []string{"a", "", "ñ", ""}},
		"four bytes":         {"😀!", []string{"", "", "", "😀", "!", ""}},
		"cut off":            {"a\xF0\x9F", []string{"a", "", "", "\uFFFD"}},
		"broken, then text":  {"\xE2\x82a", []string{"", "", "\uFFFDa", ""}},
		"stray continuation": {"\x80\x80", []string{"\uFFFD", "\uFFFD", ""}},
		"surrogate":          {"\xED\xA0\x80", []string{"", "\uFFFD\uFFFD", "\uFFFD", ""}},
		"a lead after lead":  {"\xC3\xC3\xB1", []string{"", "\uFFFD", "ñ", ""}},
	} {
		d := tok.NewDecoder()
		var got []string
		for _, id := range b(test.bytes) {
			got = append(got, d.Next(id))
		}
		got = append(got, d.Flush())
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if got := tok.Text(b("ñ")[0]); got != "<0xC3>" {
		t.Errorf("half a rune reads %q", got)
	}
}

func BenchmarkEncode(b *testing.B) {
	tok := smollm2(b)
	text := strings.Repeat("La solución de la ecuación $x^2 + 3x = 10$ es x = 2, ¿verdad? Demostración: \\frac{1}{2}.\n", 200)
	b.SetBytes(int64(len(text)))
	var ids []int32
	for b.Loop() {
		ids = tok.Encode(ids[:0], text, true)
	}
}
