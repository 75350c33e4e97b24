package engine_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/sampling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a tiny model on a pool of its own.
type bench struct {
	gang *kernel.Gang
	m    *model.Model
}

func newBench(t testing.TB) bench { return newBenchOn(t, 2) }

// newBenchOn is newBench with a number of cores. Inside a synctest bubble it is
// 1: a worker outside of it may not touch the channels of a loop inside.
func newBenchOn(t testing.TB, cores int) bench {
	t.Helper()
	pool := parallel.New(cores)
	t.Cleanup(pool.Close)
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(modeltest.Write(t, modeltest.Shape{Seed: 1}), gang)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return bench{gang, m}
}

// engine returns an engine that is not running yet.
func (b bench) engine(o engine.Options) *engine.Engine {
	o = o.Fill()
	return engine.New(forward.New(b.m, b.gang, kernel.Exact, o.Slots, o.Context), o)
}

// start runs e until the test ends, or stop is called.
func start(t testing.TB, e *engine.Engine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// log gathers what an engine tells.
type log struct {
	mu     sync.Mutex
	events []engine.Event
}

func (l *log) observe(e engine.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *log) sum(f func(engine.Event) int) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		n += f(e)
	}
	return n
}

func prompt(n int, seed int32) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = (seed*31 + int32(i)*7 + int32(i*i)%13) % 256
	}
	return out
}

// all returns the ids of an answer and why it ended.
func all(e *engine.Engine, r engine.Request) (ids []int32, reason engine.Reason, err error) {
	for token, err := range e.Generate(context.Background(), r) {
		if err != nil {
			return ids, "", err
		}
		ids = append(ids, token.ID)
		reason = token.Reason
	}
	return ids, reason, nil
}

func adapter(m *model.Model, seed int) *lora.Adapter {
	a := &lora.Adapter{Name: "random", Base: m.Name, Rank: 2, Alpha: 4}
	for l := range m.Layers {
		w := m.Layers[l].Q.Weight
		pair := &lora.Pair{In: w.Cols, Out: w.Rows, A: make([]float32, 2*w.Cols), B: make([]float32, 2*w.Rows)}
		for i := range pair.A {
			pair.A[i] = float32(math.Sin(float64(i*seed+l))) / 8
		}
		for i := range pair.B {
			pair.B[i] = float32(math.Cos(float64(i*seed-l))) / 2
		}
		a.Pairs = append(a.Pairs, map[string]*lora.Pair{"attn_q": pair})
	}
	return a
}

// TestMixedIsAlone sends random requests at once and compares each answer with
// the one it gets from an engine of its own.
func TestMixedIsAlone(t *testing.T) {
	b := newBench(t)
	adapters := []*lora.Adapter{nil, adapter(b.m, 3), adapter(b.m, 5)}
	request := rapid.Custom(func(t *rapid.T) engine.Request {
		r := engine.Request{
			Prompt:  prompt(rapid.IntRange(1, 90).Draw(t, "prompt"), rapid.Int32Range(0, 3).Draw(t, "words")),
			Adapter: rapid.SampledFrom(adapters).Draw(t, "adapter"),
			Limit:   rapid.IntRange(1, 12).Draw(t, "limit"),
			Ends:    []int32{7, 8, 9},
		}
		if rapid.Bool().Draw(t, "draw") {
			r.Sampling = sampling.Options{Temperature: 0.8, TopP: 0.95, Seed: rapid.Uint64().Draw(t, "seed")}
		}
		return r
	})
	rapid.Check(t, func(rt *rapid.T) {
		requests := rapid.SliceOfN(request, 1, 8).Draw(rt, "requests")
		o := engine.Options{
			Slots: rapid.IntRange(1, 4).Draw(rt, "slots"), Context: 128,
			Chunk: rapid.IntRange(1, 64).Draw(rt, "chunk"),
		}
		together := b.engine(o)
		stop := start(t, together)
		defer stop()
		got := make([][]int32, len(requests))
		var wg sync.WaitGroup
		for i, r := range requests {
			wg.Go(func() { got[i], _, _ = all(together, r) })
		}
		wg.Wait()
		for i, r := range requests {
			alone := b.engine(engine.Options{Slots: 1, Context: 128})
			stop := start(t, alone)
			want, _, err := all(alone, r)
			stop()
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(want, got[i]); diff != "" {
				rt.Fatalf("request %d (alone -, together +):\n%s", i, diff)
			}
		}
	})
}

