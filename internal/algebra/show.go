package algebra

import (
	"math/big"

	"afina/internal/formula"
)

// Simplify is n multiplied out and put in order, where its normal form can be
// written: variables, numbers, square roots, π and e.
func (w *Work) Simplify(n *formula.Node) (*formula.Node, bool) {
	r, a, err := w.norm(n)
	if err != nil {
		return nil, false
	}
	up, ok := r.tree(a.n)
	if !ok {
		return nil, false
	}
	if c, isRat := a.d.rat(); isRat && c.IsInt() && one(c) && c.Sign() > 0 {
		return up, true
	}
	down, ok := r.tree(a.d)
	return formula.New(formula.Div, up, down), ok
}

func (r *ring) tree(p poly) (*formula.Node, bool) {
	if len(p) == 0 {
		return formula.Int(0), true
	}
	if len(p) > 12 {
		return nil, false
	}
	var terms []*formula.Node
	for _, t := range p.sorted() {
		var factors []*formula.Node
		size := new(big.Rat).Abs(t.c)
		if len(t.m) == 0 || !one(size) {
			factors = append(factors, formula.Rat(size))
		}
		for _, f := range t.m {
			n, ok := r.atomTree(r.atoms[f.atom])
			if !ok {
				return nil, false
			}
			if f.exp > 1 {
				n = formula.New(formula.Pow, n, formula.Int(int64(f.exp)))
			}
			factors = append(factors, n)
		}
		n := factors[0]
		if len(factors) > 1 {
			n = formula.New(formula.Mul, factors...)
		}
		if t.c.Sign() < 0 {
			n = formula.New(formula.Neg, n)
		}
		terms = append(terms, n)
	}
	if len(terms) == 1 {
		return terms[0], true
	}
	return formula.New(formula.Add, terms...), true
}

func (r *ring) atomTree(a atom) (*formula.Node, bool) {
	switch {
	case a.kind == aVar:
		return formula.Var(a.name), true
	case a.kind == aPi:
		return &formula.Node{Op: formula.Con, Name: "pi"}, true
	case a.kind == aExp && a.name == "e^1":
		return &formula.Node{Op: formula.Con, Name: "e"}, true
	case a.kind == aRoot && a.plain:
		c, _ := a.arg.rat()
		return formula.New(formula.Root, formula.Rat(c), formula.Int(int64(a.index))), true
	}
	return nil, false
}
