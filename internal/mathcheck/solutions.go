package mathcheck

import (
	"regexp"
	"strings"

	"afina/internal/algebra"
	"afina/internal/equation"
	"afina/internal/formula"
)

var (
	concludes  = regexp.MustCompile(`soluci[oó]n|raíz|raíces|ceros|conjunto|respuesta|solution|roots?\b|zeros|answer|resultado final|dominio|domain`)
	reckoned   = regexp.MustCompile(`\b(suma|producto|número de|cantidad|grado|sum|product|number of|multiplicidad|multiplicity|discriminan\pL+|degree|cuadrad[oa]|square|cúbica|cube|media|doble|triple|mitad|twice|half|diferencia|difference)\b|δ|Δ`)
	partial    = regexp.MustCompile(`una (de las )?(solución|soluciones|raíz|raíces)|(a|one|another) (solution|root)|otra (solución|raíz)|una solución es|(es|is) (raíz|solución|una|a) ?(raíz|solución|root|solution)?\b|primera|segunda|positiv|negativ|menor|mayor|pequeñ|grande|smaller|smallest|larger|largest|greater|greatest|evidente|obvious|enter[oa]|integer|first|second|uno de|one of`)
	soleWord   = regexp.MustCompile(`única|only|unique|solo|sólo|just`)
	noneWords  = regexp.MustCompile(`(no (tiene|hay|existen?|posee)( ningun[ao]s?| ninguna| una)?|sin|carece de|ninguna) (solución|soluciones|solucion|raíz|raíces)|no solutions?|no real (solutions?|roots?)|has no (real )?(solutions?|roots?)|conjunto vacío|empty set|no existe solución|incompatible`)
	allWords   = regexp.MustCompile(`infinit[ao]s soluciones|infinitely many|infinite solutions|(tod[oa]s? (los )?(números? )?real(es)?)|every real|all real|cualquier (número|valor|real)|any (real )?(number|value)|es una identidad|is an identity`)
	connectors = regexp.MustCompile(`^(,|;)? ?(y|e|o|ó|u|and|or|,|;|∪|o bien|y también|or else|además)? ?(también|además)?( la otra (es )?| el otro (es )?)?$`)
	ofWords    = regexp.MustCompile(`(soluci[oó]n(?:es)?|raíz|raíces|ceros|solutions?|roots?|zeros)( real(?:es)?| única)? (?:de|of|para|for|to)(?: la ecuación| the equation| la inecuación| the inequality)?:? ⟦(\d+)⟧ (?:son|es|are|is):? `)
)

// A group is the values one stretch of text claims for the unknown.
type group struct {
	first, last int // items
	values      []*formula.Node
	s           *sentence
	concluding  bool
	part        bool
}

// solutions judges what the text says of the roots of an equation, the
// solution of a system or the set of an inequality.
func (c *checker) solutions() {
	c.stated()
	switch {
	case c.ask.complex:
	case c.ask.equation != nil:
		c.part(c.rootsAsked)
	case c.ask.system != nil:
		c.part(c.systemAsked)
	case c.ask.inequality != nil, c.ask.domain != nil:
		c.part(c.regionAsked)
	}
}

// stated judges sentences that name the equation themselves: las soluciones de E son ….
func (c *checker) stated() {
	for i := range c.sentences {
		s := &c.sentences[i]
		m := ofWords.FindStringSubmatchIndex(s.text)
		if m == nil || s.refuted {
			continue
		}
		ks := marks(s.text[m[6]-len("⟦") : m[7]+len("⟧")])
		if len(ks) != 1 {
			continue
		}
		n := c.items[ks[0]].Node
		if n.Op != formula.Rel && len(n.Vars()) == 1 { // roots of a polynomial
			n = &formula.Node{Op: formula.Rel, Args: []*formula.Node{n, formula.Int(0)}, Rels: []string{"="}, Start: n.Start, End: n.End}
		}
		if n.Op != formula.Rel || len(n.Vars()) != 1 || len(n.Rels) != 1 || n.Rels[0] != "=" {
			continue
		}
		x := n.Vars()[0]
		for _, g := range c.groups(x, true) {
			if g.s == s && g.first > ks[0] {
				c.part(func() {
					c.judgeRoots(n.Args[0], n.Args[1], x, g, restricted.MatchString(strings.Replace(s.text, m0(s.text, m), "", 1)), true)
				})
			}
		}
	}
}

