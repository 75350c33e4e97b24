// Package lora holds low-rank adapters (Hu et al. 2021): what they are, how
// they start, and the two file formats they travel in (PEFT and GGUF).
package lora

import "afina/internal/model"

// Adapter is a low-rank change to a base model. The slices of its pairs are
// the trained parameters themselves; nothing copies them.
type Adapter struct {
	Name    string
	Base    string // the base model's name
	Rank    int
	Alpha   float32
	Dropout float32 // as trained; plays no part in serving
	Slots   []string
	// Pairs holds one map per layer, keyed by GGUF slot name ("attn_q"). B rows
	// are in the base's (GGUF) row order.
	Pairs []map[string]*Pair
}

// Pair is one low-rank product: y += (Alpha/Rank)·(x·Aᵀ)·Bᵀ.
type Pair struct {
	In, Out int
	A       []float32 // (Rank, In)
	B       []float32 // (Out, Rank)
}

// Scale is Alpha/Rank.
func (a *Adapter) Scale() float32 { return a.Alpha / float32(a.Rank) }

// New returns an adapter for m with A uniform in ±1/sqrt(in) (PEFT's default)
// and B zero, so that it changes nothing yet. slots are GGUF, PEFT or short
// names; none means all of the architecture's. Equal seeds give equal bits.
func New(m *model.Model, rank int, alpha float32, slots []string, seed uint64) (*Adapter, error) {
	panic("sketch")
}

// Params is the number of trained parameters.
func (a *Adapter) Params() int { panic("sketch") }

// SavePEFT writes adapter_config.json and adapter_model.safetensors into dir.
// baseID is what base_model_name_or_path shall say.
func (a *Adapter) SavePEFT(dir string, m *model.Model, baseID string) error { panic("sketch") }

// LoadPEFT reads what SavePEFT or PEFT wrote, and checks it against m.
func LoadPEFT(dir string, m *model.Model) (*Adapter, error) { panic("sketch") }

// SaveGGUF writes a GGUF LoRA as llama.cpp reads it.
func (a *Adapter) SaveGGUF(path string, m *model.Model) error { panic("sketch") }

// LoadGGUF reads a GGUF LoRA and checks it against m.
func LoadGGUF(path string, m *model.Model) (*Adapter, error) { panic("sketch") }
