package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"afina/internal/grammar"
	"afina/internal/schema"
)

// drawn is a random schema and a way to draw values that satisfy it, as compact
// JSON with properties in the schema's order.
type drawn struct {
	schema string
	value  func(*rapid.T) string
}

// quote is compact JSON of a string.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// letters are what names and texts are made of.
var letters = rapid.SampledFrom([]rune("abñÑé \"\\/\n\t\x01<&{}[]:,_-9😀中\u2028"))

func drawSchema(t *rapid.T, depth int) drawn {
	kinds := []func(*rapid.T, int) drawn{drawString, drawInteger, drawNumber, drawEnum, drawSimple, drawPattern}
	if depth > 0 {
		kinds = append(kinds, drawObject, drawObject, drawArray, drawAny, drawReference)
	}
	return rapid.SampledFrom(kinds).Draw(t, "kind")(t, depth)
}

func drawString(t *rapid.T, _ int) drawn {
	low := rapid.IntRange(0, 4).Draw(t, "minLength")
	high := rapid.IntRange(low, low+20).Draw(t, "maxLength")
	return drawn{fmt.Sprintf(`{"type":"string","minLength":%d,"maxLength":%d}`, low, high), func(t *rapid.T) string {
		return quote(rapid.StringOfN(letters, low, high, -1).Draw(t, "string"))
	}}
}

func drawPattern(t *rapid.T, _ int) drawn {
	p := rapid.SampledFrom([]string{`^[a-zñ]{2,6}$`, `^(sí|no|tal vez)$`, `^-?[0-9]+(/[1-9][0-9]*)?$`, `^[^"]{0,3}$`, `^(ab|\\|")*c?$`, `^\p{Lu}\p{Ll}{1,4}$`}).Draw(t, "pattern")
	return drawn{`{"type":"string","pattern":` + quote(p) + `}`, func(t *rapid.T) string {
		return quote(rapid.StringMatching(p).Filter(func(s string) bool { return !strings.ContainsAny(s, "\u2028\u2029\u007f") }).Draw(t, "match"))
	}}
}

func drawInteger(t *rapid.T, _ int) drawn {
	low := rapid.Int64Range(-2000, 2000).Draw(t, "minimum")
	high := rapid.Int64Range(low, low+3000).Draw(t, "maximum")
	return drawn{fmt.Sprintf(`{"type":"integer","minimum":%d,"maximum":%d}`, low, high), func(t *rapid.T) string {
		return fmt.Sprint(rapid.Int64Range(low, high).Draw(t, "integer"))
	}}
}

// drawNumber works in thousandths.
func drawNumber(t *rapid.T, _ int) drawn {
	decimal := func(n int64) string {
		sign := ""
		if n < 0 {
			sign, n = "-", -n
		}
		return fmt.Sprintf("%s%d.%03d", sign, n/1000, n%1000)
	}
	low := rapid.Int64Range(-30000, 30000).Draw(t, "minimum")
	high := rapid.Int64Range(low+2, low+70000).Draw(t, "maximum")
	if rapid.Bool().Draw(t, "open") {
		return drawn{fmt.Sprintf(`{"type":"number","exclusiveMinimum":%s,"exclusiveMaximum":%s}`, decimal(low), decimal(high)), func(t *rapid.T) string {
			return decimal(rapid.Int64Range(low+1, high-1).Draw(t, "number"))
		}}
	}
	return drawn{fmt.Sprintf(`{"type":"number","minimum":%s,"maximum":%s}`, decimal(low), decimal(high)), func(t *rapid.T) string {
		return decimal(rapid.Int64Range(low, high).Draw(t, "number"))
	}}
}

func drawEnum(t *rapid.T, _ int) drawn {
	list := rapid.SliceOfNDistinct(rapid.StringOfN(letters, 0, 5, -1), 1, 6, rapid.ID).Draw(t, "enum")
	for i := range list {
		list[i] = quote(strings.ReplaceAll(list[i], "\u2028", "")) // escaped by Go only
	}
	return drawn{`{"enum":[` + strings.Join(list, ",") + `]}`, func(t *rapid.T) string { return rapid.SampledFrom(list).Draw(t, "value") }}
}

func drawSimple(t *rapid.T, _ int) drawn {
	return rapid.SampledFrom([]drawn{
		{`{"type":"boolean"}`, func(t *rapid.T) string { return fmt.Sprint(rapid.Bool().Draw(t, "boolean")) }},
		{`{"type":["null","string"]}`, func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"null", `""`, `"x\/A"`}).Draw(t, "value")
		}},
		{`{"type":"number"}`, func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"0", "-1.25", "1e5", "6.02E+23", "0.0001"}).Draw(t, "number")
		}},
		{`{}`, func(t *rapid.T) string {
			return rapid.SampledFrom([]string{`{"a":[{}]}`, `[]`, `"b"`, `-3`, `true`}).Draw(t, "anything")
		}},
	}).Draw(t, "simple")
}

