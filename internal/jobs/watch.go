package jobs

import (
	"context"
	"sync"
)

// watchBuffer is how many events a slow watcher may be behind.
const watchBuffer = 64

// hub hands events to watchers. It never waits for one.
type hub struct {
	mu    sync.Mutex
	all   map[string]map[chan Event]bool // by job
	ended bool
}

// Watch tells of the job as it stands, then of every event until ctx ends, the
// job does, or the queue stops working; then the channel is closed. A slow
// reader misses points, never the final state.
func (q *Queue) Watch(ctx context.Context, id string) (<-chan Event, error) {
	h := &q.watch
	h.mu.Lock() // no event falls between the look and the watch
	defer h.mu.Unlock()
	job, err := q.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	c := make(chan Event, watchBuffer)
	c <- Event{Job: job}
	if job.Status.Over() || h.ended {
		close(c)
		return c, nil
	}
	if h.all == nil {
		h.all = map[string]map[chan Event]bool{}
	}
	if h.all[id] == nil {
		h.all[id] = map[chan Event]bool{}
	}
	h.all[id][c] = true
	context.AfterFunc(ctx, func() { h.leave(id, c) })
	return c, nil
}

// leave ends one watch, unless it has ended.
func (h *hub) leave(id string, c chan Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.all[id][c] {
		return
	}
	delete(h.all[id], c)
	if len(h.all[id]) == 0 {
		delete(h.all, id)
	}
	close(c)
}

// tell hands an event to whom it concerns.
func (q *Queue) tell(e Event) {
	if q.Observe != nil {
		q.Observe(e)
	}
	h := &q.watch
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.all[e.Job.ID] {
		push(c, e)
		if e.Job.Status.Over() {
			close(c)
		}
	}
	if e.Job.Status.Over() {
		delete(h.all, e.Job.ID)
	}
}

// push puts e into c, in place of the oldest event when c is full. Only the
// holder of the hub's lock sends, so this ends.
func push(c chan Event, e Event) {
	for {
		select {
		case c <- e:
			return
		default:
		}
		select {
		case <-c:
		default:
		}
	}
}

// end ends every watch.
func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for _, watchers := range h.all {
		for c := range watchers {
			close(c)
		}
	}
	h.all = nil
}
