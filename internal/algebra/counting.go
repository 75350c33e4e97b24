package algebra

import (
	"math/big"

	"afina/internal/formula"
)

// formCount is the form of functions of whole numbers, of max and min, of
// determinants and of inverse functions.
func (r *ring) formCount(n *formula.Node) (ratio, error) {
	if n.Name == "det" && len(n.Args) == 1 && n.Args[0].Op == formula.Matrix {
		return r.determinant(n.Args[0])
	}
	values := make([]*big.Rat, len(n.Args))
	for i, arg := range n.Args {
		a, err := r.form(arg)
		if err != nil {
			return a, err
		}
		c, ok := a.constant()
		if !ok {
			return r.opaque(n)
		}
		values[i] = c
	}
	if c := count(n.Name, values); c != nil {
		if !r.spend(bits(c) / 10) {
			return ratio{}, errSpent
		}
		return whole(constant(c)), nil
	}
	if len(values) == 1 {
		if turn, ok := arcs[n.Name+" "+values[0].RatString()]; ok {
			return whole(r.of(atom{kind: aPi, name: "π"}).scale(turn)), nil
		}
	}
	if n.Name == "fact" || n.Name == "binom" || n.Name == "gcd" || n.Name == "lcm" {
		return ratio{}, errForm
	}
	return r.opaque(n)
}

// arcs are the angles, in π, whose functions are rational.
var arcs = map[string]*big.Rat{
	"asin 0": big.NewRat(0, 1), "asin 1": big.NewRat(1, 2), "asin -1": big.NewRat(-1, 2), "asin 1/2": big.NewRat(1, 6), "asin -1/2": big.NewRat(-1, 6),
	"acos 0": big.NewRat(1, 2), "acos 1": big.NewRat(0, 1), "acos -1": big.NewRat(1, 1), "acos 1/2": big.NewRat(1, 3), "acos -1/2": big.NewRat(2, 3),
	"atan 0": big.NewRat(0, 1), "atan 1": big.NewRat(1, 4), "atan -1": big.NewRat(-1, 4),
}

// count is a function of rationals with a rational value, or nil.
func count(name string, v []*big.Rat) *big.Rat {
	ints := make([]int64, len(v))
	whole := true
	for i, c := range v {
		k, ok := small(c, 1<<40)
		ints[i], whole = k, whole && ok
	}
	switch {
	case name == "max" || name == "min":
		best := v[0]
		for _, c := range v[1:] {
			if (c.Cmp(best) > 0) == (name == "max") {
				best = c
			}
		}
		return best
	case name == "floor" && len(v) == 1:
		return new(big.Rat).SetInt(new(big.Int).Div(v[0].Num(), v[0].Denom()))
	case name == "ceil" && len(v) == 1:
		return new(big.Rat).Neg(new(big.Rat).SetInt(new(big.Int).Div(new(big.Int).Neg(v[0].Num()), v[0].Denom())))
	case !whole:
		return nil
	case name == "fact" && len(v) == 1 && ints[0] >= 0 && ints[0] <= 500:
		return new(big.Rat).SetInt(new(big.Int).MulRange(1, ints[0]))
	case name == "binom" && len(v) == 2 && ints[0] >= 0 && ints[0] <= 1000 && ints[1] >= 0:
		return new(big.Rat).SetInt(new(big.Int).Binomial(ints[0], ints[1]))
	case (name == "gcd" || name == "lcm") && len(v) > 1:
		return divisors(name, ints)
	}
	return nil
}

func divisors(name string, ints []int64) *big.Rat {
	out := big.NewInt(ints[0])
	for _, k := range ints {
		if k <= 0 {
			return nil
		}
		b := big.NewInt(k)
		g := new(big.Int).GCD(nil, nil, out, b)
		if name == "lcm" {
			g.Div(new(big.Int).Mul(out, b), g)
		}
		out = g
		if out.BitLen() > 2000 {
			return nil
		}
	}
	return new(big.Rat).SetInt(out)
}

// determinant unfolds by the first row.
func (r *ring) determinant(m *formula.Node) (ratio, error) {
	n := len(m.Args)
	if n != len(m.Args[0].Args) || n > 4 {
		return ratio{}, errForm
	}
	if n == 1 {
		return r.form(m.Args[0].Args[0])
	}
	out := whole(poly{})
	for j, head := range m.Args[0].Args {
		minor := formula.New(formula.Matrix)
		for _, row := range m.Args[1:] {
			rest := append(append([]*formula.Node{}, row.Args[:j]...), row.Args[j+1:]...)
			minor.Args = append(minor.Args, formula.New(formula.Tuple, rest...))
		}
		a, err := r.form(head)
		if err != nil {
			return a, err
		}
		b, err := r.determinant(minor)
		if err != nil {
			return b, err
		}
		part := r.times(a, b)
		if j%2 == 1 {
			part.n = part.n.neg()
		}
		out = r.add(out, part)
	}
	return out, nil
}

