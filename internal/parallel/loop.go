package parallel

import "sync/atomic"

// loop is one call of Run: made by its caller, seen by the workers, used once.
type loop struct {
	f      func(chunk int)
	chunks int64
	_      [48]byte
	next   atomic.Int64 // the next chunk to claim
	_      [56]byte
	left   atomic.Int64 // chunks that have not ended
	failed atomic.Pointer[failure]
	waits  atomic.Bool   // the caller sleeps on done
	done   chan struct{} // made before waits is set
}

type failure struct{ value any }

func newLoop(chunks int, f func(int)) *loop {
	l := &loop{f: f, chunks: int64(chunks)}
	l.left.Store(l.chunks)
	return l
}

// open reports whether there is a chunk to claim.
func (l *loop) open() bool { return l.next.Load() < l.chunks }

// step claims one chunk and runs it; false means that none was left.
func (l *loop) step() bool {
	if !l.open() {
		return false
	}
	i := l.next.Add(1) - 1
	if i >= l.chunks {
		return false
	}
	l.one(int(i))
	return true
}

// one runs chunk i. After a panic the remaining chunks are claimed, not run.
func (l *loop) one(i int) {
	defer func() {
		if v := recover(); v != nil {
			l.failed.CompareAndSwap(nil, &failure{v})
		}
		if l.left.Add(-1) == 0 && l.waits.Load() {
			close(l.done)
		}
	}()
	if l.failed.Load() == nil {
		l.f(i)
	}
}

// wait returns when every chunk has ended, and raises the first panic again.
func (l *loop) wait() {
	for n := 0; l.left.Load() != 0; n++ {
		if n < 1000 {
			pause(10)
			continue
		}
		// A worker lost its core in the middle of a chunk: give ours away.
		l.done = make(chan struct{})
		l.waits.Store(true)
		if l.left.Load() != 0 {
			<-l.done
		}
		break
	}
	if e := l.failed.Load(); e != nil {
		panic(e.value)
	}
}
