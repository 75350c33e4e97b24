package equation

import (
	"math"
	"math/big"

	"afina/internal/algebra"
	"afina/internal/formula"
)

// A Region is a set of reals, known by asking whether a number is in it.
type Region struct {
	Has   func(v *formula.Node) algebra.Truth
	Edges []*formula.Node // where membership can change
	Whole bool            // Edges are all such places
}

// Compare says whether two regions are the same. With No comes a number that
// is in one and not in the other.
func Compare(w *algebra.Work, a, b Region) (algebra.Truth, *formula.Node) {
	points, ok := sorted(w, append(append([]*formula.Node{}, a.Edges...), b.Edges...))
	if !ok {
		return algebra.Unknown, nil
	}
	all := algebra.Yes
	for _, v := range append(samples(points), points...) {
		x, y := a.Has(v), b.Has(v)
		switch {
		case x == algebra.Unknown || y == algebra.Unknown:
			all = algebra.Unknown
		case x != y:
			return algebra.No, v
		}
	}
	if !a.Whole || !b.Whole {
		return algebra.Unknown, nil
	}
	return all, nil
}

// sorted puts numbers in order, each once.
func sorted(w *algebra.Work, in []*formula.Node) ([]*formula.Node, bool) {
	var out []*formula.Node
	if len(in) > 40 {
		return nil, false
	}
next:
	for _, v := range in {
		for i, u := range out {
			s, ok := w.Compare(v, u)
			if !ok {
				return nil, false
			}
			if s == 0 {
				continue next
			}
			if s < 0 {
				out = append(out[:i], append([]*formula.Node{v}, out[i:]...)...)
				continue next
			}
		}
		out = append(out, v)
	}
	return out, true
}

// samples are rationals left of, between and right of the points, one each.
func samples(points []*formula.Node) []*formula.Node {
	if len(points) == 0 {
		return []*formula.Node{formula.Int(0), formula.Int(1), signed(big.NewRat(-1, 1))}
	}
	at := make([]float64, len(points))
	for i, p := range points {
		r, _ := algebra.Box(nil).Eval(p)
		at[i] = (r.Lo + r.Hi) / 2
	}
	var out []*formula.Node
	add := func(f float64) {
		if v := new(big.Rat).SetFloat64(f); v != nil {
			out = append(out, signed(v))
		}
	}
	add(math.Floor(at[0]) - 1)
	for i := 1; i < len(at); i++ {
		add(between(at[i-1], at[i]))
	}
	add(math.Ceil(at[len(at)-1]) + 1)
	return out
}

// between is a number of few digits strictly between a and b.
func between(a, b float64) float64 {
	m := (a + b) / 2
	for scale := 1.0; scale < 1e9; scale *= 10 {
		if c := math.Round(m*scale) / scale; c > a+(b-a)/8 && c < b-(b-a)/8 {
			return c
		}
	}
	return m
}

// Condition is the region of x where every link of a chain of relations holds.
func Condition(w *algebra.Work, rel *formula.Node, x string) (Region, bool) {
	if rel.Op != formula.Rel || !only(rel, x) {
		return Region{}, false
	}
	r := Region{Whole: true}
	for i, sign := range rel.Rels {
		if sign != "<" && sign != ">" && sign != "≤" && sign != "≥" && sign != "=" && sign != "≠" {
			return Region{}, false
		}
		a, b := rel.Args[i], rel.Args[i+1]
		if !infinite(a) && !infinite(b) {
			edges, whole := critical(w, minus(a, b), x)
			r.Edges, r.Whole = append(r.Edges, edges...), r.Whole && whole
		}
	}
	r.Has = func(v *formula.Node) algebra.Truth {
		all := algebra.Yes
		for i, sign := range rel.Rels {
			a, b := rel.Args[i].Replace(x, v), rel.Args[i+1].Replace(x, v)
			if infinite(a) || infinite(b) {
				continue
			}
			d := w.Defined(a).And(w.Defined(b))
			if d == algebra.Yes {
				d = w.Holds(a, sign, b)
			}
			all = all.And(d)
		}
		return all
	}
	return r, true
}

func infinite(n *formula.Node) bool {
	if n.Op == formula.Neg {
		n = n.Args[0]
	}
	return n.Op == formula.Con && n.Name == "inf"
}

// Domain is the region of x where n is defined.
func Domain(w *algebra.Work, n *formula.Node, x string) (Region, bool) {
	if !only(n, x) {
		return Region{}, false
	}
	edges, whole := borders(w, n, x)
	return Region{Edges: edges, Whole: whole, Has: func(v *formula.Node) algebra.Truth {
		return w.Defined(n.Replace(x, v))
	}}, true
}

// critical are the places where the sign of n or its being defined can change.
func critical(w *algebra.Work, n *formula.Node, x string) ([]*formula.Node, bool) {
	edges, whole := borders(w, n, x)
	zeros, ok := places(w, n, x)
	return append(edges, zeros...), whole && ok
}

