// Package parallel is the one pool of cores: every loop that is worth sharing
// runs through it.
//
// Work is cut into chunks whose borders never depend on the number of workers,
// so that results are the same bits for any pool. Chunks are claimed from a
// counter, the caller claims too, and nobody waits for a given worker.
package parallel

// Pool shares loops between cores. It is safe for concurrent use: callers that
// meet share the workers.
type Pool struct{}

// New returns a pool that uses n cores, the caller's included; 0 means all.
func New(n int) *Pool { panic("sketch") }

// Workers is how many cores the pool uses.
func (p *Pool) Workers() int { panic("sketch") }

// Background is a view of the same cores for work that gives way: its chunks
// run only while no foreground loop wants the cores (training behind chat).
func (p *Pool) Background() *Pool { panic("sketch") }

// Run calls f(0), …, f(chunks-1), in any order and on any core, and returns
// when all are done. A panic in f is raised again in the caller.
func (p *Pool) Run(chunks int, f func(chunk int)) { panic("sketch") }

// Close ends the workers. Run must not be called afterwards.
func (p *Pool) Close() { panic("sketch") }
