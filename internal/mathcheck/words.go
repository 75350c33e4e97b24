package mathcheck

import (
	"math/big"
	"regexp"
	"sort"
	"strings"

	"afina/internal/algebra"
	"afina/internal/equation"
	"afina/internal/formula"
)

const (
	item  = `⟦\d+⟧`
	items = `⟦\d+⟧(?:(?:, | y | e | and |, and |, y )⟦\d+⟧)*`
	is    = `(?:es|son|vale|valen|mide|is|are|equals|=|:|es igual a|is equal to|sale|da)`

	divisors = `(mcd|máximo común divisor|gcd|greatest common divisor|highest common factor|mcm|mínimo común múltiplo|lcm|least common multiple)`
)

// A pattern is a claim made in words and who judges it.
type pattern struct {
	re    *regexp.Regexp
	judge func(c *checker, s *sentence, m []string, ks []int) bool
}

func pat(re string, judge func(c *checker, s *sentence, m []string, ks []int) bool) pattern {
	return pattern{regexp.MustCompile(re), judge}
}

// patterns are tried on every sentence, each as often as it matches.
var patterns = []pattern{
	pat(`(`+items+`)(?:,)? (?:también )?(no |sí |tampoco |nunca )?(?:es|son|is|are)( not| both| all| todos| también)? (?:un |una |a |an )?(?:números? |number )?(primos?|compuestos?|primes?|composite|pares|par|impares|impar|even|odd|irracional(?:es)?|racional(?:es)?|irrational|rational|cuadrados? perfectos?|perfect squares?|enteros?|integers?)( entre\b| relativ\pL+| con\b| dos a dos| to\b)?(?:\b|$)`, (*checker).classified),
	pat(`(`+items+`),? (no |sí |también |tampoco )?(?:son|are|is)( not)? (?:también |both |all |números |two |dos )?(?:primos entre (?:sí|ellos)|primos relativos|coprimos|coprimes?|co-prime|relatively prime|mutually prime)`, (*checker).coprime),
	pat(`(`+items+`),?(?: \pL+,?){0,8} (?:su|their|cuyo|whose) `+divisors+` `+is+` (`+item+`)`, (*checker).theirs),
	pat(`(`+item+`) (no |sí )?(?:es|is)( not)? (divisible por|divisible entre|divisible by|(?:un )?múltiplo de|a multiple of|(?:un )?divisor de|(?:un )?factor de|a divisor of|a factor of) (?:el )?(`+items+`)`, (*checker).divisible),
	pat(``+divisors+`(?: de| of| entre) (`+items+`),? `+is+` (`+item+`)`, (*checker).common),
	pat(`(`+item+`) (?:de|of) (`+item+`)(?:,)? `+is+` (`+item+`)`, (*checker).percentage),
	pat(`(`+item+`) (?:de|of) (`+item+`)`, (*checker).percentChain),
	pat(`(media|promedio|mean|average|mediana|median|moda|mode)(?: aritmética)?(?: de| of)(?: los datos| los números| the numbers| the data)?:? (`+items+`),? `+is+` (`+item+`)`, (*checker).statistic),
	pat(`(segunda |second )?deriva(?:da|tive) (?:de|of) (`+item+`),? `+is+` (`+item+`)`, (*checker).derivativeOf),
	pat(`(?:una )?(primitiva|antiderivada|integral|antiderivative)(?: indefinida)? (?:de|of) (`+item+`),? `+is+` (`+item+`)`, (*checker).primitiveOf),
	pat(`(?:límite|limit) (?:de|of) (`+item+`) (?:cuando|as|when) (`+item+`) (?:tiende a|tends to|approaches|goes to|→) (`+item+`|infinito|más infinito|infinity),? `+is+` (`+item+`)`, (*checker).limitOf),
	pat(`(`+item+`),? (?:(?:es|que es|o sea|es decir|is|which is|mide|vale),? )?(?:aproximadamente|aprox|approximately|about|roughly) (`+item+`)`, (*checker).roughly),
	pat(`(`+item+`) (no )?(?:es|is) (mayor|menor|greater|less|larger|smaller|bigger) (?:que|than) (`+item+`)`, (*checker).greater),
}