// formTrig is the form of sin, cos and what is made of them.
func (r *ring) formTrig(name string, arg *formula.Node) (ratio, error) {
	a, err := r.form(arg)
	if err != nil {
		return a, err
	}
	s, c, err := r.sincos(a)
	if err != nil {
		return ratio{}, err
	}
	one := whole(integer(1))
	switch name {
	case "sin":
		return whole(s), nil
	case "cos":
		return whole(c), nil
	case "tan":
		return r.over(whole(s), whole(c))
	case "cot":
		return r.over(whole(c), whole(s))
	case "sec":
		return r.over(one, whole(c))
	}
	return r.over(one, whole(s))
}

// sincos are the sine and cosine of a, over the terms of a by the addition formulas.
func (r *ring) sincos(a ratio) (s, c poly, err error) {
	if _, ok := a.d.rat(); !ok || len(a.n) > 4 {
		name := a.key()
		return r.of(atom{kind: aSin, name: name}), r.of(atom{kind: aCos, name: name}), nil
	}
	s, c = poly{}, integer(1)
	for _, t := range a.n.sorted() {
		var ts, tc poly
		if len(t.m) == 1 && t.m[0].exp == 1 && r.atoms[t.m[0].atom].kind == aPi {
			ts, tc, err = r.turn(t.c)
		} else {
			ts, tc, err = r.angle(t)
		}
		if err != nil {
			return nil, nil, err
		}
		s, c = r.addPoly(r.mul(s, tc), r.mul(c, ts)), r.addPoly(r.mul(c, tc), r.mul(s, ts).neg())
	}
	return s, c, nil
}

// angle are the sine and cosine of k units.
func (r *ring) angle(t term) (s, c poly, err error) {
	k, unit, ok := r.multiple(t)
	if !ok || k > 12 || k < -12 {
		return nil, nil, errForm
	}
	s1, c1 := r.of(atom{kind: aSin, name: unit}), r.of(atom{kind: aCos, name: unit})
	s, c = poly{}, integer(1)
	for range max(k, -k) {
		s, c = r.addPoly(r.mul(s, c1), r.mul(c, s1)), r.addPoly(r.mul(c, c1), r.mul(s, s1).neg())
	}
	if k < 0 {
		s = s.neg()
	}
	return s, c, nil
}

// turn are the sine and cosine of q·π.
func (r *ring) turn(q *big.Rat) (s, c poly, err error) {
	two := big.NewRat(2, 1)
	q = new(big.Rat).Sub(q, new(big.Rat).Mul(two, count("floor", []*big.Rat{new(big.Rat).Quo(q, two)})))
	signS, signC := int64(1), int64(1)
	if q.Cmp(big.NewRat(1, 1)) >= 0 { // half a turn back
		q, signS, signC = new(big.Rat).Sub(q, big.NewRat(1, 1)), -1, -1
	}
	if q.Cmp(big.NewRat(1, 2)) > 0 {
		q, signC = new(big.Rat).Sub(big.NewRat(1, 1), q), -signC
	}
	swap := q.Cmp(big.NewRat(1, 4)) > 0
	if swap {
		q = new(big.Rat).Sub(big.NewRat(1, 2), q)
	}
	s, c, err = r.octant(q)
	if swap {
		s, c = c, s
	}
	return s.scale(big.NewRat(signS, 1)), c.scale(big.NewRat(signC, 1)), err
}

// octant are the sine and cosine of q·π for q up to 1/4.
func (r *ring) octant(q *big.Rat) (s, c poly, err error) {
	surd := func(n int64) poly {
		a, _ := r.rootRat(big.NewRat(n, 1), 2)
		return a.n
	}
	switch q.RatString() {
	case "0":
		return poly{}, integer(1), nil
	case "1/6":
		return constant(big.NewRat(1, 2)), surd(3).scale(big.NewRat(1, 2)), nil
	case "1/4":
		h := surd(2).scale(big.NewRat(1, 2))
		return h, h, nil
	case "1/12":
		return r.addPoly(surd(6), surd(2).neg()).scale(big.NewRat(1, 4)), r.addPoly(surd(6), surd(2)).scale(big.NewRat(1, 4)), nil
	}
	name := "π" + q.RatString()
	return r.of(atom{kind: aSin, name: name}), r.of(atom{kind: aCos, name: name}), nil
}
