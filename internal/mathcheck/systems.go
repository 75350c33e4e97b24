package mathcheck

import (
	"afina/internal/algebra"
	"afina/internal/equation"
	"afina/internal/formula"
)

// systemAsked judges x = …, y = … against every equation of the system.
func (c *checker) systemAsked() {
	values := map[string]*formula.Node{}
	first, last, several := -1, -1, false
	for i := range c.sentences {
		s := &c.sentences[i]
		if s.refuted || s.supposes {
			continue
		}
		for k := s.first; k < s.last; k++ {
			for name, v := range c.assignments(k) {
				several = several || values[name] != nil && !formula.Same(values[name], v)
				values[name] = v
				last = k
				if first < 0 || s.first > first || len(values) == 1 {
					first = k
				}
			}
		}
	}
	if len(values) < len(c.ask.vars) || first < 0 {
		return
	}
	first = min(first, last)
	c.judgeSystem(values, first, last, several)
}

// assignments are the values item k gives to variables of the system.
func (c *checker) assignments(k int) map[string]*formula.Node {
	out := map[string]*formula.Node{}
	n := c.items[k].Node
	if c.items[k].Left == formula.Cut || c.items[k].Right == formula.Cut {
		return out
	}
	if n.Op == formula.Tuple && len(n.Args) == len(c.ask.vars) {
		for i, v := range grounded(n.Args) {
			if i < len(c.ask.vars) {
				out[c.ask.vars[i]] = v
			}
		}
		return out
	}
	if n.Op != formula.Rel || n.Rels[0] != "=" || n.Args[0].Op != formula.Sym && n.Args[0].Op != formula.Tuple {
		return out
	}
	rhs := n.Args[len(n.Args)-1]
	if l := n.Args[0]; l.Op == formula.Tuple && rhs.Op == formula.Tuple && len(l.Args) == len(rhs.Args) {
		for i, v := range grounded(rhs.Args) {
			if l.Args[i].Op == formula.Sym {
				out[l.Args[i].Name] = v
			}
		}
		return out
	}
	for _, v := range c.ask.vars {
		if n.Args[0].Name == v {
			if g := grounded([]*formula.Node{rhs}); len(g) == 1 {
				out[v] = g[0]
			}
		}
	}
	return out
}

// judgeSystem substitutes the values. Where the text gives several, a point that
// is no solution may be a trial or a point of one of the lines.
func (c *checker) judgeSystem(values map[string]*formula.Node, first, last int, several bool) {
	n := formula.New(formula.List)
	for _, v := range c.ask.vars {
		n.Args = append(n.Args, &formula.Node{Op: formula.Rel, Args: []*formula.Node{formula.Var(v), values[v]}, Rels: []string{"="}})
	}
	all := algebra.Yes
	var diffs []*formula.Node
	for _, e := range c.ask.system {
		a, b := e.Args[0], e.Args[1]
		diffs = append(diffs, formula.New(formula.Add, a, formula.New(formula.Neg, b)))
		for name, v := range values {
			a, b = a.Replace(name, v), b.Replace(name, v)
		}
		is := c.w.Equal(a, b)
		if is == algebra.No && several {
			c.report(c.items[first].Start, c.items[last].End, Solution, n, Unknown, say(c.lang, "doubt"))
			return
		}
		if is == algebra.No {
			f := c.report(c.items[first].Start, c.items[last].End, Solution, n, False, say(c.lang, "system", c.show(e), c.value(a), c.value(b)))
			f.Residual = c.value(formula.New(formula.Add, a, formula.New(formula.Neg, b)))
			return
		}
		all = all.And(is)
	}
	unique, linear := equation.System(c.w, diffs, c.ask.vars)
	switch {
	case all == algebra.Yes && linear && unique:
		c.report(c.items[first].Start, c.items[last].End, Solution, n, True, say(c.lang, "systemholds"))
	default:
		c.report(c.items[first].Start, c.items[last].End, Solution, n, Unknown, say(c.lang, "perhaps"))
	}
}
