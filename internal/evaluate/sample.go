package evaluate

import (
	"context"
	"strings"

	"afina/internal/assistant"
	"afina/internal/chat"
)

// defaultTokens is how long a sample answer may be when Spec does not say.
const defaultTokens = 256

// sample asks the last question of c, with all that came before it.
func (e *Evaluator) sample(ctx context.Context, s Spec, base string, tuned bool, c chat.Conversation) (Sample, error) {
	asked, out := question(c)
	var err error
	if out.Base, err = e.ask(ctx, s, base, asked); err != nil {
		return Sample{}, err
	}
	if tuned {
		if out.Tuned, err = e.ask(ctx, s, s.Model, asked); err != nil {
			return Sample{}, err
		}
	}
	return out, nil
}

// question is c up to its last user turn, and the answer that followed.
func question(c chat.Conversation) (chat.Conversation, Sample) {
	var s Sample
	end := len(c.Messages)
	for end > 0 && c.Messages[end-1].Role != chat.User {
		end--
		if m := c.Messages[end]; m.Role == chat.Assistant {
			s.Reference = m.Content
		}
	}
	if end > 0 {
		s.Question = c.Messages[end-1].Content
	}
	return chat.Conversation{Messages: c.Messages[:end]}, s
}

// ask returns the whole answer, drawn greedily.
func (e *Evaluator) ask(ctx context.Context, s Spec, model string, c chat.Conversation) (string, error) {
	limit := s.MaxTokens
	if limit == 0 {
		limit = defaultTokens
	}
	var text strings.Builder
	for delta, err := range e.Assistant.Ask(ctx, assistant.Question{Model: model, Conversation: c, Limit: limit}) {
		if err != nil {
			return "", err
		}
		text.WriteString(delta.Text)
	}
	return text.String(), nil
}
