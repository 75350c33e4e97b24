package algebra

import (
	"math/big"
	"sort"

	"afina/internal/formula"
)

type primePower struct {
	p int64 // -1 stands for a cofactor too large to split; it is in no list that matters
	k int
}

// primes splits a positive rational; a part that is not split is returned as p = -1.
func primes(c *big.Rat) []primePower {
	var out []primePower
	split := func(n *big.Int, sign int) {
		n = new(big.Int).Set(n)
		if !n.IsInt64() && n.BitLen() > 120 {
			out = append(out, primePower{-1, sign})
			return
		}
		var q, m big.Int
		for p := int64(2); p < 4000 && n.Cmp(big.NewInt(1)) > 0; p++ {
			if n.IsInt64() && p*p > n.Int64() {
				break
			}
			k := 0
			for {
				q.QuoRem(n, big.NewInt(p), &m)
				if m.Sign() != 0 {
					break
				}
				n.Set(&q)
				k++
			}
			if k > 0 {
				out = append(out, primePower{p, sign * k})
			}
		}
		switch {
		case n.Cmp(big.NewInt(1)) == 0:
		case n.IsInt64() && n.ProbablyPrime(0) && n.BitLen() < 63: // exact below 2^64
			out = append(out, primePower{n.Int64(), sign})
		default:
			out = append(out, primePower{-1, sign})
		}
	}
	split(c.Num(), 1)
	split(c.Denom(), -1)
	sort.Slice(out, func(i, j int) bool { return out[i].p < out[j].p })
	return out
}

func (r *ring) formRoot(n, index *formula.Node) (ratio, error) {
	e, err := r.form(index)
	if err != nil {
		return e, err
	}
	c, ok := e.constant()
	k, whole := int64(0), false
	if ok {
		k, whole = small(c, 12)
	}
	if !whole || k < 2 {
		return ratio{}, errForm
	}
	a, err := r.form(n)
	if err != nil {
		return a, err
	}
	return r.root(a, int(k))
}

// root is the k-th root of a: √(n/d) = √(n·d^(k−1))/|d|.
func (r *ring) root(a ratio, k int) (ratio, error) {
	if c, ok := a.constant(); ok {
		return r.rootRat(c, k)
	}
	below := whole(a.d)
	if _, ok := a.d.rat(); !ok && k%2 == 0 {
		var err error
		if below, err = r.absolute(a.d); err != nil {
			return below, err
		}
	}
	p := r.mul(a.n, r.pow(a.d, k-1))
	out, err := r.rootPoly(p, k)
	if err != nil {
		return out, err
	}
	return r.over(out, below)
}

// rootRat splits numbers into primes, so that √6 and √2·√3 are one.
func (r *ring) rootRat(c *big.Rat, k int) (ratio, error) {
	sign := int64(1)
	if c.Sign() < 0 {
		if k%2 == 0 {
			return ratio{}, errUndefined
		}
		sign, c = -1, new(big.Rat).Neg(c)
	}
	if c.Sign() == 0 {
		return whole(poly{}), nil
	}
	if s, ok := rationalRoot(c); ok && k == 2 {
		return whole(constant(s)), nil
	}
	out := whole(integer(sign))
	for _, pf := range primes(c) {
		if pf.p < 0 {
			return ratio{}, errForm
		}
		q, rest := floorDiv(pf.k, k), 0
		rest = pf.k - q*k
		part, err := r.power(whole(integer(pf.p)), int64(q))
		if err != nil {
			return part, err
		}
		if rest > 0 {
			i, e := k, rest
			for d := 2; d <= e; d++ { // ⁴√9 is √3
				for i%d == 0 && e%d == 0 {
					i, e = i/d, e/d
				}
			}
			p := r.of(atom{kind: aRoot, name: big.NewInt(pf.p).String() + "^1/" + big.NewInt(int64(i)).String(), index: i, arg: integer(pf.p), plain: true})
			part = r.times(part, whole(r.pow(p, e)))
		}
		out = r.times(out, part)
	}
	return out, nil
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && a < 0 {
		q--
	}
	return q
}

