package algebra

import (
	"math/big"

	"afina/internal/formula"
)

// Rational is the exact value of n, where n has no variables and the value is rational.
func (w *Work) Rational(n *formula.Node) (*big.Rat, bool) {
	if !w.spend(n.Size()) {
		return nil, false
	}
	_, a, err := w.norm(n)
	if err != nil {
		return nil, false
	}
	return a.constant()
}

// Sign is the sign of n, which has no variables. It is not ok where it cannot be told.
func (w *Work) Sign(n *formula.Node) (int, bool) {
	if !w.spend(n.Size()) {
		return 0, false
	}
	v, ok := enclose(n)
	if ok && v.sign() != 0 {
		return v.sign(), true
	}
	r, a, err := w.norm(n)
	if err != nil {
		return 0, false
	}
	if c, isRat := a.constant(); isRat {
		return c.Sign(), ok || r.plain()
	}
	if r.zero(a.n) {
		return 0, ok || r.plain()
	}
	return 0, false
}

// plain reports whether a denominator that is not zero in form is not zero in truth.
func (r *ring) plain() bool {
	for _, a := range r.atoms {
		switch {
		case a.kind == aPi, a.kind == aVar, a.kind == aRoot && a.plain && a.index == 2:
		default:
			return false
		}
	}
	return true
}

// differ reports that a and b, without variables, are provably not the same,
// even where no range can tell them apart.
func (w *Work) differ(a, b *formula.Node) bool {
	r, f, err := w.norm(formula.New(formula.Add, a, formula.New(formula.Neg, b)))
	return err == nil && len(f.n) > 0 && r.complete(f.n) && !r.Spent()
}

// Equal says whether a and b, without variables, are the same number.
func (w *Work) Equal(a, b *formula.Node) Truth {
	if d := w.Defined(a).And(w.Defined(b)); d != Yes {
		return Unknown
	}
	s, ok := w.Sign(formula.New(formula.Add, a, formula.New(formula.Neg, b)))
	switch {
	case ok:
		return truth(s == 0)
	case w.differ(a, b):
		return No
	}
	return Unknown
}

// Compare is the sign of a − b.
func (w *Work) Compare(a, b *formula.Node) (int, bool) {
	if w.Defined(a).And(w.Defined(b)) != Yes {
		return 0, false
	}
	return w.Sign(formula.New(formula.Add, a, formula.New(formula.Neg, b)))
}

// Holds says whether a rel b, both without variables.
func (w *Work) Holds(a *formula.Node, rel string, b *formula.Node) Truth {
	switch rel {
	case "=":
		return w.Equal(a, b)
	case "≠":
		return w.Equal(a, b).Not()
	}
	s, ok := w.Compare(a, b)
	if !ok {
		return Unknown
	}
	switch rel {
	case "<":
		return truth(s < 0)
	case ">":
		return truth(s > 0)
	case "≤":
		return truth(s <= 0)
	case "≥":
		return truth(s >= 0)
	}
	return Unknown
}

// Defined says whether n, without variables, has a real value.
func (w *Work) Defined(n *formula.Node) Truth {
	if !w.spend(1) {
		return Unknown
	}
	all := Yes
	for _, arg := range n.Args {
		if n.Op == formula.Sum || n.Op == formula.Prod {
			break
		}
		if all = all.And(w.Defined(arg)); all == No {
			return No
		}
	}
	return all.And(w.definedHere(n))
}

