package train

import (
	"context"
	"encoding/json"
)

// Marks are what the answers of the adapter are worth at one step.
type Marks struct {
	Score  float64         // the share of right answers: more is better
	Report json.RawMessage // the whole, opaque here
}

// Marker lets the adapter answer, as it is, and marks the answers. The loop stands
// still meanwhile.
type Marker func(ctx context.Context) (Marks, error)

// mark adds the marks to the event of the step, if they were asked for.
func (l *loop) mark(ctx context.Context) error {
	if l.o.Marks == nil {
		return nil
	}
	m, err := l.o.Marks(ctx)
	if err != nil {
		return err
	}
	l.state.Event.Score, l.state.Event.Marks = &m.Score, m.Report
	return nil
}

// better reports whether the step just evaluated is the best so far: by its
// held-out loss, or by its score, and then, if that is equal, by its loss.
func (l *loop) better(eval float64) bool {
	s := &l.state
	if s.BestEval == nil {
		return true
	}
	if score := s.Event.Score; l.o.ByMarks && score != nil && s.BestScore != nil && *score != *s.BestScore {
		return *score > *s.BestScore
	}
	return eval < *s.BestEval
}
