package engine

import (
	"fmt"
	"math"
	"slices"
	"time"

	"afina/internal/fault"
	"afina/internal/sampling"
)

// draw chooses the next token of slot i and hands it over.
func (e *Engine) draw(i int, logits []float32) {
	q := e.slots[i].req
	t, err := q.choose(logits)
	if err != nil {
		e.fail(i, err)
		return
	}
	q.tokens = append(q.tokens, t.ID)
	switch {
	case slices.Contains(q.ends, t.ID):
		t.Reason = Stop
	case q.drawn() >= q.limit:
		t.Reason = Length
	}
	if q.drawn() == 1 {
		t.Cached = q.cached
	}
	q.out.put(t)
	if t.Reason != "" {
		e.free(i)
	}
}

// choose draws a token from logits, which it overwrites.
func (q *request) choose(logits []float32) (Token, error) {
	for _, id := range q.never {
		logits[id] = float32(math.Inf(-1))
	}
	var scores sampling.Scores
	if q.logprobs {
		scores = sampling.Score(logits, q.top)
	}
	if err := q.restrict(logits); err != nil {
		return Token{}, err
	}
	id, err := q.sampler.Next(logits, q.tokens)
	if err != nil {
		return Token{}, fmt.Errorf("draw a token: %w", err)
	}
	if q.constraint != nil {
		if err := q.constraint.Accept(id); err != nil {
			return Token{}, fmt.Errorf("the constraint refused token %d: %w", id, err)
		}
	}
	t := Token{ID: id, At: time.Now()}
	if q.logprobs {
		t.Logprob, t.Top = scores.Of(id), scores.Top
	}
	return t, nil
}

// restrict rules out what the constraint does not allow.
func (q *request) restrict(logits []float32) error {
	if q.constraint == nil {
		return nil
	}
	words := (len(logits) + 63) / 64
	if q.allowed == nil {
		q.allowed = make([]uint64, words)
	}
	clear(q.allowed)
	if !q.constraint.Mask(q.allowed) {
		return nil
	}
	some := false
	for w, bits := range q.allowed {
		part := logits[w*64 : min(w*64+64, len(logits))]
		switch bits {
		case 0:
			for i := range part {
				part[i] = float32(math.Inf(-1))
			}
			continue
		case math.MaxUint64:
			some = true
			continue
		}
		for i := range part {
			if bits>>i&1 == 0 {
				part[i] = float32(math.Inf(-1))
			} else {
				some = true
			}
		}
	}
	if !some {
		return fault.New(fault.Internal, "the constraint allows no token").WithCode("constraint_stuck")
	}
	return nil
}
