package assistant

import (
	"context"
	"fmt"
	"math"
	"strings"

	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/model"
)

// lay returns the tokens to go on with, and the parameter they came in.
func lay(m *model.Model, q *Question) (tokens []int32, param string, err error) {
	if q.Raw != nil {
		tokens, err = q.Raw.tokens(m)
		return tokens, "prompt", err
	}
	if len(q.Conversation.Tools) > 0 {
		if _, known := m.Template.CallForm(); !known {
			_, err := q.Form.grammar(m)
			return nil, "tools", err
		}
	}
	sequence, err := m.Template.Lay(m.Tokens, q.Conversation, true)
	if err != nil {
		return nil, "messages", fmt.Errorf("lay out the conversation: %w", err)
	}
	return sequence.Tokens, "messages", nil
}

// tokens are those of a raw text, after the beginning of sequence where the
// tokenizer asks for one.
func (r *Raw) tokens(m *model.Model) ([]int32, error) {
	t := m.Tokens
	if r.Tokens != nil {
		for i, id := range r.Tokens {
			if id < 0 || int(id) >= t.Size {
				return nil, fault.New(fault.Invalid, "token %d of the prompt is %d; the vocabulary of %q has %d", i, id, m.Name, t.Size).
					WithCode("invalid_value").WithParam("prompt")
			}
		}
		return r.Tokens, nil
	}
	tokens := t.EncodeSpecial(nil, r.Text, true)
	if t.AddBOS && t.BOS >= 0 && (len(tokens) == 0 || tokens[0] != t.BOS) {
		tokens = append([]int32{t.BOS}, tokens...)
	}
	if len(tokens) == 0 { // the model needs something to go on with
		if first := max(t.BOS, t.EOS); first >= 0 {
			return []int32{first}, nil
		}
		return nil, fault.New(fault.Invalid, "prompt is empty; send at least one token").WithCode("invalid_value").WithParam("prompt")
	}
	return tokens, nil
}

// Encode returns the tokens of a text for a model, control tokens read by name
// when special is set; Decode is its opposite.
func (a *Assistant) Encode(ctx context.Context, name, text string, special bool) ([]int32, error) {
	m, _, err := a.models.Resolve(name)
	if err != nil {
		return nil, err
	}
	if special {
		return m.Tokens.EncodeSpecial([]int32{}, text, true), ctx.Err()
	}
	return m.Tokens.Encode([]int32{}, text, true), ctx.Err()
}

// Decode returns the text of tokens.
func (a *Assistant) Decode(ctx context.Context, name string, tokens []int32) (string, error) {
	m, _, err := a.models.Resolve(name)
	if err != nil {
		return "", err
	}
	for i, id := range tokens {
		if id < 0 || int(id) >= m.Tokens.Size {
			return "", fault.New(fault.Invalid, "tokens[%d] is %d; the vocabulary of %q has %d", i, id, name, m.Tokens.Size).
				WithCode("invalid_value").WithParam(fmt.Sprintf("tokens[%d]", i))
		}
	}
	return m.Tokens.Decode(tokens), ctx.Err()
}

// Render returns a conversation as the model's template writes it.
func (a *Assistant) Render(ctx context.Context, name string, c chat.Conversation) (string, error) {
	m, _, err := a.models.Resolve(name)
	if err != nil {
		return "", err
	}
	if len(c.Tools) > 0 {
		if _, known := m.Template.CallForm(); !known {
			return "", fault.New(fault.Invalid, "the chat template of %q knows no tools", name).WithCode("unsupported_parameter").WithParam("tools")
		}
	}
	text, err := m.Template.Render(c, true)
	if err != nil {
		return "", err
	}
	return text, ctx.Err()
}

// Logprob is a token and the natural logarithm of its probability. Text may hold
// half a rune, as U+FFFD; Bytes are the token's own.
type Logprob struct {
	ID      int32
	Text    string
	Bytes   []byte
	Logprob float64
	Top     []Logprob // likeliest first
}

// unlikely stands for the logarithm of 0, which JSON has no number for.
const unlikely = -9999

// scored is a drawn token as it is told.
func scored(m *model.Model, t engine.Token) Logprob {
	l := logprob(m, t.ID, t.Logprob)
	l.Top = make([]Logprob, len(t.Top))
	for i, other := range t.Top {
		l.Top[i] = logprob(m, other.ID, other.Logprob)
	}
	return l
}

func logprob(m *model.Model, id int32, p float32) Logprob {
	l := Logprob{ID: id, Text: piece(m, id), Bytes: m.Tokens.Bytes(id), Logprob: float64(p)}
	if math.IsInf(l.Logprob, 0) || math.IsNaN(l.Logprob) {
		l.Logprob = unlikely
	}
	return l
}

// piece is the text of one token: its bytes, or the name of a control token.
func piece(m *model.Model, id int32) string {
	if b := m.Tokens.Bytes(id); len(b) > 0 && !m.Tokens.Control(id) {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return m.Tokens.Text(id)
}
