package mathcheck

import (
	"math/big"
	"regexp"
	"strings"

	"afina/internal/algebra"
	"afina/internal/equation"
	"afina/internal/formula"
)

// Equivalent says whether two answers say the same: numbers, sets, intervals,
// inequalities, expressions, equations, tuples and matrices, whose order and
// form do not matter. An answer may stand in a sentence; the last formula that
// concludes is taken, or what is \boxed.
func Equivalent(got, want string, o Options) Verdict {
	got, want = cut(got, o.MaxBytes), cut(want, o.MaxBytes)
	lang := o.Language
	if lang == "" {
		lang = detect(got + "\n" + want + "\n" + o.Question)
	}
	w := algebra.NewWork(allSteps, clock(o.Budget))
	main := modeOf(got+" "+want, lang)
	v, ambiguous := equivalent(w, got, want, main)
	if ambiguous {
		if u, _ := equivalent(w, got, want, formula.Mode{Comma: !main.Comma}); u != v && u != Unknown {
			v = Unknown
		}
	}
	return v
}

func equivalent(w *algebra.Work, got, want string, mode formula.Mode) (Verdict, bool) {
	a, okA := readAnswer(got, mode)
	b, okB := readAnswer(want, mode)
	ambiguous := a.ambiguous || b.ambiguous
	if !okA || !okB {
		if same := plainText(got); same != "" && same == plainText(want) {
			return True, ambiguous
		}
		return Unknown, ambiguous
	}
	c := &checker{w: w, all: w, mode: mode}
	t := c.sameAnswer(a, b)
	if t == algebra.No && (a.doubt || b.doubt) {
		t = algebra.Unknown
	}
	return verdict(t), ambiguous
}

var markup = regexp.MustCompile(`[\s$*_]+|\\[()\[\]]|\\text|\\boxed|[{}.]`)

// plainText is an answer that is words, for comparison.
func plainText(s string) string {
	return strings.ToLower(strings.TrimSpace(markup.ReplaceAllString(s, " ")))
}

// An answer is what a text says comes out.
type answer struct {
	list      []*formula.Node // what stands side by side: values, or relations joined by or
	both      bool            // relations are joined by and
	name      string          // the unknown, where it is named
	doubt     bool
	ambiguous bool
}

var (
	boxes     = regexp.MustCompile(`\\boxed *\{`)
	leadIns   = regexp.MustCompile(`(?i)(respuesta|soluci[oó]n(es)?|resultado|answer|solutions?|result|final|es|son|is|are|por (lo )?tanto|therefore|so|luego|:)`)
	openDots  = regexp.MustCompile(`…|\.\.\.|\\[lc]?dots`)
	listWords = regexp.MustCompile(`^[\s,;$]*(y|e|o|u|and|or|,|;|\\text\{ ?(and|or|y|o) ?\}|∨|∪)?[\s,;$]*$`)
)

