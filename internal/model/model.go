// Package model says what a transformer is: its dimensions, the shape of its
// block, and where its weights lie. It computes nothing. Package forward runs
// a model for inference and package graph for training, both from the same
// Spec, so an architecture is written down once.
//
// Opening a model reads everything once and checks it: the dimensions, the shape
// of every tensor, that every number is finite. What is open is immutable.
//
// The file stays mapped until Close, and must not be cut short in the meantime
// (replacing it is harmless). Norms, biases and the embedding are copies and the
// matrices are packed, so that only products in kernel.Exact read the mapping.
package model

import (
	"afina/internal/chat"
	"afina/internal/gguf"
	"afina/internal/grammar"
	"afina/internal/kernel"
	"afina/internal/tokenizer"
)

// Dims are the sizes of one model.
type Dims struct {
	Vocab, Hidden, Layers, Heads, KVHeads, HeadDim, FFN, Context int

	Rotary  kernel.Rotary
	Epsilon float32
}

// Model is a model ready to be walked. It is immutable and shared by all.
type Model struct {
	Name     string
	Path     string
	Spec     Spec
	Dims     Dims
	Tokens   *tokenizer.Tokenizer
	Template *chat.Template
	Grammar  *grammar.Vocabulary // what answers are held to; prepared when first used
	// Metadata is the file's, for who writes where the model came from.
	Metadata gguf.Metadata

	Embed      *kernel.Matrix // (Vocab, Hidden)
	Layers     []Layer
	OutputNorm Scale
	Output     Linear // Weight is Embed, when tied

	// FusedQKV says that the file holds q, k and v in one matrix, attn_qkv. Here
	// they are apart; an adapter written for llama.cpp names the file's tensors.
	FusedQKV bool

	file *gguf.File
}

// Layer is the weights of one block. An empty field is absent from the
// architecture: phi2 has no FFNNorm and no Gate.
type Layer struct {
	AttnNorm, FFNNorm Scale
	Q, K, V, O        Linear
	Gate, Up, Down    Linear
}

// ease lets the widest products, half of a block's arithmetic, be computed from
// activations of 8 bits: gate and up, whose inputs come out of a norm. The last
// fifth of the layers is spared, since what is lost there goes straight to the
// head. On SmolLM2 this costs a mean divergence of 0.0005, where 8 bits everywhere
// (as llama.cpp rounds) cost 0.004; gate and up of all layers would cost 0.001,
// and twice the changed tokens.
func (m *Model) ease() {
	for i := range len(m.Layers) * 4 / 5 {
		for _, linear := range []*Linear{&m.Layers[i].Gate, &m.Layers[i].Up} {
			if linear.Present() {
				linear.Weight.Coarse = true
			}
		}
	}
}

// Scale is the weight of a norm and, for LayerNorm, its bias.
type Scale struct{ Weight, Bias []float32 }

// Linear is a weight and its bias, if any.
type Linear struct {
	Weight *kernel.Matrix
	Bias   []float32
}

// Present reports whether the architecture has this layer.
func (l Linear) Present() bool { return l.Weight != nil }

// Slot returns the linear layer of that GGUF name ("attn_q"), nil when absent.
func (l *Layer) Slot(name string) *Linear {
	linear := l.field(name)
	if linear == nil || !linear.Present() {
		return nil
	}
	return linear
}

// field is where the linear layer of that GGUF name lies, present or not.
func (l *Layer) field(name string) *Linear {
	switch name {
	case "attn_q":
		return &l.Q
	case "attn_k":
		return &l.K
	case "attn_v":
		return &l.V
	case "attn_output":
		return &l.O
	case "ffn_gate":
		return &l.Gate
	case "ffn_up":
		return &l.Up
	case "ffn_down":
		return &l.Down
	}
	return nil
}

// Bytes is the memory the packed weights take.
func (m *Model) Bytes() int64 {
	var sum int64
	seen := map[*kernel.Matrix]bool{nil: true} // a tied output counts once
	add := func(l Linear) {
		if !seen[l.Weight] {
			seen[l.Weight] = true
			sum += l.Weight.Bytes()
		}
		sum += 4 * int64(len(l.Bias))
	}
	scale := func(s Scale) { sum += 4 * int64(len(s.Weight)+len(s.Bias)) }
	add(Linear{Weight: m.Embed})
	for i := range m.Layers {
		l := &m.Layers[i]
		scale(l.AttnNorm)
		scale(l.FFNNorm)
		for _, s := range m.Spec.Slots {
			add(*l.field(s.GGUF))
		}
	}
	scale(m.OutputNorm)
	add(m.Output)
	return sum
}

// Close unmaps the file; nothing may use the model afterwards.
func (m *Model) Close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}
