package mathcheck

import (
	"regexp"
	"strings"

	"afina/internal/algebra"
	"afina/internal/equation"
	"afina/internal/formula"
)

// A link is two neighbours of a chain and what is known of them.
type link struct {
	a, b *formula.Node
	rel  string
	is   algebra.Truth
	why  string // a reason of its own, where it has one
	at   algebra.Point
	idle bool // there is nothing to judge: a definition, an equation
}

var (
	joinsLeft  = regexp.MustCompile(`\b(por|entre|times|menos|minus|más|plus|doble|triple|mitad|raíz|cuadrad[oa]|cubo|módulo|mod|base|twice|half|over|root|squared?|cubed?|log|logaritmo|restad[oa]|sumad[oa]|dividid[oa])( de| del| of| by)?$`)
	joinsRight = regexp.MustCompile(`^(más|menos|por|entre|veces|plus|minus|times|over|mod|módulo|dividido|divided|multiplicado|multiplied|elevado)( por| entre| by| a)? ?(⟦|la |el |the )|^(millones|mil|million|thousand|billion|docenas|dozen)`)
	weakLeft   = regexp.MustCompile(`\b(de|del|of|al|a|to)$`)
	rewrites   = regexp.MustCompile(`desarroll|expan[ds]|factori|simplif|identi|opera\b|multiplica|saca factor|reduce|efectúa|factor\b|racionaliz|rationali|calcula\b|compute`)
	reduces    = regexp.MustCompile(`simplif|reduce|identi`)
	everywhere = regexp.MustCompile(`identidad|identit|para tod[oa]|para cualquier|for all|for every|for any|(cumple|ciert[oa]|verdad|vale|holds|true|equal) (siempre|always)|siempre (se cumple|es cierto|es verdad|vale)|always (holds|true|equal)|cuadrado de (una|la) (suma|resta|diferencia)`)
)

// relation judges item k of s, which is a chain.
func (c *checker) relation(s *sentence, k int) {
	it := c.items[k]
	n := c.trimmed(s, k)
	if n == nil || s.asks {
		return
	}
	if kind, done := c.special(s, it, n); done || kind != "" {
		return
	}
	var links []link
	kind := Equality
	for i, rel := range n.Rels {
		l := c.link(s, n, i)
		if rel != "=" && rel != "≈" && rel != "≡" {
			kind = Comparison
			if rel == "∈" || rel == "∉" || rel == "⊂" {
				kind = Membership
			}
		}
		links = append(links, l)
	}
	c.chain(s, it, n, kind, links)
}

// trimmed is the chain of item k without the members that prose cuts off, or nil.
func (c *checker) trimmed(s *sentence, k int) *formula.Node {
	it := c.items[k]
	n := *it.Node
	before := s.before(k)
	if it.Left == formula.Cut || joinsLeft.MatchString(before) || c.alsoMeasured(n.Args[0], before) {
		n.Args, n.Rels = n.Args[1:], n.Rels[1:]
	}
	if len(n.Rels) > 0 && (it.Right == formula.Cut || joinsRight.MatchString(s.after(k))) {
		n.Args, n.Rels = n.Args[:len(n.Args)-1], n.Rels[:len(n.Rels)-1]
	}
	if len(n.Rels) == 0 {
		return nil
	}
	n.Start, n.End = n.Args[0].Start, n.Args[len(n.Args)-1].End
	return &n
}

var andBefore = regexp.MustCompile(item + ` (?:y|and|con|with)$`)

// alsoMeasured reports whether the member is only the end of 2 horas y 30 minutos.
func (c *checker) alsoMeasured(n *formula.Node, before string) bool {
	m := andBefore.FindString(before)
	if m == "" || !n.Has(formula.Unit) {
		return false
	}
	ks := marks(m)
	return len(ks) == 1 && c.items[ks[0]].Op == formula.Unit
}

