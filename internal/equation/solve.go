package equation

import (
	"math/big"

	"afina/internal/algebra"
	"afina/internal/formula"
)

// Solutions are the real solutions of an equation.
type Solutions struct {
	Roots    []*formula.Node // each an exact expression, or nil for a root that has none of degree two
	Complete bool            // there are no others
	All      bool            // every number at which the equation is defined is a solution
}

func minus(a, b *formula.Node) *formula.Node {
	return formula.New(formula.Add, a, formula.New(formula.Neg, b))
}

// Solve solves a = b for x.
func Solve(w *algebra.Work, a, b *formula.Node, x string) Solutions {
	diff := minus(a, b)
	if !only(diff, x) {
		return Solutions{}
	}
	if p, exact, ok := w.Zeros(diff, x); ok {
		return algebraic(w, diff, x, trim(p), exact)
	}
	if s, ok := exponential(w, diff, x); ok {
		return s
	}
	if s, ok := logarithmic(w, a, b, x); ok {
		return s
	}
	return Solutions{}
}

func only(n *formula.Node, x string) bool {
	names := n.Vars()
	return len(names) == 1 && names[0] == x && !n.Has(formula.Apply, formula.PM, formula.Unit, formula.Tuple, formula.Matrix)
}

// algebraic keeps of the roots of p those that solve diff = 0.
func algebraic(w *algebra.Work, diff *formula.Node, x string, p upoly, exact bool) Solutions {
	if len(p) == 0 {
		return Solutions{All: exact}
	}
	if p.degree() == 0 {
		return Solutions{Complete: true}
	}
	if p.degree() > 12 {
		return Solutions{}
	}
	s := Solutions{Complete: true}
	for _, r := range roots(p) {
		e := r.Exact()
		if e == nil {
			if !exact || diff.Has(formula.Div, formula.Root, formula.Call) {
				s.Complete = false
			} else {
				s.Roots = append(s.Roots, nil)
			}
			continue
		}
		switch solves(w, diff, x, e) {
		case algebra.Yes:
			s.Roots = append(s.Roots, e)
		case algebra.Unknown:
			s.Complete = false
		}
	}
	return s
}

// solves says whether diff is defined and zero at x = e.
func solves(w *algebra.Work, diff *formula.Node, x string, e *formula.Node) algebra.Truth {
	at := diff.Replace(x, e)
	d := w.Defined(at)
	if d != algebra.Yes {
		return d
	}
	return w.Equal(at, formula.Int(0))
}

// Solves says whether x = e solves a = b, and whether both sides are defined there.
func Solves(w *algebra.Work, a, b *formula.Node, x string, e *formula.Node) (is, defined algebra.Truth) {
	l, r := a.Replace(x, e), b.Replace(x, e)
	defined = w.Defined(l).And(w.Defined(r))
	if defined != algebra.Yes {
		return defined, defined
	}
	return w.Equal(l, r), defined
}

// Exact is the root as a rational or by the formula of second degree, or nil.
func (r *Root) Exact() *formula.Node {
	if r.Value != nil {
		return signed(r.Value)
	}
	if r.poly.degree() == 2 {
		return r.surd()
	}
	if f := r.biquadratic(); f != nil {
		return f
	}
	return nil
}

// signed is the tree of a rational, its sign outside.
func signed(v *big.Rat) *formula.Node {
	if v.Sign() < 0 {
		return formula.New(formula.Neg, formula.Rat(new(big.Rat).Neg(v)))
	}
	return formula.Rat(v)
}

func (r *Root) surd() *formula.Node {
	p := r.poly
	two := big.NewRat(2, 1)
	mid := new(big.Rat).Quo(new(big.Rat).Neg(p[1]), new(big.Rat).Mul(two, p[2]))
	disc := new(big.Rat).Sub(new(big.Rat).Mul(p[1], p[1]), new(big.Rat).Mul(big.NewRat(4, 1), new(big.Rat).Mul(p[0], p[2])))
	disc.Quo(disc, new(big.Rat).Mul(big.NewRat(4, 1), new(big.Rat).Mul(p[2], p[2])))
	r.split(mid)
	root := surdOf(disc)
	if r.low().Cmp(mid) >= 0 {
		if mid.Sign() == 0 {
			return root
		}
		return formula.New(formula.Add, signed(mid), root)
	}
	if mid.Sign() == 0 {
		return formula.New(formula.Neg, root)
	}
	return formula.New(formula.Add, signed(mid), formula.New(formula.Neg, root))
}

