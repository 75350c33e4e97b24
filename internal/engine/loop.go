package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"afina/internal/forward"
	"afina/internal/lora"
)

// slot is a place in the cache, and who has it.
type slot struct {
	req     *request      // nil: free
	held    []int32       // tokens whose keys and values the cache holds
	adapter *lora.Adapter // the one they were computed with
	used    int           // the turn in which it was last run

	first, rows int // its rows in the running pass
	asks        bool
}

// pending is how many tokens of the slot's request have still to be run.
func (s *slot) pending() int { return len(s.req.tokens) - len(s.held) }

// Run owns the pass and loops until ctx ends: admit, run, sample, deliver. Then
// it refuses who waits, finishes the answers begun and returns.
func (e *Engine) Run(ctx context.Context) error {
	defer e.close()
	for {
		if ctx.Err() != nil {
			e.close()
		}
		e.release()
		e.admit()
		if !e.busy() {
			if ctx.Err() != nil {
				return nil
			}
			select {
			case <-ctx.Done():
			case <-e.wake:
			}
			continue
		}
		e.step()
	}
}

// close refuses every request from now on, and those that wait.
func (e *Engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for _, q := range e.waiting {
		q.out.fail(shuttingDown())
	}
	e.waiting = nil
}

func (e *Engine) busy() bool {
	return slices.ContainsFunc(e.slots, func(s slot) bool { return s.req != nil })
}

// release frees the slots of requests that nobody reads any more.
func (e *Engine) release() {
	for i := range e.slots {
		if q := e.slots[i].req; q != nil && q.over() {
			e.free(i)
		}
	}
}

// free takes the request out of slot i; what the cache holds stays, for a
// request that begins alike.
func (e *Engine) free(i int) {
	e.slots[i].req = nil
	e.mu.Lock()
	e.running--
	e.mu.Unlock()
}

// admit gives free slots to those who wait, oldest first.
func (e *Engine) admit() {
	for {
		i := e.spare()
		if i < 0 {
			return
		}
		e.mu.Lock()
		if len(e.waiting) == 0 {
			e.mu.Unlock()
			return
		}
		q := e.waiting[0]
		e.waiting = slices.Delete(e.waiting, 0, 1)
		e.running++
		e.mu.Unlock()
		e.settle(q, i)
	}
}

// spare is the free slot that was left the longest ago, or -1.
func (e *Engine) spare() int {
	best := -1
	for i, s := range e.slots {
		if s.req == nil && (best < 0 || s.used < e.slots[best].used) {
			best = i
		}
	}
	return best
}

// settle gives q a slot: the one whose cache begins as its prompt does, if that
// one is free and would lose little, else spare with a copy of that beginning.
func (e *Engine) settle(q *request, spare int) {
	source, keep := spare, 0
	for i := range e.slots {
		if s := &e.slots[i]; s.adapter == q.adapter {
			// The last token of the prompt is run in any case, for its logits.
			if n := min(common(s.held, q.tokens), q.prompt-1); n > keep {
				source, keep = i, n
			}
		}
	}
	target := spare
	if s := &e.slots[source]; s.req == nil && 2*keep >= len(s.held) {
		target = source
	}
	e.pass.Copy(target, source, keep)
	s := &e.slots[target]
	s.req, s.adapter, s.used = q, q.adapter, e.turn
	q.cached = keep
	s.held = append(s.held[:0], q.tokens[:keep]...)
}

// common is the length of the longest beginning that a and b share.
func common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// step runs one pass and hands over what it drew.
func (e *Engine) step() {
	start := time.Now()
	e.turn++
	event := e.plan()
	logits, err := e.run()
	var numeric *forward.NumericError
	if err != nil && !errors.As(err, &numeric) {
		e.abandon(err)
		return
	}
	for i := range e.slots {
		s := &e.slots[i]
		if s.rows == 0 {
			continue
		}
		n := len(s.held)
		s.held = append(s.held, s.req.tokens[n:n+s.rows]...)
		s.used = e.turn
		if !s.asks {
			continue
		}
		row := logits[0]
		logits = logits[1:]
		if numeric != nil && slices.Contains(numeric.Rows, s.first+s.rows-1) {
			e.fail(i, numeric)
			continue
		}
		e.draw(i, row)
	}
	e.tell(event, start)
}

// run is the pass, with a panic in it turned into an error: one broken request
// must not end the others' server.
func (e *Engine) run() (logits [][]float32, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the pass panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return e.pass.Run(e.rows)
}

// abandon ends every request of a pass that failed as a whole.
func (e *Engine) abandon(err error) {
	for i := range e.slots {
		if e.slots[i].rows > 0 {
			e.fail(i, err)
		}
	}
}

// fail ends the request of slot i and forgets what its cache holds.
func (e *Engine) fail(i int, err error) {
	s := &e.slots[i]
	s.req.out.fail(fmt.Errorf("generate: %w", err))
	s.held = s.held[:0]
	e.pass.Reset(i, 0)
	e.free(i)
}

func (e *Engine) tell(event Event, start time.Time) {
	if e.Observe == nil {
		return
	}
	e.mu.Lock()
	event.Running, event.Waiting = e.running, len(e.waiting)
	e.mu.Unlock()
	event.Seconds = time.Since(start).Seconds()
	e.Observe(event)
}
