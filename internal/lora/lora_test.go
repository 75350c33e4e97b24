package lora_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/safetensors"
)

// testShape is the shape of the models in testdata.
func testShape(arch string) modeltest.Shape {
	return modeltest.Shape{Arch: arch, Hidden: 32, Layers: 2, Heads: 4, KVHeads: 2, FFN: 64}
}

func open(t testing.TB, s modeltest.Shape) *model.Model {
	t.Helper()
	pool := parallel.New(1)
	t.Cleanup(pool.Close)
	g, err := kernel.NewGang(pool, kernel.Generic)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(modeltest.Write(t, s), g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// random is a fresh adapter with numbers in B as well.
func random(t testing.TB, m *model.Model, rank int, alpha float32, slots ...string) *lora.Adapter {
	t.Helper()
	a, err := lora.New(m, rank, alpha, slots, 5)
	if err != nil {
		t.Fatal(err)
	}
	a.Name, a.Dropout = "tuned", 0.05
	r := rand.New(rand.NewPCG(1, 2))
	for _, pairs := range a.Pairs {
		for _, slot := range a.Slots {
			for i := range pairs[slot].B {
				pairs[slot].B[i] = float32(r.NormFloat64()) / 3
			}
		}
	}
	return a
}

// delta is scale·B·A of one pair, (Out, In).
func delta(a *lora.Adapter, p *lora.Pair) []float32 {
	d := make([]float32, p.Out*p.In)
	for o := range p.Out {
		for i := range p.In {
			var sum float64
			for r := range a.Rank {
				sum += float64(p.B[o*a.Rank+r]) * float64(p.A[r*p.In+i])
			}
			d[o*p.In+i] = float32(sum * float64(a.Alpha) / float64(a.Rank))
		}
	}
	return d
}

func near(got, want []float32) bool {
	for i := range want {
		if math.Abs(float64(got[i]-want[i])) > 2e-6 {
			return false
		}
	}
	return len(got) == len(want)
}

func decode(t *testing.T, path string) *safetensors.File {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What PEFT wrote changes the weights as PEFT says.
func TestLoadPEFTGolden(t *testing.T) {
	for _, c := range []struct {
		dir, arch string
		rank      int
		scale     float32 // 0: whatever
	}{{"llama", "llama", 4, 2}, {"mixed", "llama", 6, 0}, {"phi", "phi2", 3, 2}} {
		m := open(t, testShape(c.arch))
		a, err := lora.LoadPEFT(filepath.Join("testdata", c.dir), m)
		if err != nil {
			t.Fatal(err)
		}
		if a.Rank != c.rank || c.scale != 0 && a.Scale() != c.scale || a.Base != m.Name || a.Name != c.dir {
			t.Errorf("%s: rank %d, scale %v, base %q, name %q", c.dir, a.Rank, a.Scale(), a.Base, a.Name)
		}
		want := decode(t, filepath.Join("testdata", c.dir, "delta.safetensors"))
		if n := len(a.Slots) * len(a.Pairs); n != len(want.Tensors) {
			t.Errorf("%s: %d layers changed, want %d", c.dir, n, len(want.Tensors))
		}
		for name, tensor := range want.Tensors {
			var layer int
			var slot string
			if _, err := fmt.Sscanf(strings.TrimSuffix(name, ".weight"), "blk.%d.%s", &layer, &slot); err != nil {
				t.Fatal(err)
			}
			x, err := tensor.Floats()
			if err != nil {
				t.Fatal(err)
			}
			if !near(delta(a, a.Pairs[layer][slot]), x) {
				t.Errorf("%s: %s changes otherwise than in PEFT", c.dir, name)
			}
		}
	}
}

// Loaded and saved again, an adapter is the one PEFT wrote, bit by bit.
func TestSavePEFTGolden(t *testing.T) {
	for dir, arch := range map[string]string{"llama": "llama", "phi": "phi2"} {
		m := open(t, testShape(arch))
		a, err := lora.LoadPEFT(filepath.Join("testdata", dir), m)
		if err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		if err := a.SavePEFT(out, m, "org/base"); err != nil {
			t.Fatal(err)
		}
		got := decode(t, filepath.Join(out, "adapter_model.safetensors"))
		want := decode(t, filepath.Join("testdata", dir, "adapter_model.safetensors"))
		if diff := cmp.Diff(want.Tensors, got.Tensors); diff != "" {
			t.Errorf("%s: %s", dir, diff)
		}
		// Every field we write has the value PEFT gives it.
		theirs, ours := config(t, filepath.Join("testdata", dir)), config(t, out)
		theirs["base_model_name_or_path"] = "org/base"
		for key, got := range ours {
			want := theirs[key]
			if key == "target_modules" {
				got, want = sorted(got), sorted(want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s: %s", dir, key, diff)
			}
		}
	}
}

func sorted(v any) []string {
	var s []string
	for _, x := range v.([]any) {
		s = append(s, x.(string))
	}
	slices.Sort(s)
	return s
}

func config(t *testing.T, dir string) (c map[string]any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "adapter_config.json"))
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// PEFT → GGUF → PEFT gives the same bytes, also through a base with fused q, k, v.
func TestRoundTrips(t *testing.T) {
	fused := testShape("phi2")
	fused.FusedQKV = true
	for _, c := range []struct {
		name  string
		shape modeltest.Shape
		slots []string
	}{
		{"llama", testShape("llama"), nil},
		{"llama subset", testShape("llama"), []string{"q", "v_proj", "ffn_down"}},
		{"phi2", testShape("phi2"), nil},
		{"fused", fused, nil},
		{"fused without k", fused, []string{"q", "v"}},
		{"fused but not adapted", fused, []string{"up"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := open(t, c.shape)
			want := random(t, m, 4, 8, c.slots...) // scale 2: exact in float32
			dir := t.TempDir()
			if err := want.SavePEFT(dir, m, ""); err != nil {
				t.Fatal(err)
			}
			viaPEFT, err := lora.LoadPEFT(dir, m)
			if err != nil {
				t.Fatal(err)
			}
			viaPEFT.Name = want.Name
			if diff := cmp.Diff(want, viaPEFT); diff != "" {
				t.Errorf("via PEFT: %s", diff)
			}
			path := filepath.Join(dir, "tuned.gguf")
			if err := viaPEFT.SaveGGUF(path, m); err != nil {
				t.Fatal(err)
			}
			viaGGUF, err := lora.LoadGGUF(path, m)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(viaGGUF.Slots, want.Slots) || viaGGUF.Name != "tuned" {
				t.Fatalf("via GGUF: slots %v, name %q", viaGGUF.Slots, viaGGUF.Name)
			}
			for l, pairs := range want.Pairs {
				for slot, p := range pairs {
					if !near(delta(viaGGUF, viaGGUF.Pairs[l][slot]), delta(want, p)) {
						t.Errorf("via GGUF: %s in layer %d changes otherwise", slot, l)
					}
				}
			}
			if !m.FusedQKV {
				viaGGUF.Dropout = want.Dropout // which GGUF does not carry
				if diff := cmp.Diff(want, viaGGUF); diff != "" {
					t.Errorf("via GGUF: %s", diff)
				}
			} else if viaGGUF.Rank != want.Rank {
				t.Errorf("rank %d after a fused file, want %d", viaGGUF.Rank, want.Rank)
			}
		})
	}
}

// A GGUF adapter for llama.cpp names the tensors of the base file.
func TestSaveGGUFNames(t *testing.T) {
	s := testShape("phi2")
	s.FusedQKV = true
	m := open(t, s)
	path := filepath.Join(t.TempDir(), "a.gguf")
	if err := random(t, m, 2, 3).SaveGGUF(path, m); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, _ := f.Tensor("blk.0.attn_qkv.weight.lora_a")
	b, _ := f.Tensor("blk.0.attn_qkv.weight.lora_b")
	if a.Rows != 6 || a.Cols != 32 || b.Rows != 64 || b.Cols != 6 {
		t.Errorf("fused A is (%d, %d), B (%d, %d)", a.Rows, a.Cols, b.Rows, b.Cols)
	}
	if _, ok := f.Metadata["adapter.lora.alpha"]; ok {
		t.Error("alpha is given although ranks differ")
	}
	if _, ok := f.Tensor("blk.0.attn_q.weight.lora_a"); ok {
		t.Error("q has a pair of its own")
	}
}

func TestNew(t *testing.T) {
	m := open(t, testShape("llama"))
	a, err := lora.New(m, 4, 8, nil, 7)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * 4 * (32 + 32 + 32 + 16 + 32 + 16 + 32 + 32 + 32 + 64 + 32 + 64 + 64 + 32); a.Params() != want {
		t.Errorf("%d parameters, want %d", a.Params(), want)
	}
	for l, pairs := range a.Pairs {
		for slot, p := range pairs {
			bound := 1 / math.Sqrt(float64(p.In))
			var sum, square, most float64
			for _, v := range p.A {
				sum, square, most = sum+float64(v), square+float64(v)*float64(v), max(most, math.Abs(float64(v)))
			}
			n := float64(len(p.A))
			if most > bound || most < 0.9*bound || math.Abs(sum/n) > bound/3 || math.Abs(square/n/(bound*bound)-1.0/3) > 0.1 {
				t.Errorf("%s in layer %d is not uniform in ±%v: mean %v, variance %v, most %v", slot, l, bound, sum/n, square/n, most)
			}
			if slices.ContainsFunc(p.B, func(v float32) bool { return v != 0 }) {
				t.Errorf("%s in layer %d: B is not zero", slot, l)
			}
		}
	}
	if cmp.Equal(a.Pairs[0]["attn_q"].A, a.Pairs[1]["attn_q"].A) || cmp.Equal(a.Pairs[0]["attn_q"].A, a.Pairs[0]["attn_k"].A) {
		t.Error("two pairs start alike")
	}
	again, _ := lora.New(m, 4, 8, nil, 7)
	if diff := cmp.Diff(a, again); diff != "" {
		t.Errorf("equal seeds differ: %s", diff)
	}
	some, _ := lora.New(m, 4, 8, []string{"v_proj", "attn_q", "q", "self_attn.v_proj"}, 7)
	if !slices.Equal(some.Slots, []string{"attn_q", "attn_v"}) {
		t.Errorf("slots %v", some.Slots)
	}
	if !cmp.Equal(some.Pairs[1]["attn_v"], a.Pairs[1]["attn_v"]) {
		t.Error("the numbers of a slot depend on which others there are")
	}
	other, _ := lora.New(m, 4, 8, nil, 8)
	if cmp.Equal(a.Pairs[0]["attn_q"].A, other.Pairs[0]["attn_q"].A) {
		t.Error("different seeds start alike")
	}
}

func TestNewRefuses(t *testing.T) {
	m := open(t, testShape("llama"))
	for _, c := range []struct {
		rank  int
		alpha float32
		slot  string
		param string
	}{
		{0, 8, "q", "lora.rank"}, {-1, 8, "q", "lora.rank"}, {17, 8, "k", "lora.rank"}, {33, 8, "q", "lora.rank"},
		{4, 0, "q", "lora.alpha"}, {4, -1, "q", "lora.alpha"}, {4, float32(math.NaN()), "q", "lora.alpha"},
		{4, float32(math.Inf(1)), "q", "lora.alpha"}, {4, 8, "../q", "lora.targets"}, {4, 8, "fc1", "lora.targets"}, {4, 8, "", "lora.targets"},
	} {
		_, err := lora.New(m, c.rank, c.alpha, []string{c.slot}, 0)
		f, ok := err.(*fault.Error)
		if !ok || f.Kind != fault.Invalid || f.Param != c.param {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}

func TestSaveRefusesAnotherBase(t *testing.T) {
	m, other := open(t, testShape("llama")), open(t, modeltest.Shape{})
	a := random(t, m, 2, 2)
	if err := a.SavePEFT(t.TempDir(), other, ""); fault.KindOf(err) != fault.Conflict {
		t.Errorf("SavePEFT: %v", err)
	}
	if err := a.SaveGGUF(filepath.Join(t.TempDir(), "a.gguf"), other); fault.KindOf(err) != fault.Conflict {
		t.Errorf("SaveGGUF: %v", err)
	}
}

func TestBaseID(t *testing.T) {
	for _, c := range []struct {
		name string
		md   gguf.Metadata
		want string
	}{
		{"smollm2-135m-instruct", gguf.Metadata{"general.organization": "HuggingFaceTB"}, "HuggingFaceTB/smollm2-135m-instruct"},
		{"SmolLM2-135M-Instruct-Q4_K_M", gguf.Metadata{"general.organization": "HuggingFaceTB"}, "HuggingFaceTB/SmolLM2-135M-Instruct"},
		{"phi-2.Q4_0", gguf.Metadata{"general.organization": "Microsoft Research"}, "phi-2"},
		{"x-IQ4_XS", nil, "x"},
		{"x-bf16", gguf.Metadata{"general.source.repo_url": "https://huggingface.co/a/b"}, "a/b"},
		{"x", gguf.Metadata{"general.source.repo_url": "https://example.com/a/b"}, "x"},
	} {
		if got := lora.BaseID(&model.Model{Name: c.name, Metadata: c.md}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
