package algebra

import (
	"math/big"
	"sort"
	"strconv"
	"strings"
)

// A factor is an atom to a power; a mono is factors in the order of their atoms.
type factor struct{ atom, exp int }

type mono []factor

func (m mono) key() string {
	b := make([]byte, 0, 12)
	for _, f := range m {
		b = strconv.AppendInt(b, int64(f.atom), 10)
		b = append(b, '^')
		b = strconv.AppendInt(b, int64(f.exp), 10)
		b = append(b, ' ')
	}
	return string(b)
}

func (m mono) exp(atom int) int {
	for _, f := range m {
		if f.atom == atom {
			return f.exp
		}
	}
	return 0
}

// times is m·n.
func (m mono) times(n mono) mono {
	out := make(mono, 0, len(m)+len(n))
	i, j := 0, 0
	for i < len(m) || j < len(n) {
		switch {
		case j == len(n) || i < len(m) && m[i].atom < n[j].atom:
			out = append(out, m[i])
			i++
		case i == len(m) || n[j].atom < m[i].atom:
			out = append(out, n[j])
			j++
		default:
			if e := m[i].exp + n[j].exp; e != 0 {
				out = append(out, factor{m[i].atom, e})
			}
			i++
			j++
		}
	}
	return out
}

// without is m less atom.
func (m mono) without(atom int) mono {
	out := make(mono, 0, len(m))
	for _, f := range m {
		if f.atom != atom {
			out = append(out, f)
		}
	}
	return out
}

type term struct {
	c *big.Rat
	m mono
}

// A poly is a sum of terms, by the keys of their monomials. It is never changed once made.
type poly map[string]term

func constant(r *big.Rat) poly {
	if r.Sign() == 0 {
		return poly{}
	}
	return poly{"": {r, nil}}
}

func integer(n int64) poly { return constant(big.NewRat(n, 1)) }

// rat is p's value where p is a constant.
func (p poly) rat() (*big.Rat, bool) {
	switch len(p) {
	case 0:
		return new(big.Rat), true
	case 1:
		if t, ok := p[""]; ok {
			return t.c, true
		}
	}
	return nil, false
}

func (p poly) put(t term) {
	k := t.m.key()
	if have, ok := p[k]; ok {
		s := new(big.Rat).Add(have.c, t.c)
		if s.Sign() == 0 {
			delete(p, k)
			return
		}
		p[k] = term{s, t.m}
		return
	}
	if t.c.Sign() != 0 {
		p[k] = t
	}
}

func (w *Work) addPoly(p, q poly) poly {
	w.spend(len(p) + len(q))
	out := make(poly, len(p)+len(q))
	for k, t := range p {
		out[k] = t
	}
	for _, t := range q {
		out.put(t)
	}
	return out
}

func (p poly) scale(c *big.Rat) poly {
	out := make(poly, len(p))
	for k, t := range p {
		if s := new(big.Rat).Mul(t.c, c); s.Sign() != 0 {
			out[k] = term{s, t.m}
		}
	}
	return out
}

func (p poly) neg() poly { return p.scale(big.NewRat(-1, 1)) }

// sorted are the terms in a fixed order: highest total degree first, then by key.
func (p poly) sorted() []term {
	keys := make([]string, 0, len(p))
	for k := range p {
		keys = append(keys, k)
	}
	degree := func(m mono) int {
		d := 0
		for _, f := range m {
			d += f.exp
		}
		return d
	}
	sort.Slice(keys, func(i, j int) bool {
		a, b := degree(p[keys[i]].m), degree(p[keys[j]].m)
		if a != b {
			return a > b
		}
		return keys[i] < keys[j]
	})
	out := make([]term, len(keys))
	for i, k := range keys {
		out[i] = p[k]
	}
	return out
}

// key tells polynomials apart.
func (p poly) key() string {
	var b strings.Builder
	for _, t := range p.sorted() {
		b.WriteString(t.c.RatString())
		b.WriteByte('*')
		b.WriteString(t.m.key())
		b.WriteByte('+')
	}
	return b.String()
}

func (p poly) atoms() map[int]bool {
	all := map[int]bool{}
	for _, t := range p {
		for _, f := range t.m {
			all[f.atom] = true
		}
	}
	return all
}

// degree is the highest exponent of atom.
func (p poly) degree(atom int) int {
	d := 0
	for _, t := range p {
		d = max(d, t.m.exp(atom))
	}
	return d
}

// content is the positive rational c for which p/c has whole coefficients without a common factor.
func (p poly) content() *big.Rat {
	num, den := new(big.Int), big.NewInt(1)
	for _, t := range p {
		num.GCD(nil, nil, num, new(big.Int).Abs(t.c.Num()))
		g := new(big.Int).GCD(nil, nil, den, t.c.Denom())
		den.Mul(den, new(big.Int).Div(t.c.Denom(), g))
	}
	if num.Sign() == 0 {
		return big.NewRat(1, 1)
	}
	return new(big.Rat).SetFrac(num, den)
}

// common is the monomial every term of p has.
func (p poly) common() mono {
	var m mono
	first := true
	for _, t := range p {
		if first {
			m, first = append(mono{}, t.m...), false
			continue
		}
		kept := m[:0]
		for _, f := range m {
			if e := min(f.exp, t.m.exp(f.atom)); e > 0 {
				kept = append(kept, factor{f.atom, e})
			}
		}
		m = kept
	}
	return m
}

// over is p with m, which divides every term, taken out.
func (p poly) over(m mono) poly {
	inverse := make(mono, len(m))
	for i, f := range m {
		inverse[i] = factor{f.atom, -f.exp}
	}
	out := make(poly, len(p))
	for _, t := range p {
		out.put(term{t.c, t.m.times(inverse)})
	}
	return out
}
