// Package chat holds conversations and the templates that lay them out as
// tokens. Training and serving use the same Lay, so what the adapter learned
// is what it is asked.
package chat

import (
	"afina/internal/gguf"
	"afina/internal/tokenizer"
)

// Role says who speaks.
type Role string

// The roles.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
)

// Message is one turn.
type Message struct {
	Role    Role   `json:"role"`
	Content string `json:"content"`
}

// Conversation is a list of turns, oldest first.
type Conversation struct {
	Messages []Message `json:"messages"`
}

// Sequence is a conversation laid out as tokens.
type Sequence struct {
	Tokens []int32
	Learn  []bool // Learn[i]: token i was written by the assistant, or ends its turn
}

// Template lays out conversations for one model. It is safe for concurrent use.
type Template struct {
	Source string // where it came from: "file", or the name of the default used
}

// FromGGUF returns the template of a model file; a file without one gets the
// default of its architecture (Phi-2: "Instruct: …\nOutput:"), else ChatML when
// the vocabulary has it, else an error.
func FromGGUF(md gguf.Metadata, tok *tokenizer.Tokenizer) (*Template, error) { panic("sketch") }

// Render returns c as the template writes it, with special tokens by name. With
// open true it ends where the assistant's next turn begins.
func (t *Template) Render(c Conversation, open bool) (string, error) { panic("sketch") }

// Lay returns c as tokens. With open true the sequence ends where the
// assistant's next turn begins. Contents are never read as special tokens.
func (t *Template) Lay(tok *tokenizer.Tokenizer, c Conversation, open bool) (Sequence, error) {
	panic("sketch")
}