// words judges the claims made in words.
func (c *checker) words() {
	for i := range c.sentences {
		s := &c.sentences[i]
		if s.first == s.last || s.asks || s.refuted && !strings.Contains(s.text, "no es") {
			continue
		}
		for _, p := range patterns {
			for _, m := range p.re.FindAllStringSubmatch(s.text, 4) {
				ks := marks(m[0])
				if len(ks) == 0 || !c.clean(ks) {
					continue
				}
				c.part(func() {
					if p.judge(c, s, m, ks) {
						for _, k := range ks { // a chain is still to be judged along its length
							c.taken[k] = c.taken[k] || c.items[k].Op != formula.Rel
						}
					}
				})
			}
		}
		c.part(func() { c.answered(s) })
	}
}

// clean reports whether the formulas stand alone and have one reading.
func (c *checker) clean(ks []int) bool {
	for _, k := range ks {
		it := c.items[k]
		if it.Left == formula.Cut || it.Right == formula.Cut || it.Left == formula.Related || it.Doubt || it.Left == formula.Comma || it.Right == formula.Comma {
			return false
		}
	}
	return true
}

// span runs from the first to the last of the items.
func (c *checker) span(ks []int) (int, int) {
	sort.Ints(ks)
	return c.items[ks[0]].Start, c.items[ks[len(ks)-1]].End
}

// worded reports a claim in words; a false one in a supposition stays open.
func (c *checker) worded(s *sentence, ks []int, kind string, n *formula.Node, t algebra.Truth, why, correction string) bool {
	start, end := c.span(ks)
	if t == algebra.No && s.hypothetical {
		t, why, correction = algebra.Unknown, say(c.lang, "doubt"), ""
	}
	f := c.report(start, end, kind, n, verdict(t), why)
	f.Correction = correction
	if n == nil {
		f.Expr = f.Text
	}
	return true
}

// after "de" the number is part of something else: los múltiplos de 4 son pares.
func (c *checker) possessed(s *sentence, k int) bool {
	b := s.before(k)
	return weakLeft.MatchString(b) || joinsLeft.MatchString(b) || regexp.MustCompile(`(que|than|con|with|en|in|by|para|for|each|cada|ni|neither|nor|no|not)$`).MatchString(b)
}

func (c *checker) classified(s *sentence, m []string, _ []int) bool {
	ks := marks(m[1])
	if m[5] != "" || c.possessed(s, ks[0]) || s.refuted && !denied(m) {
		return false
	}
	word := m[4]
	all, kind := algebra.Yes, Primality
	for _, k := range ks {
		n := c.items[k].Node
		if len(n.Vars()) > 0 || n.Op == formula.Rel || n.Has(formula.Percent, formula.Unit, formula.Tuple, formula.Set, formula.Apply) {
			return false
		}
		t, of := c.class(n, word)
		kind = of
		if denied(m) {
			if len(ks) > 1 && t == algebra.Yes {
				t = algebra.Unknown
			} else {
				t = t.Not()
			}
		}
		all = all.And(t)
	}
	why := say(c.lang, map[algebra.Truth]string{algebra.Yes: "class", algebra.No: "notclass", algebra.Unknown: "open"}[all])
	correction := ""
	if kind == Primality && all == algebra.No {
		for _, k := range ks {
			if v, ok := c.natural(c.items[k].Node); ok && !v.ProbablyPrime(20) {
				why = say(c.lang, "factors", v.String(), factored(v))
				correction = v.String() + " = " + factored(v)
			}
		}
	}
	return c.worded(s, ks, kind, nil, all, why, correction)
}

// denied reports whether the claim of a class is a denial.
func denied(m []string) bool {
	return m[2] != "" && m[2] != "sí " || m[3] == " not"
}

// natural is the natural number n is.
func (c *checker) natural(n *formula.Node) (*big.Int, bool) {
	v, ok := c.w.Rational(n)
	if !ok || !v.IsInt() || v.Sign() < 0 || v.Num().BitLen() > 63 {
		return nil, false
	}
	return v.Num(), true
}

