package tokenizer

// Split returns the pieces into which the pre-tokeniser called pre cuts text.
func Split(pre, text string) []string {
	var pieces []string
	split, _ := splitters(pre)
	split(text, func(s string) { pieces = append(pieces, s) })
	return pieces
}