// surdOf is √c with squares taken out.
func surdOf(c *big.Rat) *formula.Node {
	n := new(big.Int).Mul(c.Num(), c.Denom())
	outer := big.NewRat(1, 1)
	outer.SetFrac(big.NewInt(1), c.Denom())
	for k := int64(2); k < 200; k++ {
		sq := big.NewInt(k * k)
		for new(big.Int).Mod(n, sq).Sign() == 0 && n.Sign() > 0 {
			n.Div(n, sq)
			outer.Mul(outer, big.NewRat(k, 1))
		}
	}
	root := formula.New(formula.Root, formula.Rat(new(big.Rat).SetInt(n)), formula.Int(2))
	switch {
	case outer.Cmp(big.NewRat(1, 1)) == 0:
		return root
	case outer.IsInt():
		return formula.New(formula.Mul, formula.Rat(outer), root)
	}
	num, den := formula.Rat(new(big.Rat).SetInt(outer.Num())), formula.Rat(new(big.Rat).SetInt(outer.Denom()))
	if outer.Num().IsInt64() && outer.Num().Int64() == 1 {
		return formula.New(formula.Div, root, den)
	}
	return formula.New(formula.Div, formula.New(formula.Mul, num, root), den)
}

// split narrows the bracket until v is outside of it.
func (r *Root) split(v *big.Rat) {
	width := new(big.Rat).Sub(r.high(), r.low())
	for range 200 {
		if r.Value != nil || r.lo.Cmp(v) >= 0 || r.hi.Cmp(v) <= 0 {
			return
		}
		width = new(big.Rat).Mul(width, big.NewRat(1, 2))
		r.refine(width)
	}
}

// biquadratic is the root of x⁴ + bx² + c, which is ±√ of a root of second degree.
func (r *Root) biquadratic() *formula.Node {
	p := r.poly
	if p.degree() != 4 || p[1].Sign() != 0 || p[3].Sign() != 0 {
		return nil
	}
	r.split(new(big.Rat))
	for _, q := range roots(upoly{p[0], p[2], p[4]}) {
		e := q.Exact()
		if e == nil || q.high().Sign() < 0 {
			continue
		}
		lo, hi := new(big.Rat).Mul(r.low(), r.low()), new(big.Rat).Mul(r.high(), r.high())
		if lo.Cmp(hi) > 0 {
			lo, hi = hi, lo
		}
		for range 80 { // the one whose bracket the square of r meets
			if q.high().Cmp(lo) < 0 || q.low().Cmp(hi) > 0 {
				e = nil
				break
			}
			width := new(big.Rat).Mul(new(big.Rat).Sub(r.high(), r.low()), big.NewRat(1, 4))
			r.refine(width)
			q.refine(width)
			lo, hi = new(big.Rat).Mul(r.low(), r.low()), new(big.Rat).Mul(r.high(), r.high())
			if lo.Cmp(hi) > 0 {
				lo, hi = hi, lo
			}
		}
		if e == nil {
			continue
		}
		root := formula.New(formula.Root, e, formula.Int(2))
		if r.high().Sign() <= 0 {
			return formula.New(formula.Neg, root)
		}
		return root
	}
	return nil
}

// exponential solves a polynomial of b^x.
func exponential(w *algebra.Work, diff *formula.Node, x string) (Solutions, bool) {
	p, base, unit, ok := w.Exponential(diff, x)
	if !ok {
		return Solutions{}, false
	}
	q := trim(upoly(p))
	if q.degree() < 1 {
		return Solutions{Complete: len(q) == 1, All: len(q) == 0}, true
	}
	s := Solutions{Complete: true}
	for _, r := range roots(q) {
		e := r.Exact()
		if e == nil {
			return Solutions{}, true
		}
		if sign, ok := w.Sign(e); !ok || sign <= 0 {
			s.Complete = s.Complete && ok
			continue
		}
		var v *formula.Node
		if base.Op == formula.Con {
			v = formula.Fn("ln", e)
		} else {
			v = formula.Fn("log", base, e)
		}
		if c, ok := w.Rational(v); ok {
			v = signed(c)
		}
		if unit.Cmp(big.NewRat(1, 1)) != 0 {
			v = formula.New(formula.Div, v, formula.Rat(unit))
		}
		switch solves(w, diff, x, v) {
		case algebra.Yes:
			s.Roots = append(s.Roots, v)
		case algebra.Unknown:
			s.Complete = false
		}
	}
	return s, true
}

