package lora_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/quant"
	"afina/internal/safetensors"
)

// adapterFiles are the two files of a PEFT adapter, to be spoilt.
type adapterFiles struct {
	config  map[string]any
	tensors map[string]safetensors.Tensor
}

// save writes the files as PEFT does.
func (f adapterFiles) save(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	config, err := json.Marshal(f.config)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := safetensors.Encode(&safetensors.File{Tensors: f.tensors})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "adapter_config.json"), config)
	write(t, filepath.Join(dir, "adapter_model.safetensors"), weights)
	return dir
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// sound is an adapter of rank 2 on q of both layers and v of the first.
func sound(t *testing.T, m *model.Model) adapterFiles {
	t.Helper()
	dir := t.TempDir()
	if err := random(t, m, 2, 4, "q", "v").SavePEFT(dir, m, ""); err != nil {
		t.Fatal(err)
	}
	f := adapterFiles{config(t, dir), decode(t, filepath.Join(dir, "adapter_model.safetensors")).Tensors}
	for _, half := range []string{"A", "B"} {
		delete(f.tensors, "base_model.model.model.layers.1.self_attn.v_proj.lora_"+half+".weight")
	}
	return f
}

const qA = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
const qB = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"

// An adapter may leave layers out; they are not changed.
func TestLoadPEFTPartial(t *testing.T) {
	m := open(t, testShape("llama"))
	f := sound(t, m)
	f.tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"] = f.tensors[qA]
	delete(f.tensors, qA)
	a, err := lora.LoadPEFT(f.save(t), m)
	if err != nil {
		t.Fatal(err)
	}
	p := a.Pairs[1]["attn_v"]
	if p == nil || len(p.A) != 2*32 || len(p.B) != 16*2 {
		t.Fatalf("the pair that the file leaves out is %+v", p)
	}
	for _, v := range delta(a, p) {
		if v != 0 {
			t.Fatal("a layer that the file leaves out is changed")
		}
	}
}

func TestLoadPEFTRefuses(t *testing.T) {
	m := open(t, testShape("llama"))
	put := func(key string, v any) func(adapterFiles) {
		return func(f adapterFiles) { f.config[key] = v }
	}
	add := func(key string, t safetensors.Tensor) func(adapterFiles) {
		return func(f adapterFiles) { f.tensors[key] = t }
	}
	floats := func(rows, cols int) safetensors.Tensor {
		return safetensors.FromFloats(make([]float32, rows*cols), rows, cols)
	}
	spoilt := func(bits uint32) func(adapterFiles) {
		return func(f adapterFiles) { binary.LittleEndian.PutUint32(f.tensors[qA].Data[8:], bits) }
	}
	const un, base = "unsupported_adapter", "base_mismatch"
	for _, c := range []struct {
		name  string
		spoil func(adapterFiles)
		code  string
	}{
		{"another type", put("peft_type", "IA3"), un},
		{"no type", put("peft_type", nil), un},
		{"DoRA", put("use_dora", true), un},
		{"bias", put("bias", "lora_only"), un},
		{"bias of B", put("lora_bias", true), un},
		{"saved modules", put("modules_to_save", []string{"lm_head"}), un},
		{"trained tokens", put("trainable_token_indices", []int{1}), un},
		{"aLoRA", put("alora_invocation_tokens", []int{1}), un},
		{"QALoRA", put("use_qalora", true), un},
		{"replicated layers", put("layer_replication", [][]int{{0, 2}}), un},
		{"target parameters", put("target_parameters", []string{"x"}), un},
		{"transposed", put("fan_in_fan_out", true), un},
		{"PiSSA", put("init_lora_weights", "pissa_niter_4"), un},
		{"rank of another kind", put("r", "2"), un},
		{"another rank", put("r", 3), un},
		{"another rank by pattern", put("rank_pattern", map[string]int{"q_proj": 3}), un},
		{"pattern that is none", put("rank_pattern", map[string]int{"(": 2}), un},
		{"pattern no object", put("alpha_pattern", []int{1}), un},
		{"alpha 0", put("lora_alpha", 0), un},
		{"alpha negative", put("lora_alpha", -2), un},
		{"alpha huge", put("lora_alpha", 1e300), un},
		{"dropout 1", put("lora_dropout", 1), un},
		{"no tensors", func(f adapterFiles) { clear(f.tensors) }, un},
		{"A without B", func(f adapterFiles) { delete(f.tensors, qB) }, un},
		{"B without A", func(f adapterFiles) { delete(f.tensors, qA) }, un},
		{"A twice", add("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight", floats(2, 32)), un},
		{"rank of A and B differ", add(qA, floats(3, 32)), un},
		{"rank 0", add(qA, floats(0, 32)), un},
		{"wrong input", add(qA, floats(2, 31)), base},
		{"wrong output", add(qB, floats(31, 2)), base},
		{"three dimensions", add(qA, safetensors.FromFloats(make([]float32, 64), 2, 32, 1)), un},
		{"integers", add(qA, safetensors.Tensor{DType: "I32", Shape: []int{2, 32}, Data: make([]byte, 256)}), un},
		{"layer 999", add("base_model.model.model.layers.999.self_attn.q_proj.lora_A.weight", floats(2, 32)), base},
		{"layer -1", add("base_model.model.model.layers.-1.self_attn.q_proj.lora_A.weight", floats(2, 32)), base},
		{"layer 00", add("base_model.model.model.layers.00.self_attn.q_proj.lora_A.weight", floats(2, 32)), un},
		{"unknown module", add("base_model.model.model.layers.0.mlp.fc1.lora_A.weight", floats(2, 32)), un},
		{"unknown suffix", add("base_model.model.model.layers.0.self_attn.q_proj.lora_C.weight", floats(2, 32)), un},
		{"embedding", add("base_model.model.model.embed_tokens.lora_embedding_A", floats(2, 32)), un},
		{"another prefix", add("model.layers.0.self_attn.q_proj.lora_A.weight", floats(2, 32)), un},
		{"NaN", spoilt(0x7fc00000), un},
		{"infinity", spoilt(0xff800000), un},
	} {
		f := sound(t, m)
		c.spoil(f)
		_, err := lora.LoadPEFT(f.save(t), m)
		refused(t, c.name, err, c.code)
	}
}

