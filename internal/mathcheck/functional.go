package mathcheck

import (
	"strings"

	"afina/internal/algebra"
	"afina/internal/equation"
	"afina/internal/formula"
)

// resolve replaces the functions of the text by what they are. It is not ok
// where one is unknown or is inverted.
func (c *checker) resolve(n *formula.Node, depth int) (*formula.Node, bool) {
	if depth > 6 {
		return nil, false
	}
	if n.Op != formula.Apply {
		m := *n
		m.Args = make([]*formula.Node, len(n.Args))
		for i, a := range n.Args {
			r, ok := c.resolve(a, depth+1)
			if !ok {
				return nil, false
			}
			m.Args[i] = r
		}
		return &m, true
	}
	d, ok := c.defs[n.Name]
	if !ok || len(n.Args) != 1 || n.Order < 0 {
		return nil, false
	}
	body := d.body
	for range n.Order {
		if body, ok = equation.Derive(body, d.param); !ok {
			return nil, false
		}
	}
	arg, ok := c.resolve(n.Args[0], depth+1)
	if !ok {
		return nil, false
	}
	return body.Replace(d.param, arg), true
}

// functional judges f(3) = …, f'(x) = …, f⁻¹(x) = …. It reports whether the
// chain needs no more looking at.
func (c *checker) functional(s *sentence, it formula.Item, n *formula.Node) bool {
	head := n.Args[0]
	if head.Op == formula.Apply && head.Order < 0 && len(n.Args) == 2 && n.Rels[0] == "=" {
		c.inverse(it, head, n.Args[1])
		return true
	}
	if definitional(n) && len(n.Args) == 2 && c.sameDefinition(n) {
		return true
	}
	derivative := false
	var members []*formula.Node
	for i, m := range n.Args {
		r, ok := c.resolve(m, 0)
		if !ok {
			if i == 0 && head.Op == formula.Apply { // an unknown function is a label
				members = append(members, nil)
				continue
			}
			return true
		}
		derivative = derivative || m.Op == formula.Apply && m.Order > 0
		members = append(members, r)
	}
	kind := Function
	if derivative {
		kind = Derivative
	}
	var links []link
	for i, rel := range n.Rels {
		links = append(links, c.applied(s, n, members, i, rel))
	}
	c.chain(s, it, n, kind, links)
	return true
}

// sameDefinition reports whether n only repeats a definition.
func (c *checker) sameDefinition(n *formula.Node) bool {
	d, ok := c.defs[n.Args[0].Name]
	return ok && formula.Same(d.body, n.Args[1])
}

// applied judges link i of a chain whose members are resolved.
func (c *checker) applied(s *sentence, n *formula.Node, members []*formula.Node, i int, rel string) link {
	l := link{a: n.Args[i], b: n.Args[i+1], rel: rel, idle: true}
	a, b := members[i], members[i+1]
	if a == nil {
		return l
	}
	x, y, doubt, ok := measures(a, b)
	if !ok || doubt {
		return l
	}
	if len(x.Vars()) == 0 && len(y.Vars()) == 0 {
		l.idle = false
		c.ground(&l, x, y)
		l.a = x
		return l
	}
	if rel != "=" {
		return l
	}
	is, at := c.w.Identical(x, y, false)
	if m := members[0]; m != nil && (!subset(x.Vars(), m.Vars()) || !subset(y.Vars(), m.Vars())) { // u'v − uv'
		if is == algebra.No {
			return l
		}
	}
	firm := n.Args[i].Op == formula.Apply && n.Args[i].Order > 0 && n.Args[i].Args[0].Op == formula.Sym && (len(y.Vars()) > 0 || c.ask.derive && !zeroNode(y)) && !n.Args[i+1].Has(formula.Apply)
	switch {
	case is == algebra.Yes:
		l.is, l.idle = algebra.Yes, false
	case firm || n.Args[i].Op != formula.Apply && derived(n) && !s.supposes && len(y.Vars()) > 0:
		l.idle = false
		l.is, l.at = is, at
		l.a, l.b = x, y
	}
	return l
}

// derived reports whether the chain begins with f'(x), so that all of it is an identity.
func derived(n *formula.Node) bool {
	return n.Args[0].Op == formula.Apply && n.Args[0].Order > 0 && n.Args[0].Args[0].Op == formula.Sym
}

func zeroNode(n *formula.Node) bool { return n.Op == formula.Num && n.Rat.Sign() == 0 }

