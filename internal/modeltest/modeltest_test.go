package modeltest_test

import (
	"bytes"
	"os"
	"testing"

	"afina/internal/gguf"
	"afina/internal/modeltest"
	"afina/internal/quant"
)

func TestWrite(t *testing.T) {
	for _, s := range []modeltest.Shape{
		{},
		{Arch: "phi2"},
		{Arch: "phi2", FusedQKV: true, Type: quant.Q4_0},
		{Untied: true, Type: quant.Q8_0, Factors: true},
		{Type: quant.Q4_1}, {Type: quant.Q5_0}, {Type: quant.Q5_1}, {Type: quant.F16}, {Type: quant.BF16},
	} {
		f, err := gguf.Open(modeltest.Write(t, s))
		if err != nil {
			t.Fatal(err)
		}
		tokens, _ := f.Metadata.Strings("tokenizer.ggml.tokens")
		embed, ok := f.Tensor("token_embd.weight")
		if !ok || embed.Type != s.Type || embed.Rows != len(tokens) || embed.Cols != 64 {
			t.Errorf("%+v: token_embd is (%d, %d) %s for %d tokens", s, embed.Rows, embed.Cols, embed.Type, len(tokens))
		}
		if eos, ok := f.Metadata.Int("tokenizer.ggml.eos_token_id"); !ok || tokens[eos][:2] != "<|" {
			t.Errorf("%+v: end of text is token %d", s, eos)
		}
		for _, name := range f.Names {
			if m, _ := f.Tensor(name); !m.Finite() {
				t.Errorf("%+v: %s is not finite", s, name)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestEqualShapesGiveEqualBytes(t *testing.T) {
	read := func(s modeltest.Shape) []byte {
		b, err := os.ReadFile(modeltest.Write(t, s))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	a, b, c := read(modeltest.Shape{Seed: 1}), read(modeltest.Shape{Seed: 1}), read(modeltest.Shape{Seed: 2})
	if !bytes.Equal(a, b) || bytes.Equal(a, c) {
		t.Error("the bytes do not follow from the seed alone")
	}
}

func TestReal(t *testing.T) {
	f, err := gguf.Open(modeltest.Real(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Names) != 272 || len(f.Metadata) != 33 {
		t.Errorf("%d tensors and %d keys, want 272 and 33", len(f.Names), len(f.Metadata))
	}
}
