// Package modeltest writes tiny random models for tests, and finds the real one.
// Only tests import it.
package modeltest

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"afina/internal/gguf"
	"afina/internal/quant"
)

// Shape is a tiny model to write. Zero fields take small defaults; the
// vocabulary is the 256 bytes, a few merges and ChatML's control tokens.
type Shape struct {
	Arch                                         string // "llama" (default) or "phi2"
	Hidden, Layers, Heads, KVHeads, FFN, Context int
	Rotary                                       int // dimensions that rotate; phi2 only
	Type                                         quant.Type
	FusedQKV                                     bool
	Seed                                         uint64

	Untied bool // llama with an output matrix of its own; phi2 always has one
	// Factors adds rope_freqs.weight, the divisors of the rotary frequencies.
	Factors bool
	// Control are further control tokens, at the end of the vocabulary.
	Control []string
	// Metadata is written after, and instead of, the usual keys.
	Metadata []gguf.Pair
}

// defaults fills the zero fields.
func (s Shape) defaults() Shape {
	set := func(field *int, v int) {
		if *field == 0 {
			*field = v
		}
	}
	if s.Arch == "" {
		s.Arch = "llama"
	}
	kv := 2
	if s.Arch == "phi2" {
		kv = 4
	}
	set(&s.Hidden, 64)
	set(&s.Layers, 2)
	set(&s.Heads, 4)
	set(&s.KVHeads, min(kv, s.Heads))
	set(&s.FFN, 96)
	set(&s.Context, 256)
	set(&s.Rotary, s.Hidden/s.Heads/2)
	if s.Arch == "llama" {
		s.Rotary = s.Hidden / s.Heads
	}
	return s
}

// Write stores the model in a temporary folder and returns its path. Equal
// shapes give equal bytes (SplitMix64).
func Write(t testing.TB, s Shape) string {
	t.Helper()
	s = s.defaults()
	if s.Arch != "llama" && s.Arch != "phi2" {
		t.Fatalf("modeltest: no architecture is called %q", s.Arch)
	}
	path := filepath.Join(t.TempDir(), "tiny-"+s.Arch+".gguf")
	tensors, err := s.tensors()
	if err == nil {
		err = gguf.Write(path, s.pairs(), tensors)
	}
	if err != nil {
		t.Fatalf("modeltest: %v", err)
	}
	return path
}

// Real returns the path of SmolLM2-135M-Instruct Q4_1, from AFINA_TEST_MODEL or
// models/ of the checkout, or skips the test with a word on how to get it.
func Real(t testing.TB) string {
	t.Helper()
	path := os.Getenv("AFINA_TEST_MODEL")
	if path == "" {
		_, here, _, _ := runtime.Caller(0)
		path = filepath.Join(filepath.Dir(here), "..", "..", "models", "smollm2-135m-instruct.gguf")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no real model at %s: run `make model`, or name one in AFINA_TEST_MODEL", path)
	}
	return path
}

// random is SplitMix64 (Steele, Lea & Flood 2014).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fill returns n numbers uniform in mean ± sqrt(3)·std.
func (r *random) fill(n int, mean, std float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		u := float64(r.next()>>11)/(1<<52) - 1 // [-1, 1)
		x[i] = float32(mean + math.Sqrt(3)*std*u)
	}
	return x
}

// writer gathers tensors; the first failure stays.
type writer struct {
	r       random
	typ     quant.Type
	tensors []gguf.Named
	err     error
}

// matrix adds a quantised weight whose products have about unit variance.
func (w *writer) matrix(name string, rows, cols int) {
	x := w.r.fill(rows*cols, 0, 1.5/math.Sqrt(float64(cols)))
	m, err := quant.Quantize(w.typ, x, rows, cols)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s: %w", name, err)
	}
	w.tensors = append(w.tensors, gguf.Named{Name: name, Matrix: m})
}

// vector adds float32 numbers.
func (w *writer) vector(name string, n int, mean, std float64) {
	m, err := quant.Quantize(quant.F32, w.r.fill(n, mean, std), 1, n)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s: %w", name, err)
	}
	w.tensors = append(w.tensors, gguf.Named{Name: name, Matrix: m, Vector: true})
}

