// Package progress shows in a terminal how far a fine-tuning is: a bar where
// there is a screen to draw it on, a line now and then where there is none.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"afina/internal/jobs"
)

// Bar shows the points of one run. Its zero value is not ready: use New.
type Bar struct {
	out    io.Writer
	screen bool
	bar    *progressbar.ProgressBar // made with the first point, which knows the steps
	every  time.Duration            // between lines where there is no screen
	last   time.Time
	eval   *float64
}

// New returns a bar on f.
func New(f *os.File) *Bar {
	return &Bar{out: f, screen: term.IsTerminal(int(f.Fd())), every: 10 * time.Second}
}

// Show draws a point.
func (b *Bar) Show(p jobs.Progress) {
	if p.EvalLoss != nil {
		b.eval = p.EvalLoss
	}
	text := Line(p, b.eval)
	if !b.screen {
		if now := time.Now(); now.Sub(b.last) >= b.every || p.Step == p.Steps {
			b.last = now
			fmt.Fprintln(b.out, text)
		}
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions(p.Steps,
			progressbar.OptionSetWriter(b.out),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetWidth(24),
		)
	}
	b.bar.Describe(text)
	_ = b.bar.Set(p.Step) // it fails when the screen is gone
}

// Done ends the line.
func (b *Bar) Done() {
	if b.bar != nil {
		_ = b.bar.Exit()
		fmt.Fprintln(b.out)
	}
}

// Line is a point in words; eval is the newest held-out loss, if any.
func Line(p jobs.Progress, eval *float64) string {
	text := fmt.Sprintf("step %d/%d  loss %.4f", p.Step, p.Steps, p.TrainLoss)
	if eval != nil {
		text += fmt.Sprintf("  held-out %.4f", *eval)
	}
	return text + fmt.Sprintf("  %.0f tokens/s  %s left", p.TokensPerSecond, took(p.ETASeconds))
}

// took is a duration as people read it.
func took(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d >= time.Hour {
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
