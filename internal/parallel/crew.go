package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// seats is how many loops of one rank the workers can see at a time. The caller
// of one more runs it alone.
const seats = 8

const (
	// grace is how long the background waits after the last foreground loop.
	grace = 50 * time.Microsecond
	// patience is after what time without a chunk the background gets one in any
	// case, so that it goes on slowly behind work that never ends: with chunks of
	// 100 µs it has a fifth of one core.
	patience = 500 * time.Microsecond
)

// crew is the workers and what they look at.
type crew struct {
	front, back board
	wanted      atomic.Int64 // foreground calls of Run under way
	lastFront   atomic.Int64 // when the last of them ended, in ns since start
	lastBack    atomic.Int64 // when a background chunk was last let through while busy
	start       time.Time
	closed      atomic.Bool
	workers     []worker
	ended       sync.WaitGroup
}

// board is the loops of one rank that are under way.
type board [seats]struct {
	loop atomic.Pointer[loop]
	_    [56]byte
}

// put shows l to the workers; the seat is -1 when all are taken.
func (b *board) put(l *loop) (seat int) {
	for i := range b {
		if b[i].loop.Load() == nil && b[i].loop.CompareAndSwap(nil, l) {
			return i
		}
	}
	return -1
}

func (b *board) take(seat int) {
	if seat >= 0 {
		b[seat].loop.Store(nil)
	}
}

// pick returns a loop with chunks to claim, looking from seat first on.
func (b *board) pick(first int) *loop {
	for i := range b {
		if l := b[(first+i)%seats].loop.Load(); l != nil && l.open() {
			return l
		}
	}
	return nil
}

type worker struct {
	parked atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

func newCrew(n int) *crew {
	c := &crew{start: time.Now(), workers: make([]worker, n)}
	c.lastFront.Store(-int64(time.Hour))
	for i := range c.workers {
		c.workers[i].wake = make(chan struct{}, 1)
		c.ended.Add(1)
		go c.work(i)
	}
	return c
}

func (c *crew) close() {
	c.closed.Store(true)
	c.rouse(len(c.workers))
	c.ended.Wait()
}

// run shares a foreground loop.
func (c *crew) run(chunks int, f func(int)) {
	c.wanted.Add(1)
	defer func() {
		c.lastFront.Store(int64(time.Since(c.start)))
		c.wanted.Add(-1)
	}()
	if chunks == 1 {
		f(0)
		return
	}
	l := newLoop(chunks, f)
	seat := c.front.put(l)
	c.rouse(chunks - 1)
	for l.step() {
	}
	c.front.take(seat)
	l.wait()
}

// runBehind shares a background loop. Its caller gives way like its workers do.
func (c *crew) runBehind(chunks int, f func(int)) {
	l := newLoop(chunks, f)
	seat := c.back.put(l)
	c.rouse(chunks - 1)
	for c.giveWay(l); l.step(); c.giveWay(l) {
	}
	c.back.take(seat)
	l.wait()
}

// busy reports whether foreground work is under way, or was a moment ago: one
// pass of a model is hundreds of loops with a few microseconds between them.
func (c *crew) busy() bool {
	return c.wanted.Load() > 0 || int64(time.Since(c.start))-c.lastFront.Load() < int64(grace)
}

// hungry reports whether the background has waited longer than its patience; it
// says so to one asker at a time, who then runs a chunk.
func (c *crew) hungry() bool {
	now, last := int64(time.Since(c.start)), c.lastBack.Load()
	return now-last > int64(patience) && c.lastBack.CompareAndSwap(last, now)
}

// giveWay returns when the caller of l may run one of its chunks: at once when
// nobody else wants the cores, and now and then in any case.
func (c *crew) giveWay(l *loop) {
	runtime.Gosched()
	if !c.busy() {
		return
	}
	for c.busy() && l.open() && !c.hungry() {
		time.Sleep(grace)
	}
	c.rouse(len(c.workers))
}

// rouse wakes up to n parked workers.
func (c *crew) rouse(n int) {
	for i := range c.workers {
		if n == 0 {
			return
		}
		if w := &c.workers[i]; w.parked.Load() && w.parked.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
			n--
		}
	}
}

func (c *crew) work(i int) {
	defer c.ended.Done()
	for !c.closed.Load() {
		if l := c.seek(i); l != nil {
			l.step()
		}
	}
}

// seek returns a loop to help with; it spins, then parks, and returns nil when
// it was woken for one.
func (c *crew) seek(i int) *loop {
	var idle time.Time
	for n := 0; ; n++ {
		behind := c.back.pick(i)
		if behind != nil && c.busy() && !c.hungry() {
			behind = nil
		}
		if behind != nil {
			runtime.Gosched() // let others have this core first: the doors, the engine's own loop
			return behind
		}
		if l := c.front.pick(i); l != nil {
			return l
		}
		pause(20)
		switch {
		case n == 0:
			idle = time.Now()
		case n%32 == 0 && time.Since(idle) > spin:
			c.park(i)
			return nil
		case n%32 == 0:
			runtime.Gosched()
		}
	}
}

// park sleeps until there is work.
func (c *crew) park(i int) {
	w := &c.workers[i]
	w.parked.Store(true)
	work := c.front.pick(i) != nil || c.back.pick(i) != nil && !c.busy()
	if (work || c.closed.Load()) && w.parked.CompareAndSwap(true, false) {
		return
	}
	<-w.wake
}
