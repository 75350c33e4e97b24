package openai

import (
	"context"
	"iter"
	"strings"

	"afina/internal/assistant"
	"afina/internal/lint"
	"afina/internal/mathcheck"
	"afina/internal/request"
)

// Meters count; *metrics.Meters are such.
type Meters interface {
	Verdicts(model string, c lint.Counts)
}

// mathObject is what is known of the mathematics of an answer.
type mathObject struct {
	lint.Counts
	Verdicts []mathcheck.Finding `json:"verdicts"` // in the order of their spans
	Verify   *verifyObject       `json:"verify,omitempty"`
}

// verifyObject says which of several candidates the answer is.
type verifyObject struct {
	Candidates int  `json:"candidates"`
	Chosen     int  `json:"chosen"` // from 0
	Passed     bool `json:"passed"` // nothing in it is wrong
}

// checker is an assistant whose answers are checked. The zero check passes the
// answer on as it is.
type checker struct {
	Assistant
	meters Meters
	asked  bool // for a check
	verify int  // candidates
	found  *mathObject
}

// mathematics is the assistant that answers as the request's math_check and
// math_verify ask.
func (s *Server) mathematics(q *request.Chat) *checker {
	return &checker{Assistant: s.Assistant, meters: s.Meters, asked: q.Checked(), verify: q.Candidates()}
}

// Ask answers, and has found what there is to find when the last delta comes.
// With verification the answer comes in one piece.
func (c *checker) Ask(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
	switch {
	case !c.asked:
		return c.Assistant.Ask(ctx, q)
	case c.verify > 1:
		return c.best(ctx, q)
	}
	return func(yield func(assistant.Delta, error) bool) {
		var text strings.Builder
		for d, err := range c.Assistant.Ask(ctx, q) {
			text.WriteString(d.Text)
			if err == nil && d.Reason != "" {
				c.note(q.Model, assistant.Claims(q.Conversation, text.String()))
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// best yields the best of several candidates.
func (c *checker) best(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		v, err := assistant.Verify(ctx, c.Assistant, q, c.verify)
		if err != nil {
			yield(assistant.Delta{}, err)
			return
		}
		c.note(q.Model, v.Findings)
		c.found.Verify = &verifyObject{Candidates: v.Asked, Chosen: v.Index, Passed: v.Passed}
		yield(assistant.Delta{Text: v.Text, Usage: v.Spent, Reason: v.Reason}, nil)
	}
}

// note keeps what was found and counts it.
func (c *checker) note(model string, findings []mathcheck.Finding) {
	c.found = &mathObject{Counts: lint.Counts{Answers: 1}, Verdicts: append([]mathcheck.Finding{}, findings...)}
	for _, f := range findings {
		c.found.Add(f)
	}
	c.meters.Verdicts(model, c.found.Counts)
}
