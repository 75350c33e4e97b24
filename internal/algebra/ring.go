package algebra

import (
	"errors"
	"math/big"

	"afina/internal/formula"
)

// The kinds of atoms normal forms are polynomials in.
const (
	aVar    = iota // a variable
	aPi            // π
	aI             // the imaginary unit
	aRoot          // the index-th root of arg
	aAbs           // |arg|
	aSin           // sin of arg; its square is rewritten
	aCos           // cos of arg
	aExp           // e or a prime, to the arg
	aLog           // ln |arg|
	aOpaque        // anything else, known by its name only
)

type atom struct {
	kind  int
	name  string
	index int  // of a root
	arg   poly // of a root or |…|: what its power is
	plain bool // of a root: of a prime number, so that products of different ones are independent
}

// A ring holds the atoms of one reckoning.
type ring struct {
	*Work
	atoms  []atom
	index  map[string]int
	denoms map[string]int64 // by monomial: the denominators its angles and exponents came with
	grew   bool             // some denominator was new: reckon again with it
	signs  map[string]bool  // by key: polynomials that are not negative where all is defined
}

func newRing(w *Work) *ring {
	return &ring{Work: w, index: map[string]int{}, denoms: map[string]int64{}, signs: map[string]bool{}}
}

func (r *ring) atom(a atom) int {
	key := string(rune('a'+a.kind)) + a.name
	if i, ok := r.index[key]; ok {
		return i
	}
	r.atoms = append(r.atoms, a)
	r.index[key] = len(r.atoms) - 1
	return len(r.atoms) - 1
}

func (r *ring) of(a atom) poly {
	return mono{{r.atom(a), 1}}.poly()
}

func (m mono) poly() poly { return poly{m.key(): {big.NewRat(1, 1), m}} }

var errSpent = errors.New("too much work")

// errUndefined is returned for what has no value: a division by zero.
var errUndefined = errors.New("undefined")

// errForm is returned for what this package has no form of.
var errForm = errors.New("no form")

const mostTerms = 2000

func (r *ring) mul(p, q poly) poly {
	if len(p)*len(q) > 4*mostTerms || !r.spend(len(p)*len(q)+1) {
		r.left = 0
		return poly{}
	}
	out := make(poly, len(p)+len(q))
	for _, a := range p {
		for _, b := range q {
			c := new(big.Rat).Mul(a.c, b.c)
			if k := bits(c); k > 500 && !r.spend(k/50) || k > widest {
				r.left = 0
				return poly{}
			}
			out.put(term{c, a.m.times(b.m)})
		}
	}
	return r.reduce(out)
}

// reduce rewrites powers of atoms that have simpler ones, until there are none.
func (r *ring) reduce(p poly) poly {
	for range 200 {
		if !r.spend(len(p)) {
			return poly{}
		}
		k, at := r.reducible(p)
		if at < 0 {
			return p
		}
		t := p[k]
		rest := poly{}
		for j, u := range p {
			if j != k {
				rest[j] = u
			}
		}
		e := t.m.exp(at)
		n, by := r.rule(at)
		left := term{t.c, t.m.without(at)}
		if e%n > 0 {
			left.m = left.m.times(mono{{at, e % n}})
		}
		lot := poly{left.m.key(): left}
		for range e / n {
			lot = r.mul(lot, by)
		}
		p = r.addPoly(rest, lot)
	}
	r.left = 0
	return poly{}
}

func (r *ring) reducible(p poly) (string, int) {
	best, at := "", -1
	for k, t := range p {
		for _, f := range t.m {
			if n, _ := r.rule(f.atom); n > 0 && f.exp >= n && (at < 0 || k < best) {
				best, at = k, f.atom
			}
		}
	}
	return best, at
}

// rule is the power n of an atom that can be rewritten, and as what.
func (r *ring) rule(i int) (int, poly) {
	a := r.atoms[i]
	switch a.kind {
	case aRoot:
		return a.index, a.arg
	case aAbs:
		return 2, r.mul(a.arg, a.arg)
	case aI:
		return 2, integer(-1)
	case aSin:
		c := r.of(atom{kind: aCos, name: a.name})
		return 2, r.addPoly(integer(1), r.mul(c, c).neg())
	}
	return 0, nil
}

func (r *ring) pow(p poly, n int) poly {
	out := integer(1)
	for range n {
		if r.Spent() {
			return poly{}
		}
		out = r.mul(out, p)
	}
	return out
}

// complete reports whether p, not zero, is known not to be zero: its atoms are
// variables, square roots of different primes, i, and π or e (not both), which
// are algebraically independent but for the rewritten powers.
func (r *ring) complete(p poly) bool {
	transcendental := 0
	for i := range p.atoms() {
		a := r.atoms[i]
		switch {
		case a.kind == aVar, a.kind == aRoot && a.plain && a.index == 2:
		case a.kind == aPi, a.kind == aExp && a.name == "e^1":
			transcendental++
		default:
			return false
		}
	}
	return transcendental <= 1
}

// A ratio is n/d; d is never zero.
type ratio struct{ n, d poly }

func whole(p poly) ratio { return ratio{p, integer(1)} }

func (r *ring) add(a, b ratio) ratio {
	if a.d.key() == b.d.key() {
		return r.simple(ratio{r.addPoly(a.n, b.n), a.d})
	}
	return r.simple(ratio{r.addPoly(r.mul(a.n, b.d), r.mul(b.n, a.d)), r.mul(a.d, b.d)})
}