func (s Shape) tensors() ([]gguf.Named, error) {
	w := &writer{r: random(s.Seed), typ: s.Type}
	phi := s.Arch == "phi2"
	norm := func(name string) {
		w.vector(name+".weight", s.Hidden, 1, 0.2)
		if phi {
			w.vector(name+".bias", s.Hidden, 0, 0.2)
		}
	}
	linear := func(name string, rows, cols int) {
		w.matrix(name+".weight", rows, cols)
		if phi {
			w.vector(name+".bias", rows, 0, 0.2)
		}
	}
	tokens, _, _ := s.vocabulary()
	w.matrix("token_embd.weight", len(tokens), s.Hidden)
	if s.Factors {
		w.vector("rope_freqs.weight", s.Rotary/2, 3, 1)
	}
	dim := s.Hidden / s.Heads
	for l := range s.Layers {
		blk := fmt.Sprintf("blk.%d.", l)
		norm(blk + "attn_norm")
		if s.FusedQKV {
			linear(blk+"attn_qkv", (s.Heads+2*s.KVHeads)*dim, s.Hidden)
		} else {
			linear(blk+"attn_q", s.Heads*dim, s.Hidden)
			linear(blk+"attn_k", s.KVHeads*dim, s.Hidden)
			linear(blk+"attn_v", s.KVHeads*dim, s.Hidden)
		}
		linear(blk+"attn_output", s.Hidden, s.Heads*dim)
		if !phi {
			norm(blk + "ffn_norm")
			linear(blk+"ffn_gate", s.FFN, s.Hidden)
		}
		linear(blk+"ffn_up", s.FFN, s.Hidden)
		linear(blk+"ffn_down", s.Hidden, s.FFN)
	}
	norm("output_norm")
	if phi || s.Untied {
		linear("output", len(tokens), s.Hidden)
	}
	return w.tensors, w.err
}

// Pairs is the metadata that Write stores for s.
func Pairs(s Shape) []gguf.Pair { return s.defaults().pairs() }

func (s Shape) pairs() []gguf.Pair {
	tokens, types, merges := s.vocabulary()
	u := func(n int) uint32 { return uint32(n) }
	epsilon, pre, eos := "layer_norm_rms_epsilon", "smollm", imEnd
	if s.Arch == "phi2" {
		epsilon, pre, eos = "layer_norm_epsilon", "phi-2", endOfText
	}
	pairs := []gguf.Pair{
		{Key: "general.architecture", Value: s.Arch},
		{Key: "general.type", Value: "model"},
		{Key: "general.name", Value: "Tiny " + s.Arch},
		{Key: s.Arch + ".context_length", Value: u(s.Context)},
		{Key: s.Arch + ".embedding_length", Value: u(s.Hidden)},
		{Key: s.Arch + ".block_count", Value: u(s.Layers)},
		{Key: s.Arch + ".feed_forward_length", Value: u(s.FFN)},
		{Key: s.Arch + ".attention.head_count", Value: u(s.Heads)},
		{Key: s.Arch + ".attention.head_count_kv", Value: u(s.KVHeads)},
		{Key: s.Arch + ".attention." + epsilon, Value: float32(1e-5)},
		{Key: s.Arch + ".rope.dimension_count", Value: u(s.Rotary)},
		{Key: s.Arch + ".rope.freq_base", Value: float32(10000)},
		{Key: s.Arch + ".vocab_size", Value: u(len(tokens))},
		{Key: "tokenizer.ggml.model", Value: "gpt2"},
		{Key: "tokenizer.ggml.pre", Value: pre},
		{Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.merges", Value: merges},
		{Key: "tokenizer.ggml.bos_token_id", Value: u(endOfText)},
		{Key: "tokenizer.ggml.eos_token_id", Value: u(eos)},
		{Key: "tokenizer.ggml.add_bos_token", Value: false},
	}
	if s.Arch == "llama" {
		pairs = append(pairs, gguf.Pair{Key: "tokenizer.chat_template", Value: chatML})
	}
	for _, p := range s.Metadata {
		pairs = replace(pairs, p)
	}
	return pairs
}

// replace sets a key; a nil value takes it away.
func replace(pairs []gguf.Pair, p gguf.Pair) []gguf.Pair {
	kept := pairs[:0]
	for _, old := range pairs {
		if old.Key != p.Key {
			kept = append(kept, old)
		}
	}
	if p.Value == nil {
		return kept
	}
	return append(kept, p)
}