// places are the zeros of n, and perhaps more.
func places(w *algebra.Work, n *formula.Node, x string) ([]*formula.Node, bool) {
	if len(n.Vars()) == 0 {
		return nil, true
	}
	p, _, ok := w.Zeros(n, x)
	if !ok {
		s := Solve(w, n, formula.Int(0), x)
		return s.Roots, s.Complete && len(s.Roots) > 0
	}
	q := trim(p)
	if q.degree() < 1 {
		return nil, true
	}
	var out []*formula.Node
	whole := true
	for _, r := range roots(q) {
		e := r.Exact()
		if e == nil {
			whole = false
			continue
		}
		out = append(out, e)
	}
	return out, whole
}

// borders are the places where being defined can change, and where |…| has its corner.
func borders(w *algebra.Work, n *formula.Node, x string) ([]*formula.Node, bool) {
	var out []*formula.Node
	whole := true
	add := func(m *formula.Node) {
		p, ok := places(w, m, x)
		out, whole = append(out, p...), whole && ok
	}
	n.Walk(func(m *formula.Node) bool {
		switch {
		case len(m.Vars()) == 0:
			return false
		case m.Op == formula.Div:
			add(m.Args[1])
		case m.Op == formula.Root:
			add(m.Args[0])
		case m.Op == formula.Pow:
			if c, ok := w.Rational(m.Args[1]); len(m.Args[1].Vars()) > 0 && len(m.Args[0].Vars()) > 0 || ok && !c.IsInt() || ok && c.Sign() < 0 {
				add(m.Args[0])
			}
		case m.Op == formula.Call && (m.Name == "ln" || m.Name == "abs"):
			add(m.Args[0])
		case m.Op == formula.Call && m.Name == "log":
			add(m.Args[1])
		case m.Op == formula.Call && m.Name != "sin" && m.Name != "cos" && m.Name != "atan":
			whole = false
		}
		return true
	})
	return out, whole
}

// Members is the region a set is: an interval, a set of numbers, ℝ, or what is
// made of them.
func Members(w *algebra.Work, n *formula.Node) (Region, bool) {
	switch n.Op {
	case formula.NumSet:
		if n.Name != "R" {
			return Region{}, false
		}
		return Region{Whole: true, Has: func(*formula.Node) algebra.Truth { return algebra.Yes }}, true
	case formula.Set:
		return finite(w, n.Args)
	case formula.Interval:
		return between2(w, n)
	case formula.Union, formula.Inter, formula.Minus:
		return combined(w, n)
	}
	return Region{}, false
}

// finite is the region of some numbers.
func finite(w *algebra.Work, values []*formula.Node) (Region, bool) {
	for _, v := range values {
		if len(v.Vars()) > 0 || w.Defined(v) != algebra.Yes {
			return Region{}, false
		}
	}
	return Region{Edges: values, Whole: true, Has: func(v *formula.Node) algebra.Truth {
		in := algebra.No
		for _, u := range values {
			in = in.Or(w.Equal(u, v))
		}
		return in
	}}, true
}

func between2(w *algebra.Work, n *formula.Node) (Region, bool) {
	r := Region{Whole: true}
	for _, e := range n.Args {
		if infinite(e) {
			continue
		}
		if len(e.Vars()) > 0 || w.Defined(e) != algebra.Yes {
			return r, false
		}
		r.Edges = append(r.Edges, e)
	}
	left, right := "≥", "≤"
	if n.Open[0] {
		left = ">"
	}
	if n.Open[1] {
		right = "<"
	}
	r.Has = func(v *formula.Node) algebra.Truth {
		in := algebra.Yes
		if !infinite(n.Args[0]) {
			in = in.And(w.Holds(v, left, n.Args[0]))
		} else if n.Args[0].Op != formula.Neg {
			in = algebra.No
		}
		if !infinite(n.Args[1]) {
			in = in.And(w.Holds(v, right, n.Args[1]))
		} else if n.Args[1].Op == formula.Neg {
			in = algebra.No
		}
		return in
	}
	return r, true
}

func combined(w *algebra.Work, n *formula.Node) (Region, bool) {
	all := Region{Whole: true}
	var parts []Region
	for _, arg := range n.Args {
		r, ok := Members(w, arg)
		if !ok {
			return r, false
		}
		parts = append(parts, r)
	}
	return join(n.Op, all, parts), true
}

func join(op formula.Op, all Region, parts []Region) Region {
	for _, r := range parts {
		all.Edges, all.Whole = append(all.Edges, r.Edges...), all.Whole && r.Whole
	}
	all.Has = func(v *formula.Node) algebra.Truth {
		in := parts[0].Has(v)
		for _, r := range parts[1:] {
			switch op {
			case formula.Union:
				in = in.Or(r.Has(v))
			case formula.Inter:
				in = in.And(r.Has(v))
			case formula.Minus:
				in = in.And(r.Has(v).Not())
			}
		}
		return in
	}
	return all
}

// Either is the region of the numbers in one of the parts; Both that of those in all.
func Either(parts ...Region) Region { return join(formula.Union, Region{Whole: true}, parts) }

// Both is the region of the numbers in all of the parts.
func Both(parts ...Region) Region { return join(formula.Inter, Region{Whole: true}, parts) }
