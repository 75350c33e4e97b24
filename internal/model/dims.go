package model

import (
	"fmt"
	"math"

	"afina/internal/gguf"
	"afina/internal/kernel"
)

// Limits of what is plausible; sizes beyond are refused before anything is
// computed with them.
const (
	maxSize    = 1 << 24 // of any dimension
	maxLayers  = 1024
	maxContext = 1 << 24
)

// keys reads the metadata of one architecture. The first failure stays in err;
// after it every method returns zero.
type keys struct {
	arch string
	md   gguf.Metadata
	err  error
}

func (k *keys) fail(format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf(format, args...)
	}
}

func (k *keys) has(key string) bool { _, ok := k.md[k.arch+"."+key]; return ok }

// size reads a whole number from 1 to limit.
func (k *keys) size(key string, limit int) int {
	key = k.arch + "." + key
	v, ok := k.md.Int(key)
	switch {
	case k.md[key] == nil:
		k.fail("it does not say %s", key)
	case !ok:
		k.fail("%s is not a whole number", key)
	case v < 1 || v > limit:
		k.fail("%s is %d, not 1 to %d", key, v, limit)
	}
	if k.err != nil {
		return 0
	}
	return v
}

// sizeOr is size with a default for a key that is absent.
func (k *keys) sizeOr(key string, limit, absent int) int {
	if !k.has(key) {
		return absent
	}
	return k.size(key, limit)
}

// number reads a float above 0 and at most limit.
func (k *keys) number(key string, limit float64) float64 {
	key = k.arch + "." + key
	v, ok := k.md.Float(key)
	switch {
	case k.md[key] == nil:
		k.fail("it does not say %s", key)
	case !ok:
		k.fail("%s is not a float", key)
	case !(v > 0 && v <= limit):
		k.fail("%s is %v, not above 0 and at most %v", key, v, limit)
	}
	if k.err != nil {
		return 1
	}
	return v
}

func (k *keys) numberOr(key string, limit, absent float64) float64 {
	if !k.has(key) {
		return absent
	}
	return k.number(key, limit)
}

// dims reads the sizes that spec needs; Vocab comes from the embedding.
func dims(spec Spec, md gguf.Metadata) (Dims, error) {
	k := &keys{arch: spec.Name, md: md}
	epsilon := "attention.layer_norm_rms_epsilon"
	if spec.Norm == LayerNorm {
		epsilon = "attention.layer_norm_epsilon"
	}
	d := Dims{
		Hidden:  k.size("embedding_length", maxSize),
		Layers:  k.size("block_count", maxLayers),
		Heads:   k.size("attention.head_count", maxSize),
		FFN:     k.size("feed_forward_length", maxSize),
		Context: k.size("context_length", maxContext),
		Epsilon: float32(k.number(epsilon, 1)),
	}
	if d.Epsilon == 0 {
		k.fail("%s.%s is too small for a float32", k.arch, epsilon)
	}
	d.KVHeads = k.sizeOr("attention.head_count_kv", maxSize, d.Heads)
	if k.err == nil && d.Heads%d.KVHeads != 0 {
		k.fail("%d heads cannot share %d heads of keys and values", d.Heads, d.KVHeads)
	}
	d.HeadDim = k.headDim(d)
	d.Rotary = k.rotary(spec, d)
	if n, _ := md.Int(spec.Name + ".expert_count"); n > 0 {
		k.fail("it is a mixture of %d experts, which is not supported", n)
	}
	if n, _ := md.Int(spec.Name + ".attention.sliding_window"); n > 0 && n < d.Context {
		k.fail("its attention slides over %d tokens, which is not supported", n)
	}
	return d, k.err
}

// headDim is the number of numbers in a head: q, k and v have the same.
func (k *keys) headDim(d Dims) int {
	if k.err != nil {
		return 0
	}
	if !k.has("attention.key_length") {
		if d.Hidden%d.Heads != 0 {
			k.fail("embedding_length %d is not a multiple of head_count %d", d.Hidden, d.Heads)
		}
		return d.Hidden / d.Heads
	}
	dim := k.size("attention.key_length", maxSize)
	if v := k.sizeOr("attention.value_length", maxSize, dim); k.err == nil && v != dim {
		k.fail("heads of keys (%d) and values (%d) differ in size, which is not supported", dim, v)
	}
	return dim
}

// rotary reads the position embedding. Linear scaling divides positions, which
// is the same as dividing every frequency.
func (k *keys) rotary(spec Spec, d Dims) kernel.Rotary {
	if k.err != nil {
		return kernel.Rotary{}
	}
	r := kernel.Rotary{Halves: spec.Halves}
	r.Dims = k.sizeOr("rope.dimension_count", maxSize, d.HeadDim)
	switch {
	case k.err != nil:
	case r.Dims%2 != 0 || r.Dims > d.HeadDim:
		k.fail("rope.dimension_count %d is odd or above the head size %d", r.Dims, d.HeadDim)
	case !spec.Halves && r.Dims != d.HeadDim:
		k.fail("rope.dimension_count %d is not the head size %d, which %s asks for", r.Dims, d.HeadDim, spec.Name)
	}
	r.Base = float32(k.numberOr("rope.freq_base", math.MaxFloat32/2, 10000))
	if r.Base == 0 {
		k.fail("%s.rope.freq_base is too small for a float32", k.arch)
	}
	if f := k.scaling(); k.err == nil && f != 1 {
		r.Factors = make([]float32, r.Dims/2)
		for i := range r.Factors {
			r.Factors[i] = f
		}
	}
	return r
}

// scaling is the factor by which positions are divided.
func (k *keys) scaling() float32 {
	kind, ok := k.md.String(k.arch + ".rope.scaling.type")
	if !ok && k.has("rope.scaling.type") {
		k.fail("%s.rope.scaling.type is not a string", k.arch)
	}
	switch {
	case kind == "none":
		return 1
	case ok && kind != "linear":
		k.fail("its positions are scaled by %q; only none and linear are supported", kind)
	}
	factor := k.numberOr("rope.scaling.factor", 1<<20, k.numberOr("rope.scale_linear", 1<<20, 1))
	return float32(factor)
}
