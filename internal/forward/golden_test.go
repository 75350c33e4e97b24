package forward_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/quant"
)

var dump = flag.String("dump", "", "write the models of the goldens to this folder, for testdata/make_logits.py")

// golden is one case of testdata/tiny.json.
type golden struct {
	Name      string               `json:"name"`
	File      string               `json:"file"`
	SHA256    string               `json:"sha256"`
	IDs       []int32              `json:"ids"`
	Positions []int                `json:"positions"`
	Adapter   *adapterSpec         `json:"adapter,omitempty"`
	Logits    map[string][]float64 `json:"logits,omitempty"`
}

// adapterSpec says how to draw an adapter.
type adapterSpec struct {
	Rank  int               `json:"rank"`
	Alpha float32           `json:"alpha"`
	Seed  uint64            `json:"seed"`
	Slots map[string][2]int `json:"slots"` // out, in; drawn in the order of names below
}

// tiny are the models of the goldens.
var tiny = []struct {
	name    string
	shape   modeltest.Shape
	adapter bool
}{
	{"llama", modeltest.Shape{Seed: 1}, false},
	{"llama, adapter", modeltest.Shape{Seed: 1}, true},
	{"llama, untied, rotary factors", modeltest.Shape{Seed: 2, Untied: true, Factors: true}, false},
	{"llama, Q4_1", modeltest.Shape{Seed: 3, Type: quant.Q4_1}, false},
	{"llama, Q4_1, adapter", modeltest.Shape{Seed: 3, Type: quant.Q4_1}, true},
	{"phi2", modeltest.Shape{Arch: "phi2", Seed: 4}, false},
	{"phi2, adapter", modeltest.Shape{Arch: "phi2", Seed: 4}, true},
	{"phi2, fused", modeltest.Shape{Arch: "phi2", Seed: 5, FusedQKV: true, Type: quant.Q8_0}, false},
	{"phi2, fused, adapter", modeltest.Shape{Arch: "phi2", Seed: 5, FusedQKV: true, Type: quant.Q8_0}, true},
}

// TestTinyGoldens compares Exact with the float64 oracle of make_logits.py.
func TestTinyGoldens(t *testing.T) {
	if *dump != "" {
		dumpTiny(t, *dump)
		return
	}
	raw, err := os.ReadFile("testdata/tiny.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens []golden
	if err := json.Unmarshal(raw, &goldens); err != nil {
		t.Fatal(err)
	}
	if len(goldens) != len(tiny) {
		t.Fatalf("tiny.json has %d cases, want %d: make it again", len(goldens), len(tiny))
	}
	gang := newGang(t)
	for i, c := range tiny {
		g := goldens[i]
		t.Run(c.name, func(t *testing.T) {
			path := modeltest.Write(t, c.shape)
			if g.Name != c.name || g.SHA256 != digest(t, path) {
				t.Fatalf("the golden is of model %q, %s; make it again", g.Name, g.SHA256)
			}
			m := open(t, path, gang)
			var a *lora.Adapter
			if g.Adapter != nil {
				a = draw(m, *g.Adapter)
			}
			logits := run(t, forward.New(m, gang, kernel.Exact, 1, 64), rows(g.IDs, 0, 0, a, true))
			for pos, want := range g.Logits {
				p, _ := strconv.Atoi(pos)
				if d := maxDiff(logits[p], want); d > 1e-4 {
					t.Errorf("position %d: logits differ by %.2g, at most 1e-4 is allowed", p, d)
				}
			}
		})
	}
}

// dumpTiny writes the models and what to compute of them.
func dumpTiny(t *testing.T, dir string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var goldens []golden
	for i, c := range tiny {
		path := modeltest.Write(t, c.shape)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		g := golden{
			Name: c.name, File: strconv.Itoa(i) + ".gguf", SHA256: digest(t, path),
			IDs: ids(24, uint64(i)), Positions: []int{0, 1, 11, 23},
		}
		if c.adapter {
			g.Adapter = spec(c.shape, 3, 6, uint64(100+i))
		}
		if err := os.WriteFile(filepath.Join(dir, g.File), raw, 0o644); err != nil {
			t.Fatal(err)
		}
		goldens = append(goldens, g)
	}
	raw, err := json.MarshalIndent(goldens, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

func digest(t testing.TB, path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func maxDiff(got []float32, want []float64) float64 {
	var d float64
	for i, w := range want {
		d = max(d, math.Abs(float64(got[i])-w))
	}
	return d
}

// slotNames is the order in which adapters are drawn.
var slotNames = []string{"attn_k", "attn_output", "attn_q", "attn_v", "ffn_down", "ffn_gate", "ffn_up"}

// spec is an adapter on every linear layer of the default tiny shapes.
func spec(s modeltest.Shape, rank int, alpha float32, seed uint64) *adapterSpec {
	kv := 32
	if s.Arch == "phi2" {
		kv = 64
	}
	slots := map[string][2]int{
		"attn_q": {64, 64}, "attn_k": {kv, 64}, "attn_v": {kv, 64}, "attn_output": {64, 64},
		"ffn_up": {96, 64}, "ffn_down": {64, 96},
	}
	if s.Arch != "phi2" {
		slots["ffn_gate"] = [2]int{96, 64}
	}
	return &adapterSpec{Rank: rank, Alpha: alpha, Seed: seed, Slots: slots}
}

// draw makes the adapter of s for m, A and B both random.
func draw(m *model.Model, s adapterSpec) *lora.Adapter {
	r := splitmix(s.Seed)
	a := &lora.Adapter{Name: "drawn", Base: m.Name, Rank: s.Rank, Alpha: s.Alpha}
	for range m.Layers {
		pairs := map[string]*lora.Pair{}
		for _, name := range slotNames {
			size, ok := s.Slots[name]
			if !ok {
				continue
			}
			out, in := size[0], size[1]
			pairs[name] = &lora.Pair{
				In: in, Out: out,
				A: r.uniform(s.Rank*in, 1/math.Sqrt(float64(in))),
				B: r.uniform(out*s.Rank, 0.5),
			}
		}
		a.Pairs = append(a.Pairs, pairs)
	}
	return a
}

// splitmix is SplitMix64 (Steele, Lea & Flood 2014), as in make_logits.py.
type splitmix uint64

func (r *splitmix) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *splitmix) uniform(n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32((float64(r.next()>>11)/(1<<52) - 1) * scale)
	}
	return x
}

// ids returns n tokens of the tiny vocabulary.
func ids(n int, seed uint64) []int32 {
	r := splitmix(seed)
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(r.next() % 256)
	}
	return out
}

func newGang(t testing.TB) *kernel.Gang {
	t.Helper()
	pool := parallel.New(0)
	t.Cleanup(pool.Close)
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	return gang
}

func open(t testing.TB, path string, gang *kernel.Gang) *model.Model {
	t.Helper()
	m, err := model.Open(path, gang)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// rows are the tokens from position pos on, all or only the last asking for logits.
func rows(tokens []int32, slot, pos int, a *lora.Adapter, every bool) []forward.Row {
	out := make([]forward.Row, len(tokens))
	for i, id := range tokens {
		out[i] = forward.Row{Token: id, Slot: slot, Pos: pos + i, Adapter: a, Logits: every || i == len(tokens)-1}
	}
	return out
}

// run returns a copy of the logits of rows.
func run(t testing.TB, p *forward.Pass, rows []forward.Row) [][]float32 {
	t.Helper()
	logits, err := p.Run(rows)
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]float32, len(logits))
	for i, l := range logits {
		out[i] = append([]float32(nil), l...)
	}
	return out
}
