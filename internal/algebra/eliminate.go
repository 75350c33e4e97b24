package algebra

import (
	"math/big"

	"afina/internal/formula"
)

// Zeros is a polynomial of x, lowest power first, among whose roots are all x
// at which n is defined and zero. Exact says that every root of it at which n is
// defined is a zero of n. Roots and absolute values are taken away by
// multiplying with their conjugates. It is not ok where n is no algebraic
// expression of x alone.
func (w *Work) Zeros(n *formula.Node, x string) (p []*big.Rat, exact, ok bool) {
	r, a, err := w.norm(n)
	if err != nil {
		return nil, false, false
	}
	up, exact := r.conjugated(a.n)
	p, ok = r.dense(up, x)
	return p, exact, ok && !w.Spent()
}

// conjugated is a multiple of p without roots and absolute values.
func (r *ring) conjugated(p poly) (out poly, exact bool) {
	exact = true
	for i := len(r.atoms) - 1; i >= 0; i-- {
		a := r.atoms[i]
		if a.kind != aRoot && a.kind != aAbs || p.degree(i) == 0 {
			continue
		}
		exact = false
		parts := make([]poly, 3)
		for k := range parts {
			parts[k] = poly{}
		}
		for _, t := range p {
			e := t.m.exp(i)
			if e > 2 {
				return p, false
			}
			parts[e].put(term{t.c, t.m.without(i)})
		}
		_, square := r.rule(i)
		switch {
		case a.kind == aAbs || a.index == 2:
			p = r.addPoly(r.mul(parts[0], parts[0]), r.mul(r.mul(parts[1], parts[1]), square).neg())
		case a.index == 3:
			cube := func(q poly) poly { return r.mul(q, r.mul(q, q)) }
			sum := r.addPoly(cube(parts[0]), r.mul(cube(parts[1]), square))
			sum = r.addPoly(sum, r.mul(r.mul(cube(parts[2]), square), square))
			cross := r.mul(r.mul(parts[0], parts[1]), r.mul(parts[2], square)).scale(big.NewRat(-3, 1))
			p = r.addPoly(sum, cross)
		default:
			return p, false
		}
	}
	return p, exact
}

const highest = 24 // degree of a polynomial of one variable

// dense are the coefficients of p in x, where it has no other atoms.
func (r *ring) dense(p poly, x string) ([]*big.Rat, bool) {
	at := -1
	for i := range p.atoms() {
		if r.atoms[i].kind != aVar || r.atoms[i].name != x {
			return nil, false
		}
		at = i
	}
	out := []*big.Rat{}
	for _, t := range p {
		e := t.m.exp(at)
		if e > highest || e < 0 {
			return nil, false
		}
		for len(out) <= e {
			out = append(out, new(big.Rat))
		}
		out[e].Add(out[e], t.c)
	}
	return out, true
}

// Linear are the coefficients of n in vars and its constant, last, where n is linear in them.
func (w *Work) Linear(n *formula.Node, vars []string) ([]*big.Rat, bool) {
	r, a, err := w.norm(n)
	if err != nil {
		return nil, false
	}
	if _, ok := a.d.rat(); !ok {
		return nil, false
	}
	out := make([]*big.Rat, len(vars)+1)
	for i := range out {
		out[i] = new(big.Rat)
	}
	for _, t := range a.n {
		if len(t.m) == 0 {
			out[len(vars)].Set(t.c)
			continue
		}
		found := false
		for i, v := range vars {
			if len(t.m) == 1 && t.m[0].exp == 1 && r.atoms[t.m[0].atom].kind == aVar && r.atoms[t.m[0].atom].name == v {
				out[i].Set(t.c)
				found = true
			}
		}
		if !found {
			return nil, false
		}
	}
	return out, true
}

// Exponential writes n, an expression of x only through b^(x·u), as a
// polynomial of that power: t = Base^(x·Unit).
func (w *Work) Exponential(n *formula.Node, x string) (p []*big.Rat, base *formula.Node, unit *big.Rat, ok bool) {
	r, a, err := w.norm(n)
	if err != nil {
		return nil, nil, nil, false
	}
	at := -1
	for i := range a.n.atoms() {
		if r.atoms[i].kind != aExp || at >= 0 {
			return nil, nil, nil, false
		}
		at = i
	}
	if at < 0 {
		return nil, nil, nil, false
	}
	// Which power it is, is found by forming b^x itself with the same denominators.
	for _, b := range []*formula.Node{{Op: formula.Con, Name: "e"}, formula.Int(2), formula.Int(3), formula.Int(5), formula.Int(7), formula.Int(11), formula.Int(13)} {
		f, err := r.form(formula.New(formula.Pow, b, formula.Var(x)))
		if err != nil || len(f.n) != 1 {
			continue
		}
		for _, t := range f.n {
			if len(t.m) == 1 && t.m[0].atom == at {
				base, unit = b, big.NewRat(1, int64(t.m[0].exp))
			}
		}
	}
	if base == nil {
		return nil, nil, nil, false
	}
	saved := r.atoms[at]
	r.atoms[at] = atom{kind: aVar, name: "t"}
	p, ok = r.dense(a.n, "t")
	r.atoms[at] = saved
	return p, base, unit, ok
}

// Proportional reports whether a is a multiple of b by a number that is not
// zero, so that both vanish together.
func (w *Work) Proportional(a, b *formula.Node) bool {
	r := newRing(w)
	x, err := r.form(a)
	if err != nil {
		return false
	}
	y, err := r.form(b)
	if err != nil || len(x.n) == 0 || len(y.n) == 0 || x.d.key() != y.d.key() || w.Spent() {
		return false
	}
	f, g := x.n.sorted(), y.n.sorted()
	q := new(big.Rat).Quo(f[0].c, g[0].c)
	return y.n.scale(q).key() == x.n.key()
}
