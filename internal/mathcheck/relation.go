package mathcheck

import (
	"math/big"
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
	identities = regexp.MustCompile(`desarroll|expan[ds]|factori|simplif|identi|cuadrado de (una|la)|opera\b|multiplic|para tod[oa]|for all|for every|siempre|always|saca factor|reduce|efectúa|factor\b|product|racionaliz|rationali|formula|fórmula|propiedad|property|distribut`)
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
		l.is, l.idle = c.both(a, b)
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
func (c *checker) soften(l *link, a, b *formula.Node) {
	if c.endless(a, b) || c.endless(b, a) {
		if near, _ := c.approximate(a, b); near != algebra.No {
			l.is, l.why = algebra.Unknown, say(c.lang, "rounded")
			return
		}
	}
	if c.w.Equal(otherwise(a), otherwise(b)) == algebra.Yes || percentAdded(a) || percentAdded(b) {
		l.is, l.why = algebra.Unknown, say(c.lang, "doubt")
		return
	}
	for _, op := range []formula.Op{formula.Percent, formula.Degree} {
		if a.Has(op) || b.Has(op) {
			if c.w.Equal(bare(a, op), bare(b, op)) == algebra.Yes {
				l.is, l.why = algebra.Unknown, say(c.lang, "unit")
			}
		}
	}
}

// endless reports whether a is a decimal and b has no end within its places,
// so that a can only be b rounded.
func (c *checker) endless(a, b *formula.Node) bool {
	d := decimal(a)
	if d == nil {
		return false
	}
	v, ok := c.w.Rational(b)
	return !ok || !new(big.Rat).Mul(v, pow10(d.Digits)).IsInt()
}

// otherwise is n as some write it: log for the natural logarithm, degrees
// without their sign.
func otherwise(n *formula.Node) *formula.Node {
	m := *n
	m.Args = make([]*formula.Node, len(n.Args))
	for i, a := range n.Args {
		m.Args[i] = otherwise(a)
	}
	if n.Op != formula.Call {
		return &m
	}
	switch {
	case n.Name == "log" && n.Order == 1:
		return formula.Fn("ln", m.Args[1])
	case len(n.Args) == 1 && strings.Contains("sin cos tan sec csc cot", n.Name) && len(n.Args[0].Vars()) == 0 && !n.Args[0].Has(formula.Con, formula.Degree):
		m.Args[0] = formula.New(formula.Degree, m.Args[0])
	}
	return &m
}

// percentAdded reports whether a percentage is added to something that is none: 50 − 20 %.
func percentAdded(n *formula.Node) bool {
	found := false
	n.Walk(func(m *formula.Node) bool {
		if m.Op == formula.Add {
			for _, a := range m.Args[1:] {
				found = found || a.Has(formula.Percent) && !m.Args[0].Has(formula.Percent)
			}
		}
		return !found
	})
	return found
}

// bare is n without the signs op.
func bare(n *formula.Node, op formula.Op) *formula.Node {
	if n.Op == op {
		return bare(n.Args[0], op)
	}
	m := *n
	m.Args = make([]*formula.Node, len(n.Args))
	for i, a := range n.Args {
		m.Args[i] = bare(a, op)
	}
	return &m
}

func infinite(n *formula.Node) bool { return n.Has(formula.Con) && strings.Contains(n.String(), "∞") }

func dotted(n *formula.Node) bool { return n.Op == formula.Num && n.Dots }

// decimal is the numeral n is, but for a sign, or nil.
func decimal(n *formula.Node) *formula.Node {
	if n.Op == formula.Neg {
		n = n.Args[0]
	}
	if n.Op == formula.Num && n.Digits > 0 {
		return n
	}
	return nil
}

// approximate judges a ≈ b to the digits b, or else a, is written with.
func (c *checker) approximate(a, b *formula.Node) (algebra.Truth, string) {
	shown := b
	if decimal(shown) == nil {
		if decimal(a) != nil {
			a, b, shown = b, a, a
		} else if n := numeral(b); n == nil {
			return algebra.Unknown, ""
		}
	}
	n := numeral(shown)
	places := n.Digits
	if places < 0 {
		places = 0
		for k := new(big.Rat).Set(n.Rat); k.Sign() != 0 && new(big.Rat).Quo(k, big.NewRat(10, 1)).IsInt(); k.Quo(k, big.NewRat(10, 1)) {
			places--
		}
	}
	unit := pow10(-places)
	gap := formula.Fn("abs", formula.New(formula.Add, a, formula.New(formula.Neg, undotted(b))))
	half := new(big.Rat).Mul(unit, big.NewRat(1, 2))
	if n.Dots {
		half = unit
	}
	if decimal(a) != nil && decimal(a).Dots {
		return algebra.Unknown, ""
	}
	switch {
	case c.w.Holds(gap, "≤", formula.Rat(half)) == algebra.Yes:
		return algebra.Yes, say(c.lang, "near")
	case c.w.Holds(gap, ">", formula.Rat(unit)) == algebra.Yes:
		return algebra.No, ""
	}
	return algebra.Unknown, say(c.lang, "truncated")
}

func numeral(n *formula.Node) *formula.Node {
	if n.Op == formula.Neg {
		n = n.Args[0]
	}
	if n.Op == formula.Num {
		return n
	}
	return nil
}

func undotted(n *formula.Node) *formula.Node {
	if n.Op == formula.Neg {
		return formula.New(formula.Neg, undotted(n.Args[0]))
	}
	m := *n
	m.Dots = false
	return &m
}

func pow10(k int) *big.Rat {
	p := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(k, -k))), nil))
	if k < 0 {
		p.Inv(p)
	}
	return p
}

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
	case !c.universal(s, n, i, a, b):
	default:
		l.idle = false
		if is == algebra.No {
			l.is, l.at = algebra.No, at
		}
	}
}

// universal reports whether a = b is meant for all values of its variables.
func (c *checker) universal(s *sentence, n *formula.Node, i int, a, b *formula.Node) bool {
	if len(a.Vars()) == 0 || len(b.Vars()) == 0 && !identities.MatchString(s.text) {
		return false
	}
	if s.supposes || c.ask.solve || conditioned(s.text) || conditioned(c.ask.text) {
		return false
	}
	if c.ask.subject != nil && formula.Same(n.Args[0], c.ask.subject) && !c.ask.given {
		return true
	}
	if identities.MatchString(s.text) || identities.MatchString(c.ask.text) {
		return subset(b.Vars(), a.Vars()) || subset(a.Vars(), b.Vars())
	}
	if a.Op == formula.Sum || a.Op == formula.Prod || a.Op == formula.Diff || a.Op == formula.Integral {
		return true
	}
	return a.Has(formula.Sum, formula.Prod) && subset(b.Vars(), a.Vars())
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

var conditions = regexp.MustCompile(`ecuaci|equation|resuel|solve|soluci|solution|incógnit|unknown|sistema|triángulo|triangle|edad|\bsi\b|\bif\b|cuando|when`)

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

// wrong reports a chain with a false link, unless the context leaves a doubt.
func (c *checker) wrong(s *sentence, it formula.Item, part *formula.Node, kind string, l link, start, end int) {
	before := ""
	if start == it.Start {
		before = s.before(indexOf(c.items, it))
	}
	if it.Doubt || natural(part) && len(part.Vars()) > 0 || it.Left == formula.Comma || it.Right == formula.Comma || s.hypothetical || len(part.Vars()) > 0 && s.supposes || weakLeft.MatchString(before) {
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
