package engine

import (
	"slices"

	"afina/internal/forward"
)

// plan chooses the rows of the next pass: the token of every answer being
// written, then shares of the prompts being read.
func (e *Engine) plan() Event {
	var event Event
	e.rows, e.queue = e.rows[:0], e.queue[:0]
	for i := range e.slots {
		s := &e.slots[i]
		s.rows = 0
		switch {
		case s.req == nil:
		case s.req.drawn() > 0:
			event.Generated++
			s.rows = 1
		default:
			e.queue = append(e.queue, i)
		}
	}
	event.Prompt = e.share(e.budget(event.Generated))
	for i := range e.slots {
		e.lay(i)
	}
	return event
}

// budget is how many prompt tokens a pass may read. Who waits for the next word
// of an answer should not wait for a whole chunk of somebody's prompt.
func (e *Engine) budget(writing int) int {
	if writing > 0 {
		return max(1, e.opts.Chunk/4)
	}
	return e.opts.Chunk
}

// share deals the budget evenly to the prompts; what a short one does not need
// goes to the longer ones. It returns how much was dealt.
func (e *Engine) share(budget int) (dealt int) {
	slices.SortStableFunc(e.queue, func(a, b int) int { return e.slots[a].pending() - e.slots[b].pending() })
	for k, i := range e.queue {
		s := &e.slots[i]
		left := len(e.queue) - k
		s.rows = min(s.pending(), (budget-dealt+left-1)/left)
		dealt += s.rows
	}
	return dealt
}

// lay appends the rows of slot i.
func (e *Engine) lay(i int) {
	s := &e.slots[i]
	s.first = len(e.rows)
	s.asks = s.rows > 0 && s.rows == s.pending()
	for k := range s.rows {
		pos := len(s.held) + k
		e.rows = append(e.rows, forward.Row{
			Token: s.req.tokens[pos], Slot: i, Pos: pos, Adapter: s.req.adapter,
			Logits: s.asks && k == s.rows-1,
		})
	}
}