// readAnswer finds the answer in s.
func readAnswer(s string, mode formula.Mode) (answer, bool) {
	if at := boxes.FindAllStringIndex(s, -1); at != nil {
		s = boxed(s[at[len(at)-1][1]-1:])
		s = "$" + s + "$"
	} else if bare := strings.TrimSpace(s); strings.Contains(bare, `\`) && !strings.Contains(bare, "$") && !strings.Contains(bare, `\(`) && !strings.Contains(bare, `\[`) {
		s = "$" + bare + "$"
	}
	t := formula.Read(s, mode)
	items := t.Items()
	a := answer{ambiguous: t.Ambiguous}
	if len(items) == 0 || openDots.MatchString(s) && !decimalDots(items) {
		return a, false
	}
	ss := split(s, items)
	last := ss[0]
	for _, x := range ss {
		if x.last > x.first {
			last = x
		}
	}
	first := last.last - 1
	for first > last.first && listWords.MatchString(s[items[first-1].End:items[first].Start]) {
		first--
	}
	if last.last < len(items) || first > 0 && !leadIns.MatchString(s[:items[first].Start]) {
		return a, false
	}
	for k := first; k < last.last; k++ {
		it := items[k]
		if it.Left == formula.Cut || it.Right == formula.Cut || it.Left == formula.Related {
			return a, false
		}
		a.doubt = a.doubt || it.Doubt || it.Left == formula.Comma || it.Right == formula.Comma
		if k > first {
			gap := s[items[k-1].End:it.Start]
			a.both = a.both || strings.Contains(gap, " y ") || strings.Contains(gap, "and")
		}
		a.list = append(a.list, it.Node)
	}
	if tail := strings.TrimSpace(markup.ReplaceAllString(s[items[last.last-1].End:], " ")); len(tail) > 40 {
		return a, false
	}
	return a, true
}

func decimalDots(items []formula.Item) bool {
	for _, it := range items {
		if it.Has(formula.Num) && it.Right != formula.Cut {
			return true
		}
	}
	return false
}

// boxed is what stands between the brace s begins with and its partner.
func boxed(s string) string {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[1:i]
			}
		}
	}
	return s[1:]
}

// sameAnswer compares by what the answers are.
func (c *checker) sameAnswer(a, b answer) algebra.Truth {
	x, y := c.values(&a), c.values(&b)
	if a.name != "" && b.name != "" && a.name != b.name {
		return algebra.Unknown
	}
	if x != nil && y != nil {
		return c.sameValues(x, y)
	}
	if r, s, ok := c.regions(a, b); ok {
		is, _ := equation.Compare(c.w, r, s)
		return is
	}
	if len(a.list) == 1 && len(b.list) == 1 && a.list[0].Op == formula.Rel && b.list[0].Op == formula.Rel {
		return c.sameEquation(a.list[0], b.list[0])
	}
	return algebra.Unknown
}

// values are the numbers or expressions an answer lists, or nil for relations
// and intervals. x = 3 is the value 3 of x.
func (c *checker) values(a *answer) []*formula.Node {
	var out []*formula.Node
	for _, n := range a.list {
		switch {
		case n.Op == formula.Rel && solvedFor(n):
			name := n.Args[0].Name
			if i := strings.IndexByte(name, '_'); i > 0 {
				name = name[:i]
			}
			if a.name != "" && a.name != name {
				return nil
			}
			a.name = name
			n = n.Args[len(n.Args)-1]
		case n.Op == formula.Rel || n.Op == formula.Interval || n.Op == formula.Union || n.Op == formula.NumSet || n.Op == formula.Minus || n.Op == formula.Inter:
			return nil
		}
		if n.Op == formula.Set || n.Op == formula.List {
			for _, e := range n.Args {
				out = append(out, branches(e)...)
			}
			if len(n.Args) == 0 {
				return nil
			}
			continue
		}
		out = append(out, branches(n)...)
	}
	return out
}

// solvedFor reports whether n is x = value or f(x) = expression, all links being =.
func solvedFor(n *formula.Node) bool {
	for _, r := range n.Rels {
		if r != "=" && r != "∈" {
			return false
		}
	}
	last := n.Args[len(n.Args)-1]
	if n.Rels[0] == "∈" && last.Op != formula.Set || last.Op == formula.Interval {
		return false
	}
	switch n.Args[0].Op {
	case formula.Sym:
		return len(last.Vars()) == 0 && (len(n.Args) == 2 || len(n.Args[1].Vars()) == 0 && formula.Same(n.Args[len(n.Args)-2], last))
	case formula.Apply:
		return len(n.Args) == 2
	}
	return false
}

func (c *checker) sameValues(x, y []*formula.Node) algebra.Truth {
	if len(x) == 1 && len(y) == 1 {
		return c.sameValue(x[0], y[0])
	}
	for _, n := range append(append([]*formula.Node{}, x...), y...) {
		if n.Has(formula.Tuple, formula.Matrix, formula.Percent, formula.Unit) {
			return c.sameTuples(x, y)
		}
	}
	return c.sameSet(x, y)
}

// sameTuples compares sets of tuples, as solutions of systems are.
func (c *checker) sameTuples(x, y []*formula.Node) algebra.Truth {
	in := func(a, b []*formula.Node) algebra.Truth {
		all := algebra.Yes
		for _, n := range a {
			some := algebra.No
			for _, m := range b {
				some = some.Or(c.sameValue(n, m))
			}
			all = all.And(some)
		}
		return all
	}
	return in(x, y).And(in(y, x))
}

func (c *checker) sameValue(a, b *formula.Node) algebra.Truth {
	x, y, doubt, ok := measures(a, b)
	switch {
	case !ok && len(unitsOf(a)) > 0 && len(unitsOf(b)) > 0:
		return algebra.Unknown
	case !ok:
		x, y = stripped(a), stripped(b)
	}
	is := algebra.Unknown
	switch {
	case hasVector(x) != hasVector(y):
		if x.Op == formula.Tuple || y.Op == formula.Tuple { // (2, 3) may be an interval or a pair
			return algebra.Unknown
		}
		return algebra.Unknown
	case hasVector(x):
		return c.sameEntries(x, y)
	case len(x.Vars())+len(y.Vars()) > 0:
		is, _ = c.w.Identical(x, y, false)
		if x.Op == formula.Sym && y.Op == formula.Sym && x.Name != y.Name {
			return algebra.Unknown
		}
	case dotted(x) || dotted(y):
		return algebra.Unknown
	default:
		is = c.w.Equal(x, y)
		if is == algebra.No {
			l := link{is: is}
			c.soften(&l, x, y)
			is = l.is
		}
	}
	if doubt { // units that are not known, or of several kinds
		return algebra.Unknown
	}
	return is
}

func (c *checker) sameEntries(a, b *formula.Node) algebra.Truth {
	x, okX := entries(a)
	y, okY := entries(b)
	if !okX || !okY {
		return algebra.Unknown
	}
	if len(x) != len(y) || len(x[0]) != len(y[0]) {
		return algebra.No
	}
	all := algebra.Yes
	for i := range x {
		for j := range x[i] {
			all = all.And(c.sameValue(x[i][j], y[i][j]))
		}
	}
	return all
}

// regions reads both answers as sets of numbers.
func (c *checker) regions(a, b answer) (r, s equation.Region, ok bool) {
	x := a.name
	for _, n := range append(append([]*formula.Node{}, a.list...), b.list...) {
		if v := n.Vars(); x == "" && len(v) == 1 {
			x = v[0]
		}
	}
	r, okA := c.region(a, x)
	s, okB := c.region(b, x)
	return r, s, okA && okB
}

func (c *checker) region(a answer, x string) (equation.Region, bool) {
	var parts []equation.Region
	for _, n := range a.list {
		var r equation.Region
		ok := false
		switch {
		case n.Op == formula.Rel && len(n.Rels) == 1 && (n.Rels[0] == "∈" || n.Rels[0] == "=") && n.Args[0].Op == formula.Sym && len(n.Args[1].Vars()) == 0:
			r, ok = equation.Members(c.w, asSet(n.Args[1]))
		case n.Op == formula.Rel && ordered(n) || n.Op == formula.Rel && n.Rels[0] == "≠":
			r, ok = equation.Condition(c.w, n, x)
		case n.Op != formula.Rel:
			r, ok = equation.Members(c.w, asSet(n))
		}
		if !ok {
			return r, false
		}
		parts = append(parts, r)
	}
	if len(parts) == 1 {
		return parts[0], true
	}
	if a.both {
		return equation.Region{}, false
	}
	return equation.Either(parts...), len(parts) > 0
}

// asSet takes a pair for an interval and a number for the set of it.
func asSet(n *formula.Node) *formula.Node {
	n = pairAsInterval(n)
	switch n.Op {
	case formula.Set, formula.Interval, formula.NumSet, formula.Union, formula.Inter, formula.Minus:
		return n
	}
	return formula.New(formula.Set, n)
}

// sameEquation compares the solutions of two equations: their differences are
// proportional, or, being linear, they are not.
func (c *checker) sameEquation(a, b *formula.Node) algebra.Truth {
	if len(a.Rels) != 1 || len(b.Rels) != 1 || a.Rels[0] != "=" || b.Rels[0] != "=" || a.Has(formula.Apply) || b.Has(formula.Apply) {
		if formula.Same(a, b) {
			return algebra.Yes
		}
		return algebra.Unknown
	}
	x, y := sub(a.Args[0], a.Args[1]), sub(b.Args[0], b.Args[1])
	vars := formula.New(formula.Add, x, y).Vars()
	if c.w.Proportional(x, y) {
		return algebra.Yes
	}
	p, okP := c.w.Linear(x, vars)
	q, okQ := c.w.Linear(y, vars)
	if okP && okQ && nonzero(p) && nonzero(q) {
		return algebra.No
	}
	if len(vars) == 1 {
		s, t := equation.Solve(c.w, a.Args[0], a.Args[1], vars[0]), equation.Solve(c.w, b.Args[0], b.Args[1], vars[0])
		if s.Complete && t.Complete && !hasNil(s.Roots) && !hasNil(t.Roots) {
			return c.sameSet(s.Roots, t.Roots)
		}
	}
	return algebra.Unknown
}

func hasNil(ns []*formula.Node) bool {
	for _, n := range ns {
		if n == nil {
			return true
		}
	}
	return false
}

// nonzero reports whether some coefficient but the constant is not zero.
func nonzero(p []*big.Rat) bool {
	for _, c := range p[:len(p)-1] {
		if c.Sign() != 0 {
			return true
		}
	}
	return false
}