func m0(s string, m []int) string { return s[m[0]:m[1]] }

// groups are the stretches that claim values for x. Bare values count where
// the sentence speaks of solutions.
func (c *checker) groups(x string, bareToo bool) []group {
	var out []group
	var tries []int
	for i := range c.sentences {
		s := &c.sentences[i]
		if s.refuted || s.asks {
			continue
		}
		conclusion := concludes.MatchString(s.text)
		bareToo := bareToo && !reckoned.MatchString(s.text)
		open := -1
		for k := s.first; k < s.last; k++ {
			values, named := c.claimed(k, x)
			if after := s.after(k); strings.HasPrefix(after, ": ⟦") || strings.HasPrefix(after, "→ ⟦") || strings.HasPrefix(after, "⇒ ⟦") || strings.HasPrefix(after, ", ⟦") && c.balances(s, k+1) {
				tries = append(tries, k) // x = 4: 4² − 20 + 6 = 2
				open = -1
				continue
			}
			joined := open >= 0 && connectors.MatchString(strings.TrimSpace(c.between(s, k-1, k)))
			switch {
			case values == nil:
				if open >= 0 && !named {
					open = -1
				}
				continue
			case !named && !joined && !(bareToo && conclusion && c.listed(s, k)):
				open = -1
				continue
			}
			if joined {
				g := &out[open]
				g.values, g.last = append(g.values, values...), k
				continue
			}
			out = append(out, group{first: k, last: k, values: values, s: s, concluding: conclusion && !s.supposes, part: partial.MatchString(s.text)})
			open = len(out) - 1
		}
	}
	for i := range out {
		out[i].part = out[i].part || len(tries) > 0 && !out[i].concluding
	}
	return out
}

// balances reports whether item k of s is a relation between numbers, as in a trial.
func (c *checker) balances(s *sentence, k int) bool {
	return k < s.last && c.items[k].Op == formula.Rel && len(c.items[k].Vars()) == 0
}

// between is the prose between two items of s.
func (c *checker) between(s *sentence, j, k int) string {
	if j < s.first {
		return "."
	}
	return tidy(strings.ToLower(c.text[c.items[j].End:c.items[k].Start]))
}

var saysIs = regexp.MustCompile(`(son|es|are|is|:|=|soluciones|solutions|raíces|roots)$`)

// listed reports whether item k comes just after "las soluciones son".
func (c *checker) listed(s *sentence, k int) bool { return saysIs.MatchString(s.before(k)) }

// claimed are the values item k claims for x; named, where it says x. The
// values of an item that is no such claim are nil.
func (c *checker) claimed(k int, x string) (values []*formula.Node, named bool) {
	it := c.items[k]
	n := it.Node
	if it.Left == formula.Cut || it.Right == formula.Cut {
		return nil, false
	}
	if n.Op != formula.Rel {
		if n.Op == formula.Set {
			return grounded(n.Args), false
		}
		return grounded([]*formula.Node{n}), false
	}
	l := n.Args[0]
	if l.Op == formula.Sym && len(n.Args) == 2 && n.Rels[0] == "=" && n.Args[1].Op == formula.Set && strings.ToUpper(l.Name) == l.Name {
		return grounded(n.Args[1].Args), true // S = {2, 3}
	}
	if l.Op != formula.Sym || l.Name != x && !strings.HasPrefix(l.Name, x+"_") {
		return nil, false
	}
	last := n.Args[len(n.Args)-1]
	switch {
	case n.Rels[0] == "∈" && last.Op == formula.Set && len(n.Rels) == 1:
		return grounded(last.Args), true
	case n.Rels[0] != "=":
		return nil, true
	}
	for _, m := range n.Args[1:] {
		for _, v := range m.Vars() {
			if v == x {
				return nil, true
			}
		}
	}
	for _, r := range n.Rels {
		if r == "≈" {
			last = n.Args[len(n.Args)-2]
		} else if r != "=" {
			return nil, true
		}
	}
	return grounded([]*formula.Node{last}), true
}

// grounded are the values of expressions without variables, ± unfolded.
func grounded(in []*formula.Node) []*formula.Node {
	var out []*formula.Node
	for _, n := range in {
		n = stripped(n)
		if len(n.Vars()) > 0 || n.Has(formula.Rel, formula.Interval, formula.NumSet, formula.Apply, formula.Percent, formula.Degree, formula.Tuple) || infinite(n) {
			return nil
		}
		out = append(out, branches(n)...)
	}
	return out
}

