package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/grammar"
	"afina/internal/modeltest"
	"afina/internal/schema"
	"afina/internal/tokenizer"
)

func open(t testing.TB, path string) *tokenizer.Tokenizer {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := tokenizer.FromGGUF(f.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// realTokens is the tokenizer of a real model, 49152 tokens, opened once.
func realTokens(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	path := modeltest.Real(t)
	smollm2.once.Do(func() { smollm2.tok = open(t, path) })
	return smollm2.tok
}

var smollm2 struct {
	once sync.Once
	tok  *tokenizer.Tokenizer
}

// tinyTokens has all bytes and a few merges.
func tinyTokens(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	return open(t, modeltest.Write(t, modeltest.Shape{}))
}

// validator is an independent reading of a schema.
func validator(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// failer is what testing.TB and rapid.T have in common.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Fatal(args ...any)
}

func validate(t failer, s *jsonschema.Schema, text string) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Errorf("%q is no JSON: %v", text, err)
		return
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%s does not satisfy the schema: %v", text, err)
	}
}

// tokens are the ids of a mask.
func tokens(mask []uint64) (ids []int32) {
	for w, word := range mask {
		for ; word != 0; word &= word - 1 {
			ids = append(ids, int32(w*64+bits.TrailingZeros64(word)))
		}
	}
	return ids
}

// walks is how many walks to take: a tenth in short runs, which may be slow ones
// with the race detector.
func walks(n uint64) uint64 {
	if testing.Short() {
		return n / 10
	}
	return n
}

// walk writes a text of tokens drawn from those allowed. After patience tokens it
// prefers those that close what is open.
func walk(t failer, tok *tokenizer.Tokenizer, c *grammar.Constraint, rng *rand.Rand, patience int) string {
	t.Helper()
	text, ended := wander(t, tok, c, rng, patience, 5000)
	if !ended {
		t.Fatalf("a walk does not end: %.400q", text)
	}
	return text
}

// wander is walk for at most so many tokens, and says whether the text is whole.
func wander(t failer, tok *tokenizer.Tokenizer, c *grammar.Constraint, rng *rand.Rand, patience, most int) (string, bool) {
	t.Helper()
	var text []byte
	mask := make([]uint64, (tok.Size+63)/64)
	for n := range most {
		clear(mask)
		c.Mask(mask)
		ids := tokens(mask)
		if len(ids) == 0 {
			t.Fatalf("no token may follow %q", text)
		}
		end := slices.ContainsFunc(ids, func(id int32) bool { return slices.Contains(tok.Ends, id) })
		if end != c.Complete() {
			t.Fatalf("behind %q an end is allowed: %t; complete: %t", text, end, c.Complete())
		}
		if end && (n > patience || len(ids) == len(tok.Ends) || rng.IntN(4) == 0) {
			if err := c.Accept(tok.Ends[0]); err != nil {
				t.Fatal(err)
			}
			return string(text), true
		}
		id := ids[rng.IntN(len(ids))]
		if n > patience {
			id = closer(tok, ids, id)
		} else if rng.IntN(3) > 0 { // else most tokens would be words inside strings
			if short := slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return len(tok.Bytes(id)) != 1 }); len(short) > 0 {
				id = short[rng.IntN(len(short))]
			}
		}
		if slices.Contains(tok.Ends, id) {
			continue
		}
		if err := c.Accept(id); err != nil {
			t.Fatalf("an allowed token is refused behind %q: %v", text, err)
		}
		text = append(text, tok.Bytes(id)...)
	}
	return string(text), false
}

// closer picks the allowed token that closes most, or else another.
func closer(tok *tokenizer.Tokenizer, ids []int32, other int32) int32 {
	for _, want := range []string{`"`, "}", "]", "n", "u", "l"} {
		for _, id := range ids {
			if string(tok.Bytes(id)) == want {
				return id
			}
		}
	}
	return other
}

// accepts reports whether c takes text in tokens cut at random, and its end.
func accepts(tok *tokenizer.Tokenizer, c *grammar.Constraint, text string, rng *rand.Rand) error {
	byText := spellings(tok)
	mask := make([]uint64, (tok.Size+63)/64)
	for rest := text; rest != ""; {
		var choices []int32
		for n := 1; n <= min(len(rest), 12); n++ {
			choices = append(choices, byText[rest[:n]]...)
		}
		if len(choices) == 0 {
			return fmt.Errorf("the vocabulary cannot write %q", rest)
		}
		id := choices[rng.IntN(len(choices))]
		clear(mask)
		c.Mask(mask)
		if mask[id/64]>>(id%64)&1 == 0 {
			return fmt.Errorf("%q is not allowed before %q in %s", tok.Bytes(id), rest, text)
		}
		if err := c.Accept(id); err != nil {
			return err
		}
		rest = rest[len(tok.Bytes(id)):]
	}
	return c.Accept(tok.Ends[0])
}

var spelt sync.Map // *tokenizer.Tokenizer → map[string][]int32

