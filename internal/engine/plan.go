package engine

import (
	"cmp"
	"slices"

	"afina/internal/forward"
)

// plan chooses the rows of the next pass: the tokens of every answer being
// written, then shares of the prompts being read.
func (e *Engine) plan() Event {
	var event Event
	e.rows, e.reading = e.rows[:0], e.reading[:0]
	writing := 0
	for i := range e.slots {
		s := &e.slots[i]
		s.rows, s.asks = 0, 0
		switch {
		case s.req == nil || e.follow(i):
		case s.req.drawn() > 0 && e.pending(i) == 1:
			writing++
			s.rows, s.asks = 1, 1
		default:
			e.reading = append(e.reading, i)
		}
	}
	e.guess(writing)
	event.Prompt = e.share(e.budget(writing))
	e.makeRoom(&event)
	e.count()
	for i := range e.slots {
		e.lay(i)
	}
	return event
}

// pending is how many tokens of the request of slot i have still to be run.
func (e *Engine) pending(i int) int { return len(e.slots[i].req.tokens) - e.pass.Len(i) }

// guess adds rows to answers whose next tokens may be known, when that pays.
func (e *Engine) guess(writing int) {
	rows := writing
	for i := range e.slots {
		s := &e.slots[i]
		if s.rows == 0 {
			continue
		}
		q := s.req
		q.lookup.tried = q.lookup.tried[:0]
		trust := q.lookup.trust
		if q.lookup.after == nil {
			trust = startTrust
		}
		room := min(e.opts.Lookup, q.limit-q.drawn()-1, e.opts.Context-len(q.tokens))
		n := e.cost.worth(trust, rows, writing, room)
		if n < 1 || len(e.reading) > 0 {
			q.lookup.rest()
			continue
		}
		q.lookup.find(q.tokens, n)
		s.rows += len(q.lookup.tried)
		s.asks = s.rows
		rows += len(q.lookup.tried)
	}
}

// budget is how many prompt tokens a pass may read. Who waits for the next word
// of an answer should not wait for a whole chunk of somebody's prompt, nor many
// prompts for a few words; but each client counts as one, however many prompts it
// brings.
func (e *Engine) budget(writing int) int {
	if writing == 0 {
		return e.opts.Chunk
	}
	read, write := e.weights()
	return max(1, e.opts.Chunk/4, int(float64(e.opts.Chunk)*read/(read+3*write)))
}

// weights is how much of the clients is in prompts being read, and how much in
// answers being written, when each client is 1 and so is the sum of its requests.
func (e *Engine) weights() (read, write float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	of := func(i int) float64 { return 1 / float64(e.queue.clients[e.slots[i].req.client].running) }
	for _, i := range e.reading {
		read += of(i)
	}
	for i := range e.slots {
		if e.slots[i].rows > 0 {
			write += of(i)
		}
	}
	return read, write
}

// share deals the budget evenly to the clients, and each one's part evenly to its
// prompts; what a short one does not need goes to the longer ones. It returns how
// much was dealt.
func (e *Engine) share(budget int) (dealt int) {
	slices.SortStableFunc(e.reading, func(a, b int) int {
		return cmp.Or(cmp.Compare(e.slots[a].req.client, e.slots[b].req.client), cmp.Compare(e.pending(a), e.pending(b)))
	})
	type part struct{ lo, hi, wants int }
	var parts []part
	for k, i := range e.reading {
		if k == 0 || e.slots[i].req.client != e.slots[e.reading[k-1]].req.client {
			parts = append(parts, part{lo: k})
		}
		p := &parts[len(parts)-1]
		p.hi, p.wants = k+1, p.wants+e.pending(i)
	}
	slices.SortStableFunc(parts, func(a, b part) int { return a.wants - b.wants })
	for n, p := range parts {
		left := len(parts) - n
		dealt += e.shareOne(e.reading[p.lo:p.hi], (budget-dealt+left-1)/left)
	}
	return dealt
}

// shareOne deals budget to the prompts of one client, shortest first.
func (e *Engine) shareOne(reading []int, budget int) (dealt int) {
	for k, i := range reading {
		s := &e.slots[i]
		left := len(reading) - k
		s.rows = min(e.pending(i), (budget-dealt+left-1)/left)
		dealt += s.rows
		if s.rows == e.pending(i) && s.rows > 0 {
			s.asks = 1
		}
	}
	return dealt
}

// makeRoom sees to it that the rows have memory: it forgets what is remembered
// longest unused, then puts back who came last.
func (e *Engine) makeRoom(event *Event) {
	for {
		need := e.pass.Used()
		for i := range e.slots {
			need += e.pass.Need(i, e.slots[i].rows)
		}
		if need <= e.pages || e.tree.evict() {
			if need <= e.pages {
				return
			}
			continue
		}
		i := e.youngest(anyone)
		if i < 0 || e.alone(i) {
			return
		}
		if s := &e.slots[i]; s.req.drawn() == 0 || e.pending(i) > 1 {
			event.Prompt -= s.rows
		}
		e.giveWay(i)
	}
}

// alone reports whether nobody but slot i runs.
func (e *Engine) alone(i int) bool {
	for j, s := range e.slots {
		if j != i && s.req != nil {
			return false
		}
	}
	return true
}

// count charges the clients for the rows.
func (e *Engine) count() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.slots {
		if s := &e.slots[i]; s.rows > 0 {
			e.queue.clients[s.req.client].served += s.rows
		}
	}
}

// lay appends the rows of slot i.
func (e *Engine) lay(i int) {
	s := &e.slots[i]
	s.first = len(e.rows)
	for k := range s.rows {
		pos, q := e.pass.Len(i)+k, s.req
		token := int32(0)
		if pos < len(q.tokens) {
			token = q.tokens[pos]
		} else {
			token = q.lookup.tried[pos-len(q.tokens)]
		}
		e.rows = append(e.rows, forward.Row{
			Token: token, Slot: i, Pos: pos, Adapter: q.adapter,
			Logits: k >= s.rows-s.asks,
		})
	}
}
