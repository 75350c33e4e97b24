package tokenizer_test

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/tokenizer"
)

// instead is list with v for the first old.
func instead(list []string, old, v string) []string {
	list = slices.Clone(list)
	list[slices.Index(list, old)] = v
	return list
}

// TestRefuses: a vocabulary that is incomplete or contradicts itself is refused
// with a word on what is wrong.
func TestRefuses(t *testing.T) {
	bpe, _, _ := bytePairs(t)
	spm, _, _, _ := sentences(t)
	const prefix = "tokenizer.ggml."
	tokens := bpe[prefix+"tokens"].([]string)
	merges := bpe[prefix+"merges"].([]string)
	types := bpe[prefix+"token_type"].([]int64)
	pieces := spm[prefix+"tokens"].([]string)
	scores := spm[prefix+"scores"].([]float64)
	nan := slices.Clone(scores)
	nan[7] = math.NaN()

	tests := map[string]struct {
		md      gguf.Metadata
		key     string
		value   any // nil takes the key out
		mention string
	}{
		"no tokens":                  {bpe, "tokens", nil, "tokens"},
		"empty tokens":               {bpe, "tokens", []string{}, "tokens"},
		"tokens of the wrong type":   {bpe, "tokens", []int64{1, 2}, "tokens"},
		"a token twice":              {bpe, "tokens", instead(tokens, "Ġy", "a"), "twice"},
		"all tokens empty":           {bpe, "tokens", make([]string, len(tokens)), "twice"},
		"short token_type":           {bpe, "token_type", types[:5], "token_type"},
		"long token_type":            {bpe, "token_type", append(slices.Clone(types), 1), "token_type"},
		"token_type of strings":      {bpe, "token_type", []string{"x"}, "token_type"},
		"token_type 0":               {bpe, "token_type", make([]int64, len(types)), "1 to 6"},
		"token_type 7":               {bpe, "token_type", append(slices.Clone(types[1:]), 7), "1 to 6"},
		"token_type huge":            {bpe, "token_type", slices.Repeat([]uint64{math.MaxUint64}, len(types)), "1 to 6"},
		"eos out of range":           {bpe, "eos_token_id", uint64(len(tokens)), "eos_token_id"},
		"eos 2^32-1":                 {bpe, "eos_token_id", uint64(math.MaxUint32), "eos_token_id"},
		"eos 2^64-1":                 {bpe, "eos_token_id", uint64(math.MaxUint64), "eos_token_id"},
		"eos negative":               {bpe, "eos_token_id", int64(-1), "eos_token_id"},
		"eos a string":               {bpe, "eos_token_id", "2", "eos_token_id"},
		"bos out of range":           {bpe, "bos_token_id", uint64(1 << 40), "bos_token_id"},
		"eot out of range":           {bpe, "eot_token_id", uint64(1 << 40), "eot_token_id"},
		"eom out of range":           {spm, "eom_token_id", uint64(1 << 40), "eom_token_id"},
		"no model":                   {bpe, "model", nil, "tokenizer.ggml.model"},
		"unknown model":              {bpe, "model", "bert", "bert"},
		"unknown pre":                {bpe, "pre", "klingon", "klingon"},
		"no merges":                  {bpe, "merges", nil, "merges"},
		"empty merges":               {bpe, "merges", []string{}, "merges"},
		"merges of the wrong type":   {bpe, "merges", []bool{true}, "merges"},
		"merge without a space":      {bpe, "merges", instead(merges, merges[3], "ab"), "ab"},
		"merge of nothing":           {bpe, "merges", instead(merges, merges[3], ""), "merge 3"},
		"merge of one space":         {bpe, "merges", instead(merges, merges[3], " "), "merge 3"},
		"merge of unknown tokens":    {bpe, "merges", instead(merges, merges[3], "qq q"), "qq"},
		"merge to an unknown token":  {bpe, "merges", instead(merges, merges[3], "q Ġ"), "qĠ"},
		"a byte is missing":          {bpe, "tokens", instead(tokens, "Ã", "another"), "0xC3"},
		"the newline is missing":     {bpe, "tokens", instead(tokens, "Ċ", "another"), "0x0A"},
		"no scores":                  {spm, "scores", nil, "scores"},
		"short scores":               {spm, "scores", scores[:4], "scores"},
		"scores of integers":         {spm, "scores", []int64{1}, "scores"},
		"a score is no number":       {spm, "scores", nan, "scores"},
		"a byte piece is missing":    {spm, "tokens", instead(pieces, "<0x41>", "another"), "0x41"},
		"a byte piece is twice":      {spm, "tokens", instead(pieces, "<0x41>", "<0x42>"), "twice"},
		"byte pieces in small print": {spm, "tokens", instead(pieces, "<0x41>", "<0x4 >"), "0x41"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			md := maps.Clone(test.md)
			if md[prefix+test.key] = test.value; test.value == nil {
				delete(md, prefix+test.key)
			}
			_, err := tokenizer.FromGGUF(md)
			if fault.KindOf(err) != fault.Unprocessable || !strings.Contains(err.Error(), test.mention) {
				t.Errorf("error %v, want a refusal that mentions %q", err, test.mention)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("a long word: %v", err)
			}
		})
	}
}

