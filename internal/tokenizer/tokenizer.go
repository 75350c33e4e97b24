// Package tokenizer turns text into token ids and back: byte-level BPE with the
// pre-tokenisers of the common families, and SentencePiece BPE, both from the
// metadata of a GGUF file.
package tokenizer

import "afina/internal/gguf"

// Tokenizer is safe for concurrent use.
type Tokenizer struct {
	Name string // the pre-tokeniser ("smollm", "gpt-2", …) or "spm"
	Size int    // number of tokens

	BOS, EOS       int32 // -1 when absent
	AddBOS, AddEOS bool
	Ends           []int32 // every token that ends a turn: eos, eot, eom and their kin
}

// FromGGUF builds the tokenizer that a model file describes.
func FromGGUF(md gguf.Metadata) (*Tokenizer, error) { return &Tokenizer{}, nil }

// Encode appends the ids of text to dst. Special tokens written in text are
// ordinary characters here; only EncodeSpecial makes them. No BOS or EOS is
// added. first says that the text begins a prompt or follows a special token,
// where SentencePiece models add their space.
func (t *Tokenizer) Encode(dst []int32, text string, first bool) []int32 { panic("sketch") }

// EncodeSpecial is Encode for text of the template's own making: the names of
// control tokens become those tokens.
func (t *Tokenizer) EncodeSpecial(dst []int32, text string, first bool) []int32 { panic("sketch") }

// Special returns the id of a control token such as <|im_end|>.
func (t *Tokenizer) Special(name string) (int32, bool) { panic("sketch") }

// Control reports whether id is a control token: it prints nothing.
func (t *Tokenizer) Control(id int32) bool { panic("sketch") }

// Unused reports whether id must never be sampled: a padding or unused entry.
func (t *Tokenizer) Unused(id int32) bool { panic("sketch") }

// Bytes returns what id stands for: raw bytes, possibly half a rune. Control
// tokens give nothing.
func (t *Tokenizer) Bytes(id int32) []byte { panic("sketch") }

// Text returns the token as people read it in a preview, control tokens by name.
func (t *Tokenizer) Text(id int32) string { panic("sketch") }

// Decode returns the text of ids.
func (t *Tokenizer) Decode(ids []int32) string { panic("sketch") }

// Decoder turns a stream of ids into text, holding back half-finished runes.
type Decoder struct{ t *Tokenizer }

// NewDecoder returns a decoder for one stream.
func (t *Tokenizer) NewDecoder() *Decoder { return &Decoder{t} }

// Next takes one more id and returns the text that is complete now.
func (d *Decoder) Next(id int32) string { panic("sketch") }

// Flush returns what is still held back, with U+FFFD for broken runes.
func (d *Decoder) Flush() string { panic("sketch") }