// logarithmic solves an equation that is linear in logarithms to one base with
// whole factors, log A + 2 log B = c, by A·B² = baseᶜ; the candidates are then tried.
func logarithmic(w *algebra.Work, a, b *formula.Node, x string) (Solutions, bool) {
	up, down := formula.Int(1), formula.Int(1)
	var base *formula.Node
	var gather func(n *formula.Node, k int64) bool
	gather = func(n *formula.Node, k int64) bool {
		switch {
		case n.Op == formula.Add:
			for _, arg := range n.Args {
				if !gather(arg, k) {
					return false
				}
			}
			return true
		case n.Op == formula.Neg:
			return gather(n.Args[0], -k)
		case n.Op == formula.Mul && len(n.Args) == 2 && len(n.Args[0].Vars()) == 0:
			c, ok := w.Rational(n.Args[0])
			return ok && c.IsInt() && c.Num().IsInt64() && c.Num().BitLen() < 5 && gather(n.Args[1], k*c.Num().Int64())
		case n.Op == formula.Call && (n.Name == "ln" || n.Name == "log"):
			own, arg := &formula.Node{Op: formula.Con, Name: "e"}, n.Args[0]
			if n.Name == "log" {
				own, arg = n.Args[0], n.Args[1]
			}
			if base == nil {
				base = own
			}
			if !formula.Same(base, own) || len(own.Vars()) > 0 {
				return false
			}
			put(&up, &down, arg, k)
			return true
		case len(n.Vars()) == 0:
			c, ok := w.Rational(n)
			if !ok || !c.IsInt() || c.Num().BitLen() > 5 || base == nil {
				return false
			}
			put(&up, &down, base, k*c.Num().Int64())
			return true
		}
		return false
	}
	if !gather(order(minus(a, b)), 1) || base == nil || isE(base) && up.Has(formula.Con) {
		return Solutions{}, false
	}
	p, _, ok := w.Zeros(minus(up, down), x)
	if !ok {
		return Solutions{}, false
	}
	s := algebraic(w, minus(a, b), x, trim(p), false)
	return s, true
}

func isE(n *formula.Node) bool { return n.Op == formula.Con && n.Name == "e" }

// order puts the terms with variables first, for their base is needed.
func order(n *formula.Node) *formula.Node {
	m := formula.New(formula.Add)
	var rest []*formula.Node
	var flatten func(n *formula.Node, neg bool)
	flatten = func(n *formula.Node, neg bool) {
		switch {
		case n.Op == formula.Add:
			for _, a := range n.Args {
				flatten(a, neg)
			}
			return
		case n.Op == formula.Neg:
			flatten(n.Args[0], !neg)
			return
		}
		if neg {
			n = formula.New(formula.Neg, n)
		}
		if len(n.Vars()) > 0 {
			m.Args = append(m.Args, n)
		} else {
			rest = append(rest, n)
		}
	}
	flatten(n, false)
	m.Args = append(m.Args, rest...)
	return m
}

func put(up, down **formula.Node, n *formula.Node, k int64) {
	for ; k > 0; k-- {
		*up = formula.New(formula.Mul, *up, n)
	}
	for ; k < 0; k++ {
		*down = formula.New(formula.Mul, *down, n)
	}
}

// System says of a linear system, given as differences that vanish, whether it
// has exactly one solution.
func System(w *algebra.Work, eqs []*formula.Node, vars []string) (unique, linear bool) {
	var rows [][]*big.Rat
	for _, e := range eqs {
		row, ok := w.Linear(e, vars)
		if !ok {
			return false, false
		}
		rows = append(rows, row)
	}
	rank := 0
	for c := range vars {
		pivot := -1
		for i := rank; i < len(rows); i++ {
			if rows[i][c].Sign() != 0 {
				pivot = i
				break
			}
		}
		if pivot < 0 {
			continue
		}
		rows[rank], rows[pivot] = rows[pivot], rows[rank]
		for i := rank + 1; i < len(rows); i++ {
			q := new(big.Rat).Quo(rows[i][c], rows[rank][c])
			for k := range rows[i] {
				rows[i][k] = new(big.Rat).Sub(rows[i][k], new(big.Rat).Mul(q, rows[rank][k]))
			}
		}
		rank++
	}
	for _, row := range rows[rank:] {
		if row[len(vars)].Sign() != 0 {
			return false, true
		}
	}
	return rank == len(vars), true
}