// TestAccepts: odd, but complete.
func TestAccepts(t *testing.T) {
	bpe, _, _ := bytePairs(t)
	spm, _, _, _ := sentences(t)
	const prefix = "tokenizer.ggml."
	merges := bpe[prefix+"merges"].([]string)
	tokens := bpe[prefix+"tokens"].([]string)
	tests := map[string]struct {
		md    gguf.Metadata
		key   string
		value any
		check func(tok *tokenizer.Tokenizer) bool
	}{
		"no types":         {bpe, "token_type", nil, func(tok *tokenizer.Tokenizer) bool { return tok.Control(tok.EOS) }},
		"no eos":           {bpe, "eos_token_id", nil, func(tok *tokenizer.Tokenizer) bool { return tok.EOS == -1 && len(tok.Ends) == 2 }},
		"no bos":           {bpe, "bos_token_id", nil, func(tok *tokenizer.Tokenizer) bool { return tok.BOS == -1 }},
		"add bos":          {bpe, "add_bos_token", true, func(tok *tokenizer.Tokenizer) bool { return tok.AddBOS && !tok.AddEOS }},
		"add eos":          {bpe, "add_eos_token", true, func(tok *tokenizer.Tokenizer) bool { return tok.AddEOS }},
		"spm, no bos":      {spm, "add_bos_token", false, func(tok *tokenizer.Tokenizer) bool { return !tok.AddBOS }},
		"spm, usual ids":   {spm, "eos_token_id", nil, func(tok *tokenizer.Tokenizer) bool { return tok.EOS == 2 }},
		"spm, no types":    {spm, "token_type", nil, func(tok *tokenizer.Tokenizer) bool { return tok.Decode(tok.Encode(nil, "ñ€", true)) == "ñ€" }},
		"eot beside eos":   {bpe, "eot_token_id", uint64(500), func(tok *tokenizer.Tokenizer) bool { return slices.Contains(tok.Ends, 500) && tok.Control(500) }},
		"a merge twice":    {bpe, "merges", append(slices.Clone(merges), merges[0]), func(tok *tokenizer.Tokenizer) bool { return true }},
		"a rare byte gone": {bpe, "tokens", instead(tokens, "ñ", "another"), func(tok *tokenizer.Tokenizer) bool { return tok.Decode(tok.Encode(nil, "a\xF1b", true)) == "ab" }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			md := maps.Clone(test.md)
			if md[prefix+test.key] = test.value; test.value == nil {
				delete(md, prefix+test.key)
			}
			tok, err := tokenizer.FromGGUF(md)
			if err != nil {
				t.Fatal(err)
			}
			if !test.check(tok) {
				t.Errorf("%+v", tok.Ends)
			}
		})
	}
}

// TestSpoilt: whatever is in the metadata, loading ends with a tokenizer that
// works or with a refusal.
func TestSpoilt(t *testing.T) {
	bpe, _, _ := bytePairs(t)
	spm, _, _, _ := sentences(t)
	values := []any{nil, "", "default", "gpt2", "llama", uint64(0), int64(-5), uint64(1 << 63), true, 1.5, math.NaN(), []string{}, []string{"a", "b"}, []int64{3, 4}, []uint64{1}, []float64{0.5}, []bool{false}}
	rapid.Check(t, func(t *rapid.T) {
		md := maps.Clone(rapid.SampledFrom([]gguf.Metadata{bpe, spm}).Draw(t, "file"))
		keys := slices.Sorted(maps.Keys(md))
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			key := rapid.SampledFrom(keys).Draw(t, "key")
			if list, ok := md[key].([]string); ok && rapid.Bool().Draw(t, "one") {
				i := rapid.IntRange(0, len(list)).Draw(t, "at")
				md[key] = slices.Insert(slices.Clone(list), i, rapid.String().Draw(t, "text"))
				continue
			}
			md[key] = rapid.SampledFrom(values).Draw(t, "value")
		}
		tok, err := tokenizer.FromGGUF(md)
		if err != nil {
			if fault.KindOf(err) != fault.Unprocessable {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		for _, id := range tok.EncodeSpecial(nil, "Año 12 <|im_end|> \\frac{1}{2}", true) {
			if id < 0 || int(id) >= tok.Size {
				t.Fatalf("token %d of %d", id, tok.Size)
			}
		}
	})
}