// link judges two neighbours of the chain n.
func (c *checker) link(s *sentence, n *formula.Node, i int) link {
	l := link{a: n.Args[i], b: n.Args[i+1], rel: n.Rels[i], is: algebra.Unknown}
	a, b, doubt, ok := measures(l.a, l.b)
	if !ok {
		return l
	}
	switch l.rel {
	case "∈", "∉", "⊂":
		l.is = c.member(a, l.rel, b)
		return l
	}
	if a.Has(formula.PM) || b.Has(formula.PM) {
		if l.idle = l.rel != "="; !l.idle {
			l.is, l.idle = c.both(a, b)
		}
		return l
	}
	if a.Op == formula.Tuple || a.Op == formula.Matrix || a.Op == formula.Set || hasVector(a) {
		l.is = c.vectors(a, b)
		l.idle = l.is == algebra.Unknown
		return l
	}
	if len(a.Vars()) == 0 && len(b.Vars()) == 0 {
		c.ground(&l, a, b)
	} else {
		c.identity(s, n, i, &l, a, b)
	}
	if doubt && l.is == algebra.No {
		l.is = algebra.Unknown
	}
	return l
}

// ground judges a link without variables.
func (c *checker) ground(l *link, a, b *formula.Node) {
	for _, m := range []*formula.Node{a, b} {
		if c.w.Defined(m) == algebra.No {
			l.is, l.why = algebra.No, say(c.lang, "undefined", c.show(m))
			if infinite(a) || infinite(b) {
				l.is = algebra.Unknown
			}
			return
		}
	}
	if l.rel == "≈" || dotted(a) || dotted(b) {
		l.is, l.why = c.approximate(a, b)
		return
	}
	if l.rel == "≡" {
		return
	}
	l.is = c.w.Holds(a, l.rel, b)
	if l.is == algebra.No && l.rel == "=" {
		c.soften(l, a, b)
	}
}

// soften takes back a No that another way of speaking makes right: a rounded
// value after =, 25 % written for 25, degrees left off.
func infinite(n *formula.Node) bool { return n.Has(formula.Con) && strings.Contains(n.String(), "∞") }

// identity judges a link with variables. Only where the text says that it is
// meant for all values can it be false; otherwise it may be an equation.
func (c *checker) identity(s *sentence, n *formula.Node, i int, l *link, a, b *formula.Node) {
	l.idle = true
	if l.rel != "=" && l.rel != "≡" {
		return
	}
	positive := strings.Contains(s.text, "positiv") || strings.Contains(c.ask.text, "positiv")
	is, at := c.w.Identical(a, b, positive)
	switch {
	case is == algebra.Yes && !formula.Same(a, b):
		l.is, l.idle = algebra.Yes, false
	case a.Op == formula.Sym || b.Op == formula.Sym && i == 0 && len(n.Rels) == 1, a.Op == formula.Apply:
	case !c.universal(s, n, a, b):
	default:
		l.idle = false
		if is == algebra.No {
			l.is, l.at = algebra.No, at
		}
	}
}

// universal reports whether a = b is meant for all values of its variables.
// An equation in the run of a text is not: it is a step, or one to be solved.
// It is meant so where the question asks to rewrite an expression and the chain
// has that expression, or where the text says that it holds always.
func (c *checker) universal(s *sentence, n *formula.Node, a, b *formula.Node) bool {
	if len(a.Vars()) == 0 || zeroNode(b) || s.supposes || c.ask.solve || c.ask.given || conditioned(s.text) || conditioned(c.ask.text) {
		return false
	}
	if a.Op == formula.Sum || a.Op == formula.Prod || a.Op == formula.Diff || a.Op == formula.Integral {
		return true
	}
	within := subset(b.Vars(), a.Vars()) || subset(a.Vars(), b.Vars())
	switch {
	case everywhere.MatchString(s.text) && s.relations(c.items) == 1:
		return within
	case len(b.Vars()) == 0 && !reduces.MatchString(c.ask.text):
		return false
	case rewrites.MatchString(c.ask.text) && len(c.ask.items) == 0:
		return within
	case rewrites.MatchString(c.ask.text):
		return c.ask.subject != nil && rewritten(n, c.ask.subject) && subset(a.Vars(), c.ask.subject.Vars()) && subset(b.Vars(), c.ask.subject.Vars())
	}
	return a.Has(formula.Sum, formula.Prod) && subset(b.Vars(), a.Vars())
}

// relations counts the relations of s that have variables.
func (s *sentence) relations(items []formula.Item) int {
	n := 0
	for k := s.first; k < s.last; k++ {
		if items[k].Op == formula.Rel && len(items[k].Vars()) > 0 {
			n++
		}
	}
	return n
}

