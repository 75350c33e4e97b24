package mathcheck_test

import (
	"os"
	"strings"
	"testing"

	"afina/internal/mathcheck"
)

// TestAnswers reads answers as teachers and pupils write them. A row of
// answers.tsv is true or false where that is demanded; right, where nothing may
// be called false; wrong, where nothing may be called true.
func TestAnswers(t *testing.T) {
	raw, err := os.ReadFile("testdata/answers.tsv")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		row := strings.Split(line, "\t")
		if len(row) != 3 {
			t.Fatalf("%q has %d fields", line, len(row))
		}
		found := mathcheck.Check(strings.ReplaceAll(row[2], `\n`, "\n"), mathcheck.Options{Question: row[1]})
		count[row[0]]++
		if got := overall(found); !suits(row[0], got) {
			t.Errorf("%s: %q | %q: got %s: %+v", row[0], row[1], row[2], got, found)
		}
	}
	t.Logf("rows: %v", count)
}

// suits reports whether a verdict is one a row allows.
func suits(row string, got mathcheck.Verdict) bool {
	switch row {
	case "right":
		return got != mathcheck.False
	case "wrong":
		return got != mathcheck.True
	}
	return row == string(got)
}

// TestUnitsDiffer demands that a length is not the same answer as an area.
func TestUnitsDiffer(t *testing.T) {
	for _, c := range [][2]string{{"12 cm", "12 cm²"}, {"12 m²", "12 m"}, {"5 m³", "5 m²"}, {"3 kg", "3 m"}} {
		if v := mathcheck.Equivalent(c[0], c[1], mathcheck.Options{}); v == mathcheck.True {
			t.Errorf("%q and %q are called the same", c[0], c[1])
		}
	}
	if v := mathcheck.Equivalent("12 cm²", "12 cm²", mathcheck.Options{}); v != mathcheck.True {
		t.Errorf("12 cm² is not called the same as itself: %s", v)
	}
}