func factored(v *big.Int) string {
	k, parts := v.Int64(), []string{}
	for p := int64(2); p*p <= k && p < 1e6; p++ {
		for k%p == 0 {
			parts = append(parts, big.NewInt(p).String())
			k /= p
		}
	}
	if k > 1 {
		parts = append(parts, big.NewInt(k).String())
	}
	return strings.Join(parts, " · ")
}

// class says whether a number is of the class a word names.
func (c *checker) class(n *formula.Node, word string) (algebra.Truth, string) {
	switch {
	case strings.HasPrefix(word, "irra"):
		return c.w.Irrational(n), Rationality
	case strings.HasPrefix(word, "ra"):
		return c.w.Irrational(n).Not(), Rationality
	case strings.HasPrefix(word, "ent"), strings.HasPrefix(word, "int"):
		return c.belongs(n, "Z"), Membership
	}
	v, ok := c.w.Rational(n)
	if !ok || !v.IsInt() || v.Num().BitLen() > 63 {
		return algebra.Unknown, Parity
	}
	k := v.Num()
	switch {
	case strings.HasPrefix(word, "par"), word == "even":
		return yes(k.Bit(0) == 0), Parity
	case strings.HasPrefix(word, "impar"), word == "odd":
		return yes(k.Bit(0) == 1), Parity
	case strings.HasPrefix(word, "cuad"), strings.HasPrefix(word, "perf"):
		r := new(big.Int)
		if k.Sign() >= 0 {
			r.Sqrt(k)
		}
		return yes(k.Sign() >= 0 && new(big.Int).Mul(r, r).Cmp(k) == 0), Divisibility
	case strings.HasPrefix(word, "prim"):
		return yes(k.Sign() > 0 && k.ProbablyPrime(0)), Primality // exact below 2⁶⁴
	}
	return yes(k.Cmp(big.NewInt(3)) > 0 && !k.ProbablyPrime(0)), Primality
}

func (c *checker) divisible(s *sentence, m []string, _ []int) bool {
	ka, kb := marks(m[1])[0], marks(m[5])
	a, ok := c.whole(ka)
	if !ok || c.possessed(s, ka) {
		return false
	}
	inverse := strings.Contains(m[4], "divisor") || strings.Contains(m[4], "factor")
	no := m[2] == "no " || m[3] != ""
	if no && len(kb) > 1 || inverse && len(kb) > 1 && no {
		return false
	}
	all := algebra.Yes
	for _, k := range kb {
		b, ok := c.whole(k)
		if !ok {
			return false
		}
		x, y := a, b
		if inverse {
			x, y = b, a
		}
		if y.Sign() == 0 {
			return false
		}
		all = all.And(yes(new(big.Int).Rem(x, y).Sign() == 0))
	}
	if no {
		all = all.Not()
	}
	return c.worded(s, append(kb, ka), Divisibility, nil, all, say(c.lang, map[bool]string{true: "holds", false: "division"}[all == algebra.Yes]), "")
}

func (c *checker) whole(k int) (*big.Int, bool) {
	n := c.items[k].Node
	if n.Op == formula.Rel || len(n.Vars()) > 0 {
		return nil, false
	}
	v, ok := c.w.Rational(n)
	if !ok || !v.IsInt() {
		return nil, false
	}
	return v.Num(), true
}

// nodes are the formulas of some items, without units.
func (c *checker) nodes(ks []int) []*formula.Node {
	var out []*formula.Node
	for _, k := range ks {
		out = append(out, stripped(c.items[k].Node))
	}
	return out
}

// result is what the text says comes out: the first member of item k, if that is a chain.
func (c *checker) result(k int) *formula.Node {
	n := c.items[k].Node
	if n.Op == formula.Rel {
		if n.Rels[0] != "=" {
			return nil
		}
		n = n.Args[0]
	}
	return stripped(n)
}

