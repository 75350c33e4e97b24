// Package equation solves: the real roots of an equation of one unknown, the
// solution set of an inequality, the domain of an expression, and linear
// systems. It also differentiates, and finds limits and integrals.
//
// Solutions are complete or it says that they may not be; it never guesses.
package equation

import (
	"math/big"
	"sort"
)

// A upoly is a polynomial of one variable, lowest power first, without zeros on top.
type upoly []*big.Rat

func trim(p upoly) upoly {
	for len(p) > 0 && p[len(p)-1].Sign() == 0 {
		p = p[:len(p)-1]
	}
	return p
}

func (p upoly) degree() int { return len(p) - 1 }

func (p upoly) at(x *big.Rat) *big.Rat {
	v := new(big.Rat)
	for i := len(p) - 1; i >= 0; i-- {
		v.Add(v.Mul(v, x), p[i])
	}
	return v
}

func (p upoly) derivative() upoly {
	if len(p) < 2 {
		return nil
	}
	d := make(upoly, len(p)-1)
	for i := range d {
		d[i] = new(big.Rat).Mul(p[i+1], big.NewRat(int64(i+1), 1))
	}
	return trim(d)
}

// divide is p = q·d + rest.
func (p upoly) divide(d upoly) (q, rest upoly) {
	rest = make(upoly, len(p))
	for i := range p {
		rest[i] = new(big.Rat).Set(p[i])
	}
	if len(p) < len(d) {
		return nil, rest
	}
	q = make(upoly, len(p)-len(d)+1)
	top := d[len(d)-1]
	for i := len(p) - len(d); i >= 0; i-- {
		c := new(big.Rat).Quo(rest[i+len(d)-1], top)
		q[i] = c
		for j := range d {
			rest[i+j].Sub(rest[i+j], new(big.Rat).Mul(c, d[j]))
		}
	}
	return trim(q), trim(rest)
}

// primitive is p with whole coefficients without a common factor.
func (p upoly) primitive() upoly {
	den, num := big.NewInt(1), new(big.Int)
	for _, c := range p {
		g := new(big.Int).GCD(nil, nil, den, c.Denom())
		den.Mul(den, new(big.Int).Div(c.Denom(), g))
	}
	out := make(upoly, len(p))
	for i, c := range p {
		out[i] = new(big.Rat).Mul(c, new(big.Rat).SetInt(den))
		num.GCD(nil, nil, num, new(big.Int).Abs(out[i].Num()))
	}
	if num.Sign() > 0 {
		for i := range out {
			out[i].Quo(out[i], new(big.Rat).SetInt(num))
		}
	}
	return out
}

func gcd(a, b upoly) upoly {
	for len(b) > 0 {
		_, r := a.divide(b)
		a, b = b, r.primitive()
	}
	return a
}

// squareFree has the roots of p, each once.
func (p upoly) squareFree() upoly {
	g := gcd(p, p.derivative())
	if g.degree() < 1 {
		return p.primitive()
	}
	q, _ := p.divide(g)
	return q.primitive()
}

// A Root is a real root of a polynomial: rational where Value is not nil, and
// else the only root of poly strictly between lo and hi.
type Root struct {
	Value  *big.Rat
	poly   upoly
	lo, hi *big.Rat
}

// sturm is the chain of p, which counts the roots between two points.
func (p upoly) sturm() []upoly {
	chain := []upoly{p, p.derivative()}
	for {
		a, b := chain[len(chain)-2], chain[len(chain)-1]
		if len(b) == 0 {
			return chain[:len(chain)-1]
		}
		_, r := a.divide(b)
		if len(r) == 0 {
			return chain
		}
		r = r.primitive()
		for i := range r {
			r[i].Neg(r[i])
		}
		chain = append(chain, r)
	}
}

func changes(chain []upoly, x *big.Rat) int {
	n, last := 0, 0
	for _, p := range chain {
		s := p.at(x).Sign()
		if s != 0 {
			if last != 0 && s != last {
				n++
			}
			last = s
		}
	}
	return n
}

