package evaluate

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// line is one figure of the report, for each way of answering.
type line struct {
	name  string
	about string // for people
	share bool   // a share, shown in percent
	at    [3]*Estimate
	gains [2]*Estimate
}

// ways are the columns: base, tuned, verified.
func (r Report) ways() []string {
	ways := []string{r.Base}
	if r.Model != r.Base {
		ways = append(ways, r.Model)
	}
	if r.Verified != nil {
		ways = append(ways, fmt.Sprintf("%s, math_verify %d", r.Model, r.Verify))
	}
	return ways
}

var abouts = map[string]string{
	"right": "right answers", "undecided": "undecided answers", "true": "true claims", "false": "false claims",
	"unknown": "unknown claims", "malformed": "malformed formulas", "refusal": "refusals", "empty": "empty answers",
}

// lines are all figures there are.
func (r Report) lines() []line {
	loss := line{name: "loss", about: "held-out loss (nats per token)"}
	loss.at[0], loss.at[1], loss.gains[0] = r.BaseLossInterval, r.LossInterval, r.LossGain
	all := []line{loss}
	if r.BaseMarks == nil {
		return all
	}
	marks := []*Marks{r.BaseMarks, r.Marks, r.Verified}
	for _, m := range measures() {
		l := line{name: m.name, about: abouts[m.name], share: true}
		for i, column := range marks {
			if column != nil {
				l.at[i] = *column.figures()[m.name]
			}
		}
		for i, g := range []*Gain{r.Gain, r.VerifyGain} {
			if g != nil {
				l.gains[i] = map[string]*Estimate{"right": g.Right, "false": g.False}[m.name]
			}
		}
		all = append(all, l)
	}
	return all
}

// columns are the estimates of a line that the report has columns for.
func (r Report) columns(l line) []*Estimate {
	all := []*Estimate{l.at[0]}
	if r.Model != r.Base {
		all = append(all, l.at[1])
	}
	if r.Verified != nil {
		all = append(all, l.at[2])
	}
	return all
}

// CSV writes a row for each figure: its value and interval for each way of
// answering; empty fields are figures that were not measured.
func (r Report) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	head := []string{"figure"}
	for _, way := range []string{"base", "model", "verified", "model_less_base", "verified_less_model"} {
		head = append(head, way, way+"_low", way+"_high")
	}
	rows := [][]string{head}
	for _, l := range r.lines() {
		row := []string{l.name}
		for _, e := range append(l.at[:], l.gains[:]...) {
			if e == nil {
				row = append(row, "", "", "")
				continue
			}
			for _, x := range []float64{e.Value, e.Low, e.High} {
				row = append(row, strconv.FormatFloat(x, 'g', 6, 64))
			}
		}
		rows = append(rows, row)
	}
	return out.WriteAll(rows)
}

// Markdown writes the report for people.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Marks of %s\n\n", r.Model)
	fmt.Fprintf(&b, "%d held-out conversations, %d tokens with a loss", r.Conversations, r.Tokens)
	if m := r.Marks; m != nil {
		fmt.Fprintf(&b, "; %d questions answered, %d of them with an answer that can be graded", m.Questions, m.Graded)
	}
	b.WriteString(". In brackets: 95 % confidence intervals, by bootstrap over the questions.\n\n|  |")
	ways := r.ways()
	for _, way := range ways {
		b.WriteString(" " + cell(way) + " |")
	}
	b.WriteString("\n|:--|" + strings.Repeat("--:|", len(ways)) + "\n")
	for _, l := range r.lines() {
		b.WriteString("| " + l.about + " |")
		for _, e := range r.columns(l) {
			b.WriteString(" " + e.text(l.share) + " |")
		}
		b.WriteString("\n")
	}
	r.gained(&b)
	for i, s := range r.Samples {
		fmt.Fprintf(&b, "\n## Sample %d\n\n%s\n\n- reference: %s\n", i+1, quote(s.Question), inline(s.Reference))
		for _, a := range []struct {
			name   string
			answer *Answer
		}{{"base", s.Base}, {"tuned", s.Tuned}, {"verified", s.Verified}} {
			if a.answer != nil {
				fmt.Fprintf(&b, "- %s (%s): %s\n", a.name, a.answer.Grade, inline(a.answer.Text))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// gained writes the paired differences.
func (r Report) gained(b *strings.Builder) {
	for _, g := range []struct {
		gain *Gain
		what string
	}{{r.Gain, r.Model + " less " + r.Base}, {r.VerifyGain, "verified less not verified"}} {
		if g.gain != nil {
			fmt.Fprintf(b, "\nPaired difference, %s: right answers %s, false claims %s (in points).\n",
				g.what, g.gain.Right.text(true), g.gain.False.text(true))
		}
	}
}

// text is the estimate as people read it.
func (e *Estimate) text(share bool) string {
	switch {
	case e == nil:
		return "–"
	case share:
		return fmt.Sprintf("%.1f %% [%.1f, %.1f]", 100*e.Value, 100*e.Low, 100*e.High)
	}
	return fmt.Sprintf("%.4f [%.4f, %.4f]", e.Value, e.Low, e.High)
}

// cell is text that cannot end a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// quote is text as a quotation.
func quote(s string) string { return "> " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n> ") }

// inline is text on one line.
func inline(s string) string { return strings.Join(strings.Fields(s), " ") }
