package tokenizer_test

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"afina/internal/gguf"
	"afina/internal/modeltest"
	"afina/internal/tokenizer"
)

// golden is a line of a golden file.
type golden struct {
	Text    string
	IDs     []int32
	Special []int32 // by EncodeSpecial, where it differs
}

func goldens(t *testing.T, path string) []golden {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []golden
	for s := bufio.NewScanner(f); s.Scan(); {
		var g golden
		if err := json.Unmarshal(s.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		if g.Special == nil {
			g.Special = g.IDs
		}
		all = append(all, g)
	}
	return all
}

func smollm2(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	f, err := gguf.Open(modeltest.Real(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := tokenizer.FromGGUF(f.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestSmolLM2 holds Encode to transformers.
func TestSmolLM2(t *testing.T) {
	tok := smollm2(t)
	all := goldens(t, "testdata/smollm2.jsonl")
	if len(all) < 200 {
		t.Fatalf("%d golden texts, want at least 200", len(all))
	}
	for _, g := range all {
		if got := tok.Encode(nil, g.Text, true); !slices.Equal(got, g.IDs) {
			t.Errorf("Encode(%q) = %v, want %v", g.Text, got, g.IDs)
		}
		if got := tok.EncodeSpecial(nil, g.Text, true); !slices.Equal(got, g.Special) {
			t.Errorf("EncodeSpecial(%q) = %v, want %v", g.Text, got, g.Special)
		}
	}
}