func spellings(tok *tokenizer.Tokenizer) map[string][]int32 {
	if m, ok := spelt.Load(tok); ok {
		return m.(map[string][]int32)
	}
	m := map[string][]int32{}
	for id := range int32(tok.Size) {
		if b := tok.Bytes(id); len(b) > 0 && !tok.Control(id) && !tok.Unused(id) {
			m[string(b)] = append(m[string(b)], id)
		}
	}
	spelt.Store(tok, m)
	return m
}

func compile(t testing.TB, v *grammar.Vocabulary, text string) *grammar.Grammar {
	t.Helper()
	g, err := schema.Compile(v, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestWalks: whatever is drawn from what is allowed satisfies the schema.
func TestWalks(t *testing.T) {
	tok := realTokens(t)
	v := grammar.NewVocabulary(tok)
	for _, test := range schemas {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g, s := compile(t, v, test.schema), validator(t, test.schema)
			for seed := range walks(100) {
				rng := rand.New(rand.NewPCG(seed, 1))
				validate(t, s, walk(t, tok, g.Start(), rng, rng.IntN(60)))
			}
			for _, text := range test.valid {
				validate(t, s, text)
				for seed := range uint64(10) {
					if err := accepts(tok, g.Start(), text, rand.New(rand.NewPCG(seed, 2))); err != nil {
						t.Errorf("%s: %v", text, err)
					}
				}
			}
			for _, text := range test.invalid {
				if err := accepts(tok, g.Start(), text, rand.New(rand.NewPCG(1, 2))); err == nil {
					t.Errorf("%s is accepted", text)
				}
			}
		})
	}
}

// TestMask: the mask is exactly the tokens that Accept takes.
func TestMask(t *testing.T) {
	tok := realTokens(t)
	v := grammar.NewVocabulary(tok)
	for _, test := range schemas {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := compile(t, v, test.schema)
			steps := 20
			if testing.Short() {
				steps = 1
			}
			exact(t, tok, g.Start(), rand.New(rand.NewPCG(1, 3)), steps)
		})
	}
}

// exact compares masks with Accept along a walk.
func exact(t failer, tok *tokenizer.Tokenizer, c *grammar.Constraint, rng *rand.Rand, steps int) {
	t.Helper()
	mask := make([]uint64, (tok.Size+63)/64)
	var text []byte
	for range steps {
		clear(mask)
		c.Mask(mask)
		for id := range int32(tok.Size) {
			allowed := mask[id/64]>>(id%64)&1 == 1
			if taken := c.Clone().Accept(id) == nil; taken != allowed {
				t.Fatalf("behind %q, token %d %q: the mask says %t, Accept %t", text, id, tok.Bytes(id), allowed, taken)
			}
		}
		ids := tokens(mask)
		id := ids[rng.IntN(len(ids))]
		if err := c.Accept(id); err != nil {
			t.Fatal(err)
		}
		text = append(text, tok.Bytes(id)...)
	}
}

