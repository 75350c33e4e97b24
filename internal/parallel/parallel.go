// Package parallel is the one pool of cores: every loop that is worth sharing
// runs through it.
//
// Work is cut into chunks whose borders never depend on the number of workers,
// so that results are the same bits for any pool. Chunks are claimed from a
// counter, the caller claims too, and nobody waits for a given worker.
package parallel

import (
	"runtime"
	"time"
)

// Pool shares loops between cores. It is safe for concurrent use: callers that
// meet share the workers.
type Pool struct {
	crew       *crew
	background bool
}

// spin is how long a worker without work looks for some before it parks.
// Waking it up then costs about 50 µs, finding it awake less than one.
const spin = 100 * time.Microsecond

// New returns a pool that uses n cores, the caller's included; 0 means all.
func New(n int) *Pool {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return &Pool{crew: newCrew(n - 1)}
}

// Workers is how many cores the pool uses.
func (p *Pool) Workers() int { return len(p.crew.workers) + 1 }

// Background is a view of the same cores for work that gives way: its chunks
// run only while no foreground loop wants the cores (training behind chat).
func (p *Pool) Background() *Pool { return &Pool{crew: p.crew, background: true} }

// Run calls f(0), …, f(chunks-1), in any order and on any core, and returns
// when all are done. A panic in f is raised again in the caller.
func (p *Pool) Run(chunks int, f func(chunk int)) {
	switch {
	case chunks <= 0:
	case p.background:
		p.crew.runBehind(chunks, f)
	default:
		p.crew.run(chunks, f)
	}
}

// Close ends the workers. Run must not be called afterwards.
func (p *Pool) Close() { p.crew.close() }
