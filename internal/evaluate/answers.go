package evaluate

import (
	"context"
	"strings"
	"sync"
	"time"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/lint"
	"afina/internal/mathcheck"
	"afina/internal/sampling"
)

// Grade is what an answer is worth beside the reference.
type Grade string

// The grades.
const (
	Right     Grade = "right"
	Wrong     Grade = "wrong"
	Undecided Grade = "undecided" // neither proven equal nor different
	Ungraded  Grade = "ungraded"  // the reference comes to no formula
)

// Question is one held-out question and the answer that followed in the dataset.
type Question struct {
	Conversation chat.Conversation // up to the question
	Text         string
	Reference    string
}

// Answer is one answer and what is known of it.
type Answer struct {
	Text    string      `json:"text"`
	Final   string      `json:"final"` // what it comes to; "" when no formula was found
	Grade   Grade       `json:"grade"`
	Empty   bool        `json:"empty"`
	Refusal bool        `json:"refusal"`
	Claims  lint.Counts `json:"claims"`
	// Candidate is which of several was chosen, from 0.
	Candidate int `json:"candidate"`
}

// Asking says how to answer.
type Asking struct {
	Model  string
	Tokens int // of an answer
	Verify int // candidates per question, the best of which counts; below 2: one answer, drawn greedily
	Seed   int64
}

// Questions are the last questions of the conversations at index, at most n of
// them; n < 0: all. Conversations without question or answer are passed over.
func Questions(all []chat.Conversation, index []int, n int) []Question {
	var found []Question
	for _, i := range index {
		if n >= 0 && len(found) == n {
			break
		}
		if q, ok := question(all[i]); ok {
			found = append(found, q)
		}
	}
	return found
}

// question is c up to its last user turn, and the answer that followed.
func question(c chat.Conversation) (q Question, ok bool) {
	end := len(c.Messages)
	for end > 0 && c.Messages[end-1].Role != chat.User {
		end--
		if m := c.Messages[end]; m.Role == chat.Assistant {
			q.Reference = m.Content
		}
	}
	if end == 0 || q.Reference == "" {
		return q, false
	}
	q.Text = c.Messages[end-1].Content
	q.Conversation = chat.Conversation{Messages: c.Messages[:end]}
	return q, true
}

// asked is how many answers are written at once: the engine computes them in one
// batch.
const asked = 16

// Answers answers every question and grades the answers, in the order of the
// questions. did is told of each and may be nil. Equal arguments give equal
// answers.
func Answers(ctx context.Context, a assistant.Asker, qs []Question, o Asking, did func()) ([]Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make([]Answer, len(qs))
	slots := make(chan struct{}, max(1, asked/max(o.Verify, 1)))
	var work sync.WaitGroup
	var telling sync.Mutex
	for i, q := range qs {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		work.Go(func() {
			defer func() { <-slots }()
			answer, err := o.ask(ctx, a, q)
			if err != nil {
				cancel(err)
				return
			}
			answers[i] = answer
			telling.Lock()
			defer telling.Unlock()
			if did != nil {
				did()
			}
		})
	}
	work.Wait()
	return answers, context.Cause(ctx)
}

// busyPause is how long an answer waits when the engine takes no more.
const busyPause = 500 * time.Millisecond

// ask answers one question. While others fill the engine's queue it waits.
func (o Asking) ask(ctx context.Context, a assistant.Asker, q Question) (Answer, error) {
	for {
		answer, err := o.once(ctx, a, q)
		if fault.KindOf(err) != fault.Busy {
			return answer, err
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		}
	}
}

func (o Asking) once(ctx context.Context, a assistant.Asker, q Question) (Answer, error) {
	ask := assistant.Question{
		Model: o.Model, Conversation: q.Conversation, Limit: o.Tokens,
		Sampling: sampling.Options{Seed: uint64(o.Seed), TopP: 1},
	}
	if o.Verify > 1 {
		v, err := assistant.Verify(ctx, a, ask, o.Verify)
		if err != nil {
			return Answer{}, err
		}
		return grade(q, v.Candidate, v.Index), nil
	}
	c, err := assistant.Whole(ctx, a, ask)
	if err != nil {
		return Answer{}, err
	}
	c.Findings = assistant.Claims(q.Conversation, c.Text)
	return grade(q, c, 0), nil
}

// grade marks one answer.
func grade(q Question, c assistant.Candidate, candidate int) Answer {
	a := Answer{
		Text: c.Text, Final: final(c.Text), Grade: Ungraded, Candidate: candidate,
		Empty: strings.TrimSpace(c.Text) == "", Refusal: refuses(c.Text), Claims: lint.Counts{Answers: 1},
	}
	for _, f := range c.Findings {
		a.Claims.Add(f)
	}
	if want := final(q.Reference); want != "" {
		switch same(a.Final, want, q.Text) {
		case mathcheck.True:
			a.Grade = Right
		case mathcheck.False:
			a.Grade = Wrong
		default:
			a.Grade = Undecided
		}
	}
	return a
}
