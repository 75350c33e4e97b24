package tokenizer

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"afina/internal/fault"
	"afina/internal/gguf"
)

// FromGGUF builds the tokenizer that a model file describes. A vocabulary that
// is incomplete or contradicts itself is refused with a sentence that says how.
func FromGGUF(md gguf.Metadata) (*Tokenizer, error) {
	t := &Tokenizer{BOS: -1, EOS: -1}
	if err := t.vocabulary(md); err != nil {
		return nil, err
	}
	if err := t.ends(md); err != nil {
		return nil, err
	}
	t.index()

	kind, ok := md.String("tokenizer.ggml.model")
	if !ok {
		return nil, refuse("the model file has no tokenizer.ggml.model; convert it again with its tokenizer")
	}
	var err error
	switch kind {
	case "gpt2":
		err = t.loadBPE(md)
	case "llama":
		err = t.loadSPM(md)
	default:
		err = refuse("tokenizer.ggml.model %q is not supported; the supported kinds are gpt2 (byte-level BPE) and llama (SentencePiece)", kind)
	}
	if err != nil {
		return nil, err
	}
	for name, flag := range map[string]*bool{"add_bos_token": &t.AddBOS, "add_eos_token": &t.AddEOS} {
		if v, ok := md.Bool("tokenizer.ggml." + name); ok {
			*flag = v
		}
	}
	t.AddBOS = t.AddBOS && t.BOS >= 0
	t.AddEOS = t.AddEOS && t.EOS >= 0
	return t, nil
}

func refuse(format string, args ...any) error {
	return fault.New(fault.Unprocessable, format, args...).WithCode("invalid_model")
}

// vocabulary reads the tokens and their kinds.
func (t *Tokenizer) vocabulary(md gguf.Metadata) error {
	names, ok := md.Strings("tokenizer.ggml.tokens")
	if !ok || len(names) == 0 {
		return refuse("the model file has no tokenizer.ggml.tokens, an array of strings; convert it again with its tokenizer")
	}
	if len(names) > math.MaxInt32 {
		return refuse("tokenizer.ggml.tokens has %d tokens; at most %d are supported", len(names), math.MaxInt32)
	}
	t.names, t.Size = names, len(names)
	seen := make(map[string]int, len(names))
	for i, name := range names {
		if j, twice := seen[name]; twice {
			return refuse("tokenizer.ggml.tokens has %q twice, at %d and %d", name, j, i)
		}
		seen[name] = i
	}

	t.kinds = make([]kind, len(names))
	types, ok := integers(md, "tokenizer.ggml.token_type")
	if !ok {
		for i := range t.kinds {
			t.kinds[i] = normal
		}
		return nil
	}
	if len(types) != len(names) {
		return refuse("tokenizer.ggml.token_type has %d entries for %d tokens", len(types), len(names))
	}
	for i, v := range types {
		if v < int64(normal) || v > int64(oneByte) {
			return refuse("tokenizer.ggml.token_type of token %d is %d; the types are 1 to 6", i, v)
		}
		t.kinds[i] = kind(v)
		// Converters mark added tokens as user-defined; these are markers all the same.
		if t.kinds[i] == userDefined && strings.HasPrefix(names[i], "<|") && strings.HasSuffix(names[i], "|>") {
			t.kinds[i] = control
		}
	}
	return nil
}

// integers returns an array of integers of any width.
func integers(md gguf.Metadata, key string) ([]int64, bool) {
	switch v := md[key].(type) {
	case nil:
		return nil, false
	case []int64:
		return v, true
	case []uint64:
		out := make([]int64, len(v))
		for i, x := range v {
			out[i] = int64(min(x, math.MaxInt64))
		}
		return out, true
	}
	return []int64{}, true // of the wrong type: no entries
}

// turnEnds are names of tokens that end a turn in the files of one family or
// another, whether or not a key of the file says so.
var turnEnds = []string{"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<EOT>"}

// ends reads the ids of the special tokens and gathers those that end a turn.
func (t *Tokenizer) ends(md gguf.Metadata) error {
	spm, _ := md.String("tokenizer.ggml.model")
	if spm == "llama" {
		t.BOS, t.EOS = t.usual(1), t.usual(2)
	}
	eot, eom := int32(-1), int32(-1)
	for _, key := range []struct {
		name string
		id   *int32
	}{{"bos", &t.BOS}, {"eos", &t.EOS}, {"eot", &eot}, {"eom", &eom}} {
		name := "tokenizer.ggml." + key.name + "_token_id"
		v, ok := md[name]
		if !ok {
			continue
		}
		id, ok := md.Int(name)
		if !ok || id < 0 || id >= t.Size {
			return refuse("%s is %v; the vocabulary has the tokens 0 to %d", name, v, t.Size-1)
		}
		*key.id = int32(id)
	}

	ends := []int32{t.EOS, eot, eom}
	for id, name := range t.names {
		if slices.Contains(turnEnds, name) {
			ends = append(ends, int32(id))
		}
	}
	ends = slices.DeleteFunc(ends, func(id int32) bool { return id < 0 })
	slices.Sort(ends)
	t.Ends = slices.Compact(ends)
	for _, id := range t.Ends {
		t.kinds[id] = control
	}
	return nil
}

// usual returns id where SentencePiece models have a control token there.
func (t *Tokenizer) usual(id int32) int32 {
	if t.known(id) && t.kinds[id] == control {
		return id
	}
	return -1
}

// index prepares the look-ups of special tokens.
func (t *Tokenizer) index() {
	t.control = map[string]int32{}
	for i, name := range t.names {
		id := int32(i)
		switch t.kinds[i] {
		case userDefined:
			t.always.add(name, id)
			t.special.add(name, id)
		case control:
			t.control[name] = id
			fallthrough
		case unknown:
			t.markers.add(name, id)
			t.special.add(name, id)
		}
	}
}