func TestReasons(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 1, Context: 32})
	start(t, e)
	free, _, err := all(e, engine.Request{Prompt: prompt(8, 1), Limit: 6})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		request engine.Request
		ids     []int32
		reason  engine.Reason
	}{
		{"limit", engine.Request{Prompt: prompt(8, 1), Limit: 3}, free[:3], engine.Length},
		{"end token", engine.Request{Prompt: prompt(8, 1), Limit: 6, Ends: free[3:4]}, free[:slices.Index(free, free[3])+1], engine.Stop},
		{"end token at the limit", engine.Request{Prompt: prompt(8, 1), Limit: 1, Ends: free[:1]}, free[:1], engine.Stop},
	} {
		t.Run(c.name, func(t *testing.T) {
			ids, reason, err := all(e, c.request)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.ids, ids); diff != "" || reason != c.reason {
				t.Errorf("reason %q, want %q; tokens %s", reason, c.reason, diff)
			}
		})
	}
	t.Run("context", func(t *testing.T) {
		for _, n := range []int{1, 31, 32} {
			ids, reason, err := all(e, engine.Request{Prompt: prompt(n, 1)})
			if err != nil || reason != engine.Length || len(ids) != 32-n+1 {
				t.Errorf("prompt of %d: %d tokens, %q, %v", n, len(ids), reason, err)
			}
		}
	})
}

func TestNever(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 1, Context: 32})
	start(t, e)
	free, _, _ := all(e, engine.Request{Prompt: prompt(8, 1), Limit: 1})
	ids, _, err := all(e, engine.Request{Prompt: prompt(8, 1), Limit: 20, Never: func(id int32) bool { return id == free[0] }})
	if err != nil || len(ids) != 20 || slices.Contains(ids, free[0]) {
		t.Errorf("token %d was forbidden: %v, %v", free[0], ids, err)
	}
}

func TestRefused(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 1, Context: 32})
	start(t, e)
	for _, c := range []struct {
		name   string
		prompt []int32
		code   string
	}{
		{"empty", nil, ""},
		{"too long", prompt(33, 1), "context_length_exceeded"},
		{"no such token", []int32{1, 1 << 20}, ""},
		{"negative token", []int32{-1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := all(e, engine.Request{Prompt: c.prompt})
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Code != c.code {
				t.Errorf("error is %v", err)
			}
		})
	}
	if _, _, err := all(e, engine.Request{Prompt: prompt(3, 1), Limit: 1}); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

