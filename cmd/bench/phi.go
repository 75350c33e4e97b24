package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"afina/internal/gguf"
	"afina/internal/quant"
)

// random is SplitMix64 (Steele, Lea & Flood 2014).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// The shape of Phi-2, 2.7 billion parameters.
const phiHidden, phiLayers, phiHeads, phiFFN, phiVocab = 2560, 32, 32, 10240, 51200

// writePhi2 writes a model of the shape of Phi-2 in Q4_0, its weights random,
// unless it is there. One block of random numbers serves for all matrices: the
// time of a product does not depend on them.
func writePhi2(tokens string, to string) error {
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	vocabulary, err := gguf.Open(tokens)
	if err != nil {
		return err
	}
	defer vocabulary.Close()
	w := phiWriter{rows: make(map[int]quant.Matrix)}
	w.matrix("token_embd.weight", phiVocab, phiHidden)
	w.norm("output_norm")
	w.linear("output", phiVocab, phiHidden)
	for l := range phiLayers {
		block := fmt.Sprintf("blk.%d.", l)
		w.norm(block + "attn_norm")
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			w.linear(block+name, phiHidden, phiHidden)
		}
		w.linear(block+"ffn_up", phiFFN, phiHidden)
		w.linear(block+"ffn_down", phiHidden, phiFFN)
	}
	if w.err != nil {
		return w.err
	}
	meta, err := phiPairs(vocabulary.Metadata)
	if err != nil {
		return err
	}
	return gguf.Write(to, meta, w.tensors)
}

// phiPairs are the keys of Phi-2 with the vocabulary of another model, padded
// to Phi-2's size.
func phiPairs(md gguf.Metadata) ([]gguf.Pair, error) {
	out := []gguf.Pair{
		{Key: "general.architecture", Value: "phi2"},
		{Key: "general.name", Value: "Random of Phi-2's shape"},
		{Key: "phi2.context_length", Value: uint32(2048)},
		{Key: "phi2.embedding_length", Value: uint32(phiHidden)},
		{Key: "phi2.feed_forward_length", Value: uint32(phiFFN)},
		{Key: "phi2.block_count", Value: uint32(phiLayers)},
		{Key: "phi2.attention.head_count", Value: uint32(phiHeads)},
		{Key: "phi2.attention.head_count_kv", Value: uint32(phiHeads)},
		{Key: "phi2.attention.layer_norm_epsilon", Value: float32(1e-5)},
		{Key: "phi2.rope.dimension_count", Value: uint32(32)},
		{Key: "phi2.rope.freq_base", Value: float32(10000)},
	}
	all, err := pairs(md)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if !strings.HasPrefix(p.Key, "tokenizer.") {
			continue
		}
		switch v := p.Value.(type) {
		case []string:
			if p.Key == "tokenizer.ggml.tokens" {
				for i := len(v); i < phiVocab; i++ {
					v = append(v, fmt.Sprintf("[PAD%d]", i))
				}
				p.Value = v
			}
		case []int32: // the kinds of tokens: what is added is unused
			for i := len(v); i < phiVocab; i++ {
				v = append(v, 5)
			}
			p.Value = v
		}
		out = append(out, p)
	}
	return out, nil
}

// phiWriter gathers tensors; the first failure stays.
type phiWriter struct {
	rows    map[int]quant.Matrix // 64 random rows by their length
	tensors []gguf.Named
	err     error
}

const drawn = 64 // rows drawn per length

func (w *phiWriter) matrix(name string, rows, cols int) {
	block, ok := w.rows[cols]
	if !ok {
		r, x := random(1), make([]float32, drawn*cols)
		for i := range x {
			x[i] = 0.04 * (float32(r.next()>>40)/(1<<23) - 1)
		}
		var err error
		if block, err = quant.Quantize(quant.Q4_0, x, drawn, cols); err != nil && w.err == nil {
			w.err = err
		}
		w.rows[cols] = block
	}
	m := quant.Matrix{Type: block.Type, Rows: rows, Cols: cols}
	for len(m.Data) < rows*block.Type.RowBytes(cols) {
		m.Data = append(m.Data, block.Data...)
	}
	w.tensors = append(w.tensors, gguf.Named{Name: name, Matrix: m})
}

func (w *phiWriter) vector(name string, n int, value float32) {
	x := make([]float32, n)
	for i := range x {
		x[i] = value
	}
	m, err := quant.Quantize(quant.F32, x, 1, n)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.tensors = append(w.tensors, gguf.Named{Name: name, Matrix: m, Vector: true})
}

func (w *phiWriter) norm(name string) {
	w.vector(name+".weight", phiHidden, 1)
	w.vector(name+".bias", phiHidden, 0)
}

func (w *phiWriter) linear(name string, rows, cols int) {
	w.matrix(name+".weight", rows, cols)
	w.vector(name+".bias", rows, 0)
}
