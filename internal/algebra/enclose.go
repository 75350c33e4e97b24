package algebra

import (
	"math"
	"math/big"

	"afina/internal/formula"
)

// enclose is a range that holds the value of n, which has no variables. It is
// not ok where n may be undefined or has no real value this package knows.
func enclose(n *formula.Node) (Range, bool) { return Box(nil).Eval(n) }

// A Box holds a range for every variable.
type Box map[string]Range

// Eval is a range of the values of n over the box; see enclose.
func (b Box) Eval(n *formula.Node) (Range, bool) {
	switch n.Op {
	case formula.Num:
		if n.Dots {
			return truncated(n), true
		}
		return around(n.Rat), true
	case formula.Sym:
		v, ok := b[n.Name]
		return v, ok
	case formula.Con:
		switch n.Name {
		case "pi":
			return Range{math.Pi, up(math.Pi)}, true
		case "e":
			return Range{down(math.E), up(math.E)}, true
		}
		return everything, false
	case formula.Percent, formula.Degree, formula.Neg:
		return b.scaled(n)
	case formula.Add, formula.Mul, formula.Div:
		return b.arithmetic(n)
	case formula.Pow:
		return b.power(n)
	case formula.Root:
		k, ok := integral(n.Args[1], 60)
		a, okA := b.Eval(n.Args[0])
		if !ok || !okA || k < 2 {
			return everything, false
		}
		return a.root(int(k))
	case formula.Call:
		return b.call(n)
	}
	return everything, false
}

// around are the floats about r.
func around(r *big.Rat) Range {
	f, exact := r.Float64()
	if exact {
		return Range{f, f}
	}
	return Range{down(f), up(f)}
}

// truncated is what a decimal followed by … can be: cut after its digits.
func truncated(n *formula.Node) Range {
	a := around(n.Rat)
	step := math.Pow(10, -float64(max(n.Digits, 0)))
	if n.Rat.Sign() < 0 {
		return Range{down(a.Lo - step*1.0000001), a.Hi}
	}
	return Range{a.Lo, up(a.Hi + step*1.0000001)}
}

// integral is the small integer a numeral is.
func integral(n *formula.Node, most int64) (int64, bool) {
	if n.Op == formula.Neg {
		k, ok := integral(n.Args[0], most)
		return -k, ok
	}
	if n.Op != formula.Num || n.Dots {
		return 0, false
	}
	return small(n.Rat, most)
}

func (b Box) scaled(n *formula.Node) (Range, bool) {
	a, ok := b.Eval(n.Args[0])
	switch n.Op {
	case formula.Neg:
		return a.neg(), ok
	case formula.Percent:
		return a.mul(Range{down(0.01), up(0.01)}), ok
	}
	return a.mul(Range{down(math.Pi / 180), up(math.Pi / 180)}), ok
}

func (b Box) arithmetic(n *formula.Node) (Range, bool) {
	out, ok := b.Eval(n.Args[0])
	for _, arg := range n.Args[1:] {
		a, okA := b.Eval(arg)
		if !ok || !okA {
			return everything, false
		}
		switch n.Op {
		case formula.Add:
			out = out.add(a)
		case formula.Mul:
			out = out.mul(a)
		case formula.Div:
			if a, ok = a.inverse(); !ok {
				return everything, false
			}
			out = out.mul(a)
		}
	}
	return out, ok
}

func (b Box) power(n *formula.Node) (Range, bool) {
	base, ok := b.Eval(n.Args[0])
	if !ok {
		return everything, false
	}
	if k, ok := integral(n.Args[1], 4096); ok {
		if k >= 0 {
			return base.power(int(k)), k > 0 || base.sign() != 0
		}
		return base.power(int(-k)).inverse()
	}
	e, ok := b.Eval(n.Args[1])
	if !ok {
		return everything, false
	}
	l, ok := base.log()
	if !ok {
		return everything, false
	}
	if isE(n.Args[0]) {
		return e.exp(), true
	}
	return e.mul(l).exp(), true
}

func (b Box) call(n *formula.Node) (Range, bool) {
	args := make([]Range, len(n.Args))
	for i, arg := range n.Args {
		a, ok := b.Eval(arg)
		if !ok {
			return everything, false
		}
		args[i] = a
	}
	if len(args) == 1 {
		return elementary(n, args[0])
	}
	if n.Name == "log" && len(args) == 2 {
		x, ok := args[1].log()
		base, okB := args[0].log()
		if !ok || !okB {
			return everything, false
		}
		inverse, ok := base.inverse()
		return x.mul(inverse), ok
	}
	return exactCount(n)
}

func elementary(n *formula.Node, a Range) (Range, bool) {
	switch n.Name {
	case "abs":
		return a.abs(), true
	case "ln":
		return a.log()
	case "sin":
		return a.sin(), true
	case "cos":
		return a.cos(), true
	case "tan", "sec":
		inverse, ok := a.cos().inverse()
		if n.Name == "tan" {
			inverse = inverse.mul(a.sin())
		}
		return inverse, ok
	case "cot", "csc":
		inverse, ok := a.sin().inverse()
		if n.Name == "cot" {
			inverse = inverse.mul(a.cos())
		}
		return inverse, ok
	case "atan":
		return a.monotone(math.Atan), true
	case "asin", "acos":
		if a.Lo < -1 || a.Hi > 1 {
			return everything, false
		}
		s := a.monotone(math.Asin)
		if n.Name == "acos" {
			return s.neg().add(Range{math.Pi / 2, up(math.Pi / 2)}), true
		}
		return s, true
	case "sinh":
		return a.monotone(math.Sinh), true
	case "tanh":
		return a.monotone(math.Tanh), true
	case "cosh":
		up := a.abs()
		return up.monotone(math.Cosh), true
	}
	return exactCount(n)
}

// exactCount encloses factorials and the like by reckoning them out.
func exactCount(n *formula.Node) (Range, bool) {
	r, a, err := NewWork(2000, nil).norm(n)
	if err != nil || r == nil {
		return everything, false
	}
	c, ok := a.constant()
	if !ok {
		return everything, false
	}
	return around(c), true
}