// TestQueue fills an engine that does not run.
func TestQueue(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		e := b.engine(engine.Options{Slots: 1, Queue: 2, Context: 32})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for _, err := range e.Generate(ctx, engine.Request{Prompt: prompt(3, 1)}) {
					if fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.Canceled) {
						t.Errorf("given up: %v", err)
					}
				}
			})
		}
		synctest.Wait()
		if _, _, err := all(e, engine.Request{Prompt: prompt(3, 1)}); fault.KindOf(err) != fault.Busy {
			t.Errorf("the fourth got %v, want busy", err)
		}
		cancel()
		wg.Wait()

		// Who gave up has left the queue.
		ctx, cancel = context.WithCancel(context.Background())
		for range 3 {
			wg.Go(func() {
				for _, err := range e.Generate(ctx, engine.Request{Prompt: prompt(3, 1)}) {
					if fault.KindOf(err) != fault.Canceled {
						t.Errorf("after the queue emptied: %v", err)
					}
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
	})
}

// TestLeaving lets a reader go away in the middle of an answer, by leaving the
// loop and by its context; the only slot is free for the next at once.
func TestLeaving(t *testing.T) {
	b := newBench(t)
	for _, how := range []string{"break", "context"} {
		t.Run(how, func(t *testing.T) {
			e := b.engine(engine.Options{Slots: 1, Context: 256})
			var told log
			e.Observe = told.observe
			stop := start(t, e)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			n := 0
			for _, err := range e.Generate(ctx, engine.Request{Prompt: prompt(4, 1)}) {
				if n++; n == 3 {
					if how == "break" {
						break
					}
					cancel()
				}
				if n > 3 && fault.KindOf(err) != fault.Canceled {
					t.Errorf("after the context ended: %v", err)
				}
			}
			before := told.sum(func(e engine.Event) int { return e.Generated })
			if _, _, err := all(e, engine.Request{Prompt: prompt(9, 2), Limit: 5}); err != nil {
				t.Fatal(err)
			}
			stop()
			// One pass may have been under way; the next answer has 5 tokens.
			if after := told.sum(func(e engine.Event) int { return e.Generated }); after-before > 1+1+5 {
				t.Errorf("%d tokens were drawn for a reader who had left", after-before-5)
			}
		})
	}
}

// TestSlowReader stops reading one answer until another one is complete.
func TestSlowReader(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 2, Context: 64})
	start(t, e)
	want, _, _ := all(e, engine.Request{Prompt: prompt(4, 1), Limit: 30})
	var got []int32
	for token, err := range e.Generate(context.Background(), engine.Request{Prompt: prompt(4, 1), Limit: 30}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, token.ID); len(got) == 1 {
			if _, _, err := all(e, engine.Request{Prompt: prompt(5, 2), Limit: 30}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestDrain ends the engine's context while one answer is being written and
// another waits.
func TestDrain(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 1, Context: 64})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run := make(chan error, 1)
	go func() { run <- e.Run(ctx) }()
	waiting := make(chan error, 1)
	n := 0
	for _, err := range e.Generate(context.Background(), engine.Request{Prompt: prompt(4, 1), Limit: 20}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			go func() {
				_, _, err := all(e, engine.Request{Prompt: prompt(4, 2), Limit: 500})
				waiting <- err
			}()
			cancel()
		}
	}
	if n != 20 {
		t.Errorf("%d tokens of the answer begun, want all 20", n)
	}
	if err := <-waiting; fault.KindOf(err) != fault.Busy {
		t.Errorf("who waited got %v, want busy", err)
	}
	if err := <-run; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, _, err := all(e, engine.Request{Prompt: prompt(4, 1)}); fault.KindOf(err) != fault.Busy {
		t.Errorf("after the end: %v, want busy", err)
	}
}

// TestPrefix counts how much of a prompt is computed when a slot, free or
// taken, already holds its beginning.
func TestPrefix(t *testing.T) {
	b := newBench(t)
	tuned := adapter(b.m, 3)
	first := prompt(60, 1)
	for _, c := range []struct {
		name     string
		second   []int32
		adapter  *lora.Adapter
		computed int
	}{
		{"the same", first, nil, 1},
		{"a longer one", append(slices.Clone(first), prompt(10, 2)...), nil, 10},
		{"a shared beginning", append(slices.Clone(first[:20]), prompt(30, 2)...), nil, 30},
		{"another adapter", first, tuned, 60},
		{"another prompt", prompt(60, 2), nil, 60},
	} {
		for _, taken := range []bool{false, true} {
			name := c.name
			if taken {
				name += ", slot taken"
			}
			t.Run(name, func(t *testing.T) {
				fresh := b.engine(engine.Options{Slots: 1, Context: 128})
				start(t, fresh)
				want, _, _ := all(fresh, engine.Request{Prompt: c.second, Adapter: c.adapter, Limit: 5})

				e := b.engine(engine.Options{Slots: 2, Context: 128})
				var told log
				e.Observe = told.observe
				stop := start(t, e)
				var got []int32
				second := func() {
					var err error
					if got, _, err = all(e, engine.Request{Prompt: c.second, Adapter: c.adapter, Limit: 5}); err != nil {
						t.Error(err)
					}
				}
				for range e.Generate(context.Background(), engine.Request{Prompt: first, Limit: 10}) {
					if taken && got == nil {
						second()
					}
				}
				if !taken {
					second()
				}
				stop()
				if n := told.sum(func(e engine.Event) int { return e.Prompt }) - len(first); n != c.computed {
					t.Errorf("%d prompt tokens computed, want %d", n, c.computed)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("the answer changed: %s", diff)
				}
			})
		}
	}
}