// inverse judges f⁻¹(x) = g by f(g) = x.
func (c *checker) inverse(it formula.Item, head, g *formula.Node) {
	d, ok := c.defs[head.Name]
	if !ok || len(head.Args) != 1 {
		return
	}
	g, ok = c.resolve(g, 0)
	if !ok {
		return
	}
	back := d.body.Replace(d.param, g)
	l := link{a: back, b: head.Args[0], rel: "="}
	if len(back.Vars()) == 0 && len(head.Args[0].Vars()) == 0 {
		l.is = c.w.Equal(back, head.Args[0])
		if !c.linear(d) && l.is == algebra.Yes { // f need not be one to one
			l.is = algebra.Unknown
		}
	} else {
		l.is, l.at = c.w.Identical(back, head.Args[0], false)
	}
	v := verdict(l.is)
	why := map[Verdict]string{True: "inverse", False: "notinverse", Unknown: "open"}[v]
	f := c.report(it.Start, it.End, Function, it.Node, v, say(c.lang, why, head.Name))
	if v == False {
		f.Residual = c.residual(l)
	}
}

func (c *checker) linear(d definition) bool {
	k, ok := c.w.Linear(d.body, []string{d.param})
	return ok && k[0].Sign() != 0
}

// integral judges ∫ f dx = F + C by deriving, and definite integrals by the rule of Barrow.
func (c *checker) integral(it formula.Item, n *formula.Node) bool {
	m := n.Args[0]
	if m.Op != formula.Integral || n.Rels[0] != "=" && n.Rels[0] != "≈" {
		return true
	}
	if len(m.Args) == 3 {
		return c.definite(it, n)
	}
	var links []link
	for i, rel := range n.Rels {
		l := link{a: n.Args[i], b: n.Args[i+1], rel: rel}
		l.is, l.at, l.why = c.antiderivative(m, n.Args[i+1])
		links = append(links, l)
	}
	c.primitive(it, n, m, links)
	return true
}

func (c *checker) antiderivative(m, f *formula.Node) (algebra.Truth, algebra.Point, string) {
	if f.Has(formula.Integral) {
		return algebra.Unknown, nil, ""
	}
	d, ok := equation.Derive(f, m.Name)
	if !ok || !subset(d.Vars(), m.Args[0].Vars()) || !ofConstants(f, m) {
		return algebra.Unknown, nil, ""
	}
	is, at := c.w.Identical(d, m.Args[0], false)
	if is != algebra.Yes {
		if loose, _ := c.w.Identical(d, m.Args[0], true); loose == algebra.Yes { // ln x for ln |x|
			return algebra.Unknown, nil, say(c.lang, "halfline")
		}
	}
	if is == algebra.Yes && !constantOf(f, m) {
		return algebra.Unknown, nil, say(c.lang, "noconstant")
	}
	return is, at, ""
}

// ofConstants reports whether all variables of f are those of the integral or
// constants of integration: sen u + C is still in another variable.
func ofConstants(f, m *formula.Node) bool {
	for _, v := range f.Vars() {
		if !strings.ContainsAny(v[:1], "CcKk") && v != m.Name && !subset([]string{v}, m.Args[0].Vars()) {
			return false
		}
	}
	return true
}

// constantOf reports whether f has a constant of integration.
func constantOf(f, m *formula.Node) bool {
	for _, v := range f.Vars() {
		if (v == "C" || v == "c" || v == "K" || v == "k") && v != m.Name {
			return true
		}
	}
	return false
}

func (c *checker) primitive(it formula.Item, n, m *formula.Node, links []link) {
	v, why := True, say(c.lang, "primitive")
	for _, l := range links {
		switch {
		case l.is == algebra.No:
			d, _ := equation.Derive(l.b, m.Name)
			f := c.report(it.Start, n.End, Integral, n, False, say(c.lang, "notprimitive", c.show(l.b), c.value(d), c.show(m.Args[0])))
			if it.Doubt {
				f.Verdict, f.Reason = Unknown, say(c.lang, "doubt")
			}
			return
		case l.is == algebra.Unknown:
			v, why = Unknown, l.why
			if why == "" {
				why = say(c.lang, "open")
			}
		}
	}
	c.report(it.Start, n.End, Integral, n, v, why)
}

