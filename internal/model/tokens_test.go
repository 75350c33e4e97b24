package model_test

import (
	"slices"
	"strings"
	"testing"

	"afina/internal/gguf"
	"afina/internal/model"
	"afina/internal/modeltest"
)

// usual is the value of a key of a tiny llama.
func usual[T any](key string) T {
	pairs := modeltest.Pairs(modeltest.Shape{})
	return pairs[slices.IndexFunc(pairs, func(p gguf.Pair) bool { return p.Key == key })].Value.(T)
}

// A vocabulary that cannot be used is refused with the model.
func TestOpenRefusesTokenizers(t *testing.T) {
	const tokens, merges = "tokenizer.ggml.tokens", "tokenizer.ggml.merges"
	changed := func(i int, v string) []string {
		s := slices.Clone(usual[[]string](tokens))
		s[i] = v
		return s
	}
	for _, c := range []struct {
		name  string
		key   string
		value any
	}{
		{"a token twice", tokens, changed(7, "A")},
		{"tokens all empty", tokens, make([]string, len(usual[[]string](tokens)))},
		{"a byte without token", tokens, changed('A', "nothing")},
		{"tokens of numbers", tokens, make([]int32, 272)},
		{"types too few", "tokenizer.ggml.token_type", []int32{1, 1}},
		{"types as text", "tokenizer.ggml.token_type", []string{"1"}},
		{"end out of range", "tokenizer.ggml.eos_token_id", uint32(1 << 31)},
		{"beginning out of range", "tokenizer.ggml.bos_token_id", uint32(272)},
		{"no merges", merges, nil},
		{"merges without a space", merges, []string{"he"}},
		{"merges of unknown tokens", merges, []string{"nothing here"}},
		{"unknown pre-tokeniser", "tokenizer.ggml.pre", "nope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := modeltest.Shape{Metadata: []gguf.Pair{{Key: c.key, Value: c.value}}}
			m, err := model.Open(modeltest.Write(t, s), gang(t))
			if err == nil {
				m.Close()
				t.Fatal("it was opened")
			}
			refused(t, err, "")
			if strings.Count(err.Error(), ".gguf") != 1 {
				t.Errorf("%q names the file more than once", err)
			}
		})
	}
}
