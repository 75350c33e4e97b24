// Package mathcheck finds claims of mathematics in running text, in Spanish
// and English, and says of each whether it is true, false or unknown.
//
// It never guesses: a verdict of True or False is proven, by exact arithmetic
// or by an interval that excludes the contrary; all else is Unknown. It knows
// nothing of models, conversations or files: text comes in, findings go out.
// The same text and options give the same findings on every machine, unless
// the clock of Options.Budget, which is only a last resort, runs out first.
package mathcheck

import "time"

// A Verdict is what is known of a claim.
type Verdict string

// The verdicts. Equivalent uses them too: True when two answers say the same,
// False when they provably do not.
const (
	True    Verdict = "true"
	False   Verdict = "false"
	Unknown Verdict = "unknown"
)

// A Language is the one reasons are written in.
type Language string

// The languages; the empty one is found out from the text.
const (
	Spanish Language = "es"
	English Language = "en"
)

// A Span is a stretch of the text, in bytes: text[Start:End].
type Span struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// The kinds of claims. Malformed is a formula that cannot be read, such as one
// whose brackets do not match; its verdict is Unknown.
const (
	Equality     = "equality"     // a chain of equal numbers or expressions
	Comparison   = "comparison"   // 2 < 3, 5/8 ≤ 2/3
	Solution     = "solution"     // roots of an equation, solution of a system
	Inequality   = "inequality"   // solution set of an inequality
	Function     = "function"     // f(3) = 10, f⁻¹(x) = …
	Derivative   = "derivative"   // f'(x) = …, the derivative of … is …
	Integral     = "integral"     // ∫ … dx = …
	Limit        = "limit"        // lím … = …
	Primality    = "primality"    // 97 is prime
	Divisibility = "divisibility" // 12 is a multiple of 3; gcd and lcm
	Membership   = "membership"   // √2 ∉ ℚ
	Parity       = "parity"       // even or odd
	Rationality  = "rationality"  // rational or irrational
	Percentage   = "percentage"   // the 20 % of 150 is 30
	Statistics   = "statistics"   // means, medians, modes
	Probability  = "probability"  // a probability with the cases given
	Geometry     = "geometry"     // areas, volumes, Pythagoras
	Malformed    = "malformed"    // unbalanced or unfinished
)

// A Finding is one claim and what is known of it.
type Finding struct {
	Span    Span    `json:"span"`
	Text    string  `json:"text"`    // the claim as written: text[Start:End]
	Kind    string  `json:"kind"`    // one of the kinds above
	Expr    string  `json:"expr"`    // the claim as understood, in one plain notation
	Verdict Verdict `json:"verdict"` // true, false or unknown
	Reason  string  `json:"reason"`  // a sentence, in the language of the text

	Correction string `json:"correction,omitempty"` // what would be right, where that is known
	Residual   string `json:"residual,omitempty"`   // left side less right side, where they differ
}

// Options say how to check. The zero value is good.
type Options struct {
	Language Language      // of the reasons; empty: that of the text
	Question string        // what was asked: the equation to solve, the definition of f
	Budget   time.Duration // of the clock for one call; 0: a second
	MaxBytes int           // text beyond is not looked at; 0: 64 KiB
}