func (c *checker) rootsAsked() {
	n, x := c.ask.equation, c.ask.x
	a, b := n.Args[0], n.Args[1]
	if c.emptiness(func() equation.Solutions { return equation.Solve(c.w, a, b, x) }, !formula.New(formula.Add, a, b).Has(formula.Div, formula.Root, formula.Call)) {
		return
	}
	groups := c.groups(x, !c.ask.besides)
	tried := false
	var firm []group
	for _, g := range groups {
		if g.s.supposes {
			tried = true
			continue
		}
		firm = append(firm, g)
	}
	for i := len(firm) - 1; i >= 0; i-- {
		if firm[i].concluding && !firm[i].part {
			c.judgeRoots(a, b, x, firm[i], c.ask.restricted, true)
			return
		}
	}
	switch {
	case len(firm) == 0:
		c.bareAnswer(a, b, x)
		return
	case len(firm) == 1:
		c.judgeRoots(a, b, x, firm[0], c.ask.restricted || tried, !firm[0].part)
		return
	}
	all := group{first: firm[0].first, last: firm[len(firm)-1].last, s: firm[len(firm)-1].s}
	for _, g := range firm {
		all.values = append(all.values, g.values...)
	}
	if !tried && c.allRoots(a, b, x, all.values) {
		c.judgeRoots(a, b, x, all, c.ask.restricted, true)
		return
	}
	for _, g := range firm {
		c.judgeRoots(a, b, x, g, true, false)
	}
}

func (c *checker) allRoots(a, b *formula.Node, x string, values []*formula.Node) bool {
	for _, v := range values {
		if is, _ := equation.Solves(c.w, a, b, x, v); is != algebra.Yes {
			return false
		}
	}
	return true
}

// bareAnswer judges an answer that is only a number or a list of them.
func (c *checker) bareAnswer(a, b *formula.Node, x string) {
	if c.ask.besides || len(c.items) == 0 || len(mark.ReplaceAllString(joinedText(c.sentences), "")) > 12 {
		return
	}
	g := group{first: 0, last: len(c.items) - 1, s: &c.sentences[0]}
	for k := range c.items {
		values, _ := c.claimed(k, x)
		if values == nil || c.items[k].Op == formula.Rel {
			return
		}
		g.values = append(g.values, values...)
	}
	c.judgeRoots(a, b, x, g, c.ask.restricted, true)
}

func joinedText(ss []sentence) string {
	s := ""
	for _, x := range ss {
		s += x.text
	}
	return s
}

// judgeRoots judges a group: each value by substitution, then, where the group
// is meant to be all, whether one is missing.
func (c *checker) judgeRoots(a, b *formula.Node, x string, g group, restricted, whole bool) {
	start, end := c.items[g.first].Start, c.items[g.last].End
	for k := g.first; k <= g.last; k++ {
		if c.items[k].Op != formula.Rel || len(c.items[k].Args) == 2 && c.items[k].Args[0].Op == formula.Sym && strings.HasPrefix(c.items[k].Args[0].Name, x) {
			c.taken[k] = true
		}
	}
	n := &formula.Node{Op: formula.Rel, Args: []*formula.Node{formula.Var(x), formula.New(formula.Set, g.values...)}, Rels: []string{"∈"}}
	if len(g.values) == 1 {
		n = &formula.Node{Op: formula.Rel, Args: []*formula.Node{formula.Var(x), g.values[0]}, Rels: []string{"="}}
	}
	for _, v := range g.values {
		is, defined := equation.Solves(c.w, a, b, x, v)
		switch {
		case is == algebra.Yes:
		case is == algebra.No:
			if c.doubtful(g) || c.rounded(a, b, x, v) || natural(formula.New(formula.Add, a, b)) && c.otherRoot(a, b, x, v) {
				c.report(start, end, Solution, n, Unknown, say(c.lang, "doubt"))
				return
			}
			c.notRoot(a, b, x, v, n, start, end, defined)
			return
		default:
			c.report(start, end, Solution, n, Unknown, say(c.lang, "open"))
			return
		}
	}
	c.completeRoots(a, b, x, g, n, restricted, whole)
}

// doubtful reports whether some numeral of the group can be read in another way.
func (c *checker) doubtful(g group) bool {
	for k := g.first; k <= g.last; k++ {
		it := c.items[k]
		if it.Doubt || it.Left == formula.Comma || it.Right == formula.Comma {
			return true
		}
	}
	return false
}

