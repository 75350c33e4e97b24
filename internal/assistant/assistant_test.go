package assistant_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/sampling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a catalog of one tiny model, "tiny", and an adapter, "tuned".
type shelf struct {
	m     *model.Model
	tuned *lora.Adapter
}

func (s shelf) Resolve(name string) (*model.Model, *lora.Adapter, error) {
	switch name {
	case "tiny":
		return s.m, nil, nil
	case "tuned":
		return s.m, s.tuned, nil
	}
	return nil, nil, fault.New(fault.NotFound, "no model is called %q", name).WithCode("model_not_found").WithParam("model")
}

func newGang(t testing.TB) *kernel.Gang {
	t.Helper()
	pool := parallel.New(2)
	t.Cleanup(pool.Close)
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	return gang
}

func newShelf(t testing.TB, gang *kernel.Gang) shelf {
	t.Helper()
	m, err := model.Open(modeltest.Write(t, modeltest.Shape{Seed: 3}), gang)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	a, err := lora.New(m, 2, 8, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, pairs := range a.Pairs {
		for _, p := range pairs {
			for i := range p.B {
				p.B[i] = float32(i%5-2) / 4
			}
		}
	}
	return shelf{m, a}
}

// start returns a running assistant; what its observer is told lands in timings.
func start(t testing.TB, o assistant.Options) (a *assistant.Assistant, timings func() []assistant.Timing, stop func()) {
	t.Helper()
	gang := newGang(t)
	a = assistant.New(newShelf(t, gang), gang, o)
	var mu sync.Mutex
	var seen []assistant.Timing
	a.Observe = func(tm assistant.Timing) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, tm)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return a, func() []assistant.Timing { mu.Lock(); defer mu.Unlock(); return seen }, stop
}

func ask(text string) chat.Conversation {
	return chat.Conversation{Messages: []chat.Message{{Role: chat.User, Content: text}}}
}

// whole reads an answer to its end.
func whole(t testing.TB, a *assistant.Assistant, q assistant.Question) (text string, last assistant.Delta) {
	t.Helper()
	for d, err := range a.Ask(context.Background(), q) {
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(d.Text) {
			t.Errorf("delta %q ends in half a rune", d.Text)
		}
		text += d.Text
		last = d
	}
	return text, last
}

func TestAnswer(t *testing.T) {
	a, timings, stop := start(t, assistant.Options{})
	text, last := whole(t, a, assistant.Question{Model: "tiny", Conversation: ask("hello"), Limit: 40})
	if text == "" || last.Reason != engine.Length || last.Usage.Completion != 40 || last.Usage.Prompt == 0 {
		t.Errorf("answered %q, %+v", text, last)
	}
	again, _ := whole(t, a, assistant.Question{Model: "tiny", Conversation: ask("hello"), Limit: 40})
	if again != text {
		t.Errorf("greedy answers differ: %q, %q", text, again)
	}
	tuned, _ := whole(t, a, assistant.Question{Model: "tuned", Conversation: ask("hello"), Limit: 40})
	if tuned == text {
		t.Error("the adapter changed nothing")
	}
	seeded := func(seed uint64) string {
		text, _ := whole(t, a, assistant.Question{
			Model: "tiny", Conversation: ask("hello"), Limit: 40, Sampling: sampling.Options{Temperature: 1, Seed: seed},
		})
		return text
	}
	if one := seeded(1); one != seeded(1) || one == seeded(2) {
		t.Error("equal seeds must give equal answers, others other ones")
	}
	stop()
	first := timings()[0]
	if first.Model != "tiny" || first.Reason != "length" || len(first.BetweenTokens) != 39 ||
		first.FirstToken <= 0 || first.Seconds < first.FirstToken || first.Usage.Completion != 40 {
		t.Errorf("timing is %+v", first)
	}
}

