package model

import (
	"slices"
	"strings"
)

// Spec is an architecture: what sets llama apart from phi2.
type Spec struct {
	Name       string // "llama", "phi2"
	Norm       Norm
	Parallel   bool // attention and MLP read the same normed input and are added together
	Halves     bool // rotary pairs are (i, i+d/2), not (2i, 2i+1)
	Activation Activation
	// Bias says that every linear layer has one. Without it a layer has the bias
	// that the file brings, if any.
	Bias bool
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

// Specs are the architectures that can be run, by name.
func Specs() []Spec {
	return []Spec{
		{
			// Touvron et al. 2023; transformers' LlamaForCausalLM.
			Name: "llama", Norm: RMSNorm, Activation: SwiGLU,
			Slots: []Slot{
				{"attn_q", "self_attn.q_proj", "q", true},
				{"attn_k", "self_attn.k_proj", "k", true},
				{"attn_v", "self_attn.v_proj", "v", false},
				{"attn_output", "self_attn.o_proj", "o", false},
				{"ffn_gate", "mlp.gate_proj", "gate", false},
				{"ffn_up", "mlp.up_proj", "up", false},
				{"ffn_down", "mlp.down_proj", "down", false},
			},
		},
		{
			// Gunasekar et al. 2023; transformers' PhiForCausalLM.
			Name: "phi2", Norm: LayerNorm, Parallel: true, Halves: true, Activation: GELU, Bias: true,
			Slots: []Slot{
				{"attn_q", "self_attn.q_proj", "q", false},
				{"attn_k", "self_attn.k_proj", "k", false},
				{"attn_v", "self_attn.v_proj", "v", false},
				{"attn_output", "self_attn.dense", "o", false},
				{"ffn_up", "mlp.fc1", "up", false},
				{"ffn_down", "mlp.fc2", "down", false},
			},
		},
	}
}

// specOf returns the architecture of that name, and the names there are.
func specOf(name string) (spec Spec, supported string, ok bool) {
	var names []string
	for _, s := range Specs() {
		if s.Name == name {
			return s, "", true
		}
		names = append(names, s.Name)
	}
	return Spec{}, strings.Join(names, ", "), false
}

// Slot finds a slot by any of its names: "attn_q", "q_proj", "self_attn.q_proj"
// or "q".
func (s Spec) Slot(name string) (Slot, bool) {
	i := slices.IndexFunc(s.Slots, func(slot Slot) bool {
		return name == slot.GGUF || name == slot.PEFT || name == slot.Short || name == slot.Module()
	})
	if i < 0 {
		return Slot{}, false
	}
	return s.Slots[i], true
}

// Module is the last part of the PEFT name: "q_proj".
func (s Slot) Module() string { return s.PEFT[strings.LastIndexByte(s.PEFT, '.')+1:] }
