package formula

import (
	"math/big"
	"strconv"
	"strings"
)

// The strength with which operations bind, for brackets.
const (
	loose = iota
	additive
	negative
	multiplicative
	powers
	tight
)

// String writes n in one plain notation: sqrt(2), x^2, 3·x, 1/2.
func (n *Node) String() string {
	var b strings.Builder
	n.write(&b, loose)
	return b.String()
}

func (n *Node) strength() int {
	switch n.Op {
	case Rel, List:
		return loose
	case Add, PM, Union, Inter, Minus:
		return additive
	case Neg:
		return negative
	case Mul, Div, Unit:
		return multiplicative
	case Pow, Percent, Degree:
		return powers
	case Num:
		if n.Rat.Sign() < 0 {
			return negative
		}
		if !n.Rat.IsInt() && n.Digits < 0 {
			return multiplicative
		}
	}
	return tight
}

func (n *Node) write(b *strings.Builder, outer int) {
	if n == nil {
		b.WriteString("?")
		return
	}
	if n.strength() < outer {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	switch n.Op {
	case Num:
		b.WriteString(number(n))
	case Sym, NumSet:
		b.WriteString(n.Name)
	case Con:
		b.WriteString(map[string]string{"pi": "π", "e": "e", "inf": "∞"}[n.Name])
	case Add:
		n.terms(b)
	case Neg:
		b.WriteString("−")
		n.Args[0].write(b, multiplicative)
	case Mul:
		list(b, n.Args, "·", multiplicative)
	case Div:
		n.Args[0].write(b, multiplicative)
		b.WriteByte('/')
		n.Args[1].write(b, powers)
	case Pow:
		n.Args[0].write(b, tight)
		b.WriteByte('^')
		n.Args[1].write(b, tight)
	default:
		n.writeRest(b)
	}
}

// terms writes a sum with − where a term is negative.
func (n *Node) terms(b *strings.Builder) {
	for i, a := range n.Args {
		switch {
		case i == 0:
			a.write(b, additive)
		case a.Op == Neg:
			b.WriteString(" − ")
			a.Args[0].write(b, multiplicative)
		default:
			b.WriteString(" + ")
			a.write(b, negative+1)
		}
	}
}

func list(b *strings.Builder, args []*Node, by string, inner int) {
	for i, a := range args {
		if i > 0 {
			b.WriteString(by)
		}
		a.write(b, inner)
	}
}

func (n *Node) writeRest(b *strings.Builder) {
	switch n.Op {
	case PM:
		if z := n.Args[0]; z.Op != Num || z.Rat.Sign() != 0 {
			z.write(b, additive)
			b.WriteByte(' ')
		}
		b.WriteString(map[bool]string{true: "∓", false: "±"}[n.Name == "-"])
		n.Args[1].write(b, multiplicative)
	case Percent:
		n.Args[0].write(b, tight)
		b.WriteString(" %")
	case Degree:
		n.Args[0].write(b, tight)
		b.WriteString("°")
	case Unit:
		n.Args[0].write(b, multiplicative)
		b.WriteString(" " + n.Name)
	case Rel:
		for i, a := range n.Args {
			if i > 0 {
				b.WriteString(" " + n.Rels[i-1] + " ")
			}
			a.write(b, additive)
		}
	case List:
		list(b, n.Args, ", ", loose)
	case Union:
		list(b, n.Args, " ∪ ", negative)
	case Inter:
		list(b, n.Args, " ∩ ", negative)
	case Minus:
		list(b, n.Args, " ∖ ", negative)
	default:
		n.writeCall(b)
	}
}

func (n *Node) writeCall(b *strings.Builder) {
	open, closing := "(", ")"
	switch n.Op {
	case Set:
		open, closing = "{", "}"
	case Interval:
		open, closing = ends(n.Open)
	case Matrix:
		open, closing = "[", "]"
	case Root:
		if two := n.Args[1]; two.Op == Num && two.Rat.Cmp(big.NewRat(2, 1)) == 0 {
			b.WriteString("√(")
			n.Args[0].write(b, loose)
			b.WriteByte(')')
			return
		}
		b.WriteString("root")
	case Apply:
		b.WriteString(n.Name + map[bool]string{true: "⁻¹"}[n.Order < 0] + strings.Repeat("'", max(n.Order, 0)))
	case Call:
		b.WriteString(n.Name)
	case Sum, Prod, Limit, Integral, Diff:
		b.WriteString(map[Op]string{Sum: "Σ", Prod: "Π", Limit: "lim", Integral: "∫", Diff: "D"}[n.Op] + "_" + n.Name)
	}
	b.WriteString(open)
	list(b, n.Args, ", ", loose)
	b.WriteString(closing)
}

func ends(open [2]bool) (string, string) {
	l, r := "[", "]"
	if open[0] {
		l = "("
	}
	if open[1] {
		r = ")"
	}
	return l, r
}

// number writes a numeral as it was meant: decimals stay decimals.
func number(n *Node) string {
	s := ""
	switch {
	case n.Digits > 0:
		s = n.Rat.FloatString(n.Digits)
	case n.Rat.IsInt():
		s = n.Rat.Num().String()
	default:
		s = n.Rat.String()
	}
	if len(s) > 60 {
		s = s[:20] + "…(" + strconv.Itoa(len(s)) + ")…" + s[len(s)-20:]
	}
	if n.Dots {
		s += "…"
	}
	return strings.Replace(s, "-", "−", 1)
}
