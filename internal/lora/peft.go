package lora

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"afina/internal/fault"
	"afina/internal/model"
	"afina/internal/safetensors"
)

// The files of a PEFT adapter.
const (
	configFile  = "adapter_config.json"
	weightsFile = "adapter_model.safetensors"
)

// maxConfig is the largest adapter_config.json that is read, in bytes.
const maxConfig = 1 << 20

// prefix is what PEFT writes before the path of a layer's module.
const prefix = "base_model.model.model.layers."

// config is adapter_config.json (peft's LoraConfig). What stands behind
// Refused changes what the adapter computes in ways that we do not know.
type config struct {
	PEFTType  string            `json:"peft_type"`
	TaskType  string            `json:"task_type"`
	Base      string            `json:"base_model_name_or_path"`
	Rank      int               `json:"r"`
	Alpha     float64           `json:"lora_alpha"`
	Dropout   float64           `json:"lora_dropout"`
	Targets   json.RawMessage   `json:"target_modules"` // a list, or a string
	Bias      string            `json:"bias"`
	FanInOut  bool              `json:"fan_in_fan_out"`
	RSLoRA    bool              `json:"use_rslora"`
	DoRA      bool              `json:"use_dora"`
	Inference bool              `json:"inference_mode"`
	Init      json.RawMessage   `json:"init_lora_weights"`
	Saved     json.RawMessage   `json:"modules_to_save"`
	Ranks     patterns[int]     `json:"rank_pattern"`
	Alphas    patterns[float64] `json:"alpha_pattern"`
}

// refused are further fields of LoraConfig that must be absent, null, false or
// empty.
func refused() []string {
	return []string{
		"lora_bias", "modules_to_save", "trainable_token_indices", "alora_invocation_tokens", "use_dora", "use_qalora",
		"layer_replication", "target_parameters", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config",
		"velora_config", "fan_in_fan_out",
	}
}

// patterns is a JSON object from regular expressions over module names to
// values, in the order of the file: the first that matches counts.
type patterns[T any] []pattern[T]

type pattern[T any] struct {
	key   string
	match *regexp.Regexp
	value T
}

// UnmarshalJSON keeps the order, which a map would lose.
func (p *patterns[T]) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return errors.New("a pattern is not an object")
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		e := pattern[T]{key: token.(string)} // a key is a string, or Token fails
		if e.match, err = regexp.Compile(`^(.*\.)?(` + e.key + `)$`); err != nil {
			return fmt.Errorf("pattern %q: %w", e.key, err)
		}
		if err := d.Decode(&e.value); err != nil {
			return fmt.Errorf("pattern %q: %w", e.key, err)
		}
		*p = append(*p, e)
	}
	return nil
}

// MarshalJSON writes an object.
func (p patterns[T]) MarshalJSON() ([]byte, error) {
	m := map[string]T{}
	for _, e := range p {
		m[e.key] = e.value
	}
	return json.Marshal(m)
}

// of returns the value for a module, or the default.
func (p patterns[T]) of(module string, otherwise T) T {
	for _, e := range p {
		if e.match.MatchString(module) {
			return e.value
		}
	}
	return otherwise
}

// SavePEFT writes adapter_config.json and adapter_model.safetensors into dir.
// baseID is what base_model_name_or_path shall say; empty means BaseID(m).
func (a *Adapter) SavePEFT(dir string, m *model.Model, baseID string) error {
	if err := a.fits(m); err != nil {
		return err
	}
	if baseID == "" {
		baseID = BaseID(m)
	}
	var targets []string
	f := &safetensors.File{Metadata: map[string]string{"format": "pt"}, Tensors: map[string]safetensors.Tensor{}}
	for _, name := range a.Slots {
		slot, _ := m.Spec.Slot(name)
		targets = append(targets, slot.Module())
		for l, pairs := range a.Pairs {
			p := pairs[name]
			b := p.B
			if slot.Permute {
				b = make([]float32, len(p.B))
				eachRow(p.Out, m.Dims.HeadDim, func(gguf, peft int) {
					copy(b[peft*a.Rank:(peft+1)*a.Rank], p.B[gguf*a.Rank:])
				})
			}
			key := prefix + strconv.Itoa(l) + "." + slot.PEFT
			f.Tensors[key+".lora_A.weight"] = safetensors.FromFloats(p.A, a.Rank, p.In)
			f.Tensors[key+".lora_B.weight"] = safetensors.FromFloats(b, p.Out, a.Rank)
		}
	}
	weights, err := safetensors.Encode(f)
	if err != nil {
		return err
	}
	text, err := json.Marshal(targets)
	if err != nil {
		return err
	}
	config, err := json.MarshalIndent(config{
		PEFTType: "LORA", TaskType: "CAUSAL_LM", Base: baseID,
		Rank: a.Rank, Alpha: shortest(a.Alpha), Dropout: shortest(a.Dropout), Targets: text,
		Bias: "none", Inference: true, Init: json.RawMessage("true"), Saved: json.RawMessage("null"),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", configFile, err)
	}
	if err := writeFile(filepath.Join(dir, weightsFile), weights); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, configFile), append(config, '\n'))
}

