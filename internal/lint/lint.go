// Package lint looks for wrong mathematics in conversations. Each answer of the
// assistant is checked with the question before it as its context.
//
// It says where a claim stands and what is known of it; how a claim is checked is
// package mathcheck's. The same conversations give the same report.
package lint

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"afina/internal/chat"
	"afina/internal/fault"
	"afina/internal/mathcheck"
)

// Finding is one claim of an answer, and where it stands.
type Finding struct {
	Conversation int `json:"conversation"` // 0-based
	Message      int `json:"message"`      // 0-based, in the conversation
	mathcheck.Finding
}

// String is the finding on one line.
func (f Finding) String() string {
	text := fmt.Sprintf("conversation %d, message %d: %q is %s: %s", f.Conversation, f.Message, f.Text, f.Word(), f.Reason)
	if f.Correction != "" {
		text += " (" + f.Correction + ")"
	}
	return text
}

// Word is the verdict, or "malformed" for a formula that cannot be read.
func (f Finding) Word() string { return Word(f.Finding) }

// Word is the verdict on a claim, or "malformed" when it cannot be read.
func Word(f mathcheck.Finding) string {
	if f.Kind == mathcheck.Malformed {
		return mathcheck.Malformed
	}
	return string(f.Verdict)
}

// Counts say how many claims there are of each kind.
type Counts struct {
	Answers   int `json:"answers"` // that were looked at
	Claims    int `json:"claims"`
	True      int `json:"true"`
	False     int `json:"false"`
	Unknown   int `json:"unknown"`
	Malformed int `json:"malformed"` // formulas that cannot be read
}

// Add counts one more claim.
func (c *Counts) Add(f mathcheck.Finding) {
	c.Claims++
	switch Word(f) {
	case string(mathcheck.True):
		c.True++
	case string(mathcheck.False):
		c.False++
	case mathcheck.Malformed:
		c.Malformed++
	default:
		c.Unknown++
	}
}

// Report is what was found.
type Report struct {
	Counts
	// Findings are the suspicious claims, false or malformed, in order: at most
	// Most of them. With Linter.All they are all claims.
	Findings []Finding `json:"findings"`
	More     bool      `json:"more"` // some were left out
}

// Most is how many findings are told unless Linter.Most says otherwise.
const Most = 1000

// Linter takes conversations one by one. The zero value is ready.
type Linter struct {
	All  bool // tell of every claim, not only of the suspicious
	Most int  // findings told; 0: Most

	report Report
	taken  int // conversations looked at
	block  []chat.Conversation
}

// blockSize is how many conversations are looked at together.
const blockSize = 128

// Take looks at the next conversation. Its error is that of ctx.
func (l *Linter) Take(ctx context.Context, c chat.Conversation) error {
	l.block = append(l.block, c)
	if len(l.block) < blockSize {
		return nil
	}
	return l.flush(ctx)
}

// Report is about all that was taken.
func (l *Linter) Report(ctx context.Context) (Report, error) {
	if err := l.flush(ctx); err != nil {
		return Report{}, err
	}
	r := l.report
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return r, nil
}

// Conversations looks at all of them.
func Conversations(ctx context.Context, all []chat.Conversation, l Linter) (Report, error) {
	for _, c := range all {
		if err := l.Take(ctx, c); err != nil {
			return Report{}, err
		}
	}
	return l.Report(ctx)
}

// flush looks at the block, its conversations beside each other.
func (l *Linter) flush(ctx context.Context) error {
	found := make([][]Finding, len(l.block))
	var work sync.WaitGroup
	next := make(chan int)
	for range min(runtime.GOMAXPROCS(0), len(l.block)) {
		work.Go(func() {
			for i := range next {
				found[i] = conversation(l.block[i], l.taken+i)
			}
		})
	}
	for i := range l.block {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	work.Wait()
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Canceled, "the check of the mathematics was given up: %w", err)
	}
	for i, findings := range found {
		l.note(l.block[i], findings)
	}
	l.taken += len(l.block)
	l.block = l.block[:0]
	return nil
}

// note adds a conversation to the report.
func (l *Linter) note(c chat.Conversation, findings []Finding) {
	for _, m := range c.Messages {
		if m.Role == chat.Assistant {
			l.report.Answers++
		}
	}
	most := l.Most
	if most == 0 {
		most = Most
	}
	for _, f := range findings {
		l.report.Add(f.Finding)
		if !l.All && !Suspicious(f.Finding) {
			continue
		}
		if len(l.report.Findings) == most {
			l.report.More = true
			continue
		}
		l.report.Findings = append(l.report.Findings, f)
	}
}

// Suspicious reports whether a claim is false or cannot be read.
func Suspicious(f mathcheck.Finding) bool {
	return f.Verdict == mathcheck.False || f.Kind == mathcheck.Malformed
}

// conversation finds the claims of every answer of c.
func conversation(c chat.Conversation, number int) []Finding {
	var all []Finding
	question := ""
	for i, m := range c.Messages {
		switch m.Role {
		case chat.User:
			question = m.Content
		case chat.Assistant:
			for _, f := range mathcheck.Check(m.Content, mathcheck.Options{Question: question}) {
				all = append(all, Finding{number, i, f})
			}
		}
	}
	return all
}
