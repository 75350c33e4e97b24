package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// A splitter cuts text into the pieces inside which BPE merges. The pieces are
// those of the regular expression that the family publishes, without the
// expression: Go's regexp has no lookahead, and a scanner is far quicker. Each
// scanner states its expression; the tests hold it to a regexp engine.
type splitter func(text string, piece func(string))

// splitters are the pre-tokenisers by the names of tokenizer.ggml.pre.
func splitters(pre string) (splitter, bool) {
	switch pre {
	case "gpt-2", "phi-2", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de", "jina-v2-code",
		"roberta-bpe", "gigachat", "mpt", "olmo", "jais":
		return splitGPT2, true
	case "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone":
		return splitSmolLM, true
	case "qwen2", "stablelm2", "deepseek-r1-qwen", "megrez":
		return func(text string, piece func(string)) { splitFolding(text, 1, piece) }, true
	case "llama-bpe", "llama3", "llama-v3", "falcon3":
		return func(text string, piece func(string)) { splitFolding(text, 3, piece) }, true
	case "default":
		return splitDefault, true
	}
	return nil, false
}

// class is what the expressions tell apart.
type class uint8

const (
	other  class = iota // [^\s\p{L}\p{N}]
	letter              // \p{L}
	number              // \p{N}
	blank               // \s: the White_Space property
)

// classify returns the class of the first rune of a non-empty s and its length.
// A broken byte is a rune of its own of class other.
func classify(s string) (class, int) {
	c := s[0]
	if c < utf8.RuneSelf {
		return ascii[c], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case unicode.IsLetter(r):
		return letter, n
	case unicode.IsNumber(r):
		return number, n
	case unicode.IsSpace(r):
		return blank, n
	}
	return other, n
}

// ascii holds the classes of the first 128 runes.
var ascii = func() (a [utf8.RuneSelf]class) {
	for c := range a {
		switch r := rune(c); {
		case unicode.IsLetter(r):
			a[c] = letter
		case unicode.IsNumber(r):
			a[c] = number
		case unicode.IsSpace(r):
			a[c] = blank
		}
	}
	return a
}()

// run returns how many bytes at the start of s have class c throughout.
func run(s string, c class) int {
	i := 0
	for i < len(s) {
		d, n := classify(s[i:])
		if d != c {
			break
		}
		i += n
	}
	return i
}

// blanks matches \s+(?!\S)|\s+ where s begins with a blank: the run of blanks,
// less its last one when something follows that wants it.
func blanks(s string) int {
	end, last := 0, 0
	for end < len(s) {
		c, n := classify(s[end:])
		if c != blank {
			break
		}
		end, last = end+n, n
	}
	if end == len(s) || end == last {
		return end
	}
	return end - last
}

// contraction matches 's|'t|'re|'ve|'m|'ll|'d where s begins with an apostrophe.
func contraction(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 {
		switch s[1:3] {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}

// splitGPT2 cuts by
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func splitGPT2(text string, piece func(string)) {
	for text != "" {
		n := nextGPT2(text)
		piece(text[:n])
		text = text[n:]
	}
}

func nextGPT2(s string) int {
	if s[0] == '\'' {
		if n := contraction(s); n > 0 {
			return n
		}
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	if i < len(s) {
		if c, _ := classify(s[i:]); c != blank {
			return i + run(s[i:], c)
		}
	}
	return blanks(s)
}

// splitSmolLM cuts each \p{N} out alone, then the stretches between by GPT-2's
// expression: a space before a digit stays behind.
func splitSmolLM(text string, piece func(string)) {
	start := 0
	for i := 0; i < len(text); {
		c, n := classify(text[i:])
		if c == number {
			splitGPT2(text[start:i], piece)
			piece(text[i : i+n])
			start = i + n
		}
		i += n
	}
	splitGPT2(text[start:], piece)
}

// splitFolding cuts by
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}
//	| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// as Qwen (digits 1) and Llama 3 (digits 3) do.
func splitFolding(text string, digits int, piece func(string)) {
	for text != "" {
		n := nextFolding(text, digits)
		piece(text[:n])
		text = text[n:]
	}
}

func nextFolding(s string, digits int) int {
	if s[0] == '\'' {
		if n := contractionFold(s); n > 0 {
			return n
		}
	}
	c, n := classify(s)
	switch {
	case c == letter:
		return run(s, letter)
	case c == number:
		for range digits - 1 {
			if n == len(s) {
				break
			}
			c, w := classify(s[n:])
			if c != number {
				break
			}
			n += w
		}
		return n
	case n < len(s) && s[0] != '\r' && s[0] != '\n':
		if c, _ := classify(s[n:]); c == letter {
			return n + run(s[n:], letter)
		}
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	if n := run(s[i:], other); n > 0 {
		i += n
		for i < len(s) && newline(s[i]) {
			i++
		}
		return i
	}
	for i := run(s, blank) - 1; i >= 0; i-- {
		if newline(s[i]) {
			return i + 1
		}
	}
	return blanks(s)
}

func newline(c byte) bool { return c == '\r' || c == '\n' }

// contractionFold is contraction in either case. The long s folds to s, as it
// does in the regexp engines.
func contractionFold(s string) int {
	const longS = "'ſ"
	if len(s) >= len(longS) && s[:len(longS)] == longS {
		return len(longS)
	}
	low := [3]byte{'\''}
	n := min(len(s), len(low))
	for i := 1; i < n; i++ {
		low[i] = s[i]
		if 'A' <= s[i] && s[i] <= 'Z' {
			low[i] += 'a' - 'A'
		}
	}
	return contraction(string(low[:n]))
}

// splitDefault is what llama.cpp does without a name to go by: cut out runs of
// [\p{P}$+<=>^~|], cut the rest by GPT-2's expression, cut runs of \p{N} out of
// that, and every three ASCII digits out of those.
func splitDefault(text string, piece func(string)) {
	byRuns(text, marks, func(s string) {
		if marks(s) > 0 {
			piece(s)
			return
		}
		splitGPT2(s, func(s string) {
			byRuns(s, numbers, func(s string) { threes(s, piece) })
		})
	})
}

// byRuns cuts text into runs that match and the stretches between. match
// returns the length of a match at the start of a text, 0 when there is none.
func byRuns(text string, match func(string) int, piece func(string)) {
	start := 0
	for i := 0; i < len(text); {
		n := match(text[i:])
		if n == 0 {
			_, n = utf8.DecodeRuneInString(text[i:])
			i += n
			continue
		}
		if i > start {
			piece(text[start:i])
		}
		piece(text[i : i+n])
		i += n
		start = i
	}
	if start < len(text) {
		piece(text[start:])
	}
}

// marks matches [\p{P}\$\+<=>\^~\|]+.
func marks(s string) int {
	i := 0
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch r {
		case '$', '+', '<', '=', '>', '^', '~', '|':
		default:
			if !unicode.IsPunct(r) {
				return i
			}
		}
		i += n
	}
	return i
}

// numbers matches \p{N}+.
func numbers(s string) int { return run(s, number) }

// threes cuts by [0-9][0-9][0-9].
func threes(text string, piece func(string)) {
	byRuns(text, func(s string) int {
		for i := range 3 {
			if i == len(s) || s[i] < '0' || s[i] > '9' {
				return 0
			}
		}
		return 3
	}, piece)
}
