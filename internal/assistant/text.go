package assistant

import (
	"strings"

	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/model"
)

// writer turns tokens into the text to show.
type writer struct {
	tokens  *model.Model
	decoder reader
	cut     cutter
	scores  []Logprob        // of tokens whose text is yet to be shown
	ask     bool             // for scores
	calls   *chat.CallReader // nil: there are none
}

// reader decodes the tokens of one answer.
type reader interface {
	Next(id int32) string
	Flush() string
}

// newWriter returns the writer of the answer to prompt.
func newWriter(m *model.Model, prompt []int32, q Question) *writer {
	w := &writer{tokens: m, cut: cutter{stops: q.Stop}, ask: q.Logprobs, calls: q.Form.calls(m)}
	if q.Raw != nil {
		w.decoder = m.Tokens.Continue(prompt)
	} else {
		w.decoder = m.Template.Answer(m.Tokens, prompt)
	}
	return w
}

// add takes the next token and returns what may be shown now, with the reason
// when it is the last.
func (w *writer) add(t engine.Token) Delta {
	var text string
	if t.Reason != engine.Stop { // an end token is not part of the answer
		text = w.decoder.Next(t.ID)
		if w.calls != nil {
			text += w.tokens.Grammar.Mark(t.ID)
		}
		if w.ask {
			w.scores = append(w.scores, scored(w.tokens, t))
		}
	}
	if t.Reason != "" {
		text += w.decoder.Flush()
	}
	d := Delta{Reason: t.Reason}
	shown, stopped := w.cut.add(text)
	switch {
	case stopped:
		d.Text, d.Reason = shown, engine.Stop
	case t.Reason != "":
		d.Text = shown + w.cut.held
	default:
		d.Text = shown
	}
	if w.calls != nil {
		d.Text, d.Calls = w.calls.Next(d.Text)
		if d.Reason != "" {
			d.Text += w.calls.End()
		}
		if w.calls.Called() && d.Reason == engine.Stop {
			d.Reason = ToolCalls
		}
	}
	if d.Text != "" || len(d.Calls) > 0 || d.Reason != "" {
		d.Tokens, w.scores = w.scores, nil
	}
	return d
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
