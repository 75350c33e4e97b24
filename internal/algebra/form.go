package algebra

import (
	"math/big"

	"afina/internal/formula"
)

// form is the normal form of n: two trees with the same one are equal wherever
// both are defined.
func (r *ring) form(n *formula.Node) (ratio, error) {
	if !r.spend(1) {
		return ratio{}, errSpent
	}
	switch n.Op {
	case formula.Num:
		if n.Dots {
			return ratio{}, errForm
		}
		return whole(constant(n.Rat)), nil
	case formula.Sym:
		if n.Name == "i" {
			return whole(r.of(atom{kind: aI, name: "i"})), nil
		}
		return whole(r.of(atom{kind: aVar, name: n.Name})), nil
	case formula.Con:
		switch n.Name {
		case "pi":
			return whole(r.of(atom{kind: aPi, name: "π"})), nil
		case "e":
			return whole(r.of(atom{kind: aExp, name: "e^1"})), nil
		}
		return ratio{}, errForm
	case formula.Add, formula.Mul:
		return r.fold(n)
	case formula.Neg:
		a, err := r.form(n.Args[0])
		return ratio{a.n.neg(), a.d}, err
	case formula.Div:
		a, b, err := r.two(n.Args[0], n.Args[1])
		if err != nil {
			return a, err
		}
		return r.over(a, b)
	case formula.Pow:
		return r.formPower(n.Args[0], n.Args[1])
	case formula.Root:
		return r.formRoot(n.Args[0], n.Args[1])
	case formula.Percent:
		return r.form(formula.New(formula.Div, n.Args[0], formula.Int(100)))
	case formula.Degree:
		return r.form(formula.New(formula.Div, formula.New(formula.Mul, n.Args[0], &formula.Node{Op: formula.Con, Name: "pi"}), formula.Int(180)))
	case formula.Call:
		return r.formCall(n)
	case formula.Sum, formula.Prod:
		return r.formSeries(n)
	}
	return r.opaque(n)
}

func (r *ring) two(m, n *formula.Node) (a, b ratio, err error) {
	if a, err = r.form(m); err == nil {
		b, err = r.form(n)
	}
	return a, b, err
}

func (r *ring) fold(n *formula.Node) (ratio, error) {
	out, err := r.form(n.Args[0])
	for _, arg := range n.Args[1:] {
		if err != nil {
			return out, err
		}
		var b ratio
		if b, err = r.form(arg); err != nil {
			return b, err
		}
		if n.Op == formula.Add {
			out = r.add(out, b)
		} else {
			out = r.times(out, b)
		}
	}
	return out, err
}

// opaque is an atom known only by the forms of its arguments.
func (r *ring) opaque(n *formula.Node) (ratio, error) {
	switch n.Op {
	case formula.Apply, formula.Call, formula.Pow:
	default:
		return ratio{}, errForm
	}
	name := n.Name + string(rune('0'+n.Order+1))
	for _, arg := range n.Args {
		a, err := r.form(arg)
		if err != nil {
			return a, err
		}
		name += "," + a.key()
	}
	return whole(r.of(atom{kind: aOpaque, name: name})), nil
}

// small is the integer n is, where it is one of at most max in size.
func small(c *big.Rat, max int64) (int64, bool) {
	if !c.IsInt() || !c.Num().IsInt64() {
		return 0, false
	}
	k := c.Num().Int64()
	return k, k <= max && k >= -max
}

func (r *ring) formPower(base, exponent *formula.Node) (ratio, error) {
	e, err := r.form(exponent)
	if err != nil {
		return e, err
	}
	c, ok := e.constant()
	if !ok {
		return r.formExp(base, e)
	}
	if k, ok := small(c, 1<<20); ok {
		b, err := r.form(base)
		if err != nil {
			return b, err
		}
		if k == 0 && len(b.n) == 0 { // 0⁰
			return ratio{}, errForm
		}
		return r.power(b, k)
	}
	if isE(base) {
		return r.exponential("e", e)
	}
	if !c.Denom().IsInt64() || c.Denom().Int64() > 12 {
		return ratio{}, errForm
	}
	root, err := r.formRoot(base, formula.Rat(new(big.Rat).SetInt(c.Denom())))
	if err != nil {
		return root, err
	}
	k, ok := small(new(big.Rat).SetInt(c.Num()), 1<<10)
	if !ok {
		return ratio{}, errForm
	}
	return r.power(root, k)
}

func isE(n *formula.Node) bool { return n.Op == formula.Con && n.Name == "e" }

