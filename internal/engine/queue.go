package engine

import (
	"slices"
)

// queue is the requests that wait. Each client has a line of its own, and the
// client that had least is next: served counts the tokens that were computed for
// it, and one that comes (again) starts no lower than those who are there (Sheng
// et al. 2024, "Fairness in Serving Large Language Models"). It is guarded by the
// engine's lock.
type queue struct {
	clients map[string]*client
	length  int
}

type client struct {
	name    string
	waiting []*request // oldest first
	running int
	served  int
}

// client returns the account of a name, opening one.
func (q *queue) client(name string) *client {
	if q.clients == nil {
		q.clients = map[string]*client{}
	}
	c := q.clients[name]
	if c == nil {
		c = &client{name: name}
		first := true
		for _, other := range q.clients {
			if first || other.served < c.served {
				c.served, first = other.served, false
			}
		}
		q.clients[name] = c
	}
	return c
}

// push puts r at the end of its client's line; at the front when it was running
// before.
func (q *queue) push(r *request, front bool) {
	c := q.client(r.client)
	if front {
		c.waiting = slices.Insert(c.waiting, 0, r)
	} else {
		c.waiting = append(c.waiting, r)
	}
	q.length++
}

// next returns who is next, nil when nobody waits. Of equals the request that
// came first is.
func (q *queue) next() *client {
	var best *client
	for _, c := range q.clients {
		if len(c.waiting) == 0 {
			continue
		}
		if best == nil || c.served < best.served || c.served == best.served && c.waiting[0].number < best.waiting[0].number {
			best = c
		}
	}
	return best
}

// pop takes the first request of c out of its line, which then runs.
func (q *queue) pop(c *client) *request {
	r := c.waiting[0]
	c.waiting[0] = nil
	c.waiting = c.waiting[1:]
	c.running++
	q.length--
	return r
}

// remove takes r out of its line, if it is there.
func (q *queue) remove(r *request) {
	c := q.clients[r.client]
	if c == nil {
		return
	}
	if i := slices.Index(c.waiting, r); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
		q.length--
		q.settle(c)
	}
}

// ended tells that a running request of a client does not run any more.
func (q *queue) ended(name string) {
	c := q.clients[name]
	c.running--
	q.settle(c)
}

// settle closes the account of a client that has nothing here.
func (q *queue) settle(c *client) {
	if c.running == 0 && len(c.waiting) == 0 {
		delete(q.clients, c.name)
	}
}

// clear empties all lines and returns who stood in them.
func (q *queue) clear() (all []*request) {
	for _, c := range q.clients {
		all = append(all, c.waiting...)
		c.waiting = nil
		q.settle(c)
	}
	q.length = 0
	return all
}

// greediest is the client with the most running requests.
func (q *queue) greediest() *client {
	var most *client
	for _, c := range q.clients {
		if most == nil || c.running > most.running || c.running == most.running && c.name < most.name {
			most = c
		}
	}
	return most
}
