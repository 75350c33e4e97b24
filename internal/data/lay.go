package data

import (
	"errors"
	"fmt"

	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/model"
)

// Laid is a set of conversations laid out for one model.
type Laid struct {
	Sequences []chat.Sequence
	Index     []int // conversation each came from
	Truncated []int // conversations that were cut to the maximum length and still teach something
	Empty     []int // conversations left out: no token to learn remains
	Learned   int   // tokens that carry a loss
	Tokens    int   // tokens in all
}

// Lay lays out the conversations at index for m, cutting each to maxLength
// tokens; 0 cuts none.
func Lay(m *model.Model, all []chat.Conversation, index []int, maxLength int) (*Laid, error) {
	laid := &Laid{}
	for _, i := range index {
		seq, err := m.Template.Lay(m.Tokens, all[i], false)
		if err != nil {
			return nil, about(i, err)
		}
		cut := maxLength > 0 && len(seq.Tokens) > maxLength
		if cut {
			seq.Tokens, seq.Learn = seq.Tokens[:maxLength], seq.Learn[:maxLength]
		}
		n := learned(seq)
		switch {
		case n == 0:
			laid.Empty = append(laid.Empty, i)
			continue
		case cut:
			laid.Truncated = append(laid.Truncated, i)
		}
		laid.Sequences = append(laid.Sequences, seq)
		laid.Index = append(laid.Index, i)
		laid.Learned += n
		laid.Tokens += len(seq.Tokens)
	}
	return laid, nil
}

// learned counts the tokens that carry a loss. The first never does: nothing
// comes before it that could foretell it.
func learned(seq chat.Sequence) int {
	n := 0
	for t := 1; t < len(seq.Learn); t++ {
		if seq.Learn[t] {
			n++
		}
	}
	return n
}

// about names the conversation that an error is about.
func about(i int, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return fault.New(f.Kind, "conversation %d: %w", i, err).WithCode(f.Code)
	}
	return fmt.Errorf("conversation %d: %w", i, err)
}