// compared judges a value claimed in words against the right one.
func (c *checker) compared(s *sentence, ks []int, kind string, right, claimed *formula.Node) bool {
	if claimed == nil || right == nil || len(right.Vars())+len(claimed.Vars()) > 0 || claimed.Has(formula.Rel, formula.Tuple, formula.Set, formula.PM) {
		return false
	}
	t := c.w.Equal(right, claimed)
	n := &formula.Node{Op: formula.Rel, Args: []*formula.Node{right, claimed}, Rels: []string{"="}}
	why := say(c.lang, map[algebra.Truth]string{algebra.Yes: "holds", algebra.No: "result", algebra.Unknown: "open"}[t], c.value(right))
	if near, _ := c.approximate(right, claimed); t == algebra.No && decimal(claimed) != nil && near != algebra.No {
		t, why = algebra.Unknown, say(c.lang, "rounded")
	}
	correction := ""
	if t == algebra.No {
		correction = c.value(right)
	}
	return c.worded(s, ks, kind, n, t, why, correction)
}

func (c *checker) percentage(s *sentence, m []string, ks []int) bool {
	p, b := c.items[ks[0]].Node, c.items[ks[1]].Node
	if p.Op != formula.Percent || b.Op == formula.Rel || b.Op == formula.Percent {
		return false
	}
	return c.compared(s, ks, Percentage, formula.New(formula.Mul, p, stripped(b)), c.result(ks[2]))
}

// percentChain judges 20 % de 150 = 30.
func (c *checker) percentChain(s *sentence, _ []string, ks []int) bool {
	p, b := c.items[ks[0]].Node, c.items[ks[1]].Node
	if p.Op != formula.Percent || b.Op != formula.Rel || b.Rels[0] != "=" || len(b.Args) != 2 {
		return false
	}
	c.taken[ks[1]] = true
	return c.compared(s, ks, Percentage, formula.New(formula.Mul, p, stripped(b.Args[0])), stripped(b.Args[1]))
}

func (c *checker) statistic(s *sentence, m []string, ks []int) bool {
	return c.compared(s, ks, Statistics, c.statisticOf(m[1], c.nodes(marks(m[2]))), c.result(marks(m[3])[0]))
}

// statisticOf is the mean, median or mode of data, or nil.
func (c *checker) statisticOf(word string, data []*formula.Node) *formula.Node {
	if len(data) < 2 {
		return nil
	}
	if strings.HasPrefix(word, "media") && word != "mediana" && word != "median" || strings.HasPrefix(word, "prom") || word == "mean" || word == "average" {
		return formula.New(formula.Div, formula.New(formula.Add, data...), formula.Int(int64(len(data))))
	}
	values := make([]*big.Rat, len(data))
	for i, d := range data {
		v, ok := c.w.Rational(d)
		if !ok {
			return nil
		}
		values[i] = v
	}
	sort.Slice(values, func(i, j int) bool { return values[i].Cmp(values[j]) < 0 })
	n := len(values)
	if strings.HasPrefix(word, "median") {
		mid := new(big.Rat).Add(values[(n-1)/2], values[n/2])
		return formula.Rat(mid.Mul(mid, big.NewRat(1, 2)))
	}
	best, times, tie := 0, 0, false
	for i := 0; i < n; {
		j := i
		for j < n && values[j].Cmp(values[i]) == 0 {
			j++
		}
		if j-i == times {
			tie = true
		}
		if j-i > times {
			best, times, tie = i, j-i, false
		}
		i = j
	}
	if tie {
		return nil
	}
	return formula.Rat(values[best])
}

func (c *checker) derivativeOf(s *sentence, m []string, ks []int) bool {
	f, g := c.items[ks[0]].Node, c.result(ks[1])
	if f.Op == formula.Rel || g == nil || len(f.Vars()) == 0 {
		return false
	}
	order := 1
	if m[1] != "" {
		order = 2
	}
	t, at, d := c.derivativeIs(f, g, order)
	if t == algebra.No && natural(f) {
		t = algebra.Unknown
	}
	return c.derivativeVerdict(s, ks, g, t, at, d)
}