// rewritten reports whether a member of the chain is the expression.
func rewritten(chain, e *formula.Node) bool {
	for _, m := range chain.Args {
		if formula.Same(m, e) {
			return true
		}
	}
	return false
}

func subset(a, b []string) bool {
	for _, x := range a {
		found := false
		for _, y := range b {
			found = found || x == y
		}
		if !found {
			return false
		}
	}
	return true
}

var conditions = regexp.MustCompile(`ecuaci|equation|resuel|resolv|solv|despej|proporci|proportion|soluci|solution|incógnit|unknown|sistema|triángulo|triangle|edad|\bsi\b|\bif\b|cuando|when|siempre que|satisf`)

func conditioned(s string) bool { return conditions.MatchString(s) }

// both judges x = a ± b and the like, whose two values must agree in order.
func (c *checker) both(a, b *formula.Node) (is algebra.Truth, idle bool) {
	if len(a.Vars()) > 0 || len(b.Vars()) > 0 {
		return algebra.Unknown, true
	}
	x, y := branches(a), branches(b)
	if len(x) > 2 || len(y) > 2 {
		return algebra.Unknown, true
	}
	if len(x) != len(y) { // √16 = ±4
		return algebra.Unknown, true
	}
	straight := c.w.Equal(x[0], y[0]).And(c.w.Equal(x[1], y[1]))
	crossed := c.w.Equal(x[0], y[1]).And(c.w.Equal(x[1], y[0]))
	return straight.Or(crossed), false
}

// branches are the values of an expression with ±: all + first, then all −.
func branches(n *formula.Node) []*formula.Node {
	if !n.Has(formula.PM) {
		return []*formula.Node{n}
	}
	return []*formula.Node{branch(n, false), branch(n, true)}
}

func branch(n *formula.Node, lower bool) *formula.Node {
	m := *n
	m.Args = make([]*formula.Node, len(n.Args))
	for i, a := range n.Args {
		m.Args[i] = branch(a, lower)
	}
	if n.Op != formula.PM {
		return &m
	}
	right := m.Args[1]
	if lower != (n.Name == "-") {
		right = formula.New(formula.Neg, right)
	}
	if z := m.Args[0]; z.Op == formula.Num && z.Rat.Sign() == 0 {
		return right
	}
	return formula.New(formula.Add, m.Args[0], right)
}

func (c *checker) special(s *sentence, it formula.Item, n *formula.Node) (string, bool) {
	switch {
	case n.Has(formula.Apply):
		return Function, c.functional(s, it, n)
	case n.Has(formula.Integral):
		return Integral, c.integral(it, n)
	case n.Has(formula.Limit):
		return Limit, c.limit(it, n)
	case n.Has(formula.Diff):
		return Derivative, c.differential(it, n)
	}
	return "", false
}

func (c *checker) member(a *formula.Node, rel string, b *formula.Node) algebra.Truth {
	is := algebra.Unknown
	switch {
	case rel == "⊂" && a.Op == formula.NumSet && b.Op == formula.NumSet:
		order := "NZQRC"
		is = yes(strings.Index(order, a.Name) <= strings.Index(order, b.Name))
		return is
	case len(a.Vars()) > 0 || rel == "⊂":
		return is
	case b.Op == formula.NumSet:
		is = c.belongs(a, b.Name)
	default:
		if r, ok := equation.Members(c.w, b); ok && c.w.Defined(a) == algebra.Yes {
			is = r.Has(a)
		}
	}
	if rel == "∉" {
		return is.Not()
	}
	return is
}

func yes(b bool) algebra.Truth {
	if b {
		return algebra.Yes
	}
	return algebra.No
}

// belongs says whether a number is natural, whole, rational, real or complex.
func (c *checker) belongs(a *formula.Node, set string) algebra.Truth {
	if c.w.Defined(a) != algebra.Yes || dotted(a) {
		return algebra.Unknown
	}
	if set == "R" || set == "C" {
		return algebra.Yes
	}
	v, ok := c.w.Rational(a)
	if !ok {
		return c.w.Irrational(a).Not()
	}
	switch set {
	case "N":
		if v.Sign() == 0 {
			return algebra.Unknown // 0 is natural for some
		}
		return yes(v.IsInt() && v.Sign() > 0)
	case "Z":
		return yes(v.IsInt())
	}
	return algebra.Yes
}
