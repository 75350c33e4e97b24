package train_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/optim"
	"afina/internal/safetensors"
	"afina/internal/train"
)

var dump = flag.String("dump", "", "write the case for testdata/make_peft.py to this folder")

// parity is the run that PEFT has made too.
var parity = train.Options{
	Plan:         data.Plan{BatchSize: 2, Accumulate: 1, Epochs: 5, Seed: 7},
	LearningRate: 5e-4, Schedule: "linear", WarmupRatio: 0.1, ClipNorm: 1, Seed: 7,
}

// turns are the sequences of the parity run: testdata/turns.json holds them as
// tokens, so that neither template nor tokenizer plays a part.
type turns struct {
	Train, Held []chat.Sequence
}

func readTurns(t *testing.T) turns {
	t.Helper()
	var all turns
	text, err := os.ReadFile("testdata/turns.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// dealt is a sequence of a step.
type dealt struct {
	Tokens []int32 `json:"tokens"`
	Learn  []bool  `json:"learn"`
}

// steps are the sequences of every step, as the plan deals them.
func steps(p data.Plan, seqs []chat.Sequence) [][]dealt {
	var all [][]dealt
	for i := range p.Steps(len(seqs)) {
		var step []dealt
		for _, b := range p.Step(seqs, i).Batches {
			for from := 0; from < len(b.Tokens); {
				to := from
				s := dealt{Learn: []bool{false}}
				for ; to < len(b.Tokens) && b.First[to] == int32(from); to++ {
					s.Tokens, s.Learn = append(s.Tokens, b.Tokens[to]), append(s.Learn, b.Targets[to] >= 0)
				}
				// A batch leaves out the token that is only foretold.
				s.Tokens = append(s.Tokens, b.Targets[to-1])
				step, from = append(step, s), to
			}
		}
		all = append(all, step)
	}
	return all
}

// prepared is a graph of the real model with a new adapter.
func prepared(t *testing.T, m *model.Model, g *kernel.Gang, p kernel.Precision) *graph.Graph {
	t.Helper()
	a, err := lora.New(m, 16, 32, nil, 7)
	if err != nil {
		t.Fatal(err)
	}
	out, err := graph.Build(m, a, g, graph.Options{Precision: p, Memory: graph.Store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return out
}

// TestParityWithPEFT makes 50 exact steps on SmolLM2 and compares losses and
// final values with PEFT's; then it makes them fast and compares the held-out
// loss with that of the exact run.
func TestParityWithPEFT(t *testing.T) {
	if testing.Short() {
		t.Skip("trains SmolLM2 twice")
	}
	path := modeltest.Real(t)
	g := gang(t, 0)
	m := open(t, path, g)
	all := readTurns(t)
	exact := prepared(t, m, g, kernel.Exact)
	order, err := json.Marshal(steps(parity.Plan, all.Train))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(order)
	if *dump != "" {
		dumpCase(t, path, exact, order, hex.EncodeToString(sum[:]))
		return
	}
	golden := readFile(t, "testdata/peft.safetensors")
	if golden.Metadata["steps_sha256"] != hex.EncodeToString(sum[:]) || golden.Metadata["start_sha256"] != hashParams(exact.Params()) {
		t.Fatal("batches or initial values have changed; run testdata/make_peft.py again")
	}
	// Held-out sequences would make Run choose the best step's values.
	var losses []float64
	before := heldLoss(t, exact, all.Held)
	if _, err := train.Run(context.Background(), exact, all.Train, nil, parity, t.TempDir(), func(e train.Event) { losses = append(losses, e.TrainLoss) }); err != nil {
		t.Fatal(err)
	}
	if folder := os.Getenv("AFINA_PARITY"); folder != "" {
		writeParams(t, filepath.Join(folder, "final.safetensors"), exact.Params())
	}
	compareLosses(t, losses, floats(t, golden, "losses"))
	compareValues(t, exact.Params(), golden)

	fast := prepared(t, m, g, kernel.Fast)
	if _, err := train.Run(context.Background(), fast, all.Train, nil, parity, t.TempDir(), nil); err != nil {
		t.Fatal(err)
	}
	want, got := heldLoss(t, exact, all.Held), heldLoss(t, fast, all.Held)
	t.Logf("held-out loss before %.4f, after: exact %.4f, fast %.4f", before, want, got)
	if math.Abs(got/want-1) > 0.01 {
		t.Errorf("fast ends at a held-out loss of %v, exact at %v", got, want)
	}
}

// heldLoss is the mean over the learned tokens.
func heldLoss(t *testing.T, g *graph.Graph, held []chat.Sequence) float64 {
	t.Helper()
	sum, counted := 0.0, 0
	for _, b := range data.Pack(held, 512) {
		loss, _, err := g.Loss(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		sum, counted = sum+loss, counted+b.Counted
	}
	return sum / float64(counted)
}

func compareLosses(t *testing.T, got []float64, want []float32) {
	t.Helper()
	if len(got) != 50 || len(want) != 50 {
		t.Fatalf("%d losses, golden %d; want 50 of each", len(got), len(want))
	}
	worst := 0.0
	for i := range got {
		worst = max(worst, math.Abs(got[i]-float64(want[i])))
		if !(math.Abs(got[i]-float64(want[i])) <= 1e-3) {
			t.Errorf("loss of step %d is %v, PEFT's %v", i+1, got[i], want[i])
		}
	}
	t.Logf("losses from %.4f to %.4f, at most %.2g from PEFT's", got[0], got[len(got)-1], worst)
}

// compareValues compares sketches: the length of a difference is, within a few
// per cent, that of its 32 sums with random signs over the root of 32.
func compareValues(t *testing.T, params []optim.Param, golden *safetensors.File) {
	t.Helper()
	least, full := 1.0, 0
	for _, p := range params {
		got := sketch(p.Value)
		want := floats(t, golden, p.Name+".sketch")
		var ab, aa, bb float64
		for i := range want {
			ab, aa, bb = ab+got[i]*float64(want[i]), aa+got[i]*got[i], bb+float64(want[i])*float64(want[i])
		}
		cos := ab / math.Sqrt(aa*bb)
		if _, ok := golden.Tensors[p.Name]; ok {
			full++
			cos = min(cos, cosine(p.Value, floats(t, golden, p.Name)))
		}
		least = min(least, cos)
		if !(cos >= 0.9999) {
			t.Errorf("%s: cosine with PEFT's is %v", p.Name, cos)
		}
	}
	if full != 4 {
		t.Errorf("%d matrices in full, want 4", full)
	}
	t.Logf("least cosine of %d matrices: %.7f", len(params), least)
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

func sketch(x []float32) (sums [32]float64) {
	for i, v := range x {
		z := uint64(i+1) * 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		for j := range sums {
			sums[j] += float64(v) * float64(1-2*int64(z>>j&1))
		}
	}
	return sums
}

func dumpCase(t *testing.T, path string, g *graph.Graph, order []byte, sum string) {
	t.Helper()
	n := parity.Plan.Steps(len(readTurns(t).Train))
	c := map[string]any{
		"model": path, "rank": 16, "alpha": 32, "learning_rate": parity.LearningRate, "weight_decay": parity.WeightDecay,
		"warmup": int(math.Ceil(parity.WarmupRatio * float64(n))), "clip": parity.ClipNorm,
		"steps": json.RawMessage(order), "steps_sha256": sum,
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*dump, "case.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	writeParams(t, filepath.Join(*dump, "start.safetensors"), g.Params())
}

func writeParams(t *testing.T, path string, params []optim.Param) {
	t.Helper()
	f := &safetensors.File{Tensors: map[string]safetensors.Tensor{}}
	for _, p := range params {
		f.Tensors[p.Name] = safetensors.FromFloats(p.Value, len(p.Value))
	}
	raw, err := safetensors.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// hashParams is the SHA-256 of all values in order of name.
func hashParams(params []optim.Param) string {
	params = slices.Clone(params)
	slices.SortFunc(params, func(a, b optim.Param) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	sum := sha256.New()
	for _, p := range params {
		sum.Write(safetensors.FromFloats(p.Value, len(p.Value)).Data)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func readFile(t *testing.T, path string) *safetensors.File {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func floats(t *testing.T, f *safetensors.File, name string) []float32 {
	t.Helper()
	x, err := f.Tensors[name].Floats()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return x
}
