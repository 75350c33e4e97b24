package lora

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"afina/internal/gguf"
	"afina/internal/model"
	"afina/internal/quant"
)

// fusedQKV is the one matrix that holds q, k and v in some files.
const fusedQKV = "attn_qkv"

// SaveGGUF writes a GGUF LoRA as llama.cpp reads it: B and A under the names of
// the base's tensors. Where the base has q, k and v in one matrix, so has the
// adapter: A is theirs on top of one another, B is block-diagonal. As such ranks
// differ and llama.cpp divides one alpha by each, the scale is then multiplied
// into B and alpha left out.
func (a *Adapter) SaveGGUF(path string, m *model.Model) error {
	if err := a.fits(m); err != nil {
		return err
	}
	pairs := []gguf.Pair{
		{Key: "general.architecture", Value: m.Spec.Name},
		{Key: "general.type", Value: "adapter"},
		{Key: "general.name", Value: a.Name},
		{Key: "general.base_model.count", Value: uint32(1)},
		{Key: "general.base_model.0.name", Value: m.Name},
		{Key: "adapter.type", Value: "lora"},
	}
	fuse := m.FusedQKV && slices.ContainsFunc(a.Slots, isQKV)
	if !fuse {
		pairs = append(pairs, gguf.Pair{Key: "adapter.lora.alpha", Value: a.Alpha})
	}
	var tensors []gguf.Named
	add := func(layer int, slot string, rank int, p *Pair) {
		name := fmt.Sprintf("blk.%d.%s.weight", layer, slot)
		tensors = append(tensors,
			gguf.Named{Name: name + ".lora_a", Matrix: floats(p.A, rank, p.In)},
			gguf.Named{Name: name + ".lora_b", Matrix: floats(p.B, p.Out, rank)})
	}
	for l, layer := range a.Pairs {
		if fuse {
			p, rank := a.fused(l, m)
			add(l, fusedQKV, rank, p)
		}
		for _, slot := range a.Slots {
			switch p := layer[slot]; {
			case !fuse:
				add(l, slot, a.Rank, p)
			case !isQKV(slot):
				add(l, slot, a.Rank, &Pair{In: p.In, Out: p.Out, A: p.A, B: scaled(p.B, a.Scale())})
			}
		}
	}
	return gguf.Write(path, pairs, tensors)
}

func isQKV(slot string) bool { return slot == "attn_q" || slot == "attn_k" || slot == "attn_v" }

// fused joins what the adapter has of q, k and v in a layer, scale and all.
func (a *Adapter) fused(layer int, m *model.Model) (p *Pair, rank int) {
	slots := slices.DeleteFunc(slices.Clone(a.Slots), func(s string) bool { return !isQKV(s) })
	rank = len(slots) * a.Rank
	p = &Pair{}
	for _, slot := range []string{"attn_q", "attn_k", "attn_v"} {
		in, out := shape(m, slot)
		p.In, p.Out = in, p.Out+out
	}
	p.B = make([]float32, p.Out*rank)
	row := 0 // of B, where the slot begins
	for _, slot := range []string{"attn_q", "attn_k", "attn_v"} {
		_, out := shape(m, slot)
		if i := slices.Index(slots, slot); i >= 0 {
			one := a.Pairs[layer][slot]
			p.A = append(p.A, one.A...)
			b := scaled(one.B, a.Scale())
			for o := range out {
				copy(p.B[(row+o)*rank+i*a.Rank:], b[o*a.Rank:(o+1)*a.Rank])
			}
		}
		row += out
	}
	return p, rank
}

func scaled(x []float32, f float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = v * f
	}
	return y
}

// floats is x as a matrix to write.
func floats(x []float32, rows, cols int) quant.Matrix {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return quant.Matrix{Type: quant.F32, Rows: rows, Cols: cols, Data: b}
}

// LoadGGUF reads a GGUF LoRA and checks it against m.
func LoadGGUF(path string, m *model.Model) (*Adapter, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	alpha, err := header(f, m)
	if err != nil {
		return nil, err
	}
	parts := map[string]*part{}
	for _, name := range f.Names {
		t, _ := f.Tensor(name)
		if err := addNamed(parts, name, t, m); err != nil {
			return nil, err
		}
	}
	var all []*part
	for _, p := range parts {
		if p.alpha = alpha; alpha == 0 { // then the scale is 1
			p.alpha = float64(p.rank)
		}
		if p.slot != fusedQKV {
			all = append(all, p)
			continue
		}
		three, err := p.split(m)
		if err != nil {
			return nil, err
		}
		all = append(all, three...)
	}
	slices.SortFunc(all, order)
	for i, p := range all {
		if err := p.check(m); err != nil {
			return nil, err
		}
		if i > 0 && order(all[i-1], p) == 0 {
			return nil, unsupported("the adapter changes %s in layer %d twice", p.slot, p.layer)
		}
	}
	if err := f.Unchanged(); err != nil {
		return nil, err
	}
	a, err := assemble(m, all)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	a.Name = strings.TrimSuffix(base, filepath.Ext(base))
	return a, nil
}

