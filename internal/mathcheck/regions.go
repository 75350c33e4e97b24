package mathcheck

import (
	"regexp"
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
	is, at := algebra.Unknown, (*formula.Node)(nil)
	if !best.open {
		is, at = equation.Compare(c.w, want, best.Region)
	}
	n, start, end := best.n, best.start, best.end
	switch {
	case is == algebra.Yes:
		c.report(start, end, Inequality, n, True, say(c.lang, "set"))
	case is == algebra.No && !best.doubt && !c.beside(best, x):
		why := "extra"
		if want.Has(at) == algebra.Yes {
			why = "lacks"
		}
		c.report(start, end, Inequality, n, False, say(c.lang, why, x, c.show(at)))
	default:
		c.report(start, end, Inequality, n, Unknown, say(c.lang, "open"))
	}
}

var ranges = regexp.MustCompile(`recorrido|rango|imagen|codomini|range\b|image\b`)

// beside reports whether the text gives another set that may belong to the one
// judged: before it, unless that one concludes, in its sentence or after it.
func (c *checker) beside(r *claimedRegion, x string) bool {
	for i := range c.sentences {
		s := &c.sentences[i]
		here := r.start < s.end && s.start < r.end
		if here && ranges.MatchString(s.text) {
			return true
		}
		for k := s.first; k < s.last; k++ {
			it := c.items[k]
			if it.Start < r.end && r.start < it.End || formula.Same(it.Node, r.n) {
				continue
			}
			if _, ok := c.itemRegion(it, x); ok && (here || it.Start > r.end || !r.concluding) {
				return true
			}
		}
	}
	return false
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
	doubt      bool // it may be meant otherwise
	concluding bool // its sentence says that it is the answer
	open       bool // it is not understood
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
			r.concluding = true
			conclusion = r
		}
	}
	if conclusion != nil {
		return conclusion
	}
	return last
}

var rootWords = regexp.MustCompile(`ra[ií]|root`)

var enumerates = regexp.MustCompile(`^[, ]*(y|e|o|u|ni|and|or|nor)?$`)

