package mathcheck

import (
	"math/big"
	"strings"

	"afina/internal/algebra"
	"afina/internal/formula"
)

func (c *checker) soften(l *link, a, b *formula.Node) {
	if c.endless(a, b) || c.endless(b, a) {
		if near, _ := c.approximate(a, b); near != algebra.No {
			l.is, l.why = algebra.Unknown, say(c.lang, "rounded")
			return
		}
	}
	if c.w.Equal(otherwise(a), otherwise(b)) == algebra.Yes || percentAdded(a) || percentAdded(b) || partOf(a, b) || partOf(b, a) {
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

// partOf reports whether a = b may tell the part of something: 10 % = 8 of 80.
func partOf(a, b *formula.Node) bool {
	return a.Op == formula.Percent && b.Op == formula.Num && b.Digits < 0
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
