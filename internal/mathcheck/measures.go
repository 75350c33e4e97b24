package mathcheck

import (
	"math/big"
	"sort"
	"strings"

	"afina/internal/algebra"
	"afina/internal/formula"
)

// A measure is a unit's dimension and its size in the dimension's own unit.
type measure struct {
	dimension string
	size      *big.Rat
}

// scales are units by dimension, with their size: what is kept apart and converted.
var scales = table(map[string]string{
	"length": "mm 1/1000 cm 1/100 dm 1/10 m 1 dam 10 hm 100 km 1000 metros 1 metro 1 meters 1 meter 1 centímetros 1/100 kilómetros 1000",
	"mass":   "mg 1/1000 cg 1/100 dg 1/10 g 1 hg 100 kg 1000 gramos 1 gramo 1 grams 1 gram 1 kilogramos 1000 kilos 1000 toneladas 1000000",
	"volume": "ml 1/1000 cl 1/100 dl 1/10 l 1 L 1 hl 100 kl 1000 litros 1 litro 1 liters 1 dm3 1 cm3 1/1000 m3 1000",
	"time":   "s 1 min 60 h 3600 segundos 1 segundo 1 minutos 60 minuto 60 horas 3600 hora 3600 seconds 1 second 1 minutes 60 minute 60 hours 3600 hour 3600 días 86400 día 86400 days 86400 day 86400",
	"area":   "mm2 1/1000000 cm2 1/10000 dm2 1/100 m2 1 km2 1000000 ha 10000",
	"money":  "€ 1 euros 1 euro 1 EUR 1 céntimos 1/100",
})

func table(rows map[string]string) map[string]measure {
	m := map[string]measure{}
	for dimension, row := range rows {
		f := strings.Fields(row)
		for i := 0; i+1 < len(f); i += 2 {
			size, _ := new(big.Rat).SetString(f[i+1])
			m[f[i]] = measure{dimension, size}
		}
	}
	return m
}

// stripped is n without its units.
func stripped(n *formula.Node) *formula.Node { return bare(n, formula.Unit) }

func unitsOf(n *formula.Node) map[string]bool {
	all := map[string]bool{}
	n.Walk(func(m *formula.Node) bool {
		if m.Op == formula.Unit {
			all[m.Name] = true
		}
		return true
	})
	return all
}

// measures puts two members of a chain into the same unit. The comparison is
// in doubt where units of several dimensions meet; it is not ok where it has
// no meaning.
func measures(a, b *formula.Node) (x, y *formula.Node, doubt, ok bool) {
	ua, ub := unitsOf(a), unitsOf(b)
	if len(ua)+len(ub) == 0 {
		return a, b, false, true
	}
	all := map[string]bool{}
	for u := range ua {
		all[u] = true
	}
	for u := range ub {
		all[u] = true
	}
	if d, e := power(a), power(b); len(ua) > 0 && len(ub) > 0 && d >= 0 && e >= 0 && d != e { // 12 cm and 12 cm²
		return nil, nil, false, false
	}
	if len(all) == 1 {
		return stripped(a), stripped(b), false, true
	}
	dimension := ""
	for u := range all {
		m, known := scales[u]
		if !known || dimension != "" && m.dimension != dimension {
			return stripped(a), stripped(b), true, true
		}
		dimension = m.dimension
	}
	if len(ua) == 0 || len(ub) == 0 {
		return nil, nil, false, false
	}
	return converted(a), converted(b), false, true
}

// powers are the units of length, area and volume by their power of length.
var powers = map[string]int{"length": 1, "area": 2, "volume": 3}

// power is the power of length n is measured in, or -1 where that is not known.
func power(n *formula.Node) int {
	switch n.Op {
	case formula.Unit:
		m, known := scales[n.Name]
		if p := powers[m.dimension]; known && p > 0 && power(n.Args[0]) == 0 {
			return p
		}
		return -1
	case formula.Mul, formula.Add:
		sum := 0
		for i, a := range n.Args {
			p := power(a)
			switch {
			case p < 0, n.Op == formula.Add && i > 0 && p != sum:
				return -1
			case n.Op == formula.Add:
				sum = p
			default:
				sum += p
			}
		}
		return sum
	case formula.Div:
		p, q := power(n.Args[0]), power(n.Args[1])
		if p < 0 || q < 0 || p < q {
			return -1
		}
		return p - q
	case formula.Neg:
		return power(n.Args[0])
	case formula.Num, formula.Con:
		return 0
	}
	if len(unitsOf(n)) == 0 {
		return 0
	}
	return -1
}

