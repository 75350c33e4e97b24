package model

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/grammar"
	"afina/internal/kernel"
	"afina/internal/quant"
	"afina/internal/tokenizer"
)

// embedding is the tensor that holds one row for each token.
const embedding = "token_embd.weight"

// Open reads the model at path, checks that every weight has the shape its
// Dims ask for and is finite, and packs it with g. A fused attn_qkv is split.
// A file that is no model we can run is a fault.Unprocessable with the code
// "invalid_model".
func Open(path string, g *kernel.Gang) (*Model, error) {
	file, err := gguf.Open(path)
	if err != nil {
		return nil, invalid(filepath.Base(path), err)
	}
	m, err := read(file, g)
	if err == nil {
		err = file.Unchanged()
	}
	if err != nil {
		file.Close()
		return nil, invalid(filepath.Base(path), err)
	}
	if err := file.Release(); err != nil {
		file.Close()
		return nil, fmt.Errorf("release %s: %w", filepath.Base(path), err)
	}
	return m, nil
}

// invalid makes err the caller's: what is wrong with the file is theirs to mend.
func invalid(name string, err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return fault.New(fault.Unprocessable, "%s cannot be used: %w", name, err).WithCode("invalid_model")
	}
	if f.Kind != fault.Unprocessable {
		return err
	}
	message := f.Message
	if !strings.HasPrefix(message, name) {
		message = name + " cannot be used: " + message
	}
	return fault.New(fault.Unprocessable, "%s", message).WithCode("invalid_model")
}

func read(file *gguf.File, g *kernel.Gang) (*Model, error) {
	md := file.Metadata
	spec, err := architecture(md)
	if err != nil {
		return nil, err
	}
	m := &Model{Path: file.Path, Spec: spec, Metadata: md, file: file}
	m.Name = filepath.Base(file.Path)
	if ext := filepath.Ext(m.Name); strings.EqualFold(ext, ".gguf") {
		m.Name = strings.TrimSuffix(m.Name, ext)
	}
	if m.Dims, err = dims(spec, md); err != nil {
		return nil, err
	}
	b := &binder{file: file, spec: spec}
	b.bind(m)
	if b.err != nil {
		return nil, b.err
	}
	if m.Tokens, err = tokenizer.FromGGUF(md); err != nil {
		return nil, err
	}
	if m.Tokens.Size != m.Dims.Vocab {
		return nil, fmt.Errorf("it has %d tokens but %s has %d rows", m.Tokens.Size, embedding, m.Dims.Vocab)
	}
	if m.Template, err = chat.FromGGUF(md, m.Tokens); err != nil {
		return nil, err
	}
	form, _ := m.Template.CallForm()
	m.Grammar = grammar.NewVocabulary(m.Tokens, form.Open, form.Close)
	if err := b.pack(g); err != nil {
		return nil, err
	}
	m.ease()
	if m.Output.Weight == nil { // tied
		m.Output.Weight = m.Embed
	}
	return m, nil
}

// architecture finds the Spec that the file asks for.
func architecture(md gguf.Metadata) (Spec, error) {
	if kind, ok := md.String("general.type"); ok && kind != "model" {
		return Spec{}, fmt.Errorf("it is of type %q, not a model", kind)
	}
	if n, _ := md.Int("split.count"); n > 1 {
		return Spec{}, fmt.Errorf("it is one of %d parts; merge them first (llama-gguf-split --merge)", n)
	}
	name, ok := md.String("general.architecture")
	if !ok {
		return Spec{}, errors.New("it does not say general.architecture")
	}
	spec, supported, ok := specOf(name)
	if !ok {
		return Spec{}, fmt.Errorf("its architecture %q is not supported; %s are", name, supported)
	}
	return spec, nil
}

// binder finds the tensors of a model, checks their shapes and packs them. The
// first failure stays in err.
type binder struct {
	file  *gguf.File
	spec  Spec
	err   error
	packs []pack
}

// pack is a matrix to be packed and where the result goes.
type pack struct {
	name string
	from quant.Matrix
	to   **kernel.Matrix
}

