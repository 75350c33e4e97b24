package mathcheck

import (
	"math/big"
	"regexp"
	"strings"

	"afina/internal/algebra"
	"afina/internal/formula"
)

// chain reports the links of a chain as one finding.
func (c *checker) chain(s *sentence, it formula.Item, n *formula.Node, kind string, links []link) {
	judged, wrong, open := 0, -1, false
	first, last := -1, -1
	for i, l := range links {
		if l.idle {
			continue
		}
		judged++
		if first < 0 {
			first = i
		}
		last = i
		switch {
		case l.is == algebra.No && wrong < 0:
			wrong = i
		case l.is == algebra.Unknown:
			open = true
		}
	}
	if judged == 0 {
		return
	}
	part := *n
	part.Args, part.Rels = n.Args[first:last+2], n.Rels[first:last+1]
	start, end := part.Args[0].Start, part.Args[len(part.Args)-1].End
	if start >= end || end > len(c.text) {
		start, end = it.Start, it.End
	}
	if c.odd() && kind == Equality {
		c.report(start, end, kind, &part, Unknown, say(c.lang, "doubt"))
		return
	}
	switch {
	case wrong >= 0:
		c.wrong(s, it, &part, kind, links[wrong], start, end)
	case open:
		why := say(c.lang, "open")
		for _, l := range links {
			if l.is == algebra.Unknown && l.why != "" {
				why = l.why
			}
		}
		c.report(start, end, kind, &part, Unknown, why)
	default:
		why := say(c.lang, "holds")
		if kind == Membership {
			why = say(c.lang, "member")
		}
		if len(part.Vars()) > 0 {
			why = say(c.lang, "identity")
		}
		c.report(start, end, kind, &part, True, why)
	}
}

// leftover is said of a division with a remainder.
var leftover = regexp.MustCompile(`\b(resto|residuo|sobran?|quedan?|remainder|left over)\b`)

var (
	otherSums = regexp.MustCompile(`(módulo|modulo|\bmod) ⟦|(en|in) (la )?base ⟦|\breloj\b|\bclock\b|binari[oa]|binary|octal|hexadecimal|congru|aritmética modular|modular arithmetic|ℤ/`)
	noWay     = regexp.MustCompile(`imposible|impossible|contradic|absurd|nunca|never|fals[oa]`)
)

// odd reports whether the numbers of the text may be counted in another way
// than usual: modulo some number, on a clock, in another base.
func (c *checker) odd() bool {
	return otherSums.MatchString(c.ask.text) || otherSums.MatchString(joinedText(c.sentences))
}

// dead reports whether l is 0 = 1 in a text that says there is no way: what an
// equation without solutions comes to.
func (c *checker) dead(l link) bool {
	if numeral(l.a) == nil || numeral(l.b) == nil {
		return false
	}
	text := joinedText(c.sentences)
	return noneWords.MatchString(text) || noWay.MatchString(text)
}

// wrong reports a chain with a false link, unless the context leaves a doubt.
func (c *checker) wrong(s *sentence, it formula.Item, part *formula.Node, kind string, l link, start, end int) {
	before := ""
	if start == it.Start {
		before = s.before(indexOf(c.items, it))
	}
	if c.dead(l) || leftover.MatchString(s.text) || it.Doubt || natural(part) && len(part.Vars()) > 0 || it.Left == formula.Comma || it.Right == formula.Comma || s.hypothetical || len(part.Vars()) > 0 && s.supposes || weakLeft.MatchString(before) {
		c.report(start, end, kind, part, Unknown, say(c.lang, "doubt"))
		return
	}
	f := c.report(start, end, kind, part, False, l.why)
	f.Residual = c.residual(l)
	if f.Reason == "" {
		f.Reason = c.because(l, f)
	}
}

// natural reports whether n has a log that may be the natural one.
func natural(n *formula.Node) bool {
	found := false
	n.Walk(func(m *formula.Node) bool {
		found = found || m.Op == formula.Call && m.Name == "log" && m.Order == 1
		return !found
	})
	return found
}

func indexOf(items []formula.Item, it formula.Item) int {
	for i := range items {
		if items[i].Node == it.Node {
			return i
		}
	}
	return -1
}

// because says why a link is false and puts the right value in f.
func (c *checker) because(l link, f *Finding) string {
	if l.at != nil {
		a, b := c.value(l.at.At(l.a)), c.value(l.at.At(l.b))
		if right, ok := c.w.Simplify(l.a); ok {
			f.Correction = c.show(l.a) + " = " + c.show(right)
		}
		return say(c.lang, "counterexample", c.point(l.at), a, b)
	}
	if l.rel == "=" || l.rel == "≈" {
		value := c.value(l.a)
		if numeral(l.a) != nil { // 84 = 2³·3·7: it is the right side that is worth something else
			return say(c.lang, "worth", c.show(l.b), c.value(l.b), c.show(l.a))
		}
		if value != c.show(l.a) {
			f.Correction = value
		}
		return say(c.lang, "worth", c.show(l.a), value, c.show(l.b))
	}
	return say(c.lang, "fails", c.show(l.a), l.rel, c.show(l.b))
}

// value is n reckoned out, to four places where it has no short form.
func (c *checker) value(n *formula.Node) string {
	n = stripped(n)
	if m, ok := c.w.Simplify(n); ok && m.Size() < 12 {
		return c.show(m)
	}
	if r, ok := algebra.Box(nil).Eval(n); ok {
		v := new(big.Rat).SetFloat64((r.Lo + r.Hi) / 2)
		if v != nil {
			return "≈ " + c.show(&formula.Node{Op: formula.Num, Rat: v, Digits: 4})
		}
	}
	return c.show(n)
}

func (c *checker) point(p algebra.Point) string {
	var parts []string
	for _, name := range []string{"a", "b", "c", "x", "y", "z", "n", "m", "t"} {
		if v, ok := p[name]; ok {
			parts = append(parts, name+" = "+c.show(formula.Rat(v)))
		}
	}
	if len(parts) < len(p) {
		parts = nil
		for name, v := range p {
			parts = append(parts, name+" = "+c.show(formula.Rat(v)))
		}
		sortStrings(parts)
	}
	return strings.Join(parts, ", ")
}

// residual is the left side less the right side.
func (c *checker) residual(l link) string {
	a, b := stripped(l.a), stripped(l.b)
	if l.at != nil {
		a, b = l.at.At(a), l.at.At(b)
	}
	if a.Has(formula.Tuple, formula.Set, formula.Matrix, formula.NumSet) || infinite(a) || infinite(b) {
		return ""
	}
	return c.value(formula.New(formula.Add, a, formula.New(formula.Neg, b)))
}

// special judges chains with integrals, derivatives, limits and functions of the text.
// verdict turns a truth into a verdict.
func verdict(t algebra.Truth) Verdict {
	switch t {
	case algebra.Yes:
		return True
	case algebra.No:
		return False
	}
	return Unknown
}

// member judges a ∈ b.
