package automaton_test

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"afina/internal/automaton"
)

// all is the set of every byte.
func all() *automaton.Bytes {
	var b automaton.Bytes
	for i := range b {
		b[i] = true
	}
	return &b
}

// accepts runs t, which may be nil, over text.
func accepts(t *automaton.Table, text string) bool {
	if t == nil {
		return false
	}
	s := uint16(automaton.Begin)
	for i := range len(text) {
		if s = t.Step(s, text[i]); s == 0 {
			return false
		}
	}
	return t.Accept(s)
}

// TestRange: a number is accepted when it lies between the bounds and is a multiple.
func TestRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bound := func(name string) automaton.Bound {
			text := fmt.Sprintf("%de%d", rapid.Int64Range(-3000, 3000).Draw(t, name), rapid.IntRange(-3, 1).Draw(t, "exponent"))
			d, err := automaton.ParseDecimal(text)
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := new(big.Rat).SetString(text); d.Rat().Cmp(want) != 0 {
				t.Fatalf("%s is read as %v", text, d)
			}
			return automaton.Bound{Decimal: d, Open: rapid.Bool().Draw(t, "open")}
		}
		l := automaton.Limits{Lo: bound("low"), Hi: bound("high"), Integer: rapid.Bool().Draw(t, "integer")}
		if rapid.Bool().Draw(t, "multiple") {
			l.Step = rapid.IntRange(1, 30).Draw(t, "step")
			if !l.Integer {
				l.Places = rapid.IntRange(0, 3).Draw(t, "places")
			}
		}
		table, err := automaton.Range(l, all())
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			text := strconv.Itoa(rapid.IntRange(-3500, 3500).Draw(t, "whole"))
			if n := rapid.IntRange(0, 4).Draw(t, "digits"); n > 0 {
				text += fmt.Sprintf(".%0*d", n, rapid.IntRange(0, []int{9, 99, 999, 9999}[n-1]).Draw(t, "part"))
			}
			if got, want := accepts(table, text), lies(text, l); got != want {
				t.Fatalf("%s in %+v: %t, want %t", text, l, got, want)
			}
		}
	})
}

// lies is the definition of Range, by rationals.
func lies(text string, l automaton.Limits) bool {
	x, _ := new(big.Rat).SetString(text)
	low, high := x.Cmp(l.Lo.Rat()), x.Cmp(l.Hi.Rat())
	if low < 0 || high > 0 || low == 0 && l.Lo.Open || high == 0 && l.Hi.Open || l.Integer && strings.Contains(text, ".") {
		return false
	}
	if l.Step == 0 {
		return true
	}
	if _, part, _ := strings.Cut(text, "."); len(part) > l.Places {
		return false // a multiple needs no more
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(l.Places)), nil)
	return x.Mul(x, new(big.Rat).SetFrac(scale, big.NewInt(int64(l.Step)))).IsInt()
}

// TestMinusZero: it lies where zero does, and an integer is not written so.
func TestMinusZero(t *testing.T) {
	bound := func(text string, open bool) automaton.Bound {
		d, err := automaton.ParseDecimal(text)
		if err != nil {
			t.Fatal(err)
		}
		return automaton.Bound{Decimal: d, Open: open}
	}
	for _, c := range []struct {
		limits automaton.Limits
		want   bool
	}{
		{automaton.Limits{Lo: bound("-2", false), Hi: bound("0", false)}, true},
		{automaton.Limits{Lo: bound("-2", false), Hi: bound("0", true)}, false},
		{automaton.Limits{Lo: bound("-2", false), Hi: bound("3", true)}, true},
		{automaton.Limits{Lo: bound("-2", false), Hi: bound("3", true), Integer: true}, false},
	} {
		table, err := automaton.Range(c.limits, all())
		if err != nil {
			t.Fatal(err)
		}
		if got := accepts(table, "-0"); got != c.want {
			t.Errorf("-0 in %+v: %t, want %t", c.limits, got, c.want)
		}
		if !accepts(table, "-1") {
			t.Errorf("-1 is not in %+v", c.limits)
		}
	}
}

// TestPattern: a string is accepted when Go's regexp finds a match in it.
func TestPattern(t *testing.T) {
	sources := []string{`a`, `^a|b$`, `^$`, `a$|^b`, `^(ab*c?){1,3}$`, `[^a-c"]{2}`, `ñ+|\\|"`, `^[a-ñ😀-😂]*$`, `(a|b)*abb`, `^[^ñ]$`, `a{2,3}`, `\d\w\s`, `^(a|\n)+$`, `$^`, `()`}
	letters := []rune("abcdñé\"\\\n 1_😀😁😃\x01\x7f")
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			re := regexp.MustCompile(source)
			rapid.Check(t, func(t *rapid.T) {
				low := int32(rapid.IntRange(0, 3).Draw(t, "min"))
				high := int32(rapid.IntRange(-1, 6).Draw(t, "max"))
				table, err := automaton.Pattern(source, automaton.Length{Min: low, Max: high}, all())
				if err != nil {
					t.Fatal(err)
				}
				for range 20 {
					text := rapid.StringOfN(rapid.SampledFrom(letters), 0, 8, -1).Draw(t, "text")
					n := int32(utf8.RuneCountInString(text))
					want := re.MatchString(text) && n >= low && (high < 0 || n <= high)
					written := automaton.Quote(text, all())[1:]
					if got := accepts(table, written); got != want {
						t.Fatalf("%q, %d to %d characters: %t, want %t", text, low, high, got, want)
					}
				}
			})
		})
	}
}

// TestMissingBytes: what a vocabulary cannot write is escaped, or not accepted.
func TestMissingBytes(t *testing.T) {
	has := all()
	for b := 0xF1; b < 256; b++ {
		has[b] = false
	}
	has[0x7F] = false
	if got, want := automaton.Quote("a\x7f\U00040000ñ\x01\n", has), `"a\u007f\ud8c0\udc00ñ\u0001\n"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	table, err := automaton.Pattern(`^.$`, automaton.Length{Max: -1}, has)
	if err != nil {
		t.Fatal(err)
	}
	if !accepts(table, "😀\"") || accepts(table, "\U00040000\"") || accepts(table, "\x7f\"") {
		t.Error("a pattern asks for bytes that are not there")
	}
}

// TestKey: any key but those taken.
func TestKey(t *testing.T) {
	table, err := automaton.Key([]string{"a", "ab", "ñ", ""}, all())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		`a"`: false, `ab"`: false, `ñ"`: false, `"`: false, `b"`: true, `abc"`: true, "ò\"": true, `a\n"`: true, `\u0061"`: false, `a`: false, "\xc3\"": false,
	} {
		if got := accepts(table, text); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}
