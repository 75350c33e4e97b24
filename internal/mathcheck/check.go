package mathcheck

import (
	"regexp"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"afina/internal/algebra"
	"afina/internal/formula"
)

// What one call may spend: steps of reckoning in all, and for one claim.
const (
	allSteps   = 400_000
	claimSteps = 60_000
)

// Check finds the claims of text, in the order of their spans.
func Check(text string, o Options) []Finding {
	text = cut(text, o.MaxBytes)
	question := cut(o.Question, o.MaxBytes)
	lang := o.Language
	if lang == "" {
		lang = detect(text + "\n" + question)
	}
	work := algebra.NewWork(allSteps, clock(o.Budget))
	main := modeOf(text, lang)
	found, ambiguous := read(text, question, lang, main, work)
	if ambiguous {
		other, _ := read(text, question, lang, formula.Mode{Comma: !main.Comma}, work)
		found = reconcile(found, other, lang)
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Span.Start < found[j].Span.Start })
	return found
}

var (
	pointed = regexp.MustCompile(`(^|[^\d.,])\d*\.(\d{1,2}|\d{4,})($|[^\d.])`)
	comma   = regexp.MustCompile(`\d,(\d{1,2}|\d{4,})($|[^\d,])`)
)

// modeOf is how the language writes numerals, unless the text plainly does otherwise.
func modeOf(text string, lang Language) formula.Mode {
	switch {
	case pointed.MatchString(text) && !comma.MatchString(text):
		return formula.Mode{}
	case lang == Spanish:
		return formula.Mode{Comma: true}
	}
	return formula.Mode{}
}

func cut(text string, most int) string {
	if most <= 0 {
		most = 64 << 10
	}
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// clock is the stop of a budget: a last resort, for the count of steps ends first.
func clock(budget time.Duration) func() bool {
	if budget <= 0 {
		budget = time.Second
	}
	end := time.Now().Add(budget)
	return func() bool { return time.Now().After(end) }
}

// grouped is 1.234, which in Spanish may be a thousand and more or one and a bit.
var grouped = regexp.MustCompile(`(^|[^\d.,])\d{1,3}\.\d{3}($|[^\d])`)

// reconcile keeps of two readings of the numerals what they do not contradict.
// What the language's own reading makes true stays so where the other reading
// is foreign to it: 1,414 in Spanish is no thousand.
func reconcile(a, b []Finding, lang Language) []Finding {
	out := a
	for _, g := range b {
		clash := false
		for i := range out {
			f := &out[i]
			if f.Span.Start >= g.Span.End || g.Span.Start >= f.Span.End {
				continue
			}
			clash = true
			foreign := f.Verdict == True && g.Verdict == False && (lang == English || !grouped.MatchString(f.Text))
			if f.Verdict != g.Verdict && !foreign {
				if f.Verdict != Unknown {
					f.Correction, f.Residual = "", ""
				}
				f.Verdict, f.Reason = Unknown, say(lang, "numerals")
			}
		}
		if !clash && g.Verdict == True {
			out = append(out, g)
		}
	}
	return out
}

// A checker reads one text in one mode.
type checker struct {
	lang      Language
	text      string
	mode      formula.Mode
	all       *algebra.Work
	w         *algebra.Work // of the claim at hand
	items     []formula.Item
	sentences []sentence
	ask       problem
	defs      map[string]definition
	taken     map[int]bool // items that were judged as part of something larger
	found     []Finding
}

// read finds the claims of text in one mode of numerals.
func read(text, question string, lang Language, mode formula.Mode, work *algebra.Work) ([]Finding, bool) {
	t := formula.Read(text, mode)
	c := &checker{lang: lang, text: text, mode: mode, all: work, w: work, items: t.Items(), taken: map[int]bool{}}
	c.sentences = split(text, c.items)
	c.ask = understand(question, mode, work)
	c.defs = c.define()
	c.malformed()
	c.words()
	c.solutions()
	for i := range c.sentences {
		s := &c.sentences[i]
		for k := s.first; k < s.last; k++ {
			if !c.taken[k] && c.items[k].Op == formula.Rel && !s.refuted {
				c.part(func() { c.relation(s, k) })
			}
		}
	}
	return c.found, t.Ambiguous
}

// part runs f with no more than the steps of one claim.
func (c *checker) part(f func()) {
	c.w = c.all.Part(claimSteps)
	f()
	c.all.End(c.w)
	c.w = c.all
}

// report adds a finding over the bytes from start to end.
func (c *checker) report(start, end int, kind string, n *formula.Node, v Verdict, reason string) *Finding {
	f := Finding{Span: Span{start, end}, Text: c.text[start:end], Kind: kind, Verdict: v, Reason: reason}
	if n != nil {
		f.Expr = c.show(n)
	}
	c.found = append(c.found, f)
	return &c.found[len(c.found)-1]
}

// show writes n in the notation of the language: a decimal comma in Spanish.
func (c *checker) show(n *formula.Node) string { return localised(n, c.lang) }

func localised(n *formula.Node, lang Language) string {
	s := n.String()
	if lang != Spanish {
		return s
	}
	b := []byte(s)
	for i := 1; i+1 < len(b); i++ {
		if b[i] == '.' && digit(b[i-1]) && digit(b[i+1]) {
			b[i] = ','
		}
	}
	out := string(b)
	for from, to := range map[string]string{"sin(": "sen(", "gcd(": "mcd(", "lcm(": "mcm(", "lim_": "lím_"} {
		out = strings.ReplaceAll(out, from, to)
	}
	return strings.ReplaceAll(out, ", ", "; ")
}

func digit(b byte) bool { return b >= '0' && b <= '9' }
