package engine

import (
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"afina/internal/fault"
	"afina/internal/forward"
	"afina/internal/sampling"
)

// drawAll draws the next tokens of all requests, on the cores.
func (e *Engine) drawAll(logits [][]float32, numeric *forward.NumericError) {
	e.asking = e.asking[:0]
	at := 0
	for i := range e.slots {
		if s := &e.slots[i]; s.asks > 0 {
			s.logits = logits[at : at+s.asks]
			at += s.asks
			e.asking = append(e.asking, i)
		}
	}
	e.pass.Each(len(e.asking), func(k int) {
		s := &e.slots[e.asking[k]]
		s.req.write(s.logits, s.first+s.rows-s.asks, numeric)
	})
}

// write draws tokens from rows of logits, the first of which is row first of the
// pass, as long as they are the ones that were tried.
func (q *request) write(logits [][]float32, first int, numeric *forward.NumericError) {
	defer func() {
		if p := recover(); p != nil {
			q.failed = fmt.Errorf("drawing a token panicked: %v\n%s", p, debug.Stack())
		}
	}()
	q.fresh, q.failed = q.fresh[:0], nil
	for i, row := range logits {
		if numeric != nil && slices.Contains(numeric.Rows, first+i) {
			q.failed = numeric
			return
		}
		t, err := q.choose(row)
		if err != nil {
			q.failed = err
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
		q.fresh = append(q.fresh, t)
		if t.Reason != "" || i < len(q.lookup.tried) && t.ID != q.lookup.tried[i] {
			return
		}
	}
}

// deliver hands over what slot i drew, and returns how many tokens that were.
func (e *Engine) deliver(i int) int {
	s := &e.slots[i]
	if s.asks == 0 {
		return 0
	}
	s.logits = nil
	q := s.req
	for _, t := range q.fresh {
		q.out.put(t)
	}
	n := len(q.fresh)
	if q.failed != nil {
		e.fail(i, q.failed)
		return n
	}
	if len(q.lookup.tried) > 0 {
		q.lookup.learn(n - 1)
		q.lookup.tried = q.lookup.tried[:0]
	}
	// Of the tokens that were tried some were wrong: their keys and values go.
	e.pass.Reset(i, len(q.tokens)-1)
	if q.fresh[n-1].Reason != "" {
		e.free(i)
	}
	return n
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
