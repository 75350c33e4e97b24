package mathcheck_test

import (
	"testing"
	"time"
	"unicode/utf8"

	"afina/internal/mathcheck"
)

// FuzzCheck feeds any text and question: it must not crash, must point inside
// the text, and must not take longer than its budget.
func FuzzCheck(f *testing.F) {
	for _, file := range []string{"testdata/claims.tsv"} {
		for _, c := range claims(f, file) {
			f.Add(c.text, c.question)
		}
	}
	f.Add("5^(5^(5^5)) = 9!!!!", "Resuelve x^99 = 1.")
	f.Add("((((((((((1))))))))))/0 = √√√√√x", "Solve |x|=|x|.")
	f.Fuzz(func(t *testing.T, text, question string) {
		begin := time.Now()
		found := mathcheck.Check(text, mathcheck.Options{Question: question})
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("%q | %q took %s", question, text, took)
		}
		for _, x := range found {
			if x.Span.Start < 0 || x.Span.End > len(text) || x.Span.Start > x.Span.End || x.Text != text[x.Span.Start:x.Span.End] {
				t.Errorf("%q: the span %v is not of %q", text, x.Span, x.Text)
			}
			if x.Reason == "" || utf8.ValidString(text) && !utf8.ValidString(x.Reason) {
				t.Errorf("%q: no reason for %+v", text, x)
			}
		}
	})
}

// FuzzEquivalent feeds any two answers: no crash, no overrun, the same verdict
// both ways, and an answer never differs from itself.
func FuzzEquivalent(f *testing.F) {
	f.Add("x = 2 y x = 3", "{2, 3}")
	f.Add(`\frac{1}{2^{99}}`, `\boxed{[1, \infty)}`)
	f.Add("(1, 2] ∪ {3}", "x < 5")
	f.Fuzz(func(t *testing.T, a, b string) {
		begin := time.Now()
		o := mathcheck.Options{Language: mathcheck.English}
		x, y := mathcheck.Equivalent(a, b, o), mathcheck.Equivalent(b, a, o)
		if x != y {
			t.Errorf("%q and %q: %s, and %s the other way", a, b, x, y)
		}
		if mathcheck.Equivalent(a, a, o) == mathcheck.False {
			t.Errorf("%q is not itself", a)
		}
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("%q, %q took %s", a, b, took)
		}
	})
}

// BenchmarkCheck reads a usual answer: an equation solved in steps.
func BenchmarkCheck(b *testing.B) {
	o := mathcheck.Options{Question: "Resuelve x² − 5x + 6 = 0."}
	text := "Aquí a = 1, b = −5 y c = 6. El discriminante es b² − 4ac = 25 − 24 = 1. Entonces x = (5 ± 1)/2, y las soluciones son x₁ = 3 y x₂ = 2. Comprobación: 3² − 5 · 3 + 6 = 0 y 2² − 5 · 2 + 6 = 0."
	for b.Loop() {
		mathcheck.Check(text, o)
	}
}

// BenchmarkEquivalent compares two intervals written differently.
func BenchmarkEquivalent(b *testing.B) {
	for b.Loop() {
		mathcheck.Equivalent(`x \in [-2, \sqrt{7}]`, "−2 ≤ x ≤ √7", mathcheck.Options{})
	}
}