func (c *checker) definite(it formula.Item, n *formula.Node) bool {
	m := n.Args[0]
	value, ok := equation.Integrate(c.w, m.Args[0], m.Name, m.Args[1], m.Args[2])
	var links []link
	for i, rel := range n.Rels {
		l := link{a: n.Args[i], b: n.Args[i+1], rel: rel}
		a := l.a
		if i == 0 {
			a = value
		}
		if i == 0 && !ok || len(l.b.Vars()) > 0 || l.b.Has(formula.Integral, formula.List, formula.Interval, formula.Tuple) || i > 0 && len(a.Vars()) > 0 {
			l.is = algebra.Unknown
		} else {
			c.ground(&l, stripped(a), stripped(l.b))
			l.a = a
		}
		links = append(links, l)
	}
	s := sentence{}
	c.chain(&s, it, n, Integral, links)
	return true
}

// limit judges lím … = ….
func (c *checker) limit(it formula.Item, n *formula.Node) bool {
	m := n.Args[0]
	if m.Op != formula.Limit || n.Rels[0] != "=" {
		return true
	}
	v, why := c.limitIs(m.Args[0], m.Name, m.Args[1], m.Order, n.Args[len(n.Args)-1])
	f := c.report(it.Start, n.End, Limit, n, v, why)
	if it.Doubt && v != True {
		f.Verdict, f.Reason = Unknown, say(c.lang, "doubt")
	}
	return true
}

// limitIs judges one limit.
func (c *checker) limitIs(body *formula.Node, x string, point *formula.Node, side int, claimed *formula.Node) (Verdict, string) {
	l, ok := equation.LimitOf(c.w, body, x, point, side)
	if !ok || len(claimed.Vars()) > 0 || claimed.Has(formula.Limit) {
		return Unknown, say(c.lang, "open")
	}
	if l.Missing {
		return False, say(c.lang, "nolimit")
	}
	if l.Infinite != 0 {
		right := map[int]string{1: "+∞", -1: "−∞"}[l.Infinite]
		if infinite(claimed) && (claimed.Op == formula.Neg) == (l.Infinite < 0) {
			return True, say(c.lang, "holds")
		}
		return False, say(c.lang, "limit", right)
	}
	if infinite(claimed) {
		return False, say(c.lang, "limit", c.value(l.Value))
	}
	if decimal(claimed) != nil {
		near, _ := c.approximate(l.Value, claimed)
		if near == algebra.Yes && c.w.Equal(l.Value, claimed) != algebra.Yes {
			return Unknown, say(c.lang, "rounded")
		}
	}
	switch c.w.Equal(l.Value, claimed) {
	case algebra.Yes:
		return True, say(c.lang, "holds")
	case algebra.No:
		return False, say(c.lang, "limit", c.value(l.Value))
	}
	return Unknown, say(c.lang, "open")
}

// differential judges d/dx f = g.
func (c *checker) differential(it formula.Item, n *formula.Node) bool {
	var links []link
	for i, rel := range n.Rels {
		l := link{a: n.Args[i], b: n.Args[i+1], rel: rel}
		a, okA := undiff(l.a)
		b, okB := undiff(l.b)
		if okA && okB && rel == "=" && subset(b.Vars(), a.Vars()) {
			l.is, l.at = c.w.Identical(a, b, false)
			l.a = a
		}
		links = append(links, l)
	}
	c.chain(&sentence{}, it, n, Derivative, links)
	return true
}

// undiff carries derivatives out.
func undiff(n *formula.Node) (*formula.Node, bool) {
	if n.Op == formula.Diff {
		return equation.Derive(n.Args[0], n.Name)
	}
	return n, !n.Has(formula.Diff)
}

// derivativeIs judges that g is the derivative of f.
func (c *checker) derivativeIs(f, g *formula.Node, order int) (algebra.Truth, algebra.Point, *formula.Node) {
	names := f.Vars()
	if len(names) != 1 || !subset(g.Vars(), names) || f.Has(formula.Apply) || g.Has(formula.Apply) {
		return algebra.Unknown, nil, nil
	}
	d := f
	for range order {
		var ok bool
		if d, ok = equation.Derive(d, names[0]); !ok {
			return algebra.Unknown, nil, nil
		}
	}
	is, at := c.w.Identical(d, g, false)
	if is == algebra.Unknown && is != algebra.No {
		if pos, _ := c.w.Identical(d, g, true); pos == algebra.Yes { // 1/x for ln x
			is = algebra.Yes
		}
	}
	return is, at, d
}
