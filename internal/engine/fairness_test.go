package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"afina/internal/engine"
)

// turns notes in which pass each token of an answer is drawn, counted from 0. It
// is a constraint that allows everything: the loop calls it while it draws.
type turns struct {
	passes *atomic.Int64 // that are over
	at     []int64
	over   func() // called at the last of limit tokens; may be nil
	limit  int
}

func (n *turns) Mask([]uint64) bool { return false }

func (n *turns) Accept(int32) error {
	n.at = append(n.at, n.passes.Load())
	if len(n.at) == n.limit && n.over != nil {
		n.over()
	}
	return nil
}

// crowd has an engine answer requests that are all there before it begins, and one
// that comes in its second pass. It returns when all are answered.
func crowd(t *testing.T, e *engine.Engine, passes *atomic.Int64, told *log, first []engine.Request, then *engine.Request) {
	t.Helper()
	var wg sync.WaitGroup
	ask := func(r engine.Request) {
		wg.Go(func() {
			for _, err := range e.Generate(context.Background(), r) {
				if err != nil {
					t.Error(err)
				}
			}
		})
		synctest.Wait()
	}
	for _, r := range first {
		ask(r)
	}
	began, resume := make(chan struct{}), make(chan struct{})
	e.Observe = func(ev engine.Event) {
		told.observe(ev)
		if passes.Add(1) == 1 && then != nil {
			close(began)
			<-resume
		}
	}
	stop := start(t, e)
	if then != nil {
		<-began
		ask(*then)
		close(resume)
	}
	wg.Wait()
	stop()
}

// TestOneBesideMany: a client with one request beside one with 32, who came first
// and has all places, is read at once and then has a token in every pass.
func TestOneBesideMany(t *testing.T) {
	b := newBenchOn(t, 1)
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int64
		var told log
		one := &turns{passes: &passes}
		var many []engine.Request
		for i := range 32 {
			many = append(many, engine.Request{Client: "many", Prompt: prompt(60, int32(i)), Limit: 40})
		}
		crowd(t, b.engine(engine.Options{Slots: 8, Context: 256, Chunk: 32, Lookup: -1}), &passes, &told, many,
			&engine.Request{Client: "one", Prompt: prompt(60, 77), Limit: 20, Constraint: one})
		// It comes in pass 0. Of 32 prompt tokens a pass, at least 8 are read while others
		// write, and half of these are its own.
		if first := one.at[0]; first > 1+60/4 {
			t.Errorf("its first token was drawn in pass %d", first)
		}
		if n := one.at[19] - one.at[0]; n != 19 {
			t.Errorf("its 20 tokens took %d passes: %v", n+1, one.at)
		}
		t.Logf("tokens from pass %d to %d of %d", one.at[0], one.at[19], passes.Load())
	})
}

// TestShareByTokens: with one place for all, clients with long requests, and many,
// and with short ones, and few, have the same number of tokens computed, to within
// one request, as long as both are there.
func TestShareByTokens(t *testing.T) {
	const long, short = 60 + 40, 15 + 5 // the last token drawn is not run
	b := newBenchOn(t, 1)
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int64
		var told log
		had := map[string]int{}
		left := map[string]int{"many": 32, "few": 10}
		var order []string
		request := func(client string, seed, length, limit, tokens int) engine.Request {
			return engine.Request{Client: client, Prompt: prompt(length, int32(seed)), Limit: limit, Constraint: &turns{passes: &passes, limit: limit, over: func() {
				had[client] += tokens
				order = append(order, client)
				if gap := had["many"] - had["few"]; left["many"] > 0 && left["few"] > 0 && (gap > long || gap < -long) {
					t.Errorf("after %v: %v tokens", order, had)
				}
				left[client]--
			}}}
		}
		var all []engine.Request
		for i := range 32 {
			all = append(all, request("many", i, 60, 41, long))
		}
		for i := range 10 {
			all = append(all, request("few", 100+i, 15, 6, short))
		}
		crowd(t, b.engine(engine.Options{Slots: 1, Context: 256, Chunk: 32, Lookup: -1}), &passes, &told, all, nil)
		if at := slices.Index(order, "few"); at != 1 {
			t.Errorf("the order is %v", order)
		}
		t.Log(fmt.Sprint(order[:14]))
	})
}

// TestChatBesideFlood: who chats with an adapter is not starved by another client's
// 32 long prompts: between two of his tokens no more of them is read than if the
// other had one.
func TestChatBesideFlood(t *testing.T) {
	const chunk = 64
	b := newBenchOn(t, 1)
	tuned := adapter(b.m, 3)
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int64
		var told log
		words := &turns{passes: &passes}
		var flood []engine.Request
		for i := range 32 {
			flood = append(flood, engine.Request{Client: "flood", Prompt: prompt(200, int32(i)), Limit: 4})
		}
		crowd(t, b.engine(engine.Options{Slots: 8, Context: 256, Chunk: chunk, Lookup: -1}), &passes, &told, flood,
			&engine.Request{Client: "chat", Adapter: tuned, Prompt: prompt(20, 77), Limit: 20, Constraint: words})
		first, last := words.at[0], words.at[19]
		if first > 4 {
			t.Errorf("the first word came in pass %d", first)
		}
		if last-first != 19 {
			t.Errorf("20 words took %d passes", last-first+1)
		}
		for i, ev := range told.events[first+1 : last+1] {
			if ev.Prompt > chunk/4 {
				t.Errorf("word %d waited for %d tokens of prompts", i+2, ev.Prompt)
				break
			}
		}
		if n := told.events[last].Waiting; n == 0 {
			t.Error("the flood was over before the chat")
		}
	})
}