// TestObject: json_object is any object, and nothing else.
func TestObject(t *testing.T) {
	tok := realTokens(t)
	g, err := schema.Object(grammar.NewVocabulary(tok))
	if err != nil {
		t.Fatal(err)
	}
	for seed := range walks(200) {
		text := walk(t, tok, g.Start(), rand.New(rand.NewPCG(seed, 4)), 40)
		var object map[string]any
		if err := json.Unmarshal([]byte(text), &object); err != nil || object == nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{`{}`, `{"a":{"b":[1,2.5e3,"ñ\ud83d\ude00",null,true]},"":[]}`, "{\n  \"a\": 1,\n  \"b\": [\n    2\n  ]\n}", "{\"a\": 1, \"b\": {\"c\": 2}}", `{"😀":"\\\"\/\n"}`} {
		if err := accepts(tok, g.Start(), text, rand.New(rand.NewPCG(1, 5))); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{`[]`, `1`, `{"a"}`, `{"a":01}`, `{"a":.5}`, `{,}`, `{"a":1,}`, `{"a":"\x"}`, "{\"a\":\"\n\"}", `{"a":"\ud800"}`, `{"a":tru}`, `{} `, "{     \"a\":1}"} {
		if err := accepts(tok, g.Start(), text, rand.New(rand.NewPCG(1, 5))); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// TestAnyBytes: every byte that may come in a string comes, whole runes only.
func TestAnyBytes(t *testing.T) {
	tok := tinyTokens(t)
	g := compile(t, grammar.NewVocabulary(tok), `{"type":"string"}`)
	rng := rand.New(rand.NewPCG(1, 6))
	for range 300 {
		var b bytes.Buffer
		b.WriteByte('"')
		for range 1 + rng.IntN(8) {
			if r := rune(rng.IntN(0x110000)); r >= ' ' && r != '"' && r != '\\' && (r < 0xD800 || r > 0xDFFF) {
				b.WriteRune(r)
			}
		}
		b.WriteByte('"')
		if err := accepts(tok, g.Start(), b.String(), rng); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "\"\x80\"", "\"\x01\""} {
		if err := accepts(tok, g.Start(), bad, rng); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestOver: behind the end there is nothing but the end.
func TestOver(t *testing.T) {
	tok := tinyTokens(t)
	c := compile(t, grammar.NewVocabulary(tok), `{"const":1}`).Start()
	if c.Complete() || c.Done() {
		t.Error("an empty text is complete")
	}
	if err := c.Accept(tok.Ends[0]); err == nil {
		t.Error("an empty text may end")
	}
	one := tok.Encode(nil, "1", true)[0]
	if err := c.Accept(one); err != nil {
		t.Fatal(err)
	}
	if !c.Complete() || !c.Done() {
		t.Error("1 is not complete")
	}
	if err := c.Accept(one); err == nil {
		t.Error("11 is accepted")
	}
	if err := c.Accept(tok.Ends[0]); err != nil {
		t.Error(err)
	}
	mask := make([]uint64, (tok.Size+63)/64)
	if !c.Mask(mask) || !slices.Equal(tokens(mask), tok.Ends) {
		t.Errorf("behind the end: %v, want %v", tokens(mask), tok.Ends)
	}
	if c.Accept(one) == nil || c.Accept(-1) == nil || c.Accept(int32(tok.Size)) == nil {
		t.Error("a token behind the end is accepted")
	}
}

// TestShared: many constraints of one grammar at once.
func TestShared(t *testing.T) {
	tok := realTokens(t)
	v := grammar.NewVocabulary(tok)
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			test := schemas[seed%4]
			g, err := schema.Compile(v, []byte(test.schema))
			if err != nil {
				t.Error(err)
				return
			}
			rng := rand.New(rand.NewPCG(seed, 7))
			for range 5 {
				mask := make([]uint64, (tok.Size+63)/64)
				c := g.Start()
				for range 50 {
					clear(mask)
					c.Mask(mask)
					ids := tokens(mask)
					if err := c.Accept(ids[rng.IntN(len(ids))]); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestRefused: what cannot be held is refused with its place.
func TestRefused(t *testing.T) {
	v := grammar.NewVocabulary(tinyTokens(t))
	for _, test := range refusals {
		t.Run(test.schema, func(t *testing.T) {
			_, err := schema.Compile(v, []byte(test.schema))
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Code != "invalid_schema" {
				t.Fatalf("got %v, want a fault", err)
			}
			if !strings.Contains(f.Message, "at "+test.at) {
				t.Errorf("%s: names not %s", f.Message, test.at)
			}
		})
	}
}

// TestBounded: schemas made to take long are refused soon.
func TestBounded(t *testing.T) {
	tok := tinyTokens(t)
	nest := func(s, inner string, n int) string {
		for range n {
			inner = strings.ReplaceAll(s, "@", inner)
		}
		return inner
	}
	many := func(n int, f func(i int) string) string {
		var list []string
		for i := range n {
			list = append(list, f(i))
		}
		return strings.Join(list, ",")
	}
	for name, text := range map[string]string{
		"enums in enums":  nest(`{"enum":[{"a":1}],"type":"object","properties":{"a":@}}`, `{"type":"integer"}`, 40),
		"choices doubled": nest(`{"anyOf":[{"properties":{"a":{"type":"null"}},"allOf":[@]},@]}`, `{"type":"integer"}`, 12),
		"references": `{"$ref":"#/$defs/a0","$defs":{` + many(60, func(i int) string {
			return fmt.Sprintf(`"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]}`, i, i+1, i+1)
		}) + `,"a60":{}}}`,
		"branches":         `{"oneOf":[` + many(900, func(i int) string { return fmt.Sprintf(`{"const":%d}`, i) }) + `]}`,
		"expression":       `{"type":"string","pattern":"(a|b|c|d?){0,900}x"}`,
		"many expressions": `{"type":"array","prefixItems":[` + many(900, func(i int) string { return fmt.Sprintf(`{"type":"string","pattern":"a.{%d}"}`, i%10) }) + `]}`,
		"letters":          `{"type":"string","pattern":"^\\p{L}{1,200}$"}`,
		"long expression":  `{"type":"string","pattern":"` + strings.Repeat("a?", 3000) + `"}`,
		"length":           `{"type":"string","pattern":"a","minLength":1000000}`,
		"many properties":  `{"properties":{` + many(1999, func(i int) string { return fmt.Sprintf(`"p%d":{"type":"string"}`, i) }) + `}}`,
		"more properties":  `{"properties":{` + many(3000, func(i int) string { return fmt.Sprintf(`"p%d":{"type":"string"}`, i) }) + `}}`,
		"deep":             nest(`{"type":"array","items":@}`, `{}`, 40),
		"too deep":         nest(`{"type":"array","minItems":1,"items":@}`, `{}`, 40),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			g, err := schema.Compile(grammar.NewVocabulary(tok), []byte(text))
			if d := time.Since(start); d > time.Minute {
				t.Errorf("it took %v", d)
			} else {
				t.Logf("%v, %v", d, err)
			}
			if err != nil {
				if fault.KindOf(err) != fault.Invalid {
					t.Error(err)
				}
				return
			}
			wander(t, tok, g.Start(), rand.New(rand.NewPCG(1, 1)), 10, 60)
		})
	}
}
