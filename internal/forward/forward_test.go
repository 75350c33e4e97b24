package forward_test

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/quant"
)

// shapes are the models that the properties are tried on.
var shapes = []struct {
	name  string
	shape modeltest.Shape
}{
	{"llama", modeltest.Shape{Seed: 11, Type: quant.Q4_1}},
	{"phi2", modeltest.Shape{Arch: "phi2", Seed: 12, Type: quant.Q8_0}},
}

// each runs f on every shape at every precision.
func each(t *testing.T, f func(t *testing.T, m *model.Model, gang *kernel.Gang, p kernel.Precision, s modeltest.Shape)) {
	gang := newGang(t)
	for _, s := range shapes {
		m := open(t, modeltest.Write(t, s.shape), gang)
		t.Run(s.name+"/fast", func(t *testing.T) { f(t, m, gang, kernel.Fast, s.shape) })
		t.Run(s.name+"/exact", func(t *testing.T) { f(t, m, gang, kernel.Exact, s.shape) })
	}
}

// same fails unless two logits are the same up to rounding.
func same(t rapid.TB, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= 1e-5) {
			t.Fatalf("%s: logit %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// sequence is one of several that share a pass.
type sequence struct {
	tokens  []int32
	adapter *lora.Adapter
	alone   [][]float32 // logits of each position, computed one token at a time
	done    int
}

// TestBatchedIsAlone deals random pieces of several sequences into random
// batches and compares every logit with those of each sequence run by itself,
// token for token.
func TestBatchedIsAlone(t *testing.T) {
	each(t, func(t *testing.T, m *model.Model, gang *kernel.Gang, p kernel.Precision, s modeltest.Shape) {
		adapters := []*lora.Adapter{nil, draw(m, *spec(s, 4, 8, 1)), draw(m, *spec(s, 3, 2, 2))}
		all := make([]*sequence, 5)
		for i := range all {
			all[i] = &sequence{tokens: ids(10+7*i, uint64(i)), adapter: adapters[i%len(adapters)]}
			pass := forward.New(m, gang, p, 1, 256)
			for pos := range all[i].tokens {
				all[i].alone = append(all[i].alone, run(t, pass, rows(all[i].tokens[pos:pos+1], 0, pos, all[i].adapter, true))[0])
			}
		}
		rapid.Check(t, func(t *rapid.T) { mixed(t, forward.New(m, gang, p, len(all), 256), all) })
	})
}

// mixed runs all in random batches.
func mixed(t *rapid.T, pass *forward.Pass, all []*sequence) {
	for _, s := range all {
		s.done = 0
	}
	left := slices.Clone(all)
	for len(left) > 0 {
		var batch []forward.Row
		var wants [][]float32
		for _, s := range rapid.Permutation(left).Draw(t, "order") {
			n := rapid.IntRange(0, len(s.tokens)-s.done).Draw(t, "rows")
			for range n {
				ask := rapid.Bool().Draw(t, "logits")
				batch = append(batch, forward.Row{
					Token: s.tokens[s.done], Slot: slices.Index(all, s), Pos: s.done, Adapter: s.adapter, Logits: ask,
				})
				if ask {
					wants = append(wants, s.alone[s.done])
				}
				s.done++
			}
		}
		logits, err := pass.Run(batch)
		if err != nil {
			t.Fatal(err)
		}
		if len(logits) != len(wants) {
			t.Fatalf("%d rows answered, want %d", len(logits), len(wants))
		}
		for i := range wants {
			same(t, "batched", logits[i], wants[i])
		}
		left = slices.DeleteFunc(left, func(s *sequence) bool { return s.done == len(s.tokens) })
	}
}

func TestChunkedIsWhole(t *testing.T) {
	each(t, func(t *testing.T, m *model.Model, gang *kernel.Gang, p kernel.Precision, s modeltest.Shape) {
		tokens, a := ids(100, 1), draw(m, *spec(s, 4, 8, 1))
		whole := run(t, forward.New(m, gang, p, 1, 256), rows(tokens, 0, 0, a, true))
		for _, chunk := range []int{1, 7, 64} {
			pass := forward.New(m, gang, p, 1, 256)
			for lo := 0; lo < len(tokens); lo += chunk {
				hi := min(lo+chunk, len(tokens))
				got := run(t, pass, rows(tokens[lo:hi], 0, lo, a, false))
				same(t, "chunked", got[0], whole[hi-1])
			}
		}
	})
}

func TestAdapterWithoutBIsBase(t *testing.T) {
	each(t, func(t *testing.T, m *model.Model, gang *kernel.Gang, p kernel.Precision, s modeltest.Shape) {
		a := draw(m, *spec(s, 4, 8, 1))
		for _, pairs := range a.Pairs {
			for _, pair := range pairs {
				clear(pair.B)
			}
		}
		tokens := ids(20, 3)
		base := run(t, forward.New(m, gang, p, 1, 64), rows(tokens, 0, 0, nil, true))
		tuned := run(t, forward.New(m, gang, p, 1, 64), rows(tokens, 0, 0, a, true))
		if diff := cmp.Diff(base, tuned); diff != "" {
			t.Errorf("an adapter that changes nothing changed the logits: %s", diff)
		}
	})
}

func TestResetThenContinueIsFresh(t *testing.T) {
	each(t, func(t *testing.T, m *model.Model, gang *kernel.Gang, p kernel.Precision, _ modeltest.Shape) {
		tokens, other := ids(90, 4), ids(90, 5)
		want := run(t, forward.New(m, gang, p, 1, 128), rows(tokens, 0, 0, nil, false))
		for _, keep := range []int{0, 1, 40, 89} {
			pass := forward.New(m, gang, p, 2, 128)
			run(t, pass, rows(slices.Concat(tokens[:keep], other[keep:]), 1, 0, nil, false))
			pass.Reset(1, keep)
			got := run(t, pass, rows(tokens[keep:], 1, keep, nil, false))
			same(t, "after Reset", got[0], want[0])
		}
	})
}

func TestBeginIsComputed(t *testing.T) {
	each(t, func(t *testing.T, m *model.Model, gang *kernel.Gang, p kernel.Precision, _ modeltest.Shape) {
		tokens := ids(90, 6)
		want := run(t, forward.New(m, gang, p, 1, 128), rows(tokens, 0, 0, nil, false))
		pass := forward.New(m, gang, p, 2, 128)
		run(t, pass, rows(tokens[:80], 0, 0, nil, false))
		run(t, pass, rows(ids(5, 7), 1, 0, nil, false))
		pass.Begin(1, pass.Pages(0), 70)
		got := run(t, pass, rows(tokens[70:], 1, 70, nil, false))
		same(t, "after Begin", got[0], want[0])
		got = run(t, pass, rows(tokens[80:], 0, 80, nil, false))
		same(t, "the copied slot", got[0], want[0])
	})
}

func TestRefusedRowsChangeNothing(t *testing.T) {
	gang := newGang(t)
	m := open(t, modeltest.Write(t, modeltest.Shape{}), gang)
	tokens := ids(8, 8)
	want := run(t, forward.New(m, gang, kernel.Exact, 2, 8), rows(tokens, 0, 0, nil, false))
	thin := &lora.Adapter{Name: "thin", Rank: 1}
	for _, c := range []struct {
		name string
		row  forward.Row
	}{
		{"slot below", forward.Row{Slot: -1}},
		{"slot above", forward.Row{Slot: 2}},
		{"token below", forward.Row{Token: -1, Pos: 4}},
		{"token above", forward.Row{Token: int32(m.Dims.Vocab), Pos: 4}},
		{"position repeated", forward.Row{Pos: 3}},
		{"position left out", forward.Row{Pos: 5}},
		{"adapter of another depth", forward.Row{Pos: 4, Adapter: thin}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pass := forward.New(m, gang, kernel.Exact, 2, 8)
			run(t, pass, rows(tokens[:4], 0, 0, nil, false))
			if _, err := pass.Run([]forward.Row{c.row}); err == nil {
				t.Fatal("the row was accepted")
			}
			same(t, "after the refusal", run(t, pass, rows(tokens[4:], 0, 4, nil, false))[0], want[0])
			if _, err := pass.Run([]forward.Row{{Pos: 8}}); err == nil {
				t.Error("a position past the context was accepted")
			}
		})
	}
}

// TestNumericError poisons one adapter: its rows are named, the others answered.
func TestNumericError(t *testing.T) {
	gang := newGang(t)
	shape := modeltest.Shape{}
	m := open(t, modeltest.Write(t, shape), gang)
	bad := draw(m, *spec(shape, 2, 2, 1))
	for _, pair := range bad.Pairs[1] {
		for i := range pair.B {
			pair.B[i] = math.MaxFloat32
		}
	}
	tokens := ids(3, 9)
	want := run(t, forward.New(m, gang, kernel.Exact, 1, 8), rows(tokens, 0, 0, nil, true))
	pass := forward.New(m, gang, kernel.Exact, 2, 8)
	logits, err := pass.Run(append(rows(tokens, 1, 0, bad, false), rows(tokens, 0, 0, nil, true)...))
	var numeric *forward.NumericError
	if !errors.As(err, &numeric) {
		t.Fatalf("error is %v, want a NumericError", err)
	}
	if diff := cmp.Diff([]int{2}, numeric.Rows); diff != "" {
		t.Error(diff)
	}
	for i := range want {
		same(t, "beside the poisoned row", logits[1+i], want[i])
	}
}

// TestBuffersAreReused runs the same passes again and again. What the kernels
// allocate for their loops, some closures, does not grow with the rows; any
// buffer of this pass would.
func TestBuffersAreReused(t *testing.T) {
	gang := newGang(t)
	if gang.Level() == kernel.Generic {
		t.Skip("the plain-Go kernels allocate as they like")
	}
	shape := modeltest.Shape{Type: quant.Q4_1, Hidden: 128, FFN: 1024}
	m := open(t, modeltest.Write(t, shape), gang)
	pass := forward.New(m, gang, kernel.Fast, 4, 64)
	var batch []forward.Row
	for slot := range 4 {
		batch = append(batch, rows(ids(48, 2), slot, 0, nil, true)...)
	}
	bytes := func(passes int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range passes {
			for slot := range 4 {
				pass.Reset(slot, 0)
			}
			if _, err := pass.Run(batch); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / uint64(passes)
	}
	bytes(2)
	if n := bytes(20); n > 64<<10 {
		t.Errorf("%d bytes are allocated per pass of %d rows", n, len(batch))
	}
}

func TestContextIsTheModelsAtMost(t *testing.T) {
	gang := newGang(t)
	m := open(t, modeltest.Write(t, modeltest.Shape{Context: 32}), gang)
	if got := forward.New(m, gang, kernel.Fast, 1, 100).Context(); got != 32 {
		t.Errorf("context is %d, want 32", got)
	}
}

// TestMemoryGrowsWithUse: an unused slot takes nothing, and never more than the
// context is reserved.
func TestMemoryGrowsWithUse(t *testing.T) {
	gang := newGang(t)
	m := open(t, modeltest.Write(t, modeltest.Shape{}), gang)
	pass := forward.New(m, gang, kernel.Exact, 8, 200)
	if got := pass.Bytes(); got != 0 {
		t.Errorf("%d bytes before use", got)
	}
	run(t, pass, rows(ids(200, 1), 3, 0, nil, false))
	position := int64(4 * 2 * m.Dims.Layers * m.Dims.KVHeads * m.Dims.HeadDim)
	pages := int64(200+forward.PageTokens-1) / forward.PageTokens
	if got, want := pass.Bytes(), pages*forward.PageTokens*position; got != want || pass.Used() != int(pages) {
		t.Errorf("%d bytes for 200 positions of %d, want %d", got, position, want)
	}
	pass.Reset(3, 0)
	if got := pass.Used(); got != 0 {
		t.Errorf("%d pages are held after the reset", got)
	}
}