// TestStop takes pieces of a free answer as stop strings.
func TestStop(t *testing.T) {
	a, _, _ := start(t, assistant.Options{})
	q := assistant.Question{Model: "tiny", Conversation: ask("hello"), Limit: 60}
	free, _ := whole(t, a, q)
	runes := []rune(free)
	for at := 0; at+3 < len(runes); at += 5 {
		for n := 1; n <= 3; n++ {
			stop := string(runes[at : at+n])
			q.Stop = []string{"never said", stop}
			got, last := whole(t, a, q)
			if want, _, _ := strings.Cut(free, stop); got != want || last.Reason != engine.Stop {
				t.Errorf("stop %q: got %q (%s), want %q", stop, got, last.Reason, want)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	a, timings, stop := start(t, assistant.Options{Engine: engine.Options{Context: 64}})
	for _, c := range []struct {
		name        string
		q           assistant.Question
		kind        fault.Kind
		code, param string
		says        string
	}{
		{"unknown model", assistant.Question{Model: "other", Conversation: ask("a")}, fault.NotFound, "model_not_found", "model", "other"},
		{"no messages", assistant.Question{Model: "tiny"}, fault.Invalid, "", "messages", "at least one"},
		{"empty stop", assistant.Question{Model: "tiny", Conversation: ask("a"), Stop: []string{"x", ""}}, fault.Invalid, "", "stop", "empty"},
		{"too long", assistant.Question{Model: "tiny", Conversation: ask(strings.Repeat("a ", 100))}, fault.Invalid, "context_length_exceeded", "messages", "holds 64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got error
			for _, err := range a.Ask(context.Background(), c.q) {
				got = err
			}
			var f *fault.Error
			if !errors.As(got, &f) || f.Kind != c.kind || f.Code != c.code || f.Param != c.param || !strings.Contains(f.Message, c.says) {
				t.Errorf("error is %+v", got)
			}
		})
	}
	stop()
	for _, tm := range timings() {
		if tm.Reason != "error" {
			t.Errorf("a refused question ended as %q", tm.Reason)
		}
	}
}

func TestCancel(t *testing.T) {
	a, timings, stop := start(t, assistant.Options{})
	q := assistant.Question{Model: "tiny", Conversation: ask("hello")}
	for range a.Ask(context.Background(), q) {
		break
	}
	ctx, cancel := context.WithCancel(context.Background())
	var got error
	for _, err := range a.Ask(ctx, q) {
		cancel()
		got = err
	}
	if fault.KindOf(got) != fault.Canceled || !errors.Is(got, context.Canceled) {
		t.Errorf("error is %v", got)
	}
	cancel()
	stop()
	for _, tm := range timings() {
		if tm.Reason != "canceled" {
			t.Errorf("ended as %q", tm.Reason)
		}
	}
	if err := a.Load(context.Background(), "tiny"); err != nil {
		t.Errorf("a model that is loaded: %v", err)
	}
	for _, err := range a.Ask(context.Background(), q) {
		if fault.KindOf(err) != fault.Busy {
			t.Errorf("after the end: %v, want busy", err)
		}
	}
}

// TestBeforeRun: who asks before Run waits for it, or for the end of patience.
func TestBeforeRun(t *testing.T) {
	gang := newGang(t)
	a := assistant.New(newShelf(t, gang), gang, assistant.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := a.Load(ctx, "tiny"); fault.KindOf(err) != fault.Canceled {
		t.Errorf("error is %v", err)
	}
}

// TestTogether asks with the base and the adapter at once, through few slots.
func TestTogether(t *testing.T) {
	a, _, stop := start(t, assistant.Options{Engine: engine.Options{Slots: 3}})
	var told sync.Map
	want := map[string]string{}
	names := []string{"tiny", "tuned"}
	for i := range 8 {
		q := assistant.Question{Model: names[i%2], Conversation: ask(fmt.Sprint("question ", i)), Limit: 25}
		want[fmt.Sprint(i)], _ = whole(t, a, q)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			q := assistant.Question{Model: names[i%2], Conversation: ask(fmt.Sprint("question ", i)), Limit: 25}
			text, _ := whole(t, a, q)
			told.Store(fmt.Sprint(i), text)
		})
	}
	wg.Wait()
	stop()
	got := map[string]string{}
	told.Range(func(k, v any) bool { got[k.(string)] = v.(string); return true })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alone -, together +:\n%s", diff)
	}
}