func (b *binder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// bind fills m but for the packed matrices.
func (b *binder) bind(m *Model) {
	d := &m.Dims
	embed, ok := b.file.Tensor(embedding)
	if !ok {
		b.fail("tensor %s is missing", embedding)
		return
	}
	d.Vocab = embed.Rows
	if tokens, ok := m.Metadata.Strings("tokenizer.ggml.tokens"); ok && len(tokens) != d.Vocab {
		b.fail("it has %d tokens but %s has %d rows", len(tokens), embedding, d.Vocab)
	}
	if d.Layers > len(b.file.Names) {
		b.fail("it has %d tensors for %d layers", len(b.file.Names), d.Layers)
	}
	if b.err != nil {
		return
	}
	b.matrix(&m.Embed, embedding, d.Vocab, d.Hidden)
	m.Layers = make([]Layer, d.Layers)
	for i := range m.Layers {
		fused := b.layer(&m.Layers[i], *d, fmt.Sprintf("blk.%d.", i))
		if i > 0 && fused != m.FusedQKV {
			b.fail("q, k and v are fused in some layers and apart in others")
		}
		m.FusedQKV = fused
		if b.err != nil {
			return
		}
	}
	m.OutputNorm = b.norm("output_norm", d.Hidden)
	if _, untied := b.file.Tensor("output.weight"); untied {
		b.matrix(&m.Output.Weight, "output.weight", d.Vocab, d.Hidden)
	}
	m.Output.Bias = b.bias("output", d.Vocab)
	b.factors(&d.Rotary)
}

// layer binds one block; where Q, K and V are fused it cuts them apart.
func (b *binder) layer(l *Layer, d Dims, blk string) (fused bool) {
	l.AttnNorm = b.norm(blk+"attn_norm", d.Hidden)
	if !b.spec.Parallel {
		l.FFNNorm = b.norm(blk+"ffn_norm", d.Hidden)
	}
	q, kv := d.Heads*d.HeadDim, d.KVHeads*d.HeadDim
	shapes := map[string][2]int{
		"attn_q": {q, d.Hidden}, "attn_k": {kv, d.Hidden}, "attn_v": {kv, d.Hidden}, "attn_output": {d.Hidden, q},
		"ffn_gate": {d.FFN, d.Hidden}, "ffn_up": {d.FFN, d.Hidden}, "ffn_down": {d.Hidden, d.FFN},
	}
	if _, fused = b.file.Tensor(blk + "attn_qkv.weight"); fused {
		b.fused(l, blk+"attn_qkv", q, kv, d.Hidden)
	}
	for _, s := range b.spec.Slots {
		if fused && (s.GGUF == "attn_q" || s.GGUF == "attn_k" || s.GGUF == "attn_v") {
			continue
		}
		b.linear(l.field(s.GGUF), blk+s.GGUF, shapes[s.GGUF][0], shapes[s.GGUF][1])
	}
	return fused
}

// fused cuts a matrix whose rows are those of q, then k, then v.
func (b *binder) fused(l *Layer, name string, q, kv, cols int) {
	all, ok := b.tensor(name+".weight", q+2*kv, cols)
	if !ok {
		return
	}
	bias := b.bias(name, q+2*kv)
	from := 0
	for _, part := range []struct {
		to   *Linear
		rows int
	}{{&l.Q, q}, {&l.K, kv}, {&l.V, kv}} {
		n := all.Type.RowBytes(cols)
		m := quant.Matrix{Type: all.Type, Rows: part.rows, Cols: cols, Data: all.Data[from*n : (from+part.rows)*n]}
		b.packs = append(b.packs, pack{name + ".weight", m, &part.to.Weight})
		if bias != nil {
			part.to.Bias = bias[from : from+part.rows : from+part.rows]
		}
		from += part.rows
	}
}

// tensor returns the tensor of that name if it has that shape.
func (b *binder) tensor(name string, rows, cols int) (quant.Matrix, bool) {
	m, ok := b.file.Tensor(name)
	switch {
	case !ok:
		b.fail("tensor %s is missing", name)
	case m.Rows != rows || m.Cols != cols:
		b.fail("tensor %s is (%d, %d); the model's dimensions ask for (%d, %d)", name, m.Rows, m.Cols, rows, cols)
	}
	return m, b.err == nil
}

func (b *binder) matrix(to **kernel.Matrix, name string, rows, cols int) {
	if m, ok := b.tensor(name, rows, cols); ok {
		b.packs = append(b.packs, pack{name, m, to})
	}
}

// linear binds a weight and its bias.
func (b *binder) linear(to *Linear, name string, rows, cols int) {
	b.matrix(&to.Weight, name+".weight", rows, cols)
	to.Bias = b.bias(name, rows)
}

// bias copies the bias of a linear layer, which only some architectures demand.
func (b *binder) bias(name string, n int) []float32 {
	if _, ok := b.file.Tensor(name + ".bias"); !ok && !b.spec.Bias {
		return nil
	}
	return b.vector(name+".bias", n)
}

func (b *binder) norm(name string, n int) Scale {
	s := Scale{Weight: b.vector(name+".weight", n)}
	if b.spec.Norm == LayerNorm {
		s.Bias = b.vector(name+".bias", n)
	}
	return s
}

// vector copies a one-dimensional tensor.
func (b *binder) vector(name string, n int) []float32 {
	m, ok := b.tensor(name, 1, n)
	if !ok {
		return nil
	}
	if !m.Finite() {
		b.fail("tensor %s holds numbers that are not finite", name)
		return nil
	}
	x := make([]float32, n)
	m.Dequantize(x, 0)
	return x
}

// factors reads the divisors of the rotary frequencies (Llama 3), which come on
// top of linear scaling.
func (b *binder) factors(r *kernel.Rotary) {
	const name = "rope_freqs.weight"
	if _, ok := b.file.Tensor(name); !ok || b.err != nil {
		return
	}
	x := b.vector(name, r.Dims/2)
	for i := range x {
		if x[i] <= 0 {
			b.fail("tensor %s holds %v; divisors are above 0", name, x[i])
		}
		if r.Factors != nil {
			x[i] *= r.Factors[i]
		}
	}
	r.Factors = x
}

// pack checks that every matrix is finite and packs it.
func (b *binder) pack(g *kernel.Gang) error {
	// Pages of the file count as ours until they are released: a large model would
	// be in memory twice.
	const unreleased = 128 << 20 // bytes read before they are
	var next atomic.Int64
	bad := make([]bool, len(b.packs))
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(bad)); i = next.Add(1) - 1 {
				bad[i] = !b.packs[i].from.Finite()
			}
		})
	}
	group.Wait()
	for i, p := range b.packs {
		if bad[i] {
			return fmt.Errorf("tensor %s holds numbers that are not finite", p.name)
		}
	}
	read := 0
	for _, p := range b.packs {
		if read += len(p.from.Data); read >= unreleased {
			read = 0
			if err := b.file.Release(); err != nil {
				return err
			}
		}
		if p.name == embedding { // whose rows are looked up for as long as the model runs
			kept, err := b.file.Keep(p.name)
			if err != nil {
				return err
			}
			p.from = kept
		}
		w, err := g.Pack(p.from)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", p.name, err)
		}
		*p.to = w
	}
	return nil
}