// rootPoly takes numbers and powers out of the root of a polynomial.
func (r *ring) rootPoly(p poly, k int) (ratio, error) {
	c := p.content()
	out, err := r.rootRat(c, k)
	if err != nil {
		return out, err
	}
	p = p.scale(new(big.Rat).Inv(c))
	if k == 2 {
		if a, b, ok := r.denest(p); ok {
			x, err := r.rootRat(a, 2)
			if err != nil {
				return x, err
			}
			y, err := r.rootRat(new(big.Rat).Abs(b), 2)
			if err != nil {
				return y, err
			}
			if b.Sign() < 0 {
				y.n = y.n.neg()
			}
			return r.times(out, r.add(x, y)), nil
		}
		if s, ok := r.square(p); ok {
			s, err := r.absolute(s)
			return r.times(out, s), err
		}
	}
	var outer mono
	for _, f := range p.common() {
		if q := f.exp / k; q > 0 && r.atoms[f.atom].kind != aRoot {
			outer = append(outer, factor{f.atom, q})
		}
	}
	if len(outer) > 0 {
		taken := make(mono, len(outer))
		for i, f := range outer {
			taken[i] = factor{f.atom, f.exp * k}
		}
		p = p.over(taken)
		lot := whole(outer.poly())
		if k%2 == 0 {
			if lot, err = r.absolute(outer.poly()); err != nil {
				return lot, err
			}
		}
		out = r.times(out, lot)
	}
	if v, ok := p.rat(); ok {
		rest, err := r.rootRat(v, k)
		return r.times(out, rest), err
	}
	name := p.key() + "^1/" + big.NewInt(int64(k)).String()
	if k%2 == 0 {
		r.above(p)
	}
	return r.times(out, whole(r.of(atom{kind: aRoot, name: name, index: k, arg: p}))), nil
}

// denest writes a + b√c as (√x ± √y)², where x and y are rational.
func (r *ring) denest(p poly) (x, y *big.Rat, ok bool) {
	if len(p) != 2 {
		return nil, nil, false
	}
	a, surd := new(big.Rat), term{}
	for _, t := range p {
		if len(t.m) == 0 {
			a = t.c
			continue
		}
		surd = t
	}
	if a.Sign() <= 0 || len(surd.m) == 0 {
		return nil, nil, false
	}
	square := new(big.Rat).Mul(surd.c, surd.c)
	for _, f := range surd.m {
		at := r.atoms[f.atom]
		if !at.plain || at.index != 2 || f.exp != 1 {
			return nil, nil, false
		}
		c, _ := at.arg.rat()
		square.Mul(square, c)
	}
	d := new(big.Rat).Sub(new(big.Rat).Mul(a, a), square)
	s, ok := rationalRoot(d)
	if !ok {
		return nil, nil, false
	}
	half := big.NewRat(1, 2)
	x = new(big.Rat).Mul(half, new(big.Rat).Add(a, s))
	y = new(big.Rat).Mul(half, new(big.Rat).Sub(a, s))
	if surd.c.Sign() < 0 {
		y.Neg(y)
	}
	return x, y, true
}

// rationalRoot is √c where that is rational.
func rationalRoot(c *big.Rat) (*big.Rat, bool) {
	if c.Sign() < 0 {
		return nil, false
	}
	n, d := new(big.Int).Sqrt(c.Num()), new(big.Int).Sqrt(c.Denom())
	s := new(big.Rat).SetFrac(n, d)
	return s, new(big.Rat).Mul(s, s).Cmp(c) == 0
}

// square is q where p is q² of one variable and degree two.
func (r *ring) square(p poly) (poly, bool) {
	atoms := p.atoms()
	if len(atoms) != 1 {
		return nil, false
	}
	for i := range atoms {
		if r.atoms[i].kind != aVar || p.degree(i) != 2 {
			return nil, false
		}
		get := func(e int) *big.Rat {
			for _, t := range p {
				if t.m.exp(i) == e {
					return t.c
				}
			}
			return new(big.Rat)
		}
		a, okA := rationalRoot(get(2))
		c, okC := rationalRoot(get(0))
		if !okA || !okC {
			return nil, false
		}
		if get(1).Sign() < 0 {
			c.Neg(c)
		}
		x := mono{{i, 1}}.poly().scale(a)
		q := r.addPoly(x, constant(c))
		return q, r.mul(q, q).key() == p.key()
	}
	return nil, false
}

// absolute is |p|, with numbers and powers of variables outside.
func (r *ring) absolute(p poly) (ratio, error) {
	if c, ok := p.rat(); ok {
		return whole(constant(new(big.Rat).Abs(c))), nil
	}
	c := p.content()
	p = p.scale(new(big.Rat).Inv(c))
	out := constant(c)
	common := p.common()
	p = p.over(common)
	for _, f := range common {
		at := r.atoms[f.atom]
		switch {
		case at.kind == aRoot && at.index%2 == 0, at.kind == aAbs, at.kind == aExp, at.kind == aPi: // not negative
			out = r.mul(out, mono{f}.poly())
			continue
		case f.exp%2 == 0:
			out = r.mul(out, mono{f}.poly())
			continue
		}
		x := mono{{f.atom, 1}}.poly()
		out = r.mul(out, r.pow(r.of(atom{kind: aAbs, name: x.key(), arg: x}), f.exp))
	}
	if v, ok := p.rat(); ok {
		return whole(r.mul(out, constant(new(big.Rat).Abs(v)))), nil
	}
	if p.sorted()[0].c.Sign() < 0 {
		p = p.neg()
	}
	return whole(r.mul(out, r.of(atom{kind: aAbs, name: p.key(), arg: p}))), nil
}