func refused(t *testing.T, name string, err error, code string) {
	t.Helper()
	kind := fault.Unprocessable
	if code == "base_mismatch" {
		kind = fault.Conflict
	}
	f, ok := err.(*fault.Error)
	if !ok || f.Kind != kind || f.Code != code {
		t.Errorf("%s: got %v, want %s with code %q", name, err, kind, code)
	}
}

func TestLoadPEFTFiles(t *testing.T) {
	m := open(t, testShape("llama"))
	good := sound(t, m)
	without := func(file string) string {
		dir := good.save(t)
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, file := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		if _, err := lora.LoadPEFT(without(file), m); fault.KindOf(err) != fault.NotFound {
			t.Errorf("without %s: %v", file, err)
		}
	}
	pickle := without("adapter_model.safetensors")
	write(t, filepath.Join(pickle, "adapter_model.bin"), []byte("\x80\x02."))
	_, err := lora.LoadPEFT(pickle, m)
	refused(t, "a pickle", err, "unsupported_adapter")

	folder := without("adapter_model.safetensors")
	if err := os.Mkdir(filepath.Join(folder, "adapter_model.safetensors"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = lora.LoadPEFT(folder, m)
	refused(t, "a folder", err, "unsupported_adapter")

	for name, file := range map[string]string{"config": "adapter_config.json", "weights": "adapter_model.safetensors"} {
		large := good.save(t)
		if err := os.Truncate(filepath.Join(large, file), 1<<30); err != nil {
			t.Fatal(err)
		}
		_, err := lora.LoadPEFT(large, m)
		refused(t, "a large "+name, err, "unsupported_adapter")
		short := good.save(t)
		if err := os.Truncate(filepath.Join(short, file), 20); err != nil {
			t.Fatal(err)
		}
		_, err = lora.LoadPEFT(short, m)
		refused(t, "a short "+name, err, "unsupported_adapter")
	}
}

// ggufFile is a GGUF LoRA on q of the first layer, to be spoilt.
type ggufFile struct {
	pairs   map[string]any
	tensors map[string]quant.Matrix
}

func soundGGUF() ggufFile {
	return ggufFile{
		pairs: map[string]any{
			"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": float32(4),
		},
		tensors: map[string]quant.Matrix{
			"blk.0.attn_q.weight.lora_a": ones(2, 32), "blk.0.attn_q.weight.lora_b": ones(32, 2),
		},
	}
}

func ones(rows, cols int) quant.Matrix {
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = 1
	}
	m, err := quant.Quantize(quant.F32, x, rows, cols)
	if err != nil {
		panic(err)
	}
	return m
}

func (f ggufFile) save(t *testing.T) string {
	t.Helper()
	var pairs []gguf.Pair
	for key, v := range f.pairs {
		if v != nil {
			pairs = append(pairs, gguf.Pair{Key: key, Value: v})
		}
	}
	var tensors []gguf.Named
	for name, m := range f.tensors {
		tensors = append(tensors, gguf.Named{Name: name, Matrix: m})
	}
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := gguf.Write(path, pairs, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadGGUFScale(t *testing.T) {
	m := open(t, testShape("llama"))
	for alpha, want := range map[any]float32{float32(4): 2, float32(0): 1, nil: 1, float32(1): 0.5} {
		f := soundGGUF()
		f.pairs["adapter.lora.alpha"] = alpha
		a, err := lora.LoadGGUF(f.save(t), m)
		if err != nil {
			t.Fatal(err)
		}
		if a.Scale() != want || a.Name != "adapter" {
			t.Errorf("alpha %v: scale %v, want %v (name %q)", alpha, a.Scale(), want, a.Name)
		}
	}
	f := soundGGUF() // two ranks: each has its own scale
	f.tensors["blk.1.attn_v.weight.lora_a"] = ones(4, 32)
	f.tensors["blk.1.attn_v.weight.lora_b"] = ones(16, 4)
	a, err := lora.LoadGGUF(f.save(t), m)
	if err != nil {
		t.Fatal(err)
	}
	for layer, slot := range []string{"attn_q", "attn_v"} { // 4/2·2 and 4/4·4
		if d := delta(a, a.Pairs[layer][slot]); d[0] != 4 || d[len(d)-1] != 4 {
			t.Errorf("%s changes by %v, want 4", slot, d[0])
		}
	}
}

func TestLoadGGUFRefuses(t *testing.T) {
	m := open(t, testShape("llama"))
	put := func(key string, v any) func(ggufFile) { return func(f ggufFile) { f.pairs[key] = v } }
	add := func(key string, m quant.Matrix) func(ggufFile) { return func(f ggufFile) { f.tensors[key] = m } }
	nan := ones(2, 32)
	binary.LittleEndian.PutUint32(nan.Data, 0x7fc00000)
	const un, base = "unsupported_adapter", "base_mismatch"
	for _, c := range []struct {
		name  string
		spoil func(ggufFile)
		code  string
	}{
		{"a model", put("general.type", "model"), un},
		{"no type", put("general.type", nil), un},
		{"another kind of adapter", put("adapter.type", "control_vector"), un},
		{"another architecture", put("general.architecture", "phi2"), base},
		{"alpha NaN", put("adapter.lora.alpha", float32(math.NaN())), un},
		{"alpha negative", put("adapter.lora.alpha", float32(-1)), un},
		{"alpha infinite", put("adapter.lora.alpha", float32(math.Inf(1))), un},
		{"alpha as text", put("adapter.lora.alpha", "4"), un},
		{"aLoRA", put("adapter.alora.invocation_tokens", []int32{1}), un},
		{"no tensors", func(f ggufFile) { clear(f.tensors) }, un},
		{"A without B", func(f ggufFile) { delete(f.tensors, "blk.0.attn_q.weight.lora_b") }, un},
		{"ranks differ", add("blk.0.attn_q.weight.lora_a", ones(3, 32)), un},
		{"NaN", add("blk.0.attn_q.weight.lora_a", nan), un},
		{"wrong input", add("blk.0.attn_q.weight.lora_a", ones(2, 64)), base},
		{"wrong output", add("blk.0.attn_q.weight.lora_b", ones(64, 2)), base},
		{"layer 7", add("blk.7.attn_q.weight.lora_a", ones(2, 32)), base},
		{"another suffix", add("blk.0.attn_q.weight.lora_c", ones(2, 32)), un},
		{"embedding", add("token_embd.weight.lora_a", ones(2, 32)), un},
		{"a norm", add("blk.0.attn_norm.weight.lora_a", ones(2, 32)), un},
		{"fused and apart", func(f ggufFile) {
			f.tensors["blk.0.attn_qkv.weight.lora_a"] = ones(2, 32)
			f.tensors["blk.0.attn_qkv.weight.lora_b"] = ones(64, 2)
		}, un},
		{"fused of another size", func(f ggufFile) {
			f.tensors["blk.1.attn_qkv.weight.lora_a"] = ones(2, 32)
			f.tensors["blk.1.attn_qkv.weight.lora_b"] = ones(96, 2)
		}, base},
		{"fused without B", add("blk.1.attn_qkv.weight.lora_a", ones(2, 32)), un},
	} {
		f := soundGGUF()
		c.spoil(f)
		_, err := lora.LoadGGUF(f.save(t), m)
		refused(t, c.name, err, c.code)
	}
	path := soundGGUF().save(t)
	if err := os.Truncate(path, 200); err != nil {
		t.Fatal(err)
	}
	if _, err := lora.LoadGGUF(path, m); fault.KindOf(err) != fault.Unprocessable {
		t.Errorf("a truncated file: %v", err)
	}
}