// converted is n with every unit reckoned into that of its dimension.
func converted(n *formula.Node) *formula.Node {
	m := *n
	m.Args = make([]*formula.Node, len(n.Args))
	for i, a := range n.Args {
		m.Args[i] = converted(a)
	}
	if n.Op == formula.Unit {
		return formula.New(formula.Mul, m.Args[0], formula.Rat(scales[n.Name].size))
	}
	return &m
}

func hasVector(n *formula.Node) bool {
	return n.Has(formula.Tuple) || n.Has(formula.Matrix) && n.Op != formula.Call
}

// vectors compares pairs, matrices and sets by their entries.
func (c *checker) vectors(a, b *formula.Node) algebra.Truth {
	if a.Op == formula.Set || b.Op == formula.Set {
		if a.Op != b.Op {
			return algebra.Unknown
		}
		return c.sameSet(a.Args, b.Args)
	}
	x, okX := entries(a)
	y, okY := entries(b)
	if !okX || !okY || len(x) != len(y) {
		return algebra.Unknown
	}
	all := algebra.Yes
	for i := range x {
		if len(x[i]) != len(y[i]) {
			return algebra.Unknown
		}
		for j := range x[i] {
			if len(x[i][j].Vars())+len(y[i][j].Vars()) > 0 {
				return algebra.Unknown
			}
			all = all.And(c.w.Equal(x[i][j], y[i][j]))
		}
	}
	return all
}

// entries are the rows of a vector, a matrix, or a sum, difference or multiple of such.
func entries(n *formula.Node) ([][]*formula.Node, bool) {
	switch n.Op {
	case formula.Tuple:
		return [][]*formula.Node{n.Args}, true
	case formula.Matrix:
		var rows [][]*formula.Node
		for _, r := range n.Args {
			rows = append(rows, r.Args)
		}
		return rows, true
	case formula.Neg:
		x, ok := entries(n.Args[0])
		return each(x, func(e *formula.Node) *formula.Node { return formula.New(formula.Neg, e) }), ok
	case formula.Mul:
		if len(n.Args) != 2 || hasVector(n.Args[0]) || !hasVector(n.Args[1]) {
			return nil, false
		}
		x, ok := entries(n.Args[1])
		return each(x, func(e *formula.Node) *formula.Node { return formula.New(formula.Mul, n.Args[0], e) }), ok
	case formula.Add:
		sum, ok := entries(n.Args[0])
		for _, arg := range n.Args[1:] {
			y, okY := entries(arg)
			if !ok || !okY || len(y) != len(sum) || len(y[0]) != len(sum[0]) {
				return nil, false
			}
			next := each(sum, func(e *formula.Node) *formula.Node { return e })
			for i := range y {
				for j := range y[i] {
					next[i][j] = formula.New(formula.Add, sum[i][j], y[i][j])
				}
			}
			sum = next
		}
		return sum, ok
	}
	return nil, false
}

func each(rows [][]*formula.Node, f func(*formula.Node) *formula.Node) [][]*formula.Node {
	out := make([][]*formula.Node, len(rows))
	for i, r := range rows {
		for _, e := range r {
			out[i] = append(out[i], f(e))
		}
	}
	return out
}

// sameSet says whether two lists hold the same numbers, in any order.
func (c *checker) sameSet(a, b []*formula.Node) algebra.Truth {
	return contained(c.w, a, b).And(contained(c.w, b, a))
}

func contained(w *algebra.Work, a, b []*formula.Node) algebra.Truth {
	all := algebra.Yes
	for _, x := range a {
		in := algebra.No
		for _, y := range b {
			if len(x.Vars())+len(y.Vars()) > 0 {
				is, _ := w.Identical(x, y, false)
				in = in.Or(is)
				continue
			}
			in = in.Or(w.Equal(x, y))
		}
		all = all.And(in)
	}
	return all
}

func sortStrings(s []string) { sort.Strings(s) }
