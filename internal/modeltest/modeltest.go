// Package modeltest writes tiny random models for tests, and finds the real one.
// Only tests import it.
package modeltest

import (
	"testing"

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
}

// Write stores the model in a temporary folder and returns its path. Equal
// shapes give equal bytes (SplitMix64).
func Write(t testing.TB, s Shape) string { panic("sketch") }

// Real returns the path of SmolLM2-135M-Instruct Q4_1, from AFINA_TEST_MODEL or
// models/ of the checkout, or skips the test with a word on how to get it.
func Real(t testing.TB) string { panic("sketch") }