func (r *ring) times(a, b ratio) ratio {
	return r.simple(ratio{r.mul(a.n, b.n), r.mul(a.d, b.d)})
}

func (r *ring) over(a, b ratio) (ratio, error) {
	if len(b.n) == 0 {
		if r.Spent() {
			return ratio{}, errSpent
		}
		return ratio{}, errUndefined
	}
	return r.simple(ratio{r.mul(a.n, b.d), r.mul(a.d, b.n)}), nil
}

// simple takes out of both sides what they evidently share.
func (r *ring) simple(a ratio) ratio {
	if len(a.n) == 0 {
		return whole(poly{})
	}
	if c, ok := a.d.rat(); ok {
		if c.Sign() == 0 { // only when the work is spent
			return whole(poly{})
		}
		return whole(a.n.scale(new(big.Rat).Inv(c)))
	}
	c := a.d.content()
	a = ratio{a.n.scale(new(big.Rat).Inv(c)), a.d.scale(new(big.Rat).Inv(c))}
	shared := mono{}
	n, d := a.n.common(), a.d.common()
	for _, f := range n {
		if e := min(f.exp, d.exp(f.atom)); e > 0 {
			shared = append(shared, factor{f.atom, e})
		}
	}
	if len(shared) > 0 {
		a = ratio{a.n.over(shared), a.d.over(shared)}
	}
	if len(a.d) == 1 || len(a.n) == len(a.d) {
		return r.shrink(a)
	}
	return a
}

// shrink turns a constant quotient into the constant, and a surd below into one above.
func (r *ring) shrink(a ratio) ratio {
	if c, ok := a.d.rat(); ok {
		return whole(a.n.scale(new(big.Rat).Inv(c)))
	}
	if len(a.d) == 1 {
		for _, t := range a.d {
			for _, f := range t.m {
				if at := r.atoms[f.atom]; at.kind == aRoot && at.plain && f.exp < at.index {
					up := mono{{f.atom, at.index - f.exp}}.poly()
					return r.simple(ratio{r.mul(a.n, up), r.mul(a.d, up)})
				}
			}
		}
		return a
	}
	n, d := a.n.sorted(), a.d.sorted()
	q := new(big.Rat).Quo(n[0].c, d[0].c)
	if a.n.scale(new(big.Rat).Inv(q)).key() == a.d.key() {
		return whole(constant(q))
	}
	return a
}

func (r *ring) power(a ratio, n int64) (ratio, error) {
	if n < 0 {
		b, err := r.over(whole(integer(1)), a)
		if err != nil {
			return b, err
		}
		return r.power(b, -n)
	}
	if c, ok := a.constant(); ok {
		if float := int64(bits(c)) * n; float > widest && !one(c) {
			return ratio{}, errForm
		}
		k := big.NewInt(n)
		return whole(constant(new(big.Rat).SetFrac(new(big.Int).Exp(c.Num(), k, nil), new(big.Int).Exp(c.Denom(), k, nil)))), nil
	}
	if n > 64 {
		return ratio{}, errForm
	}
	return r.simple(ratio{r.pow(a.n, int(n)), r.pow(a.d, int(n))}), nil
}

func one(c *big.Rat) bool { return c.IsInt() && c.Num().BitLen() <= 1 }

// constant is the rational a is, where it is one.
func (a ratio) constant() (*big.Rat, bool) {
	n, ok := a.n.rat()
	if !ok {
		return nil, false
	}
	d, ok := a.d.rat()
	if !ok || d.Sign() == 0 {
		return nil, false
	}
	return new(big.Rat).Quo(n, d), true
}

func (a ratio) key() string { return a.n.key() + "/" + a.d.key() }

// above notes that p is not negative, for it stands in a logarithm or an even root.
func (r *ring) above(p poly) {
	if len(p) > 0 {
		r.signs[p.scale(new(big.Rat).Inv(p.content())).key()] = true
	}
}

// zero reports whether p vanishes wherever all that r has read is defined.
func (r *ring) zero(p poly) bool {
	for i, a := range r.atoms {
		if a.kind != aAbs || len(p) == 0 {
			continue
		}
		by := a.arg
		switch c := by.scale(new(big.Rat).Inv(by.content())); {
		case r.signs[c.key()]:
		case r.signs[c.neg().key()]:
			by = by.neg()
		default:
			continue
		}
		p = r.replace(p, i, by)
	}
	return len(p) == 0 && !r.Spent()
}

// replace is p with an atom replaced.
func (r *ring) replace(p poly, at int, by poly) poly {
	out := poly{}
	for _, t := range p {
		lot := poly{}
		lot.put(term{t.c, t.m.without(at)})
		for range t.m.exp(at) {
			lot = r.mul(lot, by)
		}
		out = r.addPoly(out, lot)
	}
	return r.reduce(out)
}

// norm is the normal form of n.
func (w *Work) norm(n *formula.Node) (*ring, ratio, error) {
	r := newRing(w)
	a, err := r.form(n)
	if r.grew && err == nil {
		again := newRing(w)
		again.denoms = r.denoms
		r = again
		a, err = r.form(n)
	}
	if w.Spent() {
		err = errSpent
	}
	return r, a, err
}
