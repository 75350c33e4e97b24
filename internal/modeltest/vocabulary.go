package modeltest

// The ids of the control tokens: after the 256 bytes, whose ids are the bytes
// themselves, and the merges.
const (
	endOfText = 256 + merged + iota
	imStart
	imEnd
)

const merged = 13

// chatML is the layout of the small llama models, with a system turn of its own
// when the conversation brings none.
const chatML = `{% for message in messages %}{% if loop.first and message['role'] != 'system' %}` +
	`{{ '<|im_start|>system\nYou are a tiny model.<|im_end|>\n' }}{% endif %}` +
	`{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// The token types of tokenizer.ggml.token_type.
const (
	normal  = 1
	control = 3
)

// vocabulary is a byte-level BPE: bytes, merges, control tokens.
func (s Shape) vocabulary() (tokens []string, types []int32, merges []string) {
	merges = []string{
		"h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "Ġwor l", "Ġworl d",
		"1 2", "12 3", "Ġ Ġ", "Ġ 1",
	}
	for _, r := range byteRunes() {
		tokens = append(tokens, string(r))
	}
	for _, m := range merges {
		left, right := split(m)
		tokens = append(tokens, left+right)
	}
	for range tokens {
		types = append(types, normal)
	}
	for _, name := range append([]string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, s.Control...) {
		tokens, types = append(tokens, name), append(types, control)
	}
	return tokens, types, merges
}

func split(merge string) (left, right string) {
	for i := range merge {
		if merge[i] == ' ' {
			return merge[:i], merge[i+1:]
		}
	}
	return merge, ""
}

// byteRunes is the printable rune that stands for each byte in the vocabulary
// of a byte-level BPE (Radford et al. 2019): itself if it is visible in
// Latin-1, else the next rune from U+0100 on.
func byteRunes() [256]rune {
	var runes [256]rune
	next := rune(256)
	for b := range runes {
		visible := b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae
		if runes[b] = rune(b); !visible {
			runes[b] = next
			next++
		}
	}
	return runes
}
