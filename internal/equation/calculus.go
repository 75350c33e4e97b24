package equation

import (
	"math/big"

	"afina/internal/algebra"
	"afina/internal/formula"
)

var (
	zero = formula.Int(0)
	one  = formula.Int(1)
)

func num(n int64) *formula.Node { return formula.Int(n) }

func plus(a, b *formula.Node) *formula.Node {
	switch {
	case a == zero:
		return b
	case b == zero:
		return a
	}
	return formula.New(formula.Add, a, b)
}

func times(a, b *formula.Node) *formula.Node {
	switch {
	case a == zero || b == zero:
		return zero
	case a == one:
		return b
	case b == one:
		return a
	}
	return formula.New(formula.Mul, a, b)
}

func over(a, b *formula.Node) *formula.Node {
	if a == zero {
		return zero
	}
	return formula.New(formula.Div, a, b)
}

func pow(a *formula.Node, n int64) *formula.Node { return formula.New(formula.Pow, a, num(n)) }

func neg(a *formula.Node) *formula.Node {
	if a == zero {
		return zero
	}
	return formula.New(formula.Neg, a)
}

// Derive is the derivative of n by x. It is not ok for what has none that this package knows.
func Derive(n *formula.Node, x string) (d *formula.Node, ok bool) {
	if !contains(n, x) {
		return zero, true
	}
	switch n.Op {
	case formula.Sym:
		return one, true
	case formula.Add, formula.Neg, formula.Percent, formula.Degree:
		return deriveSum(n, x)
	case formula.Mul:
		return deriveProduct(n, x)
	case formula.Div:
		a, b := n.Args[0], n.Args[1]
		da, okA := Derive(a, x)
		db, okB := Derive(b, x)
		if db == zero {
			return over(da, b), okA && okB
		}
		return over(plus(times(da, b), neg(times(a, db))), pow(b, 2)), okA && okB
	case formula.Pow:
		return derivePower(n.Args[0], n.Args[1], x)
	case formula.Root:
		d, ok := Derive(n.Args[0], x)
		if contains(n.Args[1], x) {
			return nil, false
		}
		k := n.Args[1]
		rest := formula.New(formula.Pow, n, plus(k, num(-1)))
		return over(d, formula.New(formula.Mul, k, rest)), ok
	case formula.Call:
		return deriveCall(n, x)
	}
	return nil, false
}

func contains(n *formula.Node, x string) bool {
	for _, v := range n.Vars() {
		if v == x {
			return true
		}
	}
	return false
}

func deriveSum(n *formula.Node, x string) (*formula.Node, bool) {
	m := *n
	m.Args = make([]*formula.Node, len(n.Args))
	for i, a := range n.Args {
		d, ok := Derive(a, x)
		if !ok {
			return nil, false
		}
		m.Args[i] = d
	}
	return &m, true
}

func deriveProduct(n *formula.Node, x string) (*formula.Node, bool) {
	sum := zero
	for i := range n.Args {
		d, ok := Derive(n.Args[i], x)
		if !ok {
			return nil, false
		}
		part := d
		for j, a := range n.Args {
			if j != i {
				part = times(part, a)
			}
		}
		sum = plus(sum, part)
	}
	return sum, true
}

func derivePower(b, e *formula.Node, x string) (*formula.Node, bool) {
	whole := formula.New(formula.Pow, b, e)
	db, okB := Derive(b, x)
	de, okE := Derive(e, x)
	if !okB || !okE {
		return nil, false
	}
	if de == zero { // e·b^(e−1)·b'
		return times(times(e, formula.New(formula.Pow, b, plus(e, num(-1)))), db), true
	}
	log := formula.Fn("ln", b)
	if b.Op == formula.Con && b.Name == "e" {
		log = one
	}
	return times(whole, plus(times(de, log), times(e, over(db, b)))), true
}

func deriveCall(n *formula.Node, x string) (*formula.Node, bool) {
	u := n.Args[len(n.Args)-1]
	du, ok := Derive(u, x)
	if !ok {
		return nil, false
	}
	if n.Name == "log" && len(n.Args) == 2 && !contains(n.Args[0], x) {
		return over(du, times(u, formula.Fn("ln", n.Args[0]))), true
	}
	if len(n.Args) != 1 {
		return nil, false
	}
	var outer *formula.Node
	switch n.Name {
	case "sin":
		outer = formula.Fn("cos", u)
	case "cos":
		outer = neg(formula.Fn("sin", u))
	case "tan":
		outer = over(one, pow(formula.Fn("cos", u), 2))
	case "cot":
		outer = neg(over(one, pow(formula.Fn("sin", u), 2)))
	case "sec":
		outer = times(n, formula.Fn("tan", u))
	case "csc":
		outer = neg(times(n, formula.Fn("cot", u)))
	case "ln":
		return over(du, u), true
	case "abs":
		return times(du, over(u, n)), true
	case "asin":
		outer = over(one, formula.New(formula.Root, plus(one, neg(pow(u, 2))), num(2)))
	case "acos":
		outer = neg(over(one, formula.New(formula.Root, plus(one, neg(pow(u, 2))), num(2))))
	case "atan":
		outer = over(one, plus(one, pow(u, 2)))
	default:
		return nil, false
	}
	return times(outer, du), true
}

