package mathcheck

import (
	"regexp"

	"afina/internal/algebra"
	"afina/internal/equation"
	"afina/internal/formula"
)

// emptiness judges sentences that say there is no solution, or that all numbers
// are. It reports whether there was one.
func (c *checker) emptiness(solve func() equation.Solutions, plain bool) bool {
	for i := range c.sentences {
		s := &c.sentences[i]
		if s.asks || s.supposes || c.another(s) {
			continue
		}
		none, all := noneWords.FindStringIndex(s.text), allWords.FindStringIndex(s.text)
		if none == nil && all == nil {
			continue
		}
		if !c.flat(s, none, all) {
			continue
		}
		got := solve()
		is := algebra.Unknown
		switch {
		case got.All && plain:
			is = yes(none == nil)
		case got.All:
		case len(got.Roots) > 0:
			is = algebra.No
		case got.Complete && len(got.Roots) == 0:
			is = yes(none != nil)
		}
		start, end := c.place(s)
		f := c.report(start, end, Solution, nil, verdict(is), say(c.lang, map[algebra.Truth]string{algebra.Yes: "holds", algebra.No: "count", algebra.Unknown: "open"}[is]))
		f.Expr = s.text
		if is == algebra.No {
			f.Correction = c.rootsText(got, c.ask.x)
			if got.All {
				f.Correction = say(c.lang, "all")
			}
		}
		return true
	}
	return false
}

var (
	noneEnds = regexp.MustCompile(`^( reales)?( real)?( (en|in) (ℝ|⟦\d+⟧|los (números )?reales|the reals|the real numbers))?([,:(].*| (porque|ya que|pues|because|since|as|y|and) .*)?$`)
	partsOf  = regexp.MustCompile(`factor|segund|second|primer|first|otr[oa]|other|\bcas[oe]s?\b|últim|\best[aeo]s?\b|\bes[ae]\b|\bthis\b|\bthat\b|polinomi|polynomi|trinomi|former|latter|cuadrado|square|raíz de|entera|elevad`)
)

// flat reports whether s says of the equation asked, and not of a part of it or
// of some kind of numbers only, that it has no solution or that all are. An
// answer that also names values is not so flat.
func (c *checker) flat(s *sentence, none, all []int) bool {
	if none == nil {
		return ends(s.text[all[1]:]) && (concludes.MatchString(s.text) || len(s.text) < 60) && !partsOf.MatchString(s.text)
	}
	if partsOf.MatchString(s.text) || !noneEnds.MatchString(s.text[none[1]:]) || restrictedBesides(c.ask) {
		return false
	}
	for _, g := range c.groups(c.ask.x, false) {
		if !g.s.supposes {
			return false
		}
	}
	return true
}

// another reports whether s speaks of an equation that is not the one asked.
func (c *checker) another(s *sentence) bool {
	for k := s.first; k < s.last; k++ {
		n := c.items[k].Node
		if n.Op != formula.Rel || c.ask.equation != nil && formula.Same(n, c.ask.equation) {
			continue
		}
		for _, v := range n.Vars() {
			if v != "Δ" && v != "D" {
				return true
			}
		}
	}
	return false
}