// otherRoot reports whether v may be a root where log is read as the natural one.
func (c *checker) otherRoot(a, b *formula.Node, x string, v *formula.Node) bool {
	is, _ := equation.Solves(c.w, otherwise(a), otherwise(b), x, v)
	return is != algebra.No
}

// rounded reports whether v is a decimal that may be a root rounded.
func (c *checker) rounded(a, b *formula.Node, x string, v *formula.Node) bool {
	d := decimal(v)
	if d == nil {
		return false
	}
	for _, r := range equation.Solve(c.w, a, b, x).Roots {
		if r == nil {
			return true
		}
		if near, _ := c.approximate(r, v); near != algebra.No {
			return true
		}
	}
	return false
}

func (c *checker) notRoot(a, b *formula.Node, x string, v, n *formula.Node, start, end int, defined algebra.Truth) {
	s := equation.Solve(c.w, a, b, x)
	reason, residual := "", ""
	if defined == algebra.No {
		reason = say(c.lang, "outside", x, c.show(v))
	} else {
		l, r := a.Replace(x, v), b.Replace(x, v)
		reason = say(c.lang, "notroot", x, c.show(v), c.value(l), c.value(r))
		residual = c.value(formula.New(formula.Add, l, formula.New(formula.Neg, r)))
	}
	f := c.report(start, end, Solution, n, False, reason)
	f.Residual, f.Correction = residual, c.rootsText(s, x)
}

// rootsText writes the solutions, where they are known.
func (c *checker) rootsText(s equation.Solutions, x string) string {
	if !s.Complete {
		return ""
	}
	if len(s.Roots) == 0 {
		return say(c.lang, "none")
	}
	var parts []string
	for _, r := range s.Roots {
		if r == nil {
			return ""
		}
		parts = append(parts, x+" = "+c.show(r))
	}
	return strings.Join(parts, say(c.lang, "and"))
}

func (c *checker) completeRoots(a, b *formula.Node, x string, g group, n *formula.Node, restricted, whole bool) {
	start, end := c.items[g.first].Start, c.items[g.last].End
	s := equation.Solve(c.w, a, b, x)
	distinct := c.distinct(g.values)
	switch {
	case !whole:
		c.report(start, end, Solution, n, True, say(c.lang, "root"))
	case distinct < 0 || !s.Complete || distinct > len(s.Roots):
		c.report(start, end, Solution, n, Unknown, say(c.lang, "perhaps"))
	case distinct == len(s.Roots):
		c.report(start, end, Solution, n, True, say(c.lang, "roots"))
	case c.namedElsewhere(x, g, s.Roots):
		c.report(start, end, Solution, n, Unknown, say(c.lang, "perhaps"))
	case restricted && !soleWord.MatchString(g.s.text):
		c.report(start, end, Solution, n, Unknown, say(c.lang, "restricted"))
	default:
		missing := ""
		for _, r := range s.Roots {
			if r != nil && contains(c.w, g.values, r) == algebra.No {
				missing = x + " = " + c.show(r)
				break
			}
		}
		f := c.report(start, end, Solution, n, False, say(c.lang, "missing", missing))
		f.Correction = c.rootsText(s, x)
	}
}

// namedElsewhere reports whether every root g lacks is given in another place.
func (c *checker) namedElsewhere(x string, g group, roots []*formula.Node) bool {
	var all []*formula.Node
	for _, h := range c.groups(x, true) {
		all = append(all, h.values...)
	}
	for _, r := range roots {
		if r == nil || contains(c.w, g.values, r) != algebra.Yes && contains(c.w, all, r) != algebra.Yes {
			return false
		}
	}
	return true
}

func contains(w *algebra.Work, values []*formula.Node, v *formula.Node) algebra.Truth {
	in := algebra.No
	for _, u := range values {
		in = in.Or(w.Equal(u, v))
	}
	return in
}

// distinct is how many different numbers there are, or -1 where that is not known.
func (c *checker) distinct(values []*formula.Node) int {
	n := 0
	for i, v := range values {
		switch contains(c.w, values[:i], v) {
		case algebra.No:
			n++
		case algebra.Unknown:
			return -1
		}
	}
	return n
}

// place is where a sentence stands in the text.
func (c *checker) place(s *sentence) (start, end int) { return s.start, s.end }