// header checks the metadata and returns alpha, 0 when there is none.
func header(f *gguf.File, m *model.Model) (alpha float64, err error) {
	md := f.Metadata
	if kind, _ := md.String("general.type"); kind != "adapter" {
		return 0, unsupported("the file is of type %q, not an adapter", kind)
	}
	if kind, _ := md.String("adapter.type"); kind != "lora" {
		return 0, unsupported("the adapter is of type %q; only lora is supported", kind)
	}
	if arch, _ := md.String("general.architecture"); arch != m.Spec.Name {
		return 0, mismatch("the adapter is for %q, %s is %s", arch, m.Name, m.Spec.Name)
	}
	for key := range md {
		if strings.HasPrefix(key, "adapter.alora.") {
			return 0, unsupported("the adapter wakes up at certain tokens (aLoRA), which is not supported")
		}
	}
	if md["adapter.lora.alpha"] == nil {
		return 0, nil
	}
	alpha, ok := md.Float("adapter.lora.alpha")
	if !ok || !(alpha >= 0) || math.IsInf(alpha, 0) {
		return 0, unsupported("adapter.lora.alpha is %v; it must be a number from 0 on", md["adapter.lora.alpha"])
	}
	return alpha, nil
}

// addNamed puts one tensor where it belongs in parts, keyed by the base's name.
func addNamed(parts map[string]*part, name string, t quant.Matrix, m *model.Model) error {
	unknown := unsupported("the adapter changes %q, which is no layer of %s that can be adapted", name, m.Spec.Name)
	base, isA := strings.CutSuffix(name, ".weight.lora_a")
	if !isA {
		var isB bool
		if base, isB = strings.CutSuffix(name, ".weight.lora_b"); !isB {
			return unknown
		}
	}
	rest, ok := strings.CutPrefix(base, "blk.")
	number, slot, ok2 := strings.Cut(rest, ".")
	layer, err := strconv.Atoi(number)
	if !ok || !ok2 || err != nil || strconv.Itoa(layer) != number {
		return unknown
	}
	known := slices.ContainsFunc(m.Spec.Slots, func(s model.Slot) bool { return s.GGUF == slot })
	if !known && slot != fusedQKV {
		return unknown
	}
	if layer < 0 || layer >= len(m.Layers) {
		return mismatch("the adapter changes layer %d; %s has %d layers", layer, m.Name, len(m.Layers))
	}
	if err := plausible(t, isA, slot, layer, m); err != nil {
		return err
	}
	p := parts[base]
	if p == nil {
		p = &part{layer: layer, slot: slot}
		parts[base] = p
	}
	x := make([]float32, t.Rows*t.Cols)
	for i := range t.Rows {
		t.Dequantize(x[i*t.Cols:(i+1)*t.Cols], i)
	}
	return p.set(isA, x, t.Rows, t.Cols)
}

// plausible compares a matrix with the base before it is unpacked.
func plausible(t quant.Matrix, isA bool, slot string, layer int, m *model.Model) error {
	in, out, most := 0, 0, MaxRank
	if slot == fusedQKV {
		most *= 3
		for _, one := range []string{"attn_q", "attn_k", "attn_v"} {
			i, o := shape(m, one)
			in, out = i, out+o
		}
	} else {
		in, out = shape(m, slot)
	}
	rank, got, want := t.Cols, t.Rows, out
	if isA {
		rank, got, want = t.Rows, t.Cols, in
	}
	switch {
	case got != want:
		return mismatch("the adapter's %s in layer %d has %d where %s has %d", slot, layer, got, m.Name, want)
	case rank > most:
		return unsupported("the adapter's %s in layer %d has rank %d, above %d", slot, layer, rank, most)
	}
	return nil
}

// split cuts a plausible pair over fused q, k and v into three. Of a
// block-diagonal B each keeps its own block.
func (p *part) split(m *model.Model) ([]*part, error) {
	if !p.haveA || !p.haveB {
		return []*part{p}, p.check(m)
	}
	var parts []*part
	row := 0
	for _, slot := range []string{"attn_q", "attn_k", "attn_v"} {
		in, out := shape(m, slot)
		one := &part{layer: p.layer, slot: slot, in: in, out: out, haveA: true, haveB: true}
		b := p.b[row*p.rank : (row+out)*p.rank]
		var kept []int
		for r := range p.rank {
			if used(b, r, p.rank) {
				kept = append(kept, r)
				one.a = append(one.a, p.a[r*in:(r+1)*in]...)
			}
		}
		row += out
		if len(kept) == 0 {
			continue // no change of this one
		}
		for o := range out {
			for _, r := range kept {
				one.b = append(one.b, b[o*p.rank+r])
			}
		}
		one.rank = len(kept)
		one.alpha = p.alpha / float64(p.rank) * float64(one.rank)
		parts = append(parts, one)
	}
	return parts, nil
}

// used reports whether column r of b holds anything.
func used(b []float32, r, rank int) bool {
	for ; r < len(b); r += rank {
		if b[r] != 0 {
			return true
		}
	}
	return false
}
