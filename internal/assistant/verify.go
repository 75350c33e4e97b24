package assistant

import (
	"context"
	"iter"
	"strings"

	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/mathcheck"
)

// Asker answers questions; *Assistant does.
type Asker interface {
	Ask(ctx context.Context, q Question) iter.Seq2[Delta, error]
}

// Candidate is a whole answer and what is known of its mathematics.
type Candidate struct {
	Text     string
	Usage    Usage
	Reason   engine.Reason
	Findings []mathcheck.Finding
}

// wrong is how many claims are false or cannot be read.
func (c Candidate) wrong() (n int) {
	for _, f := range c.Findings {
		if f.Verdict == mathcheck.False || f.Kind == mathcheck.Malformed {
			n++
		}
	}
	return n
}

// proven is how many claims are true.
func (c Candidate) proven() (n int) {
	for _, f := range c.Findings {
		if f.Verdict == mathcheck.True {
			n++
		}
	}
	return n
}

// Verified is the candidate that was chosen.
type Verified struct {
	Candidate
	Index  int   // of the chosen one, from 0
	Asked  int   // candidates that were begun
	Passed bool  // nothing in it is wrong
	Spent  Usage // the prompt, and the tokens of all candidates that were waited for
}

// verifyTemperature is the least randomness of all candidates but the first:
// greedy ones would all be the same.
const verifyTemperature = 0.7

// Whole asks and waits for the whole answer.
func Whole(ctx context.Context, a Asker, q Question) (Candidate, error) {
	var text strings.Builder
	var c Candidate
	for delta, err := range a.Ask(ctx, q) {
		if err != nil {
			return c, err
		}
		text.WriteString(delta.Text)
		c.Usage, c.Reason = delta.Usage, delta.Reason
	}
	c.Text = text.String()
	if c.Reason == "" {
		return c, errUnfinished
	}
	return c, nil
}

var errUnfinished = fault.New(fault.Internal, "the answer ended without a reason")

// Claims are the claims of an answer to the conversation.
func Claims(c chat.Conversation, answer string) []mathcheck.Finding {
	question := ""
	for _, m := range c.Messages {
		if m.Role == chat.User {
			question = m.Content
		}
	}
	return mathcheck.Check(answer, mathcheck.Options{Question: question})
}

// Verify asks k times at once, which the engine computes in one batch, and
// returns the first answer in whose mathematics nothing is wrong; when there is
// none, the one with the fewest wrong claims, then the most true ones. The first
// candidate is that of Ask; the others have other seeds. Equal questions give
// equal results.
func Verify(ctx context.Context, a Asker, q Question, k int) (Verified, error) {
	ctx, cancel := context.WithCancel(ctx)
	type ended struct {
		candidate Candidate
		err       error
	}
	all := make([]chan ended, k)
	for i := range all {
		all[i] = make(chan ended, 1)
		go func() {
			c, err := Whole(ctx, a, q.variant(i))
			if err == nil {
				c.Findings = Claims(q.Conversation, c.Text)
			}
			all[i] <- ended{c, err}
		}()
	}
	read := 0
	defer func() {
		cancel()
		for _, c := range all[read:] { // nobody is left behind
			<-c
		}
	}()
	best := Verified{Index: -1, Asked: k}
	var spent Usage
	for i, c := range all {
		e := <-c
		read++
		if e.err != nil {
			return Verified{}, e.err
		}
		spent.Prompt, spent.Completion = e.candidate.Usage.Prompt, spent.Completion+e.candidate.Usage.Completion
		if best.Index < 0 || e.candidate.better(best.Candidate) {
			best.Candidate, best.Index = e.candidate, i
		}
		if best.wrong() == 0 {
			best.Passed = true
			break
		}
	}
	best.Spent = spent
	return best, nil
}

// better reports whether c is to be preferred to an earlier candidate.
func (c Candidate) better(earlier Candidate) bool {
	if a, b := c.wrong(), earlier.wrong(); a != b {
		return a < b
	}
	return c.proven() > earlier.proven()
}

// variant is the question of the i-th candidate.
func (q Question) variant(i int) Question {
	if i > 0 {
		q.Sampling.Seed += uint64(i) * 0x9e3779b97f4a7c15
		q.Sampling.Temperature = max(q.Sampling.Temperature, verifyTemperature)
	}
	return q
}