// definedHere is Defined for the outermost operation alone.
func (w *Work) definedHere(n *formula.Node) Truth {
	need := func(m *formula.Node, fits func(int) bool) Truth {
		s, ok := w.Sign(m)
		if !ok {
			return Unknown
		}
		return truth(fits(s))
	}
	nonzero := func(s int) bool { return s != 0 }
	positive := func(s int) bool { return s > 0 }
	natural := func(s int) bool { return s >= 0 }
	switch n.Op {
	case formula.Num, formula.Add, formula.Neg, formula.Mul, formula.Percent, formula.Degree:
		return Yes
	case formula.Con:
		return truth(n.Name != "inf").And(Yes)
	case formula.Div:
		return need(n.Args[1], nonzero)
	case formula.Root:
		k, ok := integral(n.Args[1], 60)
		if !ok || k < 2 {
			return Unknown
		}
		if k%2 == 1 {
			return Yes
		}
		return need(n.Args[0], natural)
	case formula.Pow:
		return w.definedPower(n, need)
	case formula.Sum, formula.Prod:
		if _, _, err := w.norm(n); err == nil {
			return Yes
		}
	case formula.Call:
		switch n.Name {
		case "ln":
			return need(n.Args[0], positive)
		case "log":
			return need(n.Args[1], positive).And(need(n.Args[0], positive)).And(w.Equal(n.Args[0], formula.Int(1)).Not())
		case "tan", "sec":
			return need(formula.Fn("cos", n.Args[0]), nonzero)
		case "cot", "csc":
			return need(formula.Fn("sin", n.Args[0]), nonzero)
		case "sin", "cos", "abs", "atan", "sinh", "cosh", "tanh", "floor", "ceil", "max", "min":
			return Yes
		case "asin", "acos":
			one := formula.Int(1)
			return w.Holds(n.Args[0], "≤", one).And(w.Holds(n.Args[0], "≥", formula.New(formula.Neg, one)))
		case "fact", "binom", "gcd", "lcm", "det":
			if _, _, err := w.norm(n); err == nil {
				return Yes
			}
		}
	}
	return Unknown
}

func (w *Work) definedPower(n *formula.Node, need func(*formula.Node, func(int) bool) Truth) Truth {
	e, ok := w.Rational(n.Args[1])
	positive := need(n.Args[0], func(s int) bool { return s > 0 })
	switch {
	case ok && e.IsInt() && e.Sign() > 0:
		return Yes
	case ok && e.Sign() == 0 && positive != Yes && need(n.Args[0], func(s int) bool { return s != 0 }) != Yes: // 0⁰
		return Unknown
	case ok && e.IsInt():
		return need(n.Args[0], func(s int) bool { return s != 0 })
	case positive == Yes:
		return Yes
	case ok && e.Sign() > 0 && need(n.Args[0], func(s int) bool { return s == 0 }) == Yes:
		return Yes
	case ok && e.Denom().Bit(0) == 1: // (−8)^(1/3) is defined for some
		return Unknown
	case positive == No:
		return No
	}
	return Unknown
}

// A Point gives rational values to variables.
type Point map[string]*big.Rat

// At is n with the values of p in it.
func (p Point) At(n *formula.Node) *formula.Node {
	for name, v := range p {
		m := formula.Rat(v)
		if v.Sign() < 0 {
			m = formula.New(formula.Neg, formula.Rat(new(big.Rat).Neg(v)))
		}
		n = n.Replace(name, m)
	}
	return n
}

// probes are few and small, so that a counterexample reads well.
var probes = [][]int64{{2, 1}, {3, 1}, {1, 1}, {5, 1}, {1, 2}, {-1, 1}, {-2, 1}, {7, 3}, {-5, 2}, {3, 10}, {-1, 3}, {10, 1}}

// Points are where identities of the variables are tried, always the same.
func Points(names []string, positive bool) []Point {
	var all []Point
	for k := range probes {
		p := Point{}
		for i, name := range names {
			v := probes[(k+i*(1+k%3)+i)%len(probes)]
			p[name] = big.NewRat(v[0], v[1])
			if positive {
				p[name].Abs(p[name])
			}
		}
		all = append(all, p)
	}
	return all
}

