package practice_test

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"afina/internal/fault"
	"afina/internal/mathcheck"
	"afina/internal/practice"
)

func generate(t *testing.T, o practice.Options) []practice.Item {
	t.Helper()
	all, err := practice.Generate(o)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// text is everything that is said.
func text(items []practice.Item) string {
	var b strings.Builder
	for _, i := range items {
		for _, m := range i.Conversation().Messages {
			b.WriteString(m.Content + "\n")
		}
	}
	return b.String()
}

func TestEqualSeeds(t *testing.T) {
	for _, lang := range []practice.Lang{practice.Spanish, practice.English} {
		o := practice.Options{N: 900, Seed: 7, Lang: lang}
		a, b := generate(t, o), generate(t, o)
		if !slices.Equal(a, b) {
			t.Errorf("%s: equal seeds, different items", lang)
		}
		o.Seed = 8
		if slices.Equal(a, generate(t, o)) {
			t.Errorf("%s: different seeds, equal items", lang)
		}
	}
}

// A dataset made today can be made again tomorrow.
func TestGolden(t *testing.T) {
	for lang, want := range map[practice.Lang]string{practice.Spanish: goldenSpanish, practice.English: goldenEnglish} {
		sum := sha256.Sum256([]byte(text(generate(t, practice.Options{N: 360, Seed: 1, Lang: lang}))))
		if got := fmt.Sprintf("%x", sum[:8]); got != want {
			t.Errorf("%s: what seed 1 makes has changed: %s, was %s", lang, got, want)
		}
	}
}

func TestItems(t *testing.T) {
	broken := regexp.MustCompile(`%!|\+ −|− −|\b1x|--|  |\( `)
	for _, lang := range []practice.Lang{practice.Spanish, practice.English} {
		for _, topic := range practice.Topics() {
			items := generate(t, practice.Options{Topics: []string{topic}, N: 500, Seed: 3, Lang: lang})
			seen := map[string]bool{}
			for _, i := range items {
				if i.Topic != topic || i.Question == "" || i.Steps == "" || i.Answer == "" {
					t.Fatalf("%s %s: %+v", topic, lang, i)
				}
				for _, part := range []string{i.Question, i.Steps} {
					if seen[part] {
						t.Errorf("%s %s: %q comes twice", topic, lang, part)
					}
					seen[part] = true
				}
				if all := i.Question + "\n" + i.Reply(); broken.MatchString(all) {
					t.Errorf("%s %s: badly written: %s", topic, lang, all)
				}
				if !strings.HasSuffix(i.Reply(), "\n"+lang.Marker()+" "+i.Answer) {
					t.Errorf("%s %s: the reply does not end with the answer: %q", topic, lang, i.Reply())
				}
			}
		}
	}
}

// Nothing that is made is found false, nor unreadable; most of it is proven.
func TestVerified(t *testing.T) {
	for _, lang := range []practice.Lang{practice.Spanish, practice.English} {
		claims, proven := 0, 0
		for _, i := range generate(t, practice.Options{N: 1350, Seed: 11, Lang: lang}) {
			for _, f := range mathcheck.Check(i.Reply(), mathcheck.Options{Question: i.Question}) {
				claims++
				switch {
				case f.Verdict == mathcheck.False || f.Kind == mathcheck.Malformed:
					t.Errorf("%s: %s\n%s\n%q is %s: %s", lang, i.Question, i.Reply(), f.Text, f.Verdict, f.Reason)
				case f.Verdict == mathcheck.True:
					proven++
				}
			}
		}
		if claims < 1350 || proven < claims*9/10 {
			t.Errorf("%s: %d of %d claims are proven", lang, proven, claims)
		}
	}
}

func TestTopicsTakeTurns(t *testing.T) {
	count := map[string]int{}
	for _, i := range generate(t, practice.Options{Topics: []string{"linear", "systems", "linear"}, N: 100, Seed: 1}) {
		count[i.Topic]++
	}
	if count["linear"] != 50 || count["systems"] != 50 {
		t.Errorf("items by topic: %v", count)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     practice.Options
		param string
	}{
		{"none", practice.Options{N: 0}, "n"},
		{"too many", practice.Options{N: practice.Most + 1}, "n"},
		{"topic", practice.Options{N: 1, Topics: []string{"chess"}}, "topics"},
		{"language", practice.Options{N: 1, Lang: "fr"}, "lang"},
		{"more than there are", practice.Options{N: 200000, Topics: []string{"percentages"}}, "n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := practice.Generate(c.o)
			f, ok := err.(*fault.Error)
			if !ok || f.Kind != fault.Invalid || f.Param != c.param {
				t.Errorf("got %v", err)
			}
		})
	}
}