func drawObject(t *rapid.T, depth int) drawn {
	type property struct {
		name     string
		required bool
		drawn
	}
	names := rapid.SliceOfNDistinct(rapid.StringOfN(letters, 0, 4, -1), 0, 5, rapid.ID).Draw(t, "names")
	var list []property
	var properties, required []string
	for _, name := range names {
		name = strings.ReplaceAll(name, "\u2028", "x")
		if strings.Contains(strings.Join(properties, ","), quote(name)+":") {
			continue
		}
		p := property{name, rapid.Bool().Draw(t, "required"), drawSchema(t, depth-1)}
		list = append(list, p)
		properties = append(properties, quote(name)+":"+p.schema)
		if p.required {
			required = append(required, quote(name))
		}
	}
	extra := rapid.SampledFrom([]string{``, `,"additionalProperties":false`, `,"additionalProperties":{"type":"integer"}`}).Draw(t, "further")
	s := fmt.Sprintf(`{"type":"object","properties":{%s},"required":[%s]%s}`, strings.Join(properties, ","), strings.Join(required, ","), extra)
	return drawn{s, func(t *rapid.T) string {
		var parts []string
		for _, p := range list {
			if p.required || rapid.Bool().Draw(t, "written") {
				parts = append(parts, quote(p.name)+":"+p.value(t))
			}
		}
		if strings.HasSuffix(extra, "}") && rapid.Bool().Draw(t, "more") {
			parts = append(parts, `"a further one":7`)
		}
		return "{" + strings.Join(parts, ",") + "}"
	}}
}

func drawArray(t *rapid.T, depth int) drawn {
	item := drawSchema(t, depth-1)
	low := rapid.IntRange(0, 2).Draw(t, "minItems")
	high := rapid.IntRange(low, 4).Draw(t, "maxItems")
	return drawn{fmt.Sprintf(`{"type":"array","items":%s,"minItems":%d,"maxItems":%d}`, item.schema, low, high), func(t *rapid.T) string {
		var parts []string
		for range rapid.IntRange(low, high).Draw(t, "items") {
			parts = append(parts, item.value(t))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}}
}

func drawAny(t *rapid.T, depth int) drawn {
	a, b := drawSchema(t, depth-1), drawSchema(t, depth-1)
	return drawn{`{"anyOf":[` + a.schema + `,` + b.schema + `]}`, func(t *rapid.T) string {
		return rapid.SampledFrom([]drawn{a, b}).Draw(t, "branch").value(t)
	}}
}

// drawReference is the list that every document here defines.
func drawReference(*rapid.T, int) drawn {
	var list func(t *rapid.T, n int) string
	list = func(t *rapid.T, n int) string {
		if n == 0 {
			return `{"n":` + fmt.Sprint(rapid.IntRange(-9, 9).Draw(t, "n")) + `}`
		}
		return `{"n":0,"next":` + list(t, n-1) + `}`
	}
	return drawn{`{"$ref":"#/$defs/list"}`, func(t *rapid.T) string { return list(t, rapid.IntRange(0, 3).Draw(t, "length")) }}
}

const definitions = `"$defs":{"list":{"type":"object","properties":{"n":{"type":"integer"},"next":{"$ref":"#/$defs/list"}},"required":["n"],"additionalProperties":false}}`

// TestRandom: for schemas at random, values that satisfy them are accepted however
// they are cut into tokens, and what is drawn satisfies them.
func TestRandom(t *testing.T) {
	tiny, real := tinyTokens(t), realTokens(t)
	tinyV, realV := grammar.NewVocabulary(tiny), grammar.NewVocabulary(real)
	rapid.Check(t, func(r *rapid.T) {
		d := drawSchema(r, 3)
		d.schema = strings.Replace(d.schema, "{", "{"+definitions+",", 1)
		d.schema = strings.Replace(d.schema, ",}", "}", 1)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
		s := validator(t, d.schema)
		tok, v := tiny, tinyV
		if rapid.Bool().Draw(r, "real") {
			tok, v = real, realV
		}
		g, err := schema.Compile(v, []byte(d.schema))
		if err != nil {
			r.Fatalf("%s: %v", d.schema, err)
		}
		for range 3 {
			text := d.value(r)
			validate(r, s, text)
			if err := accepts(tok, g.Start(), text, rng); err != nil {
				r.Fatalf("%s: %v", d.schema, err)
			}
			validate(r, s, walk(r, tok, g.Start(), rng, rng.IntN(40)))
		}
		if tok == tiny {
			exact(r, tok, g.Start(), rng, 30)
		}
	})
}

// FuzzCompile: no schema breaks the compiler, and what it takes can be written.
func FuzzCompile(f *testing.F) {
	for _, s := range schemas {
		f.Add([]byte(s.schema))
	}
	for _, s := range refusals {
		f.Add([]byte(s.schema))
	}
	tok := tinyTokens(f)
	v := grammar.NewVocabulary(tok)
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := schema.Compile(v, text)
		if err != nil {
			return
		}
		answer, whole := wander(t, tok, g.Start(), rand.New(rand.NewPCG(1, 1)), 50, 400)
		if whole && !json.Valid([]byte(answer)) {
			t.Errorf("%s: wrote %q", text, answer)
		}
	})
}
