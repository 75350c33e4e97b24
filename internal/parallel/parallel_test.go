package parallel_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"afina/internal/parallel"
)

func TestRunDoesEveryChunkOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 7} {
		for _, chunks := range []int{0, 1, 2, 3, 17, 1000} {
			t.Run(fmt.Sprintf("%d workers, %d chunks", workers, chunks), func(t *testing.T) {
				p := parallel.New(workers)
				defer p.Close()
				if got := p.Workers(); got != workers {
					t.Fatalf("Workers() = %d, want %d", got, workers)
				}
				for _, pool := range []*parallel.Pool{p, p.Background()} {
					done := make([]atomic.Int32, chunks)
					pool.Run(chunks, func(i int) { done[i].Add(1) })
					for i := range done {
						if got := done[i].Load(); got != 1 {
							t.Fatalf("chunk %d ran %d times", i, got)
						}
					}
				}
			})
		}
	}
}

func TestNewTakesAllCores(t *testing.T) {
	p := parallel.New(0)
	defer p.Close()
	if got, want := p.Workers(), runtime.GOMAXPROCS(0); got != want {
		t.Fatalf("Workers() = %d, want %d", got, want)
	}
}

// Many short loops, with pauses around the time after which workers park.
func TestRunAfterParking(t *testing.T) {
	p := parallel.New(3)
	defer p.Close()
	for i := range 3000 {
		var n atomic.Int64
		k := i%7 + 1
		p.Run(k, func(c int) { n.Add(int64(c + 1)) })
		if got, want := n.Load(), int64(k*(k+1)/2); got != want {
			t.Fatalf("loop %d: sum %d, want %d", i, got, want)
		}
		if i%100 == 0 {
			busy(time.Duration(i/100) * 10 * time.Microsecond)
		}
	}
}

func TestCallersMeet(t *testing.T) {
	p := parallel.New(4)
	defer p.Close()
	var callers sync.WaitGroup
	for c := range 20 {
		pool := p
		if c%2 == 1 {
			pool = p.Background()
		}
		callers.Go(func() {
			for range 50 {
				var n atomic.Int64
				pool.Run(9, func(i int) {
					pool.Run(2, func(j int) { n.Add(int64(i*2 + j)) })
				})
				if got := n.Load(); got != 153 {
					t.Errorf("caller %d: sum %d, want 153", c, got)
					return
				}
			}
		})
	}
	callers.Wait()
}

func TestPanicIsRaisedInTheCaller(t *testing.T) {
	p := parallel.New(3)
	defer p.Close()
	for _, chunk := range []int{0, 5, 63} {
		var got any
		func() {
			defer func() { got = recover() }()
			p.Run(64, func(i int) {
				if i == chunk {
					panic("chunk breaks")
				}
			})
		}()
		if got != "chunk breaks" {
			t.Fatalf("chunk %d: recovered %v", chunk, got)
		}
	}
	ran := false
	p.Run(1, func(int) { ran = true })
	if !ran {
		t.Fatal("the pool is dead after a panic")
	}
}

// A foreground loop that comes while the background works is not kept waiting.
func TestBackgroundGivesWay(t *testing.T) {
	p := parallel.New(2)
	defer p.Close()
	var stop atomic.Bool
	var behind atomic.Int64
	var ended sync.WaitGroup
	ended.Go(func() {
		for !stop.Load() {
			p.Background().Run(20, func(int) { busy(100 * time.Microsecond); behind.Add(1) })
		}
	})
	for behind.Load() < 5 {
		time.Sleep(time.Millisecond)
	}
	var took []time.Duration
	before := behind.Load()
	began := time.Now()
	for range 300 {
		t := time.Now()
		p.Run(4, func(int) { busy(50 * time.Microsecond) })
		took = append(took, time.Since(t))
	}
	whole := time.Since(began)
	during := behind.Load() - before
	stop.Store(true)
	ended.Wait()
	slices.Sort(took)
	t.Logf("200 µs of work took %v (median), %v (p95); background chunks %d in %v",
		took[len(took)/2], took[len(took)*95/100], during, whole)
	// Alone the background would have run whole/100µs chunks on each core.
	if share := float64(during) * float64(100*time.Microsecond) / float64(whole); share > 1 {
		t.Errorf("the background had %.2f cores while the foreground worked", share)
	}
	if during == 0 {
		t.Error("the background starved")
	}
}

func busy(d time.Duration) {
	for t := time.Now(); time.Since(t) < d; {
	}
}

// 100 µs of work in 8 chunks; on two idle cores 50 µs is ideal.
func BenchmarkRun(b *testing.B) {
	p := parallel.New(2)
	defer p.Close()
	best := time.Hour
	for b.Loop() {
		t := time.Now()
		p.Run(8, func(int) { busy(12500 * time.Nanosecond) })
		best = min(best, time.Since(t))
	}
	b.ReportMetric(float64(best.Nanoseconds()), "best-ns")
}

func BenchmarkEmptyRun(b *testing.B) {
	p := parallel.New(2)
	defer p.Close()
	for b.Loop() {
		p.Run(8, func(int) {})
	}
}
