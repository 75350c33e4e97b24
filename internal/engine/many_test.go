package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/quant"
	"afina/internal/sampling"
)

// newFastBench is newBench with a 4-bit model, for the kernels that serve.
func newFastBench(t testing.TB) bench {
	t.Helper()
	pool := parallel.New(2)
	t.Cleanup(pool.Close)
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(modeltest.Write(t, modeltest.Shape{Seed: 2, Type: quant.Q4_1}), gang)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return bench{gang, m}
}

// TestTwoHundredAreAlone sends 200 requests of several clients, with mixed
// adapters, lengths, seeds and options, to an engine with so little memory that
// some are put back, and compares every token with the one the request gets alone
// from an engine that neither remembers nor guesses.
func TestTwoHundredAreAlone(t *testing.T) {
	count := 200
	if testing.Short() {
		count = 60
	}
	for _, precision := range []kernel.Precision{kernel.Exact, kernel.Fast} {
		t.Run(fmt.Sprint("precision ", precision), func(t *testing.T) {
			b := newFastBench(t)
			adapters := []*lora.Adapter{nil, adapter(b.m, 3), adapter(b.m, 5), adapter(b.m, 7)}
			rng := rand.New(rand.NewPCG(1, uint64(precision)))
			requests := make([]engine.Request, count)
			for i := range requests {
				r := &requests[i]
				r.Prompt = slices.Clone(prompt(40, rng.Int32N(2))[:rng.IntN(40)])
				r.Prompt = append(r.Prompt, prompt(1+rng.IntN(50), rng.Int32N(9))...)
				if rng.IntN(3) == 0 { // something to look up
					r.Prompt = append(r.Prompt, r.Prompt...)
				}
				r.Adapter = adapters[rng.IntN(len(adapters))]
				r.Client = fmt.Sprint(rng.IntN(4))
				r.Limit = 1 + rng.IntN(60)
				r.Ends = []int32{int32(rng.IntN(256))}
				switch rng.IntN(4) {
				case 3:
					r.Sampling = sampling.Options{FrequencyPenalty: -0.4, Temperature: 0.3, Seed: rng.Uint64()}
				case 0:
					r.Sampling = sampling.Options{Temperature: 0.2 + rng.Float32(), TopP: 0.9, Seed: rng.Uint64()}
				case 1:
					r.Sampling = sampling.Options{Temperature: 0.5, TopK: 20, FrequencyPenalty: 0.5, RepeatPenalty: 1.1, Seed: rng.Uint64()}
				}
			}
			pass := forward.New(b.m, b.gang, precision, 16, 256)
			e := engine.New(pass, engine.Options{Slots: 16, Context: 256, Queue: count, Chunk: 96, Memory: 30 * pass.PageBytes()})
			var told log
			e.Observe = told.observe
			stop := start(t, e)
			got := make([][]int32, count)
			var wg sync.WaitGroup
			for i, r := range requests {
				wg.Go(func() {
					var err error
					if got[i], _, err = all(e, r); err != nil {
						t.Errorf("request %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			stop()
			if n := pass.Used(); n != 0 {
				t.Errorf("%d pages are held after the end", n)
			}
			for _, ev := range told.events {
				if ev.Bytes > 46*pass.PageBytes() { // 16 free ones may be kept besides
					t.Fatalf("%d bytes of keys and values, the limit is %d", ev.Bytes, 30*pass.PageBytes())
				}
			}
			for i, r := range requests {
				lone := engine.New(forward.New(b.m, b.gang, precision, 1, 256), engine.Options{Slots: 1, Context: 256, Lookup: -1})
				stop := start(t, lone)
				want, _, err := all(lone, r)
				stop()
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got[i], want) {
					t.Fatalf("request %d, prompt of %d: %v alone, %v together", i, len(r.Prompt), want, got[i])
				}
			}
			asked, made := 0, told.sum(func(e engine.Event) int { return e.Generated })
			for _, ids := range got {
				asked += len(ids)
			}
			if asked != made {
				t.Errorf("%d tokens were told to the observer, %d were answered", made, asked)
			}
		})
	}
}

// TestLookup answers prompts that repeat themselves with and without guessing:
// the same tokens, greedy and drawn, in fewer passes.
func TestLookup(t *testing.T) {
	b := newFastBench(t)
	for name, o := range map[string]sampling.Options{
		"greedy": {}, "warm": {Temperature: 1, Seed: 4},
		"greedy, repeats": {FrequencyPenalty: -0.3}, "warm, repeats": {Temperature: 0.4, Seed: 3, FrequencyPenalty: -0.6},
	} {
		t.Run(name, func(t *testing.T) {
			var passes [2]int
			var answers [2][]int32
			for i, lookup := range []int{-1, 6} {
				pass := forward.New(b.m, b.gang, kernel.Fast, 1, 512)
				e := engine.New(pass, engine.Options{Slots: 1, Context: 512, Lookup: lookup})
				var told log
				e.Observe = told.observe
				stop := start(t, e)
				var err error
				r := engine.Request{Prompt: prompt(30, 1), Limit: 300, Sampling: o}
				if answers[i], _, err = all(e, r); err != nil {
					t.Fatal(err)
				}
				stop()
				passes[i] = len(told.events)
			}
			if !slices.Equal(answers[0], answers[1]) {
				t.Errorf("guessing changed the answer:\n%v\n%v", answers[0], answers[1])
			}
			if passes[1] > passes[0] {
				t.Errorf("%d passes with guessing, %d without", passes[1], passes[0])
			}
			if repeats(answers[0]) != (o.FrequencyPenalty < 0) {
				t.Errorf("this is not the text the test wants: %v", answers[0])
			}
			if repeats(answers[0]) && passes[1] >= passes[0] {
				t.Errorf("an answer that repeats itself took %d passes, %d without guessing", passes[1], passes[0])
			}
			t.Logf("%d tokens in %d passes, %d without", len(answers[0]), passes[1], passes[0])
		})
	}
}

// repeats reports whether most grams of x came before.
func repeats(x []int32) bool {
	seen, again := map[[3]int32]bool{}, 0
	for i := range len(x) - 2 {
		g := [3]int32(x[i:])
		if seen[g] {
			again++
		}
		seen[g] = true
	}
	return again > len(x)/2
}

// TestBeginningIsComputedOnce: requests that come together and begin alike do
// not compute their beginning each.
func TestBeginningIsComputedOnce(t *testing.T) {
	b := newBenchOn(t, 1)
	beginning := prompt(150, 1)
	var told log
	answers := make([][]int32, 6)
	request := func(i int) engine.Request {
		return engine.Request{Prompt: append(slices.Clone(beginning), prompt(10, int32(i+2))...), Limit: 4}
	}
	synctest.Test(t, func(t *testing.T) {
		e := b.engine(engine.Options{Slots: 6, Context: 256, Chunk: 32})
		e.Observe = told.observe
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() {
				var err error
				if answers[i], _, err = all(e, request(i)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		stop := start(t, e)
		wg.Wait()
		stop()
	})
	if n := told.sum(func(e engine.Event) int { return e.Prompt }); n > 150+6*10+6*5 {
		t.Errorf("%d prompt tokens computed", n)
	}
	for i := range answers {
		e := b.engine(engine.Options{Slots: 1, Context: 256})
		stop := start(t, e)
		if want, _, _ := all(e, request(i)); !slices.Equal(want, answers[i]) {
			t.Errorf("answer %d changed", i)
		}
		stop()
	}
}

// TestClientsShare: a client with one request does not wait for the twenty of
// another who came first, neither for a place nor for its prompt to be read.
func TestClientsShare(t *testing.T) {
	b := newBenchOn(t, 1)
	synctest.Test(t, func(t *testing.T) {
		e := b.engine(engine.Options{Slots: 4, Context: 256, Chunk: 32})
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		ask := func(client string, i int) {
			wg.Go(func() {
				_, _, err := all(e, engine.Request{Client: client, Prompt: prompt(60, int32(i)), Limit: 20})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, client)
			})
			synctest.Wait()
		}
		for i := range 20 {
			ask("many", i)
		}
		began, resume := make(chan struct{}), make(chan struct{})
		e.Observe = func(ev engine.Event) {
			if began != nil { // "many" has all places
				close(began)
				began = nil
				<-resume
			}
		}
		wait := began
		stop := start(t, e)
		<-wait
		ask("one", 30)
		close(resume)
		wg.Wait()
		stop()
		if at := slices.Index(order, "one"); at > 6 {
			t.Errorf("the single request ended after %d others", at)
		}
	})
}

// TestSlowReaderIsDropped: who leaves too much unread loses the rest; what was
// there is still handed over.
func TestSlowReaderIsDropped(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 2, Context: 256, Unread: 100})
	start(t, e)
	n := 0
	for _, err := range e.Generate(context.Background(), engine.Request{Prompt: prompt(4, 1), Limit: 200}) {
		if n++; n == 1 {
			if ids, _, err := all(e, engine.Request{Prompt: prompt(5, 2), Limit: 100}); err != nil || len(ids) != 100 {
				t.Errorf("beside a slow reader: %d tokens, %v", len(ids), err)
			}
		}
		if err != nil {
			var f *fault.Error
			if !errors.As(err, &f) || f.Code != "slow_reader" || f.Kind != fault.Canceled {
				t.Errorf("the slow reader got %v", err)
			}
			if n < 101 || n > 103 {
				t.Errorf("the slow reader got %d tokens", n-1)
			}
			return
		}
	}
	t.Errorf("the slow reader got all %d tokens", n)
}

// TestRetry: a full queue says when to come again.
func TestRetry(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		e := b.engine(engine.Options{Slots: 1, Queue: 1, Context: 32})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range e.Generate(ctx, engine.Request{Prompt: prompt(3, 1)}) {
				}
			})
		}
		synctest.Wait()
		_, _, err := all(e, engine.Request{Prompt: prompt(3, 1)})
		var f *fault.Error
		if !errors.As(err, &f) || f.Retry < time.Second || f.Retry > time.Minute {
			t.Errorf("got %v", err)
		}
		cancel()
		wg.Wait()
	})
}

// TestAdapterIsLetGo: neither the tree nor the pass keeps an adapter that its
// owner has dropped.
func TestAdapterIsLetGo(t *testing.T) {
	b := newBench(t)
	pass := forward.New(b.m, b.gang, kernel.Exact, 2, 64)
	e := engine.New(pass, engine.Options{Slots: 2, Context: 64})
	stop := start(t, e)
	gone := make(chan struct{})
	func() {
		a := adapter(b.m, 3)
		whenGone(a, gone)
		if _, _, err := all(e, engine.Request{Prompt: prompt(40, 1), Adapter: a, Limit: 2}); err != nil {
			t.Fatal(err)
		}
	}()
	collected(t, gone)
	stop()
}
