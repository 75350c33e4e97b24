package assistant

import (
	"strings"

	"afina/internal/chat"
	"afina/internal/engine"
)

// writer turns tokens into the text to show.
type writer struct {
	decoder *chat.Answer
	cut     cutter
}

// add takes the next token and returns the text that may be shown now, and the
// reason when it is the last.
func (w *writer) add(t engine.Token) (string, engine.Reason) {
	var text string
	if t.Reason != engine.Stop { // an end token is not part of the answer
		text = w.decoder.Next(t.ID)
	}
	if t.Reason != "" {
		text += w.decoder.Flush()
	}
	shown, stopped := w.cut.add(text)
	switch {
	case stopped:
		return shown, engine.Stop
	case t.Reason != "":
		return shown + w.cut.held, t.Reason
	}
	return shown, ""
}

// cutter ends a text before the first stop string in it. It holds back what may
// be the beginning of one; how the text is cut into pieces makes no difference.
type cutter struct {
	stops []string
	held  string // not shown yet: a proper beginning of some stop string, or empty
}

// add takes the next piece and returns what may be shown. When a stop string is
// complete it reports stopped, and the text ends there. Of several the one that
// ends first counts, and of those the longest.
func (c *cutter) add(piece string) (shown string, stopped bool) {
	text := c.held + piece
	at, end := -1, len(text)+1
	for _, stop := range c.stops {
		i := strings.Index(text, stop)
		if i < 0 {
			continue
		}
		if e := i + len(stop); e < end || e == end && i < at {
			at, end = i, e
		}
	}
	if at >= 0 {
		c.held = ""
		return text[:at], true
	}
	keep := len(text) - c.begun(text)
	c.held = text[keep:]
	return text[:keep], false
}

// begun is the length of the longest end of text that begins a stop string.
func (c *cutter) begun(text string) int {
	longest := 0
	for _, stop := range c.stops {
		for n := min(len(stop)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, stop[:n]) {
				longest = n
			}
		}
	}
	return longest
}
