package graph_test

import (
	"math"
	"strconv"
	"testing"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/graph"
	"afina/internal/kernel"
)

// alike are conversations of which most begin with the same tokens, some with
// more of them, and one with others.
func alike() []chat.Sequence {
	var all []chat.Sequence
	for i, n := range []int{30, 26, 41, 26, 33} {
		s := sequence(n, n-9, i)
		copy(s.Tokens, sequence(18, 0, 99).Tokens)
		if i == 1 || i == 3 {
			copy(s.Tokens, sequence(21, 0, 99).Tokens)
		}
		all = append(all, s)
	}
	return append(all, sequence(12, 5, 7))
}

// laid is alike as one batch, with or without sharing.
func laid(t *testing.T, share bool) data.Batch {
	t.Helper()
	seqs := alike()
	s := data.Plan{BatchSize: len(seqs), Epochs: 1, Share: share, Seed: 1}.Step(seqs, 0)
	if len(s.Batches) != 1 || (s.Batches[0].Shared != nil) != share {
		t.Fatalf("got %+v", s)
	}
	return s.Batches[0]
}

// TestShared: a batch whose conversations share their beginnings has the loss and
// the gradients of the batch in which each has its own.
func TestShared(t *testing.T) {
	for name, shape := range architectures {
		for _, policy := range []graph.Memory{graph.Store, graph.Recompute} {
			t.Run(name+" "+string(policy), func(t *testing.T) {
				o := graph.Options{Precision: kernel.Exact, Memory: policy}
				g := build(t, tiny(t, shape, 2), o)
				plain, shared := laid(t, false), laid(t, true)
				if len(shared.Tokens) >= len(plain.Tokens)*2/3 {
					t.Fatalf("%d tokens of %d are left", len(shared.Tokens), len(plain.Tokens))
				}
				wantLoss, want := gradients(t, g, plain, 0)
				loss, grads := gradients(t, g, shared, 0)
				if math.Abs(loss-wantLoss) > 1e-6*wantLoss {
					t.Errorf("the loss is %v, want %v", loss, wantLoss)
				}
				for name := range want {
					if cos, worst := cosine(grads[name], want[name]); cos < 0.999999 || worst > 1e-4 {
						t.Errorf("%s: cosine %v, largest difference %v", name, cos, worst)
					}
				}
				if again, _ := gradients(t, g, plain, 0); again != wantLoss {
					t.Errorf("without sharing again the loss is %v, want %v", again, wantLoss)
				}
			})
		}
	}
}

// TestSharedBits: neither threads nor the memory policy change a bit.
func TestSharedBits(t *testing.T) {
	shape := architectures["llama"]
	o := graph.Options{Precision: kernel.Fast, Memory: graph.Store, Dropout: 0.1}
	b := laid(t, true)
	wantLoss, want := gradients(t, build(t, tiny(t, shape, 1), o), b, 9)
	for _, workers := range []int{1, 2, 3} {
		o.Memory = []graph.Memory{graph.Store, graph.Recompute}[workers%2]
		t.Run(strconv.Itoa(workers), func(t *testing.T) {
			loss, grads := gradients(t, build(t, tiny(t, shape, workers), o), b, 9)
			if loss != wantLoss {
				t.Errorf("the loss is %v, want %v", loss, wantLoss)
			}
			for name, w := range want {
				for i := range w {
					if math.Float32bits(w[i]) != math.Float32bits(grads[name][i]) {
						t.Fatalf("%s[%d] is %v, want %v", name, i, grads[name][i], w[i])
					}
				}
			}
		})
	}
}

// TestSharedRefuses finds places that cannot be.
func TestSharedRefuses(t *testing.T) {
	g := build(t, tiny(t, architectures["llama"], 1), graph.Options{})
	for name, spoil := range map[string]func(b *data.Batch){
		"beyond":  func(b *data.Batch) { b.Shared[5] = 1 << 20 },
		"below":   func(b *data.Batch) { b.Shared[5] = -1 },
		"missing": func(b *data.Batch) { b.Shared[len(b.Shared)-1] = 0 },
		"first":   func(b *data.Batch) { b.First[3] = 9 },
		"lengths": func(b *data.Batch) { b.First = b.First[1:] },
	} {
		b := laid(t, true)
		spoil(&b)
		if _, _, err := g.Loss(t.Context(), b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