// TestWritersComeFirst reads a long prompt while an answer is being written:
// every pass writes on, and reads only a part of a chunk.
func TestWritersComeFirst(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 2, Context: 256, Chunk: 32})
	var told log
	e.Observe = told.observe
	stop := start(t, e)
	var wg sync.WaitGroup
	n := 0
	for range e.Generate(context.Background(), engine.Request{Prompt: prompt(4, 1), Limit: 200}) {
		if n++; n == 1 {
			wg.Go(func() { _, _, _ = all(e, engine.Request{Prompt: prompt(100, 2), Limit: 1}) })
		}
	}
	wg.Wait()
	stop()
	for i, ev := range told.events[1:] {
		if ev.Generated > 0 && ev.Prompt > 8 {
			t.Errorf("pass %d read %d prompt tokens beside an answer, want at most 8", i, ev.Prompt)
		}
	}
}

// TestPromptsShareThePass: a short prompt that came later does not wait for a
// long one to be read.
func TestPromptsShareThePass(t *testing.T) {
	b := newBenchOn(t, 1)
	var told log
	synctest.Test(t, func(t *testing.T) {
		e := b.engine(engine.Options{Slots: 2, Context: 256, Chunk: 16})
		e.Observe = told.observe
		var wg sync.WaitGroup
		for _, n := range []int{250, 20} {
			wg.Go(func() {
				if _, _, err := all(e, engine.Request{Prompt: prompt(n, int32(n)), Limit: 1}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // it is in the queue
		}
		stop := start(t, e)
		wg.Wait()
		stop()
	})
	read := 0
	for _, ev := range told.events {
		if read += ev.Prompt; ev.Running == 1 {
			break
		}
	}
	if read > 2*20+16 {
		t.Errorf("the first answer came after %d prompt tokens", read)
	}
}

// TestPoisonedAdapter: the request whose logits are not finite fails alone, and
// so does one whose adapter does not fit.
func TestPoisonedAdapter(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 3, Context: 64})
	start(t, e)
	want, _, _ := all(e, engine.Request{Prompt: prompt(4, 1), Limit: 20})
	bad := adapter(b.m, 3)
	for _, pairs := range bad.Pairs {
		pairs["attn_q"].B[0] = float32(math.NaN())
	}
	var got []int32
	for token, err := range e.Generate(context.Background(), engine.Request{Prompt: prompt(4, 1), Limit: 20}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, token.ID); len(got) == 1 {
			_, _, err := all(e, engine.Request{Prompt: prompt(6, 2), Adapter: bad, Limit: 5})
			var numeric *forward.NumericError
			if !errors.As(err, &numeric) || fault.KindOf(err) != fault.Internal {
				t.Errorf("the poisoned adapter gave %v", err)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	broken := adapter(b.m, 3)
	broken.Pairs[0]["attn_q"].A = nil
	if _, _, err := all(e, engine.Request{Prompt: prompt(6, 2), Adapter: broken, Limit: 5}); err == nil || fault.KindOf(err) != fault.Internal {
		t.Errorf("the broken adapter gave %v", err)
	}
	if again, _, err := all(e, engine.Request{Prompt: prompt(4, 1), Limit: 20}); err != nil || !slices.Equal(again, want) {
		t.Errorf("after the panic: %v, %v", again, err)
	}
}

// TestNewcomer: one client has every slot when another comes, who gets one at
// once, although both have had as much as the other so far.
func TestNewcomer(t *testing.T) {
	b := newBench(t)
	e := b.engine(engine.Options{Slots: 2, Context: 256})
	start(t, e)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	writing := make(chan struct{}, 2)
	answered := make(chan struct{})
	for i := range int32(2) {
		wg.Go(func() {
			n := 0
			for _, err := range e.Generate(ctx, engine.Request{Prompt: prompt(4, i), Limit: 200, Client: "first"}) {
				if err != nil {
					t.Error(err)
				}
				if n++; n == 1 {
					writing <- struct{}{}
				}
			}
		})
	}
	<-writing
	<-writing
	wg.Go(func() {
		defer close(answered)
		for _, err := range e.Generate(ctx, engine.Request{Prompt: prompt(4, 7), Limit: 3, Client: "second"}) {
			if err != nil {
				t.Errorf("the newcomer: %v", err)
			}
		}
	})
	<-answered
	wg.Wait()
}