// sentenceRegion is the set s claims, or nil.
func (c *checker) sentenceRegion(s *sentence, x string) *claimedRegion {
	if m := noneWords.FindStringIndex(s.text); m != nil && !s.hypothetical && !c.another(s) {
		if rootWords.MatchString(s.text[m[0]:m[1]]) || partsOf.MatchString(s.text) || !noneEnds.MatchString(s.text[m[1]:]) {
			return &claimedRegion{n: formula.New(formula.Set), start: s.start, end: s.end, open: true}
		}
		return &claimedRegion{Region: equation.Region{Whole: true, Has: func(*formula.Node) algebra.Truth { return algebra.No }}, n: formula.New(formula.Set), start: s.start, end: s.end}
	}
	var out *claimedRegion
	for k := s.first; k < s.last; k++ {
		it := c.items[k]
		r, ok := c.itemRegion(it, x)
		if !ok {
			if out != nil && out.end <= it.Start && enumerates.MatchString(c.between(s, k-1, k)) {
				out.doubt = true // x ≠ −2, 2
			}
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
	if less := c.without(s); less != nil {
		return less
	}
	if m := allWords.FindStringIndex(s.text); out == nil && m != nil && (concludes.MatchString(s.text) || len(s.text) < 60) {
		all := &claimedRegion{Region: everyReal(), n: &formula.Node{Op: formula.NumSet, Name: "R"}, start: s.start, end: s.end}
		all.doubt = !ends(s.text[m[1]:])
		all.open = all.doubt
		return all
	}
	return out
}

func everyReal() equation.Region {
	return equation.Region{Whole: true, Has: func(*formula.Node) algebra.Truth { return algebra.Yes }}
}

const lacking = `(?:menos|excepto|a excepción de|salvo|sin|quitando|except(?: for)?|but(?: not)?|without|other than|excluding|apart from|distint[oa]s? de|diferentes? de|different from|minus|\\|−|-)`

var (
	lessThose = regexp.MustCompile(`(⟦\d+⟧|reales|reals|real numbers?|número real),? ` + lacking + `(?: en| el| los| the| at| when| cuando| puntos?| valores| values?| points?| número| números)* (` + items + `)`)
	qualified = regexp.MustCompile(`(^|[ ,(])(` + lacking + `|exclu\pL+|inclu\pL+|con|with|where|donde|tal(es)? que|such that|siempre que|provided|unless|if|si|ni|nor|no|not|abiert\pL+|cerrad\pL+|positiv\pL+|negativ\pL+|natural\pL*|enter\pL+|integers?|mayor\pL*|menor\pL*|greater|less|larger|smaller|entre|between|distint\pL+|diferent\pL+)([ ,)]|$)`)
	endings   = regexp.MustCompile(`^( de ⟦\d+⟧| of ⟦\d+⟧| of [xt])?[,:)]?( (es decir|o sea|that is)\b.*| (porque|ya que|pues|because|since|as) .*| (es|son|is|are) (la |las |the )?(solución|soluciones|solutions?)| la cumplen?| cumplen? la .*| satisf.*)?$`)
)

// ends reports whether nothing that could narrow a set follows it in rest.
func ends(rest string) bool { return endings.MatchString(strings.TrimRight(rest, " .")) }

// without is a set less some numbers, told in words: ℝ menos −2 y 2. What is
// narrowed in a way that is not understood is open.
func (c *checker) without(s *sentence) *claimedRegion {
	m := lessThose.FindStringSubmatchIndex(s.text)
	if m == nil {
		return c.narrowed(s)
	}
	r := &claimedRegion{Region: everyReal(), n: &formula.Node{Op: formula.NumSet, Name: "R"}, start: s.start, end: s.end, doubt: !ends(s.text[m[1]:])}
	r.open = r.doubt
	if ks := marks(s.text[m[2]:m[3]]); len(ks) == 1 {
		it := c.items[ks[0]]
		set, ok := c.itemRegion(it, c.ask.x)
		if !ok || it.Op == formula.Rel {
			r.open = true
			return r
		}
		r.Region, r.n = set, it.Node
	}
	var values []*formula.Node
	for _, k := range marks(s.text[m[4]:m[5]]) {
		v, ok := c.excluded(k)
		r.open = r.open || !ok
		values = append(values, v...)
	}
	out, ok := equation.Members(c.w, formula.New(formula.Set, values...))
	if !ok || r.open {
		r.open = true
		return r
	}
	r.Region = equation.Both(r.Region, equation.Region{Edges: out.Edges, Whole: out.Whole, Has: func(v *formula.Node) algebra.Truth { return out.Has(v).Not() }})
	r.n = formula.New(formula.Minus, r.n, formula.New(formula.Set, values...))
	return r
}

// excluded are the numbers item k names: 2, ±2, {−2, 2}, x = 2.
func (c *checker) excluded(k int) ([]*formula.Node, bool) {
	it := c.items[k]
	n := it.Node
	if n.Op == formula.Rel && len(n.Args) == 2 && n.Rels[0] == "=" && n.Args[0].Op == formula.Sym {
		n = n.Args[1]
	}
	list := []*formula.Node{n}
	if n.Op == formula.Set {
		list = n.Args
	}
	v := grounded(list)
	return v, len(v) > 0 && !it.Doubt && it.Left != formula.Cut && it.Right != formula.Cut
}

// narrowed is an open region where the last set of s is narrowed by words.
func (c *checker) narrowed(s *sentence) *claimedRegion {
	for k := s.last - 1; k >= s.first; k-- {
		it := c.items[k]
		rest := s.after(k)
		if _, ok := c.itemRegion(it, c.ask.x); !ok {
			continue
		}
		if qualified.MatchString(rest) {
			return &claimedRegion{n: it.Node, start: it.Start, end: it.End, open: true}
		}
		return nil
	}
	return nil
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
