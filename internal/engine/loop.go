package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"afina/internal/forward"
)

// slot is a place in the pass, and who has it.
type slot struct {
	req   *request // nil: free, and the pass holds nothing for it
	since int      // the turn in which it was admitted

	// Another slot is computing a beginning that this one shares: it waits until
	// shared positions are there.
	after  *request
	shared int

	logits            [][]float32
	first, rows, asks int // its rows in the running pass; how many of the last ask for logits
}

// Run owns the pass and loops until ctx ends: admit, run, sample, deliver. Then
// it refuses who waits, finishes the answers begun and returns.
func (e *Engine) Run(ctx context.Context) error {
	defer e.tree.clearAll()
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
			e.rest()
			select {
			case <-ctx.Done():
			case <-e.wake:
			}
			continue
		}
		e.step()
	}
}

// close refuses every request from now on, and those that wait and have not begun.
func (e *Engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	for _, q := range e.queue.clear() {
		if q.admitted { // it was put back, and its answer has begun
			e.queue.push(q, false)
			continue
		}
		q.out.fail(shuttingDown())
	}
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

// free takes the request out of slot i; what was computed is remembered for one
// that begins alike.
func (e *Engine) free(i int) {
	e.leaveSlot(i, true)
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := time.Now(); !e.lastEnd.IsZero() {
		e.between += (min(now.Sub(e.lastEnd), time.Minute).Seconds() - e.between) * 0.1
		e.lastEnd = now
	} else {
		e.lastEnd = now
	}
}

// leaveSlot empties slot i, remembering what it holds if it is worth it.
func (e *Engine) leaveSlot(i int, remember bool) {
	s := &e.slots[i]
	q := s.req
	if n := e.pass.Len(i); remember {
		e.tree.insert(q.adapter, q.tokens[:n], e.pass.Pages(i))
	}
	e.pass.Reset(i, 0)
	*s = slot{}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
	e.queue.ended(q.client)
}

// step runs one pass and hands over what it drew.
func (e *Engine) step() {
	start := time.Now()
	e.turn++
	event := e.plan()
	if len(e.rows) == 0 {
		return
	}
	logits, err := e.run()
	clear(e.rows) // lets go of the adapters
	var numeric *forward.NumericError
	if err != nil && !errors.As(err, &numeric) {
		e.abandon(err)
		return
	}
	e.drawAll(logits, numeric)
	for i := range e.slots {
		if e.slots[i].rows > 0 {
			event.Generated += e.deliver(i)
		}
	}
	if event.Prompt == 0 {
		e.cost.add(len(e.rows), time.Since(start).Seconds())
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

// fail ends the request of slot i and forgets what was computed for it.
func (e *Engine) fail(i int, err error) {
	e.slots[i].req.out.fail(fmt.Errorf("generate: %w", err))
	e.leaveSlot(i, false)
}

// rest tells, once, that nobody runs: who left after the last pass would else be
// counted until the next.
func (e *Engine) rest() {
	if !e.idle {
		e.tell(Event{}, time.Now())
		e.idle = true
	}
}

func (e *Engine) tell(event Event, start time.Time) {
	e.idle = false
	if e.Observe == nil {
		return
	}
	e.mu.Lock()
	event.Running, event.Waiting = e.running, e.queue.length
	e.mu.Unlock()
	event.Bytes = e.pass.Bytes()
	event.Remembered = e.tree.order.Len()
	event.Held = e.pass.Used() - event.Remembered
	event.Seconds = time.Since(start).Seconds()
	e.Observe(event)
}