// shortest is the float64 that prints as x does: 0.05, not 0.05000000074505806.
func shortest(x float32) float64 {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'g', -1, 32), 64)
	return v
}

// eachRow calls f with the numbers of the same row in a GGUF and in a PEFT
// matrix of heads of dim rows each. llama's GGUF files keep the two halves of a
// rotary pair side by side: row 2i+t of a head is row t·dim/2+i in PEFT.
func eachRow(rows, dim int, f func(gguf, peft int)) {
	for head := 0; head < rows; head += dim {
		for i := range dim / 2 {
			f(head+2*i, head+i)
			f(head+2*i+1, head+dim/2+i)
		}
	}
}

// LoadPEFT reads what SavePEFT or PEFT wrote, and checks it against m.
func LoadPEFT(dir string, m *model.Model) (*Adapter, error) {
	c, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	f, err := readWeights(dir, m)
	if err != nil {
		return nil, err
	}
	parts := map[string]*part{}
	for key, tensor := range f.Tensors {
		if err := addTensor(parts, key, tensor, m); err != nil {
			return nil, err
		}
	}
	var all []*part
	for module, p := range parts {
		rank := c.Ranks.of(module, c.Rank)
		p.alpha = c.Alphas.of(module, c.Alpha)
		if c.RSLoRA { // scale is alpha/sqrt(rank): Kalajdzievski 2023
			p.alpha *= math.Sqrt(float64(p.rank))
		}
		if err := p.check(m); err != nil {
			return nil, err
		}
		if p.rank != rank {
			return nil, unsupported("%s says rank %d for %s, whose matrices have %d", configFile, rank, module, p.rank)
		}
		if slot, _ := m.Spec.Slot(p.slot); slot.Permute {
			b := make([]float32, len(p.b))
			eachRow(p.out, m.Dims.HeadDim, func(gguf, peft int) {
				copy(b[gguf*p.rank:(gguf+1)*p.rank], p.b[peft*p.rank:])
			})
			p.b = b
		}
		all = append(all, p)
	}
	slices.SortFunc(all, order)
	a, err := assemble(m, all)
	if err != nil {
		return nil, err
	}
	a.Name, a.Dropout = filepath.Base(dir), float32(c.Dropout)
	return a, nil
}

// order is by layer, then by name.
func order(x, y *part) int {
	if x.layer != y.layer {
		return x.layer - y.layer
	}
	return strings.Compare(x.slot, y.slot)
}

// addTensor puts one tensor of the file where it belongs in parts, which are
// keyed by the name of the module: "model.layers.0.self_attn.q_proj".
func addTensor(parts map[string]*part, key string, t safetensors.Tensor, m *model.Model) error {
	unknown := unsupported("the adapter changes %q, which is no layer of %s that can be adapted", key, m.Spec.Name)
	rest, ok := strings.CutPrefix(key, prefix)
	number, path, ok2 := strings.Cut(rest, ".")
	layer, err := strconv.Atoi(number)
	if !ok || !ok2 || err != nil || strconv.Itoa(layer) != number {
		return unknown
	}
	path, isA := cutSuffixes(path, ".lora_A.weight", ".lora_A.default.weight")
	isB := false
	if !isA {
		path, isB = cutSuffixes(path, ".lora_B.weight", ".lora_B.default.weight")
	}
	i := slices.IndexFunc(m.Spec.Slots, func(s model.Slot) bool { return s.PEFT == path })
	if i < 0 || !isA && !isB {
		return unknown
	}
	if layer < 0 || layer >= len(m.Layers) {
		return mismatch("the adapter changes layer %d; %s has %d layers", layer, m.Name, len(m.Layers))
	}
	if len(t.Shape) != 2 {
		return unsupported("%q has the shape %v, not two dimensions", key, t.Shape)
	}
	x, err := t.Floats()
	if err != nil {
		return unsupported("%q is of type %s; F32, F16 and BF16 are supported", key, t.DType)
	}
	module := strings.TrimPrefix(prefix, "base_model.model.") + number + "." + path
	p := parts[module]
	if p == nil {
		p = &part{layer: layer, slot: m.Spec.Slots[i].GGUF}
		parts[module] = p
	}
	return p.set(isA, x, t.Shape[0], t.Shape[1])
}

