package model_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/kernel"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/quant"
)

func gang(t testing.TB) *kernel.Gang {
	t.Helper()
	pool := parallel.New(2)
	t.Cleanup(pool.Close)
	g, err := kernel.NewGang(pool, kernel.Generic)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func open(t testing.TB, s modeltest.Shape) *model.Model {
	t.Helper()
	m, err := model.Open(modeltest.Write(t, s), gang(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// row is row i of a matrix as float32.
func row(w *kernel.Matrix, i int) []float32 {
	x := make([]float32, w.Cols)
	w.Row(x, i)
	return x
}

func TestOpenLlama(t *testing.T) {
	m := open(t, modeltest.Shape{Hidden: 96, Heads: 6, KVHeads: 3, FFN: 128, Layers: 3, Context: 77})
	d := m.Dims
	if d.Hidden != 96 || d.Heads != 6 || d.KVHeads != 3 || d.HeadDim != 16 || d.FFN != 128 || d.Layers != 3 ||
		d.Context != 77 || d.Vocab != m.Tokens.Size || d.Epsilon != 1e-5 {
		t.Errorf("dimensions %+v", d)
	}
	if r := d.Rotary; r.Dims != 16 || r.Base != 10000 || r.Halves || r.Factors != nil {
		t.Errorf("rotary %+v", r)
	}
	if m.Name != "tiny-llama" || m.Spec.Name != "llama" || m.Template == nil || m.FusedQKV {
		t.Errorf("name %q, architecture %q, template %v", m.Name, m.Spec.Name, m.Template)
	}
	if m.Output.Weight != m.Embed || m.Output.Bias != nil {
		t.Error("the output is not tied to the embedding")
	}
	l := &m.Layers[2]
	for _, c := range []struct {
		slot       string
		rows, cols int
	}{
		{"attn_q", 96, 96}, {"attn_k", 48, 96}, {"attn_v", 48, 96}, {"attn_output", 96, 96},
		{"ffn_gate", 128, 96}, {"ffn_up", 128, 96}, {"ffn_down", 96, 128},
	} {
		w := l.Slot(c.slot)
		if w == nil || w.Weight.Rows != c.rows || w.Weight.Cols != c.cols || w.Bias != nil {
			t.Errorf("%s is %+v, want (%d, %d) without bias", c.slot, w, c.rows, c.cols)
		}
	}
	if l.Slot("attn_qkv") != nil || len(l.FFNNorm.Weight) != 96 || l.FFNNorm.Bias != nil {
		t.Error("a layer that llama does not have, or a norm that it lacks")
	}
	if m.Bytes() <= 0 {
		t.Errorf("takes %d bytes", m.Bytes())
	}
}

func TestOpenPhi2(t *testing.T) {
	m := open(t, modeltest.Shape{Arch: "phi2", Rotary: 6})
	if r := m.Dims.Rotary; r.Dims != 6 || !r.Halves {
		t.Errorf("rotary %+v", r)
	}
	l := &m.Layers[1]
	if l.Slot("ffn_gate") != nil || l.FFNNorm.Weight != nil {
		t.Error("phi2 has neither gate nor second norm")
	}
	for _, s := range m.Spec.Slots {
		if w := l.Slot(s.GGUF); w == nil || len(w.Bias) != w.Weight.Rows {
			t.Errorf("%s is %+v, want a bias", s.GGUF, w)
		}
	}
	if m.Output.Weight == m.Embed || len(m.Output.Bias) != m.Dims.Vocab || len(m.OutputNorm.Bias) != 64 {
		t.Error("output or its norm lack their own weight or bias")
	}
}

// The rows of a fused matrix are those of q, then k, then v, and so are its biases.
func TestFusedIsCutApart(t *testing.T) {
	for _, typ := range []quant.Type{quant.F32, quant.Q4_1} {
		s := modeltest.Shape{Arch: "phi2", KVHeads: 2, FusedQKV: true, Type: typ, Seed: 4}
		path := modeltest.Write(t, s)
		m, err := model.Open(path, gang(t))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if !m.FusedQKV {
			t.Error("the model does not know that the file is fused")
		}
		all, _ := f.Tensor("blk.1.attn_qkv.weight")
		biases, _ := f.Tensor("blk.1.attn_qkv.bias")
		bias := make([]float32, biases.Cols)
		biases.Dequantize(bias, 0)
		want := make([]float32, all.Cols)
		r := 0
		for _, slot := range []string{"attn_q", "attn_k", "attn_v"} {
			w := m.Layers[1].Slot(slot)
			for i := range w.Weight.Rows {
				all.Dequantize(want, r)
				if got := row(w.Weight, i); !near(got, want) || w.Bias[i] != bias[r] {
					t.Fatalf("%s: row %d of %s is not row %d of the fused matrix", typ, i, slot, r)
				}
				r++
			}
		}
		if r != all.Rows {
			t.Errorf("%d rows cut of %d", r, all.Rows)
		}
	}
}

func near(got, want []float32) bool {
	for i := range want {
		if math.Abs(float64(got[i]-want[i])) > 1e-6*math.Max(1, math.Abs(float64(want[i]))) {
			return false
		}
	}
	return len(got) == len(want)
}

func TestRotaryFactors(t *testing.T) {
	linear := []gguf.Pair{
		{Key: "llama.rope.scaling.type", Value: "linear"},
		{Key: "llama.rope.scaling.factor", Value: float32(4)},
	}
	factors := func(s modeltest.Shape) []float32 { return open(t, s).Dims.Rotary.Factors }

	plain := factors(modeltest.Shape{Factors: true})
	if len(plain) != 8 {
		t.Fatalf("%d factors, want 8", len(plain))
	}
	for i, f := range factors(modeltest.Shape{Factors: true, Metadata: linear}) {
		if f != 4*plain[i] {
			t.Errorf("factor %d is %v, want 4·%v", i, f, plain[i])
		}
	}
	for _, f := range factors(modeltest.Shape{Metadata: linear}) {
		if f != 4 {
			t.Errorf("linear scaling gives factor %v, want 4", f)
		}
	}
	none := []gguf.Pair{{Key: "llama.rope.scaling.type", Value: "none"}, linear[1]}
	if f := factors(modeltest.Shape{Metadata: none}); f != nil {
		t.Errorf("no scaling gives factors %v", f)
	}
}

func TestSlotNames(t *testing.T) {
	for _, spec := range model.Specs() {
		for _, s := range spec.Slots {
			for _, name := range []string{s.GGUF, s.PEFT, s.Short, s.Module()} {
				if got, ok := spec.Slot(name); !ok || got != s {
					t.Errorf("%s: %q finds %+v, want %+v", spec.Name, name, got, s)
				}
			}
		}
		if _, ok := spec.Slot("../o"); ok {
			t.Errorf("%s has a slot ../o", spec.Name)
		}
	}
}

// Every file that is no model we can run is refused with a sentence that says why.
func TestOpenRefuses(t *testing.T) {
	nan := float32(math.NaN())
	pair := func(key string, v any) modeltest.Shape {
		return modeltest.Shape{Metadata: []gguf.Pair{{Key: key, Value: v}}}
	}
	phi := func(key string, v any) modeltest.Shape { s := pair(key, v); s.Arch = "phi2"; return s }
	for _, c := range []struct {
		name  string
		shape modeltest.Shape
		want  string // part of the sentence
	}{
		{"no architecture", pair("general.architecture", nil), "general.architecture"},
		{"unknown architecture", pair("general.architecture", "../../etc"), "llama, phi2"},
		{"architecture of another type", pair("general.architecture", uint32(3)), "general.architecture"},
		{"an adapter", pair("general.type", "adapter"), "not a model"},
		{"one of several parts", pair("split.count", uint16(3)), "3 parts"},
		{"a mixture of experts", pair("llama.expert_count", uint32(8)), "8 experts"},
		{"sliding window", pair("llama.attention.sliding_window", uint32(32)), "slides"},
		{"no heads", pair("llama.attention.head_count", uint32(0)), "head_count is 0"},
		{"heads as text", pair("llama.attention.head_count", "4"), "not a whole number"},
		{"heads by layer", pair("llama.attention.head_count", []int32{4, 4}), "not a whole number"},
		{"heads missing", pair("llama.attention.head_count", nil), "does not say llama.attention.head_count"},
		{"negative heads", pair("llama.attention.head_count", int32(-4)), "head_count is -4"},
		{"heads that do not divide", pair("llama.attention.head_count", uint32(5)), "heads cannot share"},
		{"no kv heads", pair("llama.attention.head_count_kv", uint32(0)), "head_count_kv is 0"},
		{"kv heads that do not divide", pair("llama.attention.head_count_kv", uint32(3)), "cannot share"},
		{"no layers", pair("llama.block_count", uint32(0)), "block_count is 0"},
		{"2^31 layers", pair("llama.block_count", uint32(1<<31)), "block_count"},
		{"a layer too many", pair("llama.block_count", uint32(3)), "blk.2.attn_norm.weight is missing"},
		{"more layers than tensors", pair("llama.block_count", uint32(999)), "999 layers"},
		{"wrong width", modeltest.Shape{Metadata: []gguf.Pair{
			{Key: "llama.embedding_length", Value: uint32(128)}, {Key: "llama.attention.head_count", Value: uint32(8)},
		}}, "token_embd.weight is (272, 64)"},
		{"wrong mlp", pair("llama.feed_forward_length", uint32(64)), "ffn_gate.weight is (96, 64)"},
		{"mlp of 2^40", pair("llama.feed_forward_length", uint64(1<<40)), "feed_forward_length"},
		{"odd rotation", pair("llama.rope.dimension_count", uint32(7)), "odd"},
		{"rotation above the head", pair("llama.rope.dimension_count", uint32(18)), "above the head size"},
		{"rotation of nothing", pair("llama.rope.dimension_count", uint32(0)), "dimension_count is 0"},
		{"partial rotation", pair("llama.rope.dimension_count", uint32(8)), "not the head size"},
		{"phi2 rotation above the head", phi("phi2.rope.dimension_count", uint32(18)), "above the head size"},
		{"keys and values of different size", modeltest.Shape{Metadata: []gguf.Pair{
			{Key: "llama.attention.key_length", Value: uint32(16)}, {Key: "llama.attention.value_length", Value: uint32(32)},
		}}, "differ in size"},
		{"head size of another width", modeltest.Shape{Metadata: []gguf.Pair{
			{Key: "llama.attention.key_length", Value: uint32(32)}, {Key: "llama.rope.dimension_count", Value: uint32(32)},
		}}, "attn_q.weight is (64, 64)"},
		{"epsilon NaN", pair("llama.attention.layer_norm_rms_epsilon", nan), "epsilon is NaN"},
		{"epsilon 0", pair("llama.attention.layer_norm_rms_epsilon", float32(0)), "epsilon is 0"},
		{"epsilon below 0", pair("llama.attention.layer_norm_rms_epsilon", float32(-1)), "epsilon is -1"},
		{"epsilon infinite", phi("phi2.attention.layer_norm_epsilon", float32(math.Inf(1))), "epsilon is +Inf"},
		{"epsilon missing", pair("llama.attention.layer_norm_rms_epsilon", nil), "does not say"},
		{"rope base 0", pair("llama.rope.freq_base", float32(0)), "freq_base is 0"},
		{"rope base NaN", pair("llama.rope.freq_base", nan), "freq_base is NaN"},
		{"rope base below 0", pair("llama.rope.freq_base", float32(-1)), "freq_base is -1"},
		{"rope base as text", pair("llama.rope.freq_base", "10000"), "not a float"},
		{"yarn", pair("llama.rope.scaling.type", "yarn"), `"yarn"`},
		{"scaling of another type", pair("llama.rope.scaling.type", uint32(1)), "not a string"},
		{"scaling by 0", pair("llama.rope.scaling.factor", float32(0)), "factor is 0"},
		{"no context", pair("llama.context_length", uint32(0)), "context_length is 0"},
		{"context of 2^31", pair("llama.context_length", uint32(1<<31)), "context_length"},
		{"fewer tokens than rows", pair("tokenizer.ggml.tokens", []string{"a", "b"}), "2 tokens"},
		{"no tokens", pair("tokenizer.ggml.tokens", nil), ""},
		{"unknown tokenizer", pair("tokenizer.ggml.model", "nope"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := modeltest.Write(t, c.shape)
			start := time.Now()
			m, err := model.Open(path, gang(t))
			if err == nil {
				m.Close()
				t.Fatal("it was opened")
			}
			refused(t, err, c.want)
			if took := time.Since(start); took > time.Second {
				t.Errorf("refused after %v", took)
			}
		})
	}
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if kind := fault.KindOf(err); kind != fault.Unprocessable {
		t.Errorf("kind %q, want unprocessable: %v", kind, err)
	}
	if f, ok := err.(*fault.Error); !ok || f.Code != "invalid_model" {
		t.Errorf("code is not invalid_model: %#v", err)
	}
	if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), ".gguf") {
		t.Errorf("%q does not name the file or does not say %q", err, want)
	}
	if strings.Contains(err.Error(), string(filepath.Separator)+"tmp") {
		t.Errorf("%q tells where files lie", err)
	}
}

// rewrite stores a tiny model with its tensors changed.
func rewrite(t *testing.T, s modeltest.Shape, change func([]gguf.Named) []gguf.Named) string {
	t.Helper()
	f, err := gguf.Open(modeltest.Write(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []gguf.Named
	for _, name := range f.Names {
		m, _ := f.Tensor(name)
		m.Data = append([]byte(nil), m.Data...)
		tensors = append(tensors, gguf.Named{Name: name, Matrix: m, Vector: m.Rows == 1})
	}
	path := filepath.Join(t.TempDir(), "changed.gguf")
	if err := gguf.Write(path, modeltest.Pairs(s), change(tensors)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenRefusesTensors(t *testing.T) {
	named := func(name string, change func(*gguf.Named)) func([]gguf.Named) []gguf.Named {
		return func(all []gguf.Named) []gguf.Named {
			for i := range all {
				if all[i].Name == name {
					change(&all[i])
				}
			}
			return all
		}
	}
	gone := func(name string) func([]gguf.Named) []gguf.Named {
		return func(all []gguf.Named) (kept []gguf.Named) {
			for _, n := range all {
				if n.Name != name {
					kept = append(kept, n)
				}
			}
			return kept
		}
	}
	put := func(b ...byte) func(*gguf.Named) {
		return func(n *gguf.Named) { copy(n.Matrix.Data[len(n.Matrix.Data)-len(b):], b) }
	}
	for _, c := range []struct {
		name   string
		shape  modeltest.Shape
		change func([]gguf.Named) []gguf.Named
		want   string
	}{
		{"no embedding", modeltest.Shape{}, gone("token_embd.weight"), "token_embd.weight is missing"},
		{"no norm", modeltest.Shape{}, gone("blk.1.ffn_norm.weight"), "blk.1.ffn_norm.weight is missing"},
		{"no projection", modeltest.Shape{}, gone("blk.0.attn_v.weight"), "blk.0.attn_v.weight is missing"},
		{"no bias", modeltest.Shape{Arch: "phi2"}, gone("blk.0.ffn_up.bias"), "blk.0.ffn_up.bias is missing"},
		{"no bias of the output", modeltest.Shape{Arch: "phi2"}, gone("output.bias"), "output.bias is missing"},
		{"no bias of the norm", modeltest.Shape{Arch: "phi2"}, gone("output_norm.bias"), "output_norm.bias is missing"},
		{"swapped shape", modeltest.Shape{}, named("blk.0.ffn_up.weight", func(n *gguf.Named) {
			n.Matrix.Rows, n.Matrix.Cols = n.Matrix.Cols, n.Matrix.Rows
		}), "blk.0.ffn_up.weight is (64, 96)"},
		{"fused in one layer only", modeltest.Shape{Arch: "phi2", FusedQKV: true}, func(all []gguf.Named) []gguf.Named {
			return gone("blk.1.attn_qkv.weight")(all)
		}, "blk.1.attn_q.weight is missing"},
		{"NaN weight", modeltest.Shape{}, named("blk.0.attn_k.weight", put(0, 0, 0xc0, 0x7f)), "blk.0.attn_k.weight holds"},
		{"infinite scale", modeltest.Shape{Type: quant.Q8_0}, named("blk.1.ffn_down.weight", func(n *gguf.Named) {
			copy(n.Matrix.Data, []byte{0, 0x7c})
		}), "blk.1.ffn_down.weight holds"},
		{"infinite norm", modeltest.Shape{}, named("output_norm.weight", put(0, 0, 0x80, 0x7f)), "output_norm.weight holds"},
		{"rotary divisor 0", modeltest.Shape{Factors: true}, named("rope_freqs.weight", put(0, 0, 0, 0)), "rope_freqs.weight"},
		{"rotary divisors too few", modeltest.Shape{Factors: true}, named("rope_freqs.weight", func(n *gguf.Named) {
			n.Matrix.Cols, n.Matrix.Data = 4, n.Matrix.Data[:16]
		}), "rope_freqs.weight is (1, 4)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := model.Open(rewrite(t, c.shape, c.change), gang(t))
			if err == nil {
				m.Close()
				t.Fatal("it was opened")
			}
			refused(t, err, c.want)
		})
	}
}

// A tensor that the architecture does not know is left alone.
func TestExtraTensorIsIgnored(t *testing.T) {
	path := rewrite(t, modeltest.Shape{}, func(all []gguf.Named) []gguf.Named {
		extra := all[0]
		extra.Name = "blk.0.something.else"
		return append(all, extra)
	})
	m, err := model.Open(path, gang(t))
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}

func TestOpenMissing(t *testing.T) {
	_, err := model.Open(filepath.Join(t.TempDir(), "none.gguf"), gang(t))
	if fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v, want not found", err)
	}
}

func TestOpenReal(t *testing.T) {
	path := modeltest.Real(t)
	m, err := model.Open(path, gang(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d := m.Dims
	if d.Vocab != 49152 || d.Hidden != 576 || d.Layers != 30 || d.Heads != 9 || d.KVHeads != 3 || d.FFN != 1536 ||
		d.Context != 8192 || d.HeadDim != 64 || d.Rotary.Base != 100000 {
		t.Errorf("dimensions %+v", d)
	}
	if info, _ := os.Stat(path); m.Bytes() > 3*info.Size() {
		t.Errorf("%d bytes packed of %d", m.Bytes(), info.Size())
	}
}

func BenchmarkOpen(b *testing.B) {
	path := modeltest.Real(b)
	pool := parallel.New(0)
	defer pool.Close()
	g, err := kernel.NewGang(pool, "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		m, err := model.Open(path, g)
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
	}
}
