// Package form reads what people and programs fill in: JSON bodies, strictly,
// and the rules that a struct's `validate` tags state. Everything that is wrong
// becomes a fault.Invalid that names the field by its path, the rule and the
// remedy.
//
// It knows no request and no route. The wire doors and the configuration both
// use it, so that a value is judged, and explained, in one place.
package form

import (
	"strings"

	"afina/internal/fault"
)

// The codes of the faults made here.
const (
	CodeSyntax    = "invalid_json"
	CodeEncoding  = "invalid_utf8"
	CodeDepth     = "json_too_deep"
	CodeUnknown   = "unknown_parameter"
	CodeDuplicate = "duplicate_parameter"
	CodeType      = "invalid_type"
	CodeValue     = "invalid_value"
	CodeMissing   = "missing_required_parameter"
)

func invalid(code, param, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).WithCode(code).WithParam(param)
}

// Join extends the path of a JSON value by a field name.
func Join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// Nearest returns the known word that is most like word, or "" when none is
// near enough to be what was meant.
func Nearest(word string, known []string) string {
	word = strings.ToLower(word)
	best, least := "", len(word)/3+2
	for _, k := range known {
		if d := distance(word, strings.ToLower(k)); d < min(least, len(k)) {
			best, least = k, d
		}
	}
	return best
}

// Meant is " (did you mean …?)" for the nearest known word, or nothing.
func Meant(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return ` (did you mean "` + near + `"?)`
	}
	return ""
}

// distance is the optimal-string-alignment distance: the number of letters to
// insert, delete, replace or swap with their neighbour. Words too long to be
// names are infinitely far.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var rows [longest + 1][longest + 1]int
	for i := range len(a) + 1 {
		rows[i][0] = i
	}
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
