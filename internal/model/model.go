// Package model says what a transformer is: its dimensions, the shape of its
// block, and where its weights lie. It computes nothing. Package forward runs
// a model for inference and package graph for training, both from the same
// Spec, so an architecture is written down once.
package model

import (
	"afina/internal/chat"
	"afina/internal/gguf"
	"afina/internal/kernel"
	"afina/internal/tokenizer"
)

// Spec is an architecture: what sets llama apart from phi2.
type Spec struct {
	Name       string // "llama", "phi2"
	Norm       Norm
	Parallel   bool // attention and MLP read the same normed input and are added together
	Halves     bool // rotary pairs are (i, i+d/2), not (2i, 2i+1)
	Activation Activation
	// Slots are the linear layers that an adapter may change, by GGUF name, in
	// the order of computation: "attn_q", …, "ffn_down".
	Slots []Slot
}

// Slot names a linear layer of a block in the vocabularies of GGUF and PEFT.
type Slot struct {
	GGUF    string // "attn_q"
	PEFT    string // "self_attn.q_proj"
	Short   string // "q": accepted in requests besides the last part of PEFT
	Permute bool   // rows are reordered between the two (llama's q and k)
}

// Norm is a kind of normalisation.
type Norm uint8

// The norms.
const (
	RMSNorm Norm = iota
	LayerNorm
)

// Activation is the non-linearity of the MLP.
type Activation uint8

// The activations.
const (
	SwiGLU Activation = iota // gated: silu(gate)·up
	GELU                     // plain: gelu(up), tanh form
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

	Embed      *kernel.Matrix // (Vocab, Hidden)
	Layers     []Layer
	OutputNorm Scale
	Output     Linear // Weight is Embed, when tied

	file *gguf.File
}

// Layer is the weights of one block. An empty field is absent from the
// architecture: phi2 has no FFNNorm and no Gate.
type Layer struct {
	AttnNorm, FFNNorm Scale
	Q, K, V, O        Linear
	Gate, Up, Down    Linear
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
func (l *Layer) Slot(name string) *Linear { panic("sketch") }

// Open reads the model at path, checks that every weight has the shape its
// Dims ask for and is finite, and packs it with g. A fused attn_qkv is split.
func Open(path string, g *kernel.Gang) (*Model, error) { panic("sketch") }

// Bytes is the memory the packed weights take.
func (m *Model) Bytes() int64 { panic("sketch") }

// Close unmaps the file; nothing may use the model afterwards.
func (m *Model) Close() error { panic("sketch") }
