package graph_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/optim"
	"afina/internal/parallel"
	"afina/internal/quant"
	"afina/internal/safetensors"
)

var dump = flag.String("dump", "", "write models and cases for testdata/make_gradients.py to this folder")

// fixture is a tiny model with an adapter that changes what it computes.
type fixture struct {
	gang    *kernel.Gang
	model   *model.Model
	adapter *lora.Adapter
}

func gang(t testing.TB, workers int) *kernel.Gang {
	t.Helper()
	pool := parallel.New(workers)
	t.Cleanup(pool.Close)
	g, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func open(t testing.TB, path string, g *kernel.Gang) *model.Model {
	t.Helper()
	m, err := model.Open(path, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// tiny opens the model of a shape and draws an adapter for the given slots.
func tiny(t testing.TB, shape modeltest.Shape, workers int, slots ...string) fixture {
	t.Helper()
	g := gang(t, workers)
	m := open(t, modeltest.Write(t, shape), g)
	return fixture{g, m, draw(t, m, slots...)}
}

const (
	rank   = 4
	alpha  = 6
	spread = 0.2
	seed   = 11
)

// draw returns an adapter whose A and B are uniform in ±spread, by SplitMix64.
func draw(t testing.TB, m *model.Model, slots ...string) *lora.Adapter {
	t.Helper()
	a, err := lora.New(m, rank, alpha, slots, 1)
	if err != nil {
		t.Fatal(err)
	}
	state := uint64(seed)
	fill := func(x []float32) {
		for i := range x {
			state += 0x9e3779b97f4a7c15
			z := state
			z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
			z = (z ^ z>>27) * 0x94d049bb133111eb
			x[i] = float32((float64((z^z>>31)>>40)/(1<<23) - 1) * spread)
		}
	}
	for _, pairs := range a.Pairs {
		for _, slot := range m.Spec.Slots {
			if p := pairs[slot.GGUF]; p != nil {
				fill(p.A)
				fill(p.B)
			}
		}
	}
	return a
}

func build(t testing.TB, f fixture, o graph.Options) *graph.Graph {
	t.Helper()
	if o.Memory == "" {
		o.Memory = graph.Store
	}
	g, err := graph.Build(f.model, f.adapter, f.gang, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// sequence is n tokens of which the later part is learned.
func sequence(n, from, salt int) chat.Sequence {
	s := chat.Sequence{Tokens: make([]int32, n), Learn: make([]bool, n)}
	for i := range n {
		s.Tokens[i], s.Learn[i] = int32((i*i*7+i*13+salt*31)%256), i >= from
	}
	return s
}

// pack puts sequences end to end.
func pack(seqs ...chat.Sequence) data.Batch {
	var b data.Batch
	for _, s := range seqs {
		first := int32(len(b.Tokens))
		for i, token := range s.Tokens {
			target := int32(-1)
			if i+1 < len(s.Tokens) && s.Learn[i+1] {
				target = s.Tokens[i+1]
				b.Counted++
			}
			b.Tokens, b.Targets = append(b.Tokens, token), append(b.Targets, target)
			b.First, b.Pos = append(b.First, first), append(b.Pos, int32(i))
		}
	}
	return b
}

// some is a packed batch of three sequences.
func some() data.Batch { return pack(sequence(9, 4, 1), sequence(17, 8, 2), sequence(5, 1, 3)) }

// gradients runs b once from zero and returns the loss and copies of the gradients.
func gradients(t testing.TB, g *graph.Graph, b data.Batch, seed uint64) (float64, map[string][]float32) {
	t.Helper()
	optim.Zero(g.Gang(), g.Params())
	loss, _, err := g.Gradients(context.Background(), b, 1, seed)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]float32{}
	for _, p := range g.Params() {
		all[p.Name] = append([]float32(nil), p.Grad...)
	}
	return loss, all
}

// cosine also returns the largest difference relative to the largest number.
func cosine(a, b []float32) (cos, worst float64) {
	var ab, aa, bb, top, diff float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		top, diff = max(top, math.Abs(y)), max(diff, math.Abs(x-y))
	}
	return ab / math.Sqrt(aa*bb), diff / top
}

var architectures = map[string]modeltest.Shape{
	"llama": {Arch: "llama", Type: quant.F32, Seed: 3},
	"phi2":  {Arch: "phi2", Type: quant.F32, Seed: 4},
}

// TestGorgoniaStarts would not even begin without the pinned version of
// assume-no-moving-gc: gorgonia panics when it is imported.
func TestGorgoniaStarts(t *testing.T) {
	g := build(t, tiny(t, architectures["llama"], 1), graph.Options{})
	if len(g.Params()) != 2*2*7 {
		t.Errorf("got %d parameters, want 28", len(g.Params()))
	}
}

// golden is a case for make_gradients.py.
type golden struct {
	Name      string    `json:"name"`
	Model     string    `json:"model"`
	Seed      int       `json:"seed"`
	Rank      int       `json:"rank"`
	Alpha     float64   `json:"alpha"`
	Spread    float64   `json:"spread"`
	Sequences []learned `json:"sequences"`
}

type learned struct {
	Tokens []int32 `json:"tokens"`
	Learn  []bool  `json:"learn"`
}

func TestGoldens(t *testing.T) {
	seqs := []chat.Sequence{sequence(9, 4, 1), sequence(17, 8, 2), sequence(5, 1, 3)}
	var cases []golden
	for name, shape := range architectures {
		path := modeltest.Write(t, shape)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if *dump == "" {
			t.Run(name, func(t *testing.T) { compareGolden(t, name, path, raw, pack(seqs...)) })
			continue
		}
		c := golden{Name: name, Model: name + ".gguf", Seed: seed, Rank: rank, Alpha: alpha, Spread: spread}
		for _, s := range seqs {
			c.Sequences = append(c.Sequences, learned{s.Tokens, s.Learn})
		}
		cases = append(cases, c)
		write(t, c.Model, raw)
	}
	if *dump != "" {
		text, err := json.Marshal(cases)
		if err != nil {
			t.Fatal(err)
		}
		write(t, "cases.json", text)
	}
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(*dump, name), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func compareGolden(t *testing.T, name, path string, raw []byte, b data.Batch) {
	text, err := os.ReadFile(filepath.Join("testdata", name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := safetensors.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(raw); want.Metadata["model_sha256"] != hex.EncodeToString(sum[:]) {
		t.Fatal("the tiny model has changed; run testdata/make_gradients.py again")
	}
	g := gang(t, 2)
	m := open(t, path, g)
	f := fixture{g, m, draw(t, m)}
	for _, policy := range []graph.Memory{graph.Store, graph.Recompute} {
		loss, grads := gradients(t, build(t, f, graph.Options{Precision: kernel.Exact, Memory: policy}), b, 0)
		wantLoss, err := strconv.ParseFloat(want.Metadata["loss"], 64)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(loss-wantLoss) > 1e-5*wantLoss {
			t.Errorf("%s: loss is %v, want %v", policy, loss, wantLoss)
		}
		if len(grads) != len(want.Tensors) {
			t.Errorf("got %d gradients, want %d", len(grads), len(want.Tensors))
		}
		for name, tensor := range want.Tensors {
			w, err := tensor.Floats()
			if err != nil {
				t.Fatal(err)
			}
			if cos, worst := cosine(grads[name], w); !(cos > 0.999999) || worst > 1e-3 {
				t.Errorf("%s %s: cosine %v, largest difference %v", policy, name, cos, worst)
			}
		}
	}
}

// TestFiniteDifferences moves every matrix along a random direction: with
// packing, grouped queries, biases and dropout on.
func TestFiniteDifferences(t *testing.T) {
	for name, shape := range architectures {
		t.Run(name, func(t *testing.T) {
			f := tiny(t, shape, 2)
			g := build(t, f, graph.Options{Precision: kernel.Exact, Dropout: 0.2})
			b := some()
			loss := func() float64 {
				sum, _, err := g.Gradients(context.Background(), b, 0, 5)
				if err != nil {
					t.Fatal(err)
				}
				return sum
			}
			_, grads := gradients(t, g, b, 5)
			for k, p := range g.Params() {
				direction, want := make([]float32, len(p.Value)), 0.0
				for i := range direction {
					direction[i] = float32(1 - 2*((i*i+i/3+k)%2))
					if grads[p.Name][i] < 0 {
						direction[i] = -direction[i]
					}
					if i%3 != 0 {
						direction[i] = float32(math.Copysign(1, float64(grads[p.Name][i])))
					}
					want += float64(direction[i]) * float64(grads[p.Name][i])
				}
				const h = 2e-4 // at 1e-3 the curvature shows, at 5e-5 the rounding
				start := append([]float32(nil), p.Value...)
				move := func(step float32) float64 {
					for i := range p.Value {
						p.Value[i] = start[i] + step*direction[i]
					}
					return loss()
				}
				got := (move(h) - move(-h)) / (2 * h)
				copy(p.Value, start)
				if math.Abs(got-want) > 0.003*math.Abs(want)+1e-2 {
					t.Errorf("%s: the loss rises by %v, its gradient says %v", p.Name, got, want)
				}
			}
		})
	}
}

// TestSameBits compares ways of computing that must not change a bit.
func TestSameBits(t *testing.T) {
	for name, shape := range architectures {
		for _, precision := range []kernel.Precision{kernel.Exact, kernel.Fast} {
			o := graph.Options{Precision: precision, Memory: graph.Store, Dropout: 0.1}
			f := tiny(t, shape, 1)
			loss, want := gradients(t, build(t, f, o), some(), 9)
			compare := func(t *testing.T, f fixture, o graph.Options) {
				t.Helper()
				got, grads := gradients(t, build(t, f, o), some(), 9)
				if got != loss {
					t.Errorf("the loss is %v, want %v", got, loss)
				}
				for name, w := range want {
					for i := range w {
						if math.Float32bits(w[i]) != math.Float32bits(grads[name][i]) {
							t.Fatalf("%s[%d] is %v, want %v", name, i, grads[name][i], w[i])
						}
					}
				}
			}
			t.Run(name+" recompute", func(t *testing.T) {
				o := o
				o.Memory = graph.Recompute
				compare(t, tiny(t, shape, 1), o)
			})
			for _, workers := range []int{2, 3} {
				t.Run(name+" "+strconv.Itoa(workers)+" workers", func(t *testing.T) {
					compare(t, tiny(t, shape, workers), o)
				})
			}
		}
	}
}

// TestLengths runs one graph on batches of several lengths, there and back.
func TestLengths(t *testing.T) {
	f := tiny(t, architectures["llama"], 2)
	g := build(t, f, graph.Options{})
	short, long := pack(sequence(6, 2, 1)), pack(sequence(40, 3, 2), sequence(8, 1, 4))
	for i, b := range []data.Batch{short, long, short, long} {
		loss, grads := gradients(t, g, b, 0)
		wantLoss, want := gradients(t, build(t, fixture{f.gang, f.model, draw(t, f.model)}, graph.Options{}), b, 0)
		if loss != wantLoss {
			t.Errorf("run %d: loss %v, alone %v", i, loss, wantLoss)
		}
		for name := range want {
			if cos, _ := cosine(grads[name], want[name]); cos < 0.9999999 {
				t.Errorf("run %d: %s differs from the graph's that saw only this length", i, name)
			}
		}
	}
}

// TestPacking: the packed batch is the sum of its sequences, and Loss agrees.
func TestPacking(t *testing.T) {
	f := tiny(t, architectures["phi2"], 2)
	g := build(t, f, graph.Options{Precision: kernel.Exact})
	packedLoss, packed := gradients(t, g, some(), 0)
	optim.Zero(g.Gang(), g.Params())
	var sum float64
	for _, s := range []chat.Sequence{sequence(9, 4, 1), sequence(17, 8, 2), sequence(5, 1, 3)} {
		loss, _, err := g.Gradients(context.Background(), pack(s), 0.5, 0)
		if err != nil {
			t.Fatal(err)
		}
		sum += loss
	}
	if math.Abs(sum-packedLoss) > 1e-5*sum {
		t.Errorf("losses add up to %v, packed %v", sum, packedLoss)
	}
	for _, p := range g.Params() {
		for i := range p.Grad {
			p.Grad[i] *= 2
		}
		if cos, worst := cosine(p.Grad, packed[p.Name]); cos < 0.999999 || worst > 1e-4 {
			t.Errorf("%s: cosine %v, largest difference %v", p.Name, cos, worst)
		}
	}
	loss, _, err := g.Loss(context.Background(), some())
	if err != nil || math.Abs(loss-packedLoss) > 1e-6*loss {
		t.Errorf("Loss is %v, %v; want %v", loss, err, packedLoss)
	}
}

// TestRight: how many targets were the most likely token is the same from Loss
// and Gradients, over rows of more than one chunk of the head, and is the number
// of targets that a batch of that token alone calls right.
func TestRight(t *testing.T) {
	for name, shape := range architectures {
		t.Run(name, func(t *testing.T) {
			g := build(t, tiny(t, shape, 2), graph.Options{})
			b, right := some(), 0
			for i := range b.Targets {
				if b.Targets[i] < 0 {
					continue
				}
				// Of all tokens in the place of this one, one is right.
				alone, at := some(), -1
				for j := range alone.Targets {
					if j != i {
						alone.Targets[j] = -1
					}
				}
				alone.Counted = 1
				for token := range g.Model().Dims.Vocab {
					alone.Targets[i] = int32(token)
					_, n, err := g.Loss(t.Context(), alone)
					if err != nil || n > 1 || n == 1 && at >= 0 {
						t.Fatalf("token %d at %d: %d right, %v; %d was right before", token, i, n, err, at)
					}
					if n == 1 {
						at = token
					}
				}
				if right++; at < 0 {
					t.Fatalf("no token is right at %d", i)
				}
				b.Targets[i] = int32(at)
			}
			for wrong := range 4 {
				_, fromLoss, err := g.Loss(t.Context(), b)
				if err != nil || fromLoss != right-wrong {
					t.Errorf("Loss: %d right, %v; want %d", fromLoss, err, right-wrong)
				}
				_, fromGradients, err := g.Gradients(t.Context(), b, 1, 0)
				if err != nil || fromGradients != right-wrong {
					t.Errorf("Gradients: %d right, %v; want %d", fromGradients, err, right-wrong)
				}
				for i := range b.Targets { // make one more wrong
					if b.Targets[i] == some().Targets[i] || b.Targets[i] < 0 {
						continue
					}
					b.Targets[i] = some().Targets[i]
					break
				}
			}
		})
	}
}

// TestLossHasNoDropout: neither masks nor gradients.
func TestLossHasNoDropout(t *testing.T) {
	f := tiny(t, architectures["llama"], 2)
	dropping := build(t, f, graph.Options{Dropout: 0.5})
	first, _, err := dropping.Loss(context.Background(), some())
	if err != nil {
		t.Fatal(err)
	}
	masked, _ := gradients(t, dropping, some(), 1)
	other, _ := gradients(t, dropping, some(), 2)
	again, _, err := dropping.Loss(context.Background(), some())
	if err != nil || again != first {
		t.Errorf("Loss is %v, then %v (%v)", first, again, err)
	}
	if masked == first || masked == other {
		t.Errorf("dropout made no difference: %v, %v, %v", first, masked, other)
	}
}

// TestAdapterIsItsParams: what an optimiser moves is what is saved and served.
func TestAdapterIsItsParams(t *testing.T) {
	f := tiny(t, architectures["llama"], 1, "q", "v", "down")
	before := append([]float32(nil), f.adapter.Pairs[1]["attn_v"].B...)
	g := build(t, f, graph.Options{})
	if len(g.Params()) != 2*2*3 {
		t.Fatalf("got %d parameters, want 12", len(g.Params()))
	}
	for _, p := range g.Params() {
		if p.Name != "blk.1.attn_v.lora_b" {
			continue
		}
		for i := range p.Value {
			if p.Value[i] != before[i] {
				t.Fatal("building the graph changed the adapter")
			}
			p.Value[i] = float32(i)
		}
	}
	for i, x := range f.adapter.Pairs[1]["attn_v"].B {
		if x != float32(i) {
			t.Fatalf("the adapter's B[%d] is %v after the parameter was set to %d", i, x, i)
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := g.Loss(context.Background(), some()); err == nil {
		t.Error("a closed graph computes")
	}
}

// stopper is a context that ends when it has been asked a number of times.
type stopper struct {
	context.Context
	left int
}

func (s *stopper) Err() error {
	if s.left--; s.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestCancel(t *testing.T) {
	f := tiny(t, architectures["llama"], 2)
	g := build(t, f, graph.Options{})
	loss, _ := gradients(t, g, some(), 0)
	for _, left := range []int{0, 1, 2, 4, 5} {
		_, _, err := g.Gradients(&stopper{context.Background(), left}, some(), 1, 0)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped after %d checks: %v", left, err)
		}
	}
	if again, _ := gradients(t, g, some(), 0); again != loss {
		t.Errorf("after being stopped the loss is %v, want %v", again, loss)
	}
}

func TestBadBatches(t *testing.T) {
	g := build(t, tiny(t, architectures["llama"], 1), graph.Options{})
	for name, c := range map[string]struct {
		spoil func(b *data.Batch)
		want  string
	}{
		"empty":           {func(b *data.Batch) { *b = data.Batch{} }, "0 tokens"},
		"lengths":         {func(b *data.Batch) { b.Pos = b.Pos[1:] }, "positions"},
		"token":           {func(b *data.Batch) { b.Tokens[2] = 1 << 20 }, "vocabulary"},
		"negative token":  {func(b *data.Batch) { b.Tokens[2] = -1 }, "vocabulary"},
		"target":          {func(b *data.Batch) { b.Targets[20] = 1 << 20 }, "vocabulary"},
		"first":           {func(b *data.Batch) { b.First[3] = 9 }, "starts"},
		"count":           {func(b *data.Batch) { b.Counted++ }, "targets"},
		"position beyond": {func(b *data.Batch) { b.Pos[3] = -1 }, "position"},
	} {
		t.Run(name, func(t *testing.T) {
			b := some()
			c.spoil(&b)
			if _, _, err := g.Loss(context.Background(), b); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	b := pack(sequence(5, 99, 1)) // nothing to learn
	if loss, _, err := g.Gradients(context.Background(), b, 1, 0); err != nil || loss != 0 {
		t.Errorf("a batch without targets: %v, %v", loss, err)
	}
}

func TestBuildRefuses(t *testing.T) {
	f := tiny(t, architectures["llama"], 1)
	broken := draw(t, f.model)
	broken.Pairs[0]["attn_q"].A = broken.Pairs[0]["attn_q"].A[1:]
	fewer := draw(t, f.model)
	fewer.Pairs = fewer.Pairs[1:]
	for name, c := range map[string]struct {
		a *lora.Adapter
		o graph.Options
	}{
		"policy":  {f.adapter, graph.Options{Memory: "disk"}},
		"dropout": {f.adapter, graph.Options{Memory: graph.Store, Dropout: 1}},
		"size":    {broken, graph.Options{Memory: graph.Store}},
		"layers":  {fewer, graph.Options{Memory: graph.Store}},
	} {
		if _, err := graph.Build(f.model, c.a, f.gang, c.o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestFastIsClose: int8 forward and bfloat16 backward point the same way.
func TestFastIsClose(t *testing.T) {
	for name, shape := range architectures {
		t.Run(name, func(t *testing.T) {
			shape.Type = quant.Q4_1
			f := tiny(t, shape, 2)
			exactLoss, exact := gradients(t, build(t, f, graph.Options{Precision: kernel.Exact}), some(), 0)
			fastLoss, fast := gradients(t, build(t, f, graph.Options{Precision: kernel.Fast}), some(), 0)
			if math.Abs(fastLoss-exactLoss) > 0.02*exactLoss {
				t.Errorf("the loss is %v, exact %v", fastLoss, exactLoss)
			}
			for name := range exact {
				if cos, _ := cosine(fast[name], exact[name]); cos < 0.98 {
					t.Errorf("%s: cosine %v", name, cos)
				}
			}
		})
	}
}

// TestEstimate: storing takes more than recomputing, and both grow with tokens.
func TestEstimate(t *testing.T) {
	f := tiny(t, architectures["llama"], 1)
	at := func(n int, policy graph.Memory) int64 {
		return graph.Estimate(f.model, f.adapter, n, 0, graph.Options{Memory: policy})
	}
	if !(at(512, graph.Store) > at(512, graph.Recompute) && at(1024, graph.Store) > at(512, graph.Store)) {
		t.Errorf("estimates: %d, %d, %d", at(512, graph.Store), at(512, graph.Recompute), at(1024, graph.Store))
	}
}

// TestSideBySide builds and runs graphs in several goroutines, as the workers of
// the job queue do: gorgonia keeps some of its things for the whole process.
func TestSideBySide(t *testing.T) {
	f := tiny(t, architectures["llama"], 2)
	want, _ := gradients(t, build(t, f, graph.Options{}), some(), 0)
	errs := make(chan error, 3)
	for range cap(errs) {
		a := draw(t, f.model)
		go func() { errs <- sideBySide(f, a, want) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func sideBySide(f fixture, a *lora.Adapter, want float64) error {
	for range 5 {
		g, err := graph.Build(f.model, a, f.gang, graph.Options{Memory: graph.Store})
		if err != nil {
			return err
		}
		got, _, err := g.Gradients(context.Background(), some(), 1, 0)
		if err = errors.Join(err, g.Close()); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("loss %v beside others, %v alone", got, want)
		}
	}
	return nil
}
