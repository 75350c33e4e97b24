package evaluate

import (
	"regexp"
	"strings"

	"afina/internal/mathcheck"
)

// What an answer comes to is told by a marker, by a box, or by the last formula.
var (
	markers = regexp.MustCompile(`(?im)^[\s>*_-]*(?:respuesta|resultado|soluci[oó]n|soluciones|answer|final answer|result|solution|solutions)(?: final)?[*_]*\s*:[*_]*\s*(.+?)\s*$`)
	boxed   = regexp.MustCompile(`\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}`)
	// a formula that ends a clause: what follows the last sign of equality
	equal = regexp.MustCompile(`[=≈]\s*([^=≈;\n]+)`)
	// a number as people write it, with its sign, fraction, unit
	number = regexp.MustCompile(`[−-]?\d+(?:[.,]\d+)*(?:\s*/\s*\d+)?(?:√\d+|π)?(?:\s*(?:%|€|°))?`)
	words  = regexp.MustCompile(`\s(?:\p{L}{2,}|[yea]\s).*$`) // where prose goes on
	scale  = regexp.MustCompile(`^\s(?:mm|cm|dm|km|kg|min)[²³]?(?:$|[^\p{L}])`)
	named  = regexp.MustCompile(`^\s*(?:[A-Za-z](?:[₀-₉]|_\d)?|[fgh]′?'*\([a-z]\))\s*=\s*([^=]+)$`)
	unit   = regexp.MustCompile(`^(.*[\d)π])\s*(%|€|°|(?:mm|cm|dm|m|km|g|kg|l|h|s|min)[²³]?)$`)
)

// final is what an answer comes to, "" when no formula can be found.
func final(text string) string {
	if all := markers.FindAllStringSubmatch(text, -1); all != nil {
		return trim(all[len(all)-1][1])
	}
	if all := boxed.FindAllStringSubmatch(text, -1); all != nil {
		return trim(all[len(all)-1][1])
	}
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	for i := len(lines) - 1; i >= 0; i-- {
		if f := lastFormula(lines[i]); f != "" {
			return f
		}
	}
	return ""
}

// lastFormula is what the last formula of a line comes to: the last number, or
// what stands behind the last sign of equality if that is further on.
func lastFormula(line string) string {
	numbers := number.FindAllStringIndex(line, -1)
	equals := equal.FindAllStringSubmatchIndex(line, -1)
	if len(equals) > 0 {
		e := equals[len(equals)-1]
		value := formula(line[e[2]:e[3]])
		end := e[2] + len(value)
		if len(numbers) == 0 || numbers[len(numbers)-1][0] < end {
			return trim(value)
		}
	}
	if len(numbers) == 0 {
		return ""
	}
	n := numbers[len(numbers)-1]
	return trim(line[n[0]:n[1]])
}

// formula is text up to where prose goes on; a unit is no prose.
func formula(text string) string {
	at := words.FindStringIndex(text)
	if at == nil {
		return text
	}
	if m := scale.FindStringIndex(text[at[0]:]); m != nil {
		return text[:at[0]+m[1]]
	}
	return text[:at[0]]
}

// trim takes off what is no part of a formula.
func trim(s string) string { return strings.Trim(s, " \t.*_`$,;:!¡¿?\"«»") }

// same says whether two final answers are equivalent. The name of what was asked
// for ("x =") may be missing in one, and so may a unit; two different units are
// two different answers.
func same(got, want, question string) mathcheck.Verdict {
	if got == "" {
		return mathcheck.False
	}
	a, unitA := bare(got)
	b, unitB := bare(want)
	if unitA != "" && unitB != "" && unitA != unitB {
		return mathcheck.False
	}
	o := mathcheck.Options{Question: question}
	if a == b || mathcheck.Equivalent(got, want, o) == mathcheck.True {
		return mathcheck.True
	}
	return mathcheck.Equivalent(a, b, o)
}

// bare is a final answer without its name and its unit, which is returned too.
func bare(s string) (value, of string) {
	if m := named.FindStringSubmatch(s); m != nil {
		s = strings.TrimSpace(m[1])
	}
	if m := unit.FindStringSubmatch(s); m != nil {
		return strings.TrimSpace(m[1]), m[2]
	}
	return s, ""
}

var refusals = regexp.MustCompile(`(?i)^[^.!?\n]{0,80}(lo siento|no puedo (?:ayudar|responder|hacer|resolver|contestar)|no soy capaz|como (?:un )?modelo de lenguaje|i['’]m sorry|i am sorry|i apologi[sz]e|i can(?:['’]t|not) (?:help|assist|answer|do|solve)|as an ai|i['’]m unable|i am unable)`)

// refuses reports whether an answer begins by declining.
func refuses(text string) bool { return refusals.MatchString(strings.TrimSpace(text)) }
