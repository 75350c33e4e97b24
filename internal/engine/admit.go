package engine

import (
	"slices"

	"afina/internal/forward"
)

// admit gives free slots, and memory, to those who wait.
func (e *Engine) admit() {
	var turn *client // for whom another's request has just given way
	for {
		e.mu.Lock()
		c := turn
		// By order it could be the turn of who gave way, again and again.
		if turn = nil; c == nil || len(c.waiting) == 0 {
			c = e.queue.next()
		}
		if c == nil {
			e.mu.Unlock()
			return
		}
		i := slices.IndexFunc(e.slots, func(s slot) bool { return s.req == nil })
		if i < 0 {
			greedy := e.queue.greediest()
			share := greedy != c && greedy.running > c.running+1
			e.mu.Unlock()
			if !share {
				return
			}
			e.giveWay(e.youngest(greedy.name))
			turn = c
			continue
		}
		if !e.fits(c.waiting[0]) {
			e.mu.Unlock()
			return
		}
		q := e.queue.pop(c)
		e.running++
		e.mu.Unlock()
		if q.over() {
			e.slots[i].req = q
			e.free(i)
			continue
		}
		e.settle(q, i)
	}
}

// youngest is the slot that was admitted last, of a client's or of all ("*").
func (e *Engine) youngest(name string) int {
	best := -1
	for i, s := range e.slots {
		if s.req == nil || name != anyone && s.req.client != name {
			continue
		}
		if best < 0 || s.since > e.slots[best].since || s.since == e.slots[best].since && s.req.number > e.slots[best].req.number {
			best = i
		}
	}
	return best
}

// anyone stands for all clients where a name is asked for.
const anyone = "\x00"

// giveWay puts the request of slot i back to the front of its line. What was
// computed for it is remembered, and its answer goes on where it was.
func (e *Engine) giveWay(i int) {
	q := e.slots[i].req
	e.mu.Lock()
	e.queue.push(q, true)
	e.mu.Unlock()
	e.leaveSlot(i, true)
}

// fits reports whether there is memory for q beside those who run. Who is alone
// always fits.
func (e *Engine) fits(q *request) bool {
	pages, alone := pagesFor(len(q.tokens)+1), true
	for i := range e.slots {
		if r := e.slots[i].req; r != nil {
			pages, alone = pages+max(pagesFor(len(r.tokens)+1), len(e.pass.Pages(i))), false
		}
	}
	return alone || pages <= e.pages
}

func pagesFor(n int) int { return (n + forward.PageTokens - 1) / forward.PageTokens }

// settle gives q slot i, with the longest beginning of it that is computed
// already, by one who is there or was.
func (e *Engine) settle(q *request, i int) {
	s := &e.slots[i]
	*s = slot{req: q, since: e.turn}
	// The last token is run in any case, for its logits.
	most := len(q.tokens) - 1
	pages, keep := e.tree.find(q.adapter, q.tokens[:most])
	coming := 0
	for j := range e.slots {
		o := &e.slots[j]
		if j == i || o.req == nil || o.req.adapter != q.adapter {
			continue
		}
		same := common(o.req.tokens, q.tokens[:most])
		if n := min(same, e.pass.Len(j)); n > keep {
			pages, keep = e.pass.Pages(j), n
		}
		if o.after == nil && same > coming {
			coming, s.after = same, o.req
		}
	}
	e.pass.Begin(i, pages, keep)
	if s.shared = coming; coming < keep+forward.PageTokens {
		s.after, s.shared = nil, 0
	}
	e.cachedFirst(q, keep)
}

// cachedFirst notes how much of the prompt was there when the request began.
func (e *Engine) cachedFirst(q *request, keep int) {
	if !q.admitted {
		q.admitted, q.cached = true, keep
	}
}

// follow takes over what the slot that i waits for has computed, and reports
// whether i still has to wait.
func (e *Engine) follow(i int) bool {
	s := &e.slots[i]
	if s.after == nil {
		return false
	}
	j := slices.IndexFunc(e.slots, func(o slot) bool { return o.req == s.after })
	if j >= 0 {
		if e.pass.Len(j) < s.shared {
			return true
		}
		if e.pass.Len(i) < s.shared {
			e.pass.Begin(i, e.pass.Pages(j), s.shared)
			if s.req.drawn() == 0 {
				s.req.cached = s.shared
			}
		}
	} else if pages, n := e.tree.find(s.req.adapter, s.req.tokens[:len(s.req.tokens)-1]); n > e.pass.Len(i) {
		e.pass.Begin(i, pages, n)
		if s.req.drawn() == 0 {
			s.req.cached = n
		}
	}
	s.after, s.shared = nil, 0
	return false
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
