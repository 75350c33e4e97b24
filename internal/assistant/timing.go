package assistant

import (
	"time"

	"afina/internal/fault"
)

// watch times one answer. Tokens are timed when they are drawn, so that a slow
// reader does not count.
type watch struct {
	began, last time.Time
	timing      Timing
}

// tick notes a token drawn at t.
func (w *watch) tick(t time.Time) {
	if w.last.IsZero() {
		w.timing.FirstToken = t.Sub(w.began).Seconds()
	} else {
		w.timing.BetweenTokens = append(w.timing.BetweenTokens, t.Sub(w.last).Seconds())
	}
	w.last = t
}

// took notes what was handed to the reader.
func (w *watch) took(d Delta, err error) {
	w.timing.Usage = d.Usage
	switch {
	case err == nil && d.Reason != "":
		w.timing.Reason = string(d.Reason)
	case err != nil && fault.KindOf(err) != fault.Canceled:
		w.timing.Reason = "error"
	}
}

// end returns the timing of the finished answer.
func (w *watch) end() Timing {
	w.timing.Seconds = time.Since(w.began).Seconds()
	return w.timing
}