// set stores A (rank, in) or B (out, rank).
func (p *part) set(isA bool, x []float32, rows, cols int) error {
	rank := cols
	if isA {
		rank = rows
	}
	switch {
	case isA && p.haveA || !isA && p.haveB:
		return unsupported("the adapter's %s in layer %d occurs twice", p.slot, p.layer)
	case (p.haveA || p.haveB) && p.rank != rank:
		return unsupported("the adapter's %s in layer %d has matrices of rank %d and %d", p.slot, p.layer, p.rank, rank)
	}
	p.rank = rank
	if isA {
		p.a, p.in, p.haveA = x, cols, true
	} else {
		p.b, p.out, p.haveB = x, rows, true
	}
	return nil
}

func cutSuffixes(s string, suffixes ...string) (before string, found bool) {
	for _, suffix := range suffixes {
		if before, found = strings.CutSuffix(s, suffix); found {
			return before, true
		}
	}
	return s, false
}

func readConfig(dir string) (*config, error) {
	b, err := readFile(filepath.Join(dir, configFile), maxConfig)
	if err != nil {
		return nil, err
	}
	c := &config{Bias: "none"}
	var all map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(b, c), json.Unmarshal(b, &all)); err != nil {
		return nil, unsupported("%s cannot be read: %w", configFile, err)
	}
	if c.PEFTType != "LORA" {
		return nil, unsupported("%s is of type %q; only LORA is supported", configFile, c.PEFTType)
	}
	if c.Bias != "none" {
		return nil, unsupported("%s says bias %q, which is not supported", configFile, c.Bias)
	}
	for _, key := range refused() {
		switch string(all[key]) {
		case "", "null", "false", "[]", "{}":
		default:
			return nil, unsupported("%s says %s, which is not supported", configFile, key)
		}
	}
	switch string(c.Init) {
	case "", "null", "true", "false", `"gaussian"`, `"eva"`, `"orthogonal"`:
	default: // PiSSA, OLoRA and their kin change the base as well
		return nil, unsupported("%s says init_lora_weights %s, which changes the base model", configFile, c.Init)
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) {
		return nil, unsupported("%s says lora_dropout %v, not 0 to 1", configFile, c.Dropout)
	}
	return c, nil
}

// readWeights reads the tensors, whose size the model bounds.
func readWeights(dir string, m *model.Model) (*safetensors.File, error) {
	limit := int64(1 << 20)
	for _, s := range m.Spec.Slots {
		in, out := shape(m, s.GGUF)
		limit += int64(len(m.Layers)) * (4*MaxRank*int64(in+out) + 1024)
	}
	b, err := readFile(filepath.Join(dir, weightsFile), limit)
	if fault.KindOf(err) == fault.NotFound {
		if _, err := os.Stat(filepath.Join(dir, "adapter_model.bin")); err == nil {
			return nil, unsupported("adapter_model.bin is a pickle, which can run code; save it as %s", weightsFile)
		}
	}
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Decode(b)
	if err != nil {
		return nil, unsupported("%s is not sound: %w", weightsFile, err)
	}
	return f, nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	name := filepath.Base(path)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.NotFound, "the adapter has no %s", name)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, unsupported("%s is not a regular file", name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, unsupported("%s is larger than %d bytes, more than an adapter of this model can be", name, limit)
	}
	return b, nil
}

// writeFile stores b at path, whole or not at all.
func writeFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".lora-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
