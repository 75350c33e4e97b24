package assistant

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// shown feeds pieces to a cutter and returns what it shows, and whether it
// stopped, as a reader of the whole answer sees it.
func shown(stops, pieces []string) (text string, stopped bool) {
	c := cutter{stops: stops}
	for _, p := range pieces {
		s, stopped := c.add(p)
		text += s
		if stopped {
			return text, true
		}
	}
	return text + c.held, false
}

func TestCutter(t *testing.T) {
	for _, c := range []struct {
		name          string
		stops, pieces []string
		want          string
		stopped       bool
	}{
		{"none", nil, []string{"ab", "c"}, "abc", false},
		{"within a piece", []string{"."}, []string{"a.b"}, "a", true},
		{"across pieces", []string{"\n\n"}, []string{"a\n", "\nb"}, "a", true},
		{"begun and not finished", []string{"END"}, []string{"the EN", "emy"}, "the ENemy", false},
		{"begun at the very end", []string{"END"}, []string{"the EN"}, "the EN", false},
		{"begins again inside itself", []string{"aab"}, []string{"a", "a", "a", "b"}, "a", true},
		{"the first to end counts", []string{"abcd", "bc"}, []string{"abcd"}, "a", true},
		{"of those the longest", []string{"c", "abc"}, []string{"xabc"}, "x", true},
		{"at the very beginning", []string{"a"}, []string{"abc"}, "", true},
		{"several bytes a rune", []string{"ñu"}, []string{"eñ", "u"}, "e", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, stopped := shown(c.stops, c.pieces)
			if got != c.want || stopped != c.stopped {
				t.Errorf("got %q, %v; want %q, %v", got, stopped, c.want, c.stopped)
			}
		})
	}
}

// TestCutterNeedsNoBorders: how a text is cut into pieces changes nothing, what
// is shown never holds a stop string, and nothing is shown that is taken back.
func TestCutterNeedsNoBorders(t *testing.T) {
	word := rapid.StringOfN(rapid.SampledFrom([]rune("abñ")), 1, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		stops := rapid.SliceOfN(word, 0, 3).Draw(t, "stops")
		pieces := rapid.SliceOf(word).Draw(t, "pieces")
		whole := strings.Join(pieces, "")
		got, stopped := shown(stops, pieces)
		byRune, stoppedByRune := shown(stops, strings.Split(whole, ""))
		if got != byRune || stopped != stoppedByRune {
			t.Fatalf("in pieces %q, %v; rune by rune %q, %v", got, stopped, byRune, stoppedByRune)
		}
		any := false
		for _, s := range stops {
			if strings.Contains(got, s) {
				t.Fatalf("%q shows %q", got, s)
			}
			any = any || strings.Contains(whole, s)
		}
		if stopped != any || !strings.HasPrefix(whole, got) || !stopped && got != whole {
			t.Fatalf("showed %q of %q, stopped %v", got, whole, stopped)
		}
	})
}