func (c *checker) derivativeVerdict(s *sentence, ks []int, g *formula.Node, t algebra.Truth, at algebra.Point, d *formula.Node) bool {
	why, correction := say(c.lang, "open"), ""
	switch t {
	case algebra.Yes:
		why = say(c.lang, "holds")
	case algebra.No:
		why = say(c.lang, "counterexample", c.point(at), c.value(at.At(d)), c.value(at.At(g)))
		if r, ok := c.w.Simplify(d); ok {
			correction = c.show(r)
		}
	}
	return c.worded(s, ks, Derivative, g, t, why, correction)
}

func (c *checker) primitiveOf(s *sentence, m []string, ks []int) bool {
	f, g := c.items[ks[0]].Node, c.result(ks[1])
	if f.Op == formula.Rel || g == nil || len(f.Vars()) != 1 {
		return false
	}
	d, ok := equation.Derive(g, f.Vars()[0])
	if !ok {
		return false
	}
	t, at := c.w.Identical(d, f, false)
	if t == algebra.Yes && m[1] == "integral" && len(g.Vars()) == 1 {
		t = algebra.Unknown
	}
	why := say(c.lang, map[algebra.Truth]string{algebra.Yes: "primitive", algebra.Unknown: "open"}[t])
	if t == algebra.No {
		why = say(c.lang, "counterexample", c.point(at), c.value(at.At(d)), c.value(at.At(f)))
	}
	return c.worded(s, ks, Integral, g, t, why, "")
}

func (c *checker) limitOf(s *sentence, m []string, ks []int) bool {
	f, x := c.items[ks[0]].Node, c.items[ks[1]].Node
	point := &formula.Node{Op: formula.Con, Name: "inf"}
	if len(ks) == 4 {
		point = c.items[ks[2]].Node
	}
	if x.Op != formula.Sym || f.Op == formula.Rel {
		return false
	}
	return c.limitVerdict(s, ks, f, x.Name, point, c.result(ks[len(ks)-1]))
}

func (c *checker) limitVerdict(s *sentence, ks []int, f *formula.Node, x string, point, claimed *formula.Node) bool {
	if claimed == nil {
		return false
	}
	v, why := c.limitIs(f, x, point, 0, claimed)
	return c.worded(s, ks, Limit, claimed, map[Verdict]algebra.Truth{True: algebra.Yes, False: algebra.No}[v], why, "")
}

func (c *checker) roughly(s *sentence, _ []string, ks []int) bool {
	a, b := c.items[ks[0]].Node, c.items[ks[1]].Node
	if a.Op == formula.Rel {
		a = a.Args[len(a.Args)-1]
	}
	if b.Op == formula.Rel || len(a.Vars())+len(b.Vars()) > 0 {
		return false
	}
	x, y, doubt, ok := measures(a, b)
	if !ok || doubt || numeral(y) == nil {
		return false
	}
	t, why := c.approximate(x, y)
	if t == algebra.No {
		why = say(c.lang, "worth", c.show(a), c.value(x), c.show(b))
	}
	n := &formula.Node{Op: formula.Rel, Args: []*formula.Node{a, b}, Rels: []string{"≈"}}
	c.worded(s, ks, Equality, n, t, why, "")
	return false // the chain before it is judged by itself
}

func (c *checker) greater(s *sentence, m []string, ks []int) bool {
	a, b := c.items[ks[0]].Node, c.items[ks[1]].Node
	if a.Op == formula.Rel || b.Op == formula.Rel || len(a.Vars())+len(b.Vars()) > 0 || c.possessed(s, ks[0]) {
		return false
	}
	rel := ">"
	if m[3] == "menor" || m[3] == "less" || m[3] == "smaller" {
		rel = "<"
	}
	t := c.w.Holds(stripped(a), rel, stripped(b))
	if m[2] != "" {
		t = t.Not()
	}
	n := &formula.Node{Op: formula.Rel, Args: []*formula.Node{a, b}, Rels: []string{rel}}
	return c.worded(s, ks, Comparison, n, t, say(c.lang, map[bool]string{true: "holds", false: "compare"}[t == algebra.Yes]), "")
}
