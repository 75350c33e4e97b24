package forward_test

import (
	"testing"

	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
)

// TestSharedPages lets three sequences go on from one beginning: each is what it
// is alone, and only the page where they part is theirs.
func TestSharedPages(t *testing.T) {
	each(t, func(t *testing.T, m *model.Model, gang *kernel.Gang, p kernel.Precision, _ modeltest.Shape) {
		beginning := ids(70, 1)
		pass := forward.New(m, gang, p, 3, 128)
		run(t, pass, rows(beginning, 0, 0, nil, false))
		pages := pass.Pages(0)
		pass.Begin(1, pages, 70)
		pass.Begin(2, pages, 65)
		if got := pass.Used(); got != 3 {
			t.Errorf("%d pages are held by three sequences of the same 3 pages", got)
		}
		if got := []int{pass.Need(0, 1), pass.Need(1, 26), pass.Need(1, 27), pass.Need(2, 0)}; got[0] != 1 || got[1] != 1 || got[2] != 2 || got[3] != 0 {
			t.Errorf("pages lacking: %v", got)
		}
		for slot, keep := range []int{70, 70, 65} {
			rest := ids(20, uint64(slot+2))
			got := run(t, pass, rows(rest, slot, keep, nil, true))
			fresh := forward.New(m, gang, p, 1, 128)
			want := run(t, fresh, rows(append(beginning[:keep:keep], rest...), 0, 0, nil, true))[keep:]
			for i := range want {
				same(t, "a shared beginning", got[i], want[i])
			}
		}
		if got := pass.Used(); got != 2+3 {
			t.Errorf("%d pages are held by three sequences that share 2 and have 1 each", got)
		}
		for slot := range 3 {
			pass.Reset(slot, 0)
		}
		if got := pass.Used(); got != 0 {
			t.Errorf("%d pages are held by nobody", got)
		}
	})
}

// TestAdaptersAreKeptReady: an adapter is packed once, so many are kept, and one
// that was let go is packed again.
func TestAdaptersAreKeptReady(t *testing.T) {
	gang := newGang(t)
	shape := modeltest.Shape{}
	m := open(t, modeltest.Write(t, shape), gang)
	pass := forward.New(m, gang, kernel.Fast, 1, 8)
	var all []*lora.Adapter
	ask := func(a *lora.Adapter) []float32 {
		pass.Reset(0, 0)
		return run(t, pass, rows(ids(3, 1), 0, 0, a, false))[0]
	}
	var first []float32
	for i := range 70 {
		all = append(all, draw(m, *spec(shape, 2, 2, uint64(i))))
		if logits := ask(all[i]); i == 0 {
			first = logits
		}
	}
	if got := pass.Ready(); got != 64 {
		t.Errorf("%d adapters are ready, want 64", got)
	}
	same(t, "packed again", ask(all[0]), first)
	pass.Forget(all[0])
	if got := pass.Ready(); got != 63 {
		t.Errorf("%d adapters are ready after one was forgotten", got)
	}
}