// logarithm is ln |a|: of numbers by their primes, of powers by their bases.
func (r *ring) logarithm(p poly) (poly, error) {
	if len(p) == 0 {
		return nil, errUndefined
	}
	c := p.content()
	p = p.scale(new(big.Rat).Inv(c))
	out := poly{}
	for _, pf := range primes(c) {
		if pf.p < 0 {
			return nil, errForm
		}
		l := r.of(atom{kind: aLog, name: integer(pf.p).key(), arg: integer(pf.p)})
		out = r.addPoly(out, l.scale(big.NewRat(int64(pf.k), 1)))
	}
	common := p.common()
	p = p.over(common)
	for _, f := range common {
		x := mono{{f.atom, 1}}.poly()
		at := r.atoms[f.atom]
		k := big.NewRat(int64(f.exp), 1)
		switch {
		case at.kind == aExp && at.name == "e^1":
			out = r.addPoly(out, constant(k))
			continue
		case at.kind == aRoot || at.kind == aAbs:
			inner, err := r.logarithm(at.arg)
			if err != nil {
				return nil, err
			}
			if at.kind == aRoot {
				k.Quo(k, big.NewRat(int64(at.index), 1))
			}
			out = r.addPoly(out, inner.scale(k))
			continue
		}
		out = r.addPoly(out, r.of(atom{kind: aLog, name: x.key(), arg: x}).scale(k))
	}
	if v, ok := p.rat(); ok {
		if v.Sign() == 0 {
			return nil, errUndefined
		}
		return out, nil // ±1
	}
	if p.sorted()[0].c.Sign() < 0 {
		p = p.neg()
	}
	return r.addPoly(out, r.of(atom{kind: aLog, name: p.key(), arg: p})), nil
}

// formLog is ln n, taken apart before products are multiplied out.
func (r *ring) formLog(n *formula.Node) (ratio, error) {
	switch n.Op {
	case formula.Mul:
		out := whole(poly{})
		for _, arg := range n.Args {
			a, err := r.formLog(arg)
			if err != nil {
				return a, err
			}
			out = r.add(out, a)
		}
		return out, nil
	case formula.Div:
		a, err := r.formLog(n.Args[0])
		if err != nil {
			return a, err
		}
		b, err := r.formLog(n.Args[1])
		b.n = b.n.neg()
		return r.add(a, b), err
	case formula.Pow, formula.Root:
		e, err := r.form(n.Args[1])
		if err != nil {
			return e, err
		}
		if isE(n.Args[0]) && n.Op == formula.Pow {
			return e, nil
		}
		a, err := r.formLog(n.Args[0])
		if err != nil {
			return a, err
		}
		if n.Op == formula.Root {
			return r.over(a, e)
		}
		return r.times(a, e), nil
	}
	a, err := r.form(n)
	if err != nil {
		return a, err
	}
	if c, ok := a.constant(); ok && c.Sign() <= 0 {
		return ratio{}, errUndefined
	}
	if _, ok := a.d.rat(); ok {
		r.above(a.n)
	}
	up, err := r.logarithm(a.n)
	if err != nil {
		return ratio{}, err
	}
	below, err := r.logarithm(a.d)
	return whole(r.addPoly(up, below.neg())), err
}

// formCall is the form of a known function.
func (r *ring) formCall(n *formula.Node) (ratio, error) {
	switch n.Name {
	case "sin", "cos", "tan", "sec", "csc", "cot":
		if len(n.Args) == 1 {
			return r.formTrig(n.Name, n.Args[0])
		}
	case "ln":
		if len(n.Args) == 1 {
			return r.formLog(n.Args[0])
		}
	case "log":
		if len(n.Args) == 2 {
			a, err := r.formLog(n.Args[1])
			if err != nil {
				return a, err
			}
			b, err := r.formLog(n.Args[0])
			if err != nil {
				return b, err
			}
			return r.over(a, b)
		}
	case "abs":
		return r.formAbs(n)
	}
	return r.formCount(n)
}

func (r *ring) formAbs(n *formula.Node) (ratio, error) {
	if len(n.Args) != 1 {
		return ratio{}, errForm
	}
	a, err := r.form(n.Args[0])
	if err != nil {
		return a, err
	}
	if v, ok := enclose(n.Args[0]); ok && len(n.Args[0].Vars()) == 0 && v.sign() != 0 {
		if v.sign() < 0 {
			a.n = a.n.neg()
		}
		return a, nil
	}
	up, err := r.absolute(a.n)
	if err != nil {
		return up, err
	}
	below, err := r.absolute(a.d)
	if err != nil {
		return below, err
	}
	return r.over(up, below)
}