// A Limit is a number, or Infinite with its sign, or none where Missing.
type Limit struct {
	Value    *formula.Node
	Infinite int
	Missing  bool
}

// LimitOf is the limit of n as x goes to the point, from the side (−1, 0 for both, 1).
func LimitOf(w *algebra.Work, n *formula.Node, x string, point *formula.Node, side int) (Limit, bool) {
	if !only(n, x) {
		if len(n.Vars()) == 0 {
			return Limit{Value: n}, w.Defined(n) == algebra.Yes
		}
		return Limit{}, false
	}
	if infinite(point) {
		return farLimit(w, n, x, point.Op == formula.Neg)
	}
	if len(point.Vars()) > 0 || n.Has(formula.Sum, formula.Prod) {
		return Limit{}, false
	}
	for range 6 {
		at := n.Replace(x, point)
		if w.Defined(at) == algebra.Yes && !n.Has(formula.PM) && !steps(n) {
			return Limit{Value: at}, true
		}
		a, b := fraction(n)
		za, okA := w.Sign(a.Replace(x, point))
		zb, okB := w.Sign(b.Replace(x, point))
		switch {
		case !okA || !okB || zb != 0:
			return Limit{}, false
		case za != 0:
			return pole(w, b, x, point, side, za)
		}
		da, okA := Derive(a, x)
		db, okB := Derive(b, x)
		if !okA || !okB {
			return Limit{}, false
		}
		n = over(da, db)
	}
	return Limit{}, false
}

// steps reports whether n has a function that is not continuous.
func steps(n *formula.Node) bool {
	found := false
	n.Walk(func(m *formula.Node) bool {
		found = found || m.Op == formula.Call && (m.Name == "floor" || m.Name == "ceil" || m.Name == "fact")
		return !found
	})
	return found
}

// fraction writes n as one quotient.
func fraction(n *formula.Node) (a, b *formula.Node) {
	switch n.Op {
	case formula.Div:
		a1, b1 := fraction(n.Args[0])
		a2, b2 := fraction(n.Args[1])
		return times(a1, b2), times(b1, a2)
	case formula.Neg:
		a, b = fraction(n.Args[0])
		return neg(a), b
	case formula.Mul:
		a, b = one, one
		for _, arg := range n.Args {
			x, y := fraction(arg)
			a, b = times(a, x), times(b, y)
		}
		return a, b
	case formula.Add:
		a, b = zero, one
		for _, arg := range n.Args {
			x, y := fraction(arg)
			if y == one {
				a = plus(a, times(x, b))
				continue
			}
			a, b = plus(times(a, y), times(x, b)), times(b, y)
		}
		return a, b
	}
	return n, one
}

// pole is the limit of a/b where b goes to zero and a, of that sign, does not.
func pole(w *algebra.Work, b *formula.Node, x string, point *formula.Node, side, sign int) (Limit, bool) {
	d := b
	for order := 1; order <= 4; order++ {
		var ok bool
		if d, ok = Derive(d, x); !ok {
			return Limit{}, false
		}
		s, ok := w.Sign(d.Replace(x, point))
		if !ok {
			return Limit{}, false
		}
		if s == 0 {
			continue
		}
		switch {
		case order%2 == 0:
			return Limit{Infinite: s * sign}, true
		case side == 0:
			return Limit{Missing: true}, true
		}
		return Limit{Infinite: s * sign * side}, true
	}
	return Limit{}, false
}

// farLimit is the limit of a quotient of polynomials at ±∞.
func farLimit(w *algebra.Work, n *formula.Node, x string, negative bool) (Limit, bool) {
	if n.Op == formula.Pow && formula.Same(n, compound(x)) && !negative {
		return Limit{Value: &formula.Node{Op: formula.Con, Name: "e"}}, true
	}
	a, b := fraction(n)
	pa, exactA, okA := w.Zeros(a, x)
	pb, exactB, okB := w.Zeros(b, x)
	if !okA || !okB || !exactA || !exactB || a.Has(formula.Call, formula.Root) || b.Has(formula.Call, formula.Root, formula.Div) || a.Has(formula.Div) {
		return farExp(w, n, x, negative)
	}
	p, q := trim(pa), trim(pb)
	if len(q) == 0 {
		return Limit{}, false
	}
	switch {
	case len(p) < len(q):
		return Limit{Value: zero}, true
	case len(p) == len(q):
		return Limit{Value: signed(new(big.Rat).Quo(p[len(p)-1], q[len(q)-1]))}, true
	}
	s := p[len(p)-1].Sign() * q[len(q)-1].Sign()
	if negative && (len(p)-len(q))%2 == 1 {
		s = -s
	}
	return Limit{Infinite: s}, true
}