// roots are the real roots of p in order; p is not constant.
func roots(p upoly) []Root {
	p = p.squareFree()
	var out []Root
	for _, v := range rationals(p) {
		out = append(out, Root{Value: v})
		p, _ = p.divide(upoly{new(big.Rat).Neg(v), big.NewRat(1, 1)})
	}
	if p.degree() >= 1 {
		p = p.primitive()
		b := bound(p)
		chain := p.sturm()
		lo, hi := new(big.Rat).Neg(b), b
		out = append(out, isolate(p, chain, lo, hi, changes(chain, lo), changes(chain, hi))...)
	}
	sort.Slice(out, func(i, j int) bool { return less(&out[i], &out[j]) })
	return out
}

// bound is larger than the size of every root (Cauchy).
func bound(p upoly) *big.Rat {
	b := new(big.Rat)
	top := p[len(p)-1]
	for _, c := range p[:len(p)-1] {
		if q := new(big.Rat).Abs(new(big.Rat).Quo(c, top)); q.Cmp(b) > 0 {
			b = q
		}
	}
	return b.Add(b, big.NewRat(1, 1)).Add(b, big.NewRat(1, 7))
}

func middle(a, b *big.Rat) *big.Rat {
	m := new(big.Rat).Add(a, b)
	return m.Mul(m, big.NewRat(1, 2))
}

func isolate(p upoly, chain []upoly, lo, hi *big.Rat, at, to int) []Root {
	switch at - to {
	case 0:
		return nil
	case 1:
		return []Root{{poly: p, lo: lo, hi: hi}}
	}
	m := middle(lo, hi)
	for p.at(m).Sign() == 0 { // p has no rational roots that were found; step aside from others
		m = middle(lo, m)
	}
	mid := changes(chain, m)
	return append(isolate(p, chain, lo, m, at, mid), isolate(p, chain, m, hi, mid, to)...)
}

// rationals are the rational roots of p, found among the divisors of its ends.
func rationals(p upoly) []*big.Rat {
	p = p.primitive()
	var out []*big.Rat
	if p[0].Sign() == 0 {
		out = append(out, new(big.Rat))
		p = p[1:]
	}
	if p.degree() < 1 {
		return out
	}
	a, b := divisorsOf(p[0].Num()), divisorsOf(p[len(p)-1].Num())
	seen := map[string]bool{}
	for _, n := range a {
		for _, d := range b {
			for _, s := range []int64{1, -1} {
				v := big.NewRat(s*n, d)
				if !seen[v.RatString()] && p.at(v).Sign() == 0 {
					out = append(out, v)
				}
				seen[v.RatString()] = true
			}
		}
	}
	return out
}

// divisorsOf are the divisors of n that are found with little work.
func divisorsOf(n *big.Int) []int64 {
	n = new(big.Int).Abs(n)
	if !n.IsInt64() || n.Int64() > 1e12 {
		return []int64{1}
	}
	k := n.Int64()
	var out []int64
	for d := int64(1); d*d <= k && d <= 20000; d++ {
		if k%d == 0 {
			out = append(out, d)
			if d*d != k {
				out = append(out, k/d)
			}
		}
	}
	if len(out) > 120 {
		out = out[:120]
	}
	return out
}

// refine halves the bracket of r until it is narrower than width.
func (r *Root) refine(width *big.Rat) {
	if r.Value != nil {
		return
	}
	s := r.poly.at(r.lo).Sign()
	for range 400 {
		if new(big.Rat).Sub(r.hi, r.lo).Cmp(width) < 0 {
			return
		}
		m := middle(r.lo, r.hi)
		switch t := r.poly.at(m).Sign(); t {
		case 0:
			r.Value = m
			return
		case s:
			r.lo = m
		default:
			r.hi = m
		}
	}
}

func (r *Root) low() *big.Rat {
	if r.Value != nil {
		return r.Value
	}
	return r.lo
}

func (r *Root) high() *big.Rat {
	if r.Value != nil {
		return r.Value
	}
	return r.hi
}

// less orders roots that are known to differ.
func less(a, b *Root) bool {
	width := big.NewRat(1, 1)
	for range 60 {
		if a.high().Cmp(b.low()) <= 0 {
			return a.high().Cmp(b.low()) < 0 || a.Value == nil || b.Value == nil
		}
		if b.high().Cmp(a.low()) <= 0 {
			return false
		}
		width = new(big.Rat).Mul(width, big.NewRat(1, 16))
		a.refine(width)
		b.refine(width)
	}
	return false
}
