package mathcheck_test

import (
	"encoding/json"
	"os"
	"testing"

	"afina/internal/mathcheck"
)

// TestDataset reads the conversations of the repository, which are right:
// nothing in them may be called false, and what is called true is counted.
func TestDataset(t *testing.T) {
	raw, err := os.ReadFile("../../dataset/matematicas.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Messages []struct{ Role, Content string }
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	count := map[mathcheck.Verdict]int{}
	for i, conversation := range all {
		question := ""
		for _, m := range conversation.Messages {
			if m.Role != "assistant" {
				question = m.Content
				continue
			}
			for _, f := range mathcheck.Check(m.Content, mathcheck.Options{Question: question}) {
				count[f.Verdict]++
				if f.Verdict == mathcheck.False {
					t.Errorf("conversation %d: %q is called false: %s\nquestion: %s\nanswer: %s", i, f.Text, f.Reason, question, m.Content)
				}
				if os.Getenv("MATHCHECK_ALL") != "" {
					t.Logf("%d %s %s %q %s", i, f.Verdict, f.Kind, f.Text, f.Expr)
				}
			}
		}
	}
	t.Logf("findings: %v", count)
	if count[mathcheck.True] < 280 {
		t.Errorf("%d claims proven, want 280 at least", count[mathcheck.True])
	}
}