// compound is (1 + 1/x)^x.
func compound(x string) *formula.Node {
	return formula.New(formula.Pow, formula.New(formula.Add, num(1), formula.New(formula.Div, num(1), formula.Var(x))), formula.Var(x))
}

// farExp is the limit of e^(ax) and b^(ax) at ±∞.
func farExp(w *algebra.Work, n *formula.Node, x string, negative bool) (Limit, bool) {
	if n.Op != formula.Pow || len(n.Args[0].Vars()) > 0 {
		return Limit{}, false
	}
	s, ok := w.Compare(n.Args[0], one)
	k, linear := w.Linear(n.Args[1], []string{x})
	if !ok || !linear || s == 0 {
		return Limit{}, false
	}
	if z, ok := w.Sign(n.Args[0]); !ok || z <= 0 {
		return Limit{}, false
	}
	if rising := s*k[0].Sign() > 0; rising != negative {
		return Limit{Infinite: 1}, true
	}
	return Limit{Value: zero}, true
}

// Integrate is the integral of n by x from a to b, where n is a sum of terms
// whose primitives are in the table: powers, e^(kx), sines and cosines of kx.
func Integrate(w *algebra.Work, n *formula.Node, x string, a, b *formula.Node) (*formula.Node, bool) {
	f, ok := primitive(w, n, x)
	if !ok {
		return nil, false
	}
	d, ok := Derive(f, x)
	if !ok {
		return nil, false
	}
	if same, _ := w.Identical(d, n, false); same != algebra.Yes {
		return nil, false
	}
	ra, okA := algebra.Box(nil).Eval(a)
	rb, okB := algebra.Box(nil).Eval(b)
	if !okA || !okB {
		return nil, false
	}
	box := algebra.Box{x: {Lo: min(ra.Lo, rb.Lo), Hi: max(ra.Hi, rb.Hi)}}
	if _, ok := box.Eval(f); !ok && f.Has(formula.Call) || !ok && n.Has(formula.Div) {
		return nil, false
	}
	return minus(f.Replace(x, b), f.Replace(x, a)), true
}

// primitive is a function whose derivative may be n; Integrate tries it.
func primitive(w *algebra.Work, n *formula.Node, x string) (*formula.Node, bool) {
	switch n.Op {
	case formula.Add:
		sum := zero
		for _, t := range n.Args {
			f, ok := primitive(w, t, x)
			if !ok {
				return nil, false
			}
			sum = plus(sum, f)
		}
		return sum, true
	case formula.Neg:
		f, ok := primitive(w, n.Args[0], x)
		return neg(f), ok
	}
	if p, exact, ok := w.Zeros(n, x); ok && exact && !n.Has(formula.Div) || !contains(n, x) {
		if !contains(n, x) {
			return times(n, formula.Var(x)), true
		}
		sum := zero
		for k, c := range p {
			term := over(pow(formula.Var(x), int64(k+1)), num(int64(k+1)))
			if c.Sign() != 0 {
				sum = plus(sum, times(signed(c), term))
			}
		}
		return sum, true
	}
	return tabled(w, n, x)
}

func tabled(w *algebra.Work, n *formula.Node, x string) (*formula.Node, bool) {
	switch n.Op {
	case formula.Mul, formula.Div:
		rest, inner := one, (*formula.Node)(nil)
		for i, a := range n.Args {
			if n.Op == formula.Div && i == 1 {
				a = over(one, a)
			}
			if contains(a, x) {
				if inner != nil {
					return nil, false
				}
				inner = a
				continue
			}
			rest = times(rest, a)
		}
		if n.Op == formula.Div && rest == one {
			if formula.Same(n.Args[1], formula.Var(x)) {
				return formula.Fn("ln", formula.Fn("abs", formula.Var(x))), true
			}
			return nil, false
		}
		f, ok := primitive(w, inner, x)
		return times(rest, f), ok
	case formula.Call:
		k, ok := w.Linear(n.Args[0], []string{x})
		if !ok || k[0].Sign() == 0 {
			return nil, false
		}
		switch n.Name {
		case "sin":
			return neg(over(formula.Fn("cos", n.Args[0]), signed(k[0]))), true
		case "cos":
			return over(formula.Fn("sin", n.Args[0]), signed(k[0])), true
		}
	case formula.Pow:
		if k, ok := w.Linear(n.Args[1], []string{x}); ok && isE(n.Args[0]) && k[0].Sign() != 0 {
			return over(n, signed(k[0])), true
		}
	case formula.Root:
		if formula.Same(n.Args[0], formula.Var(x)) && formula.Same(n.Args[1], num(2)) {
			return over(times(num(2), times(formula.Var(x), n)), num(3)), true
		}
	}
	return nil, false
}