// Identical says whether a and b are the same for all values of their
// variables (all positive ones, if so wished) where both are defined. With No
// comes a point where they are not. A Yes is given only when both are defined
// at the same probes.
func (w *Work) Identical(a, b *formula.Node, positive bool) (Truth, Point) {
	if a.Has(formula.Sum, formula.Prod) && len(a.Vars()) > 0 || b.Has(formula.Sum, formula.Prod) && len(b.Vars()) > 0 {
		return w.series(a, b)
	}
	diff := formula.New(formula.Add, a, formula.New(formula.Neg, b))
	names := diff.Vars()
	if len(names) > 6 || diff.Has(formula.Apply) {
		if formula.Same(a, b) {
			return Yes, nil
		}
		return Unknown, nil
	}
	r, f, err := w.norm(diff)
	if err == nil && r.zero(f.n) {
		if w.sameDomain(a, b, names, positive) {
			return Yes, nil
		}
		return Unknown, nil
	}
	for _, name := range names {
		if name == "i" || name == "C" || name == "k" {
			return Unknown, nil
		}
	}
	for _, p := range Points(names, positive) {
		if w.Equal(p.At(a), p.At(b)) == No {
			return No, p
		}
	}
	return Unknown, nil
}

// sameDomain reports whether a and b are defined at the same probes, and at one at least.
func (w *Work) sameDomain(a, b *formula.Node, names []string, positive bool) bool {
	defined := 0
	for _, p := range Points(names, positive) {
		x, y := w.Defined(p.At(a)), w.Defined(p.At(b))
		if x != y && isolated(p) {
			continue
		}
		if x != y || x == Unknown {
			return false
		}
		if x == Yes {
			defined++
		}
	}
	return defined > 0
}

// isolated reports whether p is of the readable probes, at which a removable
// singularity may lie: (x² − 4)/(x − 2) at 2.
func isolated(p Point) bool {
	for _, v := range p {
		if !v.IsInt() {
			return false
		}
	}
	return true
}

// series judges a = b where one side is a sum or product to a variable n: true
// when it holds for the first n and from every n − 1 to n, false when it fails
// for one of the first.
func (w *Work) series(a, b *formula.Node) (Truth, Point) {
	if b.Op == formula.Sum || b.Op == formula.Prod {
		a, b = b, a
	}
	names := formula.New(formula.Add, a, b).Vars()
	if a.Op != formula.Sum && a.Op != formula.Prod || len(names) != 1 || a.Args[2].Op != formula.Sym || b.Has(formula.Sum, formula.Prod) {
		return Unknown, nil
	}
	n := a.Args[2].Name
	lo, ok := integral(a.Args[1], 1000)
	if !ok {
		return Unknown, nil
	}
	for k := lo; k < lo+4; k++ {
		p := Point{n: big.NewRat(k, 1)}
		if w.Equal(p.At(a), p.At(b)) == No {
			return No, p
		}
	}
	first := Point{n: big.NewRat(lo, 1)}
	before := b.Replace(n, formula.New(formula.Add, formula.Var(n), formula.Int(-1)))
	step := formula.New(formula.Add, before, a.Args[0].Replace(a.Name, formula.Var(n)))
	if a.Op == formula.Prod {
		step = formula.New(formula.Mul, before, a.Args[0].Replace(a.Name, formula.Var(n)))
	}
	r, f, err := w.norm(formula.New(formula.Add, b, formula.New(formula.Neg, step)))
	if err == nil && r.zero(f.n) && w.Equal(first.At(a), first.At(b)) == Yes {
		return Yes, nil
	}
	return Unknown, nil
}

// Irrational says whether n, without variables, is irrational: a polynomial of
// square roots that does not reduce to a rational, or a linear one of π or e.
func (w *Work) Irrational(n *formula.Node) Truth {
	r, a, err := w.norm(n)
	if err != nil || w.Defined(n) != Yes {
		return Unknown
	}
	if _, ok := a.constant(); ok {
		return No
	}
	if _, ok := a.d.rat(); !ok {
		return Unknown
	}
	if r.complete(a.n) {
		return Yes
	}
	if len(a.n) == 1 { // c·ᵏ√m
		for _, t := range a.n {
			if len(t.m) == 1 && r.atoms[t.m[0].atom].kind == aRoot && r.atoms[t.m[0].atom].plain {
				return Yes
			}
		}
	}
	return Unknown
}