// formExp is base^e with a variable in e.
func (r *ring) formExp(base *formula.Node, e ratio) (ratio, error) {
	if isE(base) {
		return r.exponential("e", e)
	}
	b, err := r.form(base)
	if err != nil {
		return b, err
	}
	c, ok := b.constant()
	if !ok || c.Sign() <= 0 {
		return whole(r.of(atom{kind: aOpaque, name: "pow" + b.key() + "^" + e.key()})), nil
	}
	out := whole(integer(1))
	for _, pf := range primes(c) {
		if pf.p < 0 {
			return ratio{}, errForm
		}
		part, err := r.exponential(big.NewInt(pf.p).String(), r.times(e, whole(integer(int64(pf.k)))))
		if err != nil {
			return part, err
		}
		out = r.times(out, part)
	}
	return out, nil
}

// exponential is base^e as a product over the terms of e: base^(3x/2) is the
// third power of base^(x/2).
func (r *ring) exponential(base string, e ratio) (ratio, error) {
	if _, ok := e.d.rat(); !ok {
		up := whole(r.of(atom{kind: aOpaque, name: base + "^" + e.key()}))
		return up, nil
	}
	out := whole(integer(1))
	for _, t := range e.n.sorted() {
		if base == "e" && len(t.m) == 1 && t.m[0].exp == 1 && r.atoms[t.m[0].atom].kind == aLog {
			if k, ok := small(t.c, 40); ok { // e^(k ln |u|) = |u|^k
				part, err := r.absolute(r.atoms[t.m[0].atom].arg)
				if err == nil {
					part, err = r.power(part, k)
				}
				if err != nil {
					return part, err
				}
				out = r.times(out, part)
				continue
			}
		}
		part, err := r.exponentialTerm(base, t)
		if err != nil {
			return part, err
		}
		out = r.times(out, part)
	}
	return out, nil
}

func (r *ring) exponentialTerm(base string, t term) (ratio, error) {
	if len(t.m) == 0 && base != "e" { // a prime to a constant
		p, _ := new(big.Int).SetString(base, 10)
		return r.formPower(formula.Rat(new(big.Rat).SetInt(p)), formula.Rat(t.c))
	}
	k, unit, ok := r.multiple(t)
	if !ok {
		return ratio{}, errForm
	}
	name := base + "^" + unit
	if len(t.m) == 0 && unit == "1*+" {
		name = "e^1"
	}
	return r.power(whole(r.of(atom{kind: aExp, name: name})), k)
}

// multiple writes a term as k times a unit, whose denominator is that of all
// terms of its monomial.
func (r *ring) multiple(t term) (k int64, unit string, ok bool) {
	key := t.m.key()
	if !t.c.Denom().IsInt64() || !t.c.Num().IsInt64() {
		return 0, "", false
	}
	den := t.c.Denom().Int64()
	have := max(r.denoms[r.names(t.m)], 1)
	if have%den != 0 {
		g := new(big.Int).GCD(nil, nil, big.NewInt(have), big.NewInt(den)).Int64()
		have = have / g * den
		r.denoms[r.names(t.m)] = have
		r.grew = true
	}
	if have > 1000 {
		return 0, "", false
	}
	k, ok = small(new(big.Rat).Mul(t.c, big.NewRat(have, 1)), 60)
	return k, big.NewRat(1, have).RatString() + "*" + key + "+", ok
}

// names is a key of m that does not depend on the numbering of a ring.
func (r *ring) names(m mono) string {
	s := ""
	for _, f := range m {
		s += r.atoms[f.atom].name + string(rune('0'+f.exp)) + " "
	}
	return s
}

// formSeries unfolds a sum or product between integers.
func (r *ring) formSeries(n *formula.Node) (ratio, error) {
	lo, hi, err := r.two(n.Args[1], n.Args[2])
	if err != nil {
		return lo, err
	}
	a, okA := lo.constant()
	b, okB := hi.constant()
	if !okA || !okB {
		return ratio{}, errForm
	}
	from, okA := small(a, 1<<20)
	to, okB := small(b, 1<<20)
	if !okA || !okB || to-from > 300 {
		return ratio{}, errForm
	}
	out := whole(poly{})
	if n.Op == formula.Prod {
		out = whole(integer(1))
	}
	for k := from; k <= to; k++ {
		part, err := r.form(n.Args[0].Replace(n.Name, formula.Int(k)))
		if err != nil {
			return part, err
		}
		if n.Op == formula.Sum {
			out = r.add(out, part)
		} else {
			out = r.times(out, part)
		}
	}
	return out, nil
}