// loadBPE reads a byte-level vocabulary and its merges.
func (t *Tokenizer) loadBPE(md gguf.Metadata) error {
	pre, ok := md.String("tokenizer.ggml.pre")
	if arch, _ := md.String("general.architecture"); !ok && arch == "phi2" {
		pre = "gpt-2" // files older than the key
	} else if !ok {
		pre = "default"
	}
	split, ok := splitters(pre)
	if !ok {
		return refuse("tokenizer.ggml.pre %q is not supported; its way of splitting text is unknown here", pre)
	}
	t.Name = pre
	b := &bpe{split: split}
	ids := make(map[string]int32, t.Size)
	t.output = make([]string, t.Size)
	for i := range b.single {
		b.single[i] = -1
	}
	for i, name := range t.names {
		ids[name] = int32(i)
		switch t.kinds[i] {
		case normal, oneByte:
			t.output[i] = raw(name)
			if len(t.output[i]) == 1 && len([]rune(name)) == 1 {
				b.single[t.output[i][0]] = int32(i)
			}
		case userDefined:
			t.output[i] = name
		}
	}
	if err := b.complete(); err != nil {
		return err
	}
	merges, ok := md.Strings("tokenizer.ggml.merges")
	if !ok || len(merges) == 0 {
		return refuse("the model file has no tokenizer.ggml.merges, an array of strings; convert it again with its tokenizer")
	}
	if err := b.learn(merges, ids); err != nil {
		return err
	}
	if slices.Contains([]string{"llama-bpe", "llama3", "llama-v3", "falcon3"}, pre) {
		t.AddBOS = true
		b.whole = map[string]int32{}
		for i, s := range t.output {
			if t.kinds[i] == normal && s != "" {
				b.whole[s] = int32(i)
			}
		}
	}
	t.words = b
	return nil
}

// learn reads merges, each two tokens with a space between, in order of rank.
func (b *bpe) learn(merges []string, ids map[string]int32) error {
	b.merges = make(map[uint64]merge, len(merges))
	for rank, line := range merges {
		if line == "" {
			return refuse("merge %d is empty", rank)
		}
		// A token may begin with a space, so the one that divides comes later.
		left, right, ok := strings.Cut(line[1:], " ")
		if left = line[:1] + left; !ok {
			return refuse("merge %d, %q, is not two tokens with a space between", rank, line)
		}
		var id [3]int32
		for i, name := range []string{left, right, left + right} {
			if id[i], ok = ids[name]; !ok {
				return refuse("merge %d, %q, needs the token %q, which is not in the vocabulary", rank, line, name)
			}
		}
		key := pair(id[0], id[1])
		if _, twice := b.merges[key]; !twice {
			b.merges[key] = merge{rank: int32(rank), id: id[2]}
		}
	}
	return nil
}

// complete refuses a vocabulary that lacks a byte that text in some script
// needs. Missing may be control characters other than tab and newline, bytes
// that UTF-8 never has, and the leads of planes 4 and up, where no script lies:
// SmolLM2's vocabulary lacks those that its training text did not have.
func (b *bpe) complete() error {
	for c, id := range b.single {
		rare := c < ' ' && c != '\t' && c != '\n' || c == 0x7F || c == 0xC0 || c == 0xC1 || c >= 0xF1
		if id < 0 && !rare {
			return refuse("the vocabulary has no token for the byte 0x%02X", c)
		}
	}
	return nil
}

// loadSPM reads a SentencePiece vocabulary.
func (t *Tokenizer) loadSPM(md gguf.Metadata) error {
	t.Name, t.AddBOS, t.space = "spm", true, true
	if v, ok := md.Bool("tokenizer.ggml.add_space_prefix"); ok {
		t.space = v
	}
	scores, ok := md["tokenizer.ggml.scores"].([]float64)
	if !ok || len(scores) != t.Size {
		return refuse("tokenizer.ggml.scores has %d floats for %d tokens", len(scores), t.Size)
	}
	s := &spm{pieces: make(map[string]int32, t.Size), scores: make([]float32, t.Size), hidden: map[int32]bool{}}
	for i := range s.bytes {
		s.bytes[i] = -1
	}
	t.output = make([]string, t.Size)
	for i, name := range t.names {
		if math.IsNaN(scores[i]) {
			return refuse("tokenizer.ggml.scores has no number for token %d", i)
		}
		s.scores[i] = float32(scores[i])
		s.add(t, int32(i), name)
	}
	for c, id := range s.bytes {
		if id < 0 {
			return refuse("the vocabulary has no token for the byte <0x%02X>", c)
		}
	}
	t.words = s
	return nil
}

// add enters one token by its kind.
func (s *spm) add(t *Tokenizer, id int32, name string) {
	if c, ok := hexByte(name); ok && s.bytes[c] < 0 && (t.kinds[id] == oneByte || t.kinds[id] == normal) {
		s.bytes[c] = id
		t.output[id] = string([]byte{c})
		return
	}
	switch t.kinds[id] {
	case unused:
		s.hidden[id] = true
		fallthrough
	case normal:
		s.pieces[name] = id
		s.long = max(s.long, len(name))
		if t.kinds[id] == normal {
			t.output[id] = strings.ReplaceAll(name, meta, " ")
		}
	case userDefined:
		t.output[id] = strings.ReplaceAll(name, meta, " ")
	}
}

// hexByte reads a byte token such as <0x0A>.
func hexByte(name string) (byte, bool) {
	if len(name) != len("<0x0A>") || name[:3] != "<0x" || name[5] != '>' {
		return 0, false
	}
	c, err := strconv.ParseUint(name[3:5], 16, 8)
	return byte(c), err == nil
}
