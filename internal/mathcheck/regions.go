package mathcheck

import (
	"strings"

	"afina/internal/algebra"
	"afina/internal/equation"
	"afina/internal/formula"
)

// regionAsked judges the solution set of an inequality, or a domain.
func (c *checker) regionAsked() {
	var want equation.Region
	x, ok := c.ask.x, false
	if c.ask.domain != nil {
		names := c.ask.domain.Vars()
		if len(names) != 1 {
			return
		}
		x = names[0]
		want, ok = equation.Domain(c.w, c.ask.domain, x)
	} else {
		want, ok = equation.Condition(c.w, c.ask.inequality, x)
	}
	if !ok || c.ask.restricted && c.ask.domain == nil && restrictedBesides(c.ask) {
		return
	}
	best := c.finalRegion(x)
	if best == nil {
		return
	}
	is, at := equation.Compare(c.w, want, best.Region)
	n, start, end := best.n, best.start, best.end
	switch {
	case is == algebra.Yes:
		c.report(start, end, Inequality, n, True, say(c.lang, "set"))
	case is == algebra.No && !best.doubt:
		why := "extra"
		if want.Has(at) == algebra.Yes {
			why = "lacks"
		}
		c.report(start, end, Inequality, n, False, say(c.lang, why, x, c.show(at)))
	default:
		c.report(start, end, Inequality, n, Unknown, say(c.lang, "open"))
	}
}

// restrictedBesides reports whether the question limits the numbers by more
// than the words of order an inequality is spoken of with.
func restrictedBesides(p problem) bool {
	for _, w := range []string{"natural", "enter", "integer", "positiv", "negativ", "racional"} {
		if strings.Contains(p.text, w) {
			return true
		}
	}
	return false
}

// A claimedRegion is a set the text claims.
type claimedRegion struct {
	equation.Region
	n          *formula.Node
	start, end int
	doubt      bool
}

// finalRegion is the set of the last sentence that concludes with one.
func (c *checker) finalRegion(x string) *claimedRegion {
	var last, conclusion *claimedRegion
	for i := range c.sentences {
		s := &c.sentences[i]
		if s.refuted || s.supposes && !concludes.MatchString(s.text) {
			continue
		}
		r := c.sentenceRegion(s, x)
		if r == nil {
			continue
		}
		last = r
		if concludes.MatchString(s.text) {
			conclusion = r
		}
	}
	if conclusion != nil {
		return conclusion
	}
	return last
}

func (c *checker) sentenceRegion(s *sentence, x string) *claimedRegion {
	if noneWords.MatchString(s.text) && !s.hypothetical && !c.another(s) {
		return &claimedRegion{Region: equation.Region{Whole: true, Has: func(*formula.Node) algebra.Truth { return algebra.No }}, n: formula.New(formula.Set), start: s.start, end: s.end}
	}
	var out *claimedRegion
	for k := s.first; k < s.last; k++ {
		it := c.items[k]
		r, ok := c.itemRegion(it, x)
		if !ok {
			continue
		}
		next := &claimedRegion{Region: r, n: it.Node, start: it.Start, end: it.End, doubt: it.Doubt || it.Left == formula.Comma || it.Right == formula.Comma || it.Left == formula.Cut || it.Right == formula.Cut}
		if out != nil && k > s.first {
			switch word := strings.Trim(c.between(s, k-1, k), " ,"); word {
			case "o", "ó", "u", "or", "∪", "o bien":
				next.Region = equation.Either(out.Region, r)
				next.start, next.n = out.start, formula.New(formula.List, out.n, it.Node)
				next.doubt = next.doubt || out.doubt
			case "y", "e", "and", "∩":
				next.Region = equation.Both(out.Region, r)
				next.start, next.n = out.start, formula.New(formula.List, out.n, it.Node)
				next.doubt = true // "y" is said for both
			}
		}
		out = next
	}
	if out == nil && allWords.MatchString(s.text) {
		return &claimedRegion{Region: equation.Region{Whole: true, Has: func(*formula.Node) algebra.Truth { return algebra.Yes }}, n: &formula.Node{Op: formula.NumSet, Name: "R"}, start: s.start, end: s.end}
	}
	return out
}

// itemRegion is the set a formula claims for x: x < 5, (−∞, 5), x ∈ [2, 3], ℝ − {3}.
func (c *checker) itemRegion(it formula.Item, x string) (equation.Region, bool) {
	n := it.Node
	switch {
	case n.Op == formula.Rel && len(n.Rels) == 1 && n.Rels[0] == "∈" && n.Args[0].Op == formula.Sym && n.Args[0].Name == x:
		return equation.Members(c.w, pairAsInterval(n.Args[1]))
	case n.Op == formula.Rel && n.Rels[0] == "=" && len(n.Args) == 2 && (n.Args[0].Op == formula.Sym && n.Args[0].Name != x || n.Args[0].Op == formula.Apply):
		return equation.Members(c.w, pairAsInterval(n.Args[1])) // S = (−2, 2), Dom(f) = …
	case n.Op == formula.Rel && solved(n, x):
		return equation.Condition(c.w, n, x)
	case n.Op != formula.Rel:
		return equation.Members(c.w, pairAsInterval(n))
	}
	return equation.Region{}, false
}

// pairAsInterval takes (1, 5) as the open interval it is here.
func pairAsInterval(n *formula.Node) *formula.Node {
	m := *n
	if n.Op == formula.Tuple && len(n.Args) == 2 {
		m.Op, m.Open = formula.Interval, [2]bool{true, true}
		return &m
	}
	m.Args = make([]*formula.Node, len(n.Args))
	for i, a := range n.Args {
		m.Args[i] = pairAsInterval(a)
	}
	return &m
}

// solved reports whether a chain has x alone between numbers: 1 < x ≤ 5.
func solved(n *formula.Node, x string) bool {
	seen := 0
	for _, a := range n.Args {
		if a.Op == formula.Sym && a.Name == x {
			seen++
		} else if len(a.Vars()) > 0 {
			return false
		}
	}
	return seen == 1
}
