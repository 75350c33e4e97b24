package mathcheck

import (
	"regexp"
	"strings"

	"afina/internal/formula"
)

// A quantity is something a question asks for whose value follows from the
// numbers in it: an area, a mean, a limit, a probability.
type quantity struct {
	asked  *regexp.Regexp // in the text that gives the data
	answer *regexp.Regexp // in the sentence that claims the value; group 1 is the item
	kind   string
	value  func(n []*formula.Node) *formula.Node // of the numbers of the data, in order
	count  int                                   // of numbers there must be
}

func value(of string) *regexp.Regexp {
	return regexp.MustCompile(`(?:` + of + `)(?:[a-zá-ú ,]|` + item + `){0,60} ` + is + ` (` + item + `)`)
}

func mul(n ...*formula.Node) *formula.Node         { return formula.New(formula.Mul, n...) }
func div(a *formula.Node, k int64) *formula.Node   { return formula.New(formula.Div, a, formula.Int(k)) }
func pow(a *formula.Node, k int64) *formula.Node   { return formula.New(formula.Pow, a, formula.Int(k)) }
func root(a *formula.Node) *formula.Node           { return formula.New(formula.Root, a, formula.Int(2)) }
func add(a, b *formula.Node) *formula.Node         { return formula.New(formula.Add, a, b) }
func sub(a, b *formula.Node) *formula.Node         { return add(a, formula.New(formula.Neg, b)) }
func pi() *formula.Node                            { return &formula.Node{Op: formula.Con, Name: "pi"} }
func times(k int64, n *formula.Node) *formula.Node { return mul(formula.Int(k), n) }

var (
	area      = value(`área|area`)
	perimeter = value(`perímetro|perimeter`)
	volume    = value(`volumen|volume`)
	length    = value(`longitud|circunferencia|circumference|length`)
	hypo      = value(`hipotenusa|hypotenuse`)
	leg       = value(`cateto|leg`)
	chance    = value(`probabilidad|probability`)
)

func asks(re string) *regexp.Regexp { return regexp.MustCompile(re) }

// quantities are what is known how to reckon.
var quantities = []quantity{
	{asks(`áre.*(rectángulo|rectangle)|(rectángulo|rectangle).*área|area.*rectangle`), area, Geometry, func(n []*formula.Node) *formula.Node { return mul(n...) }, 2},
	{asks(`(perímetro|perimeter).*(rectángulo|rectangle)`), perimeter, Geometry, func(n []*formula.Node) *formula.Node { return times(2, add(n[0], n[1])) }, 2},
	{asks(`(área|area).*(cuadrado|square) (de|of|con|with) (lado|side)`), area, Geometry, func(n []*formula.Node) *formula.Node { return pow(n[0], 2) }, 1},
	{asks(`(perímetro|perimeter).*(cuadrado|square) (de|of|con|with) (lado|side)`), perimeter, Geometry, func(n []*formula.Node) *formula.Node { return times(4, n[0]) }, 1},
	{asks(`(área|area).*(triángulo|triangle).*(base.*altura|base.*height)`), area, Geometry, func(n []*formula.Node) *formula.Node { return div(mul(n...), 2) }, 2},
	{asks(`(área|area).*(círculo|circle).*(radio|radius)`), area, Geometry, func(n []*formula.Node) *formula.Node { return mul(pi(), pow(n[0], 2)) }, 1},
	{asks(`(área|area).*(círculo|circle).*(diámetro|diameter)`), area, Geometry, func(n []*formula.Node) *formula.Node { return div(mul(pi(), pow(n[0], 2)), 4) }, 1},
	{asks(`(longitud.*circunferencia|circumference).*(radio|radius)`), length, Geometry, func(n []*formula.Node) *formula.Node { return mul(formula.Int(2), pi(), n[0]) }, 1},
	{asks(`(área|area).*(trapecio|trapezoid).*bases.*(altura|height)`), area, Geometry, func(n []*formula.Node) *formula.Node { return div(mul(add(n[0], n[1]), n[2]), 2) }, 3},
	{asks(`(área|area).*(rombo|rhombus).*diagonal`), area, Geometry, func(n []*formula.Node) *formula.Node { return div(mul(n...), 2) }, 2},
	{asks(`(volumen|volume).*(cubo|cube).*(arista|lado|edge|side)`), volume, Geometry, func(n []*formula.Node) *formula.Node { return pow(n[0], 3) }, 1},
	{asks(`(volumen|volume).*(caja|ortoedro|prisma rectangular|box|cuboid)`), volume, Geometry, func(n []*formula.Node) *formula.Node { return mul(n...) }, 3},
	{asks(`(volumen|volume).*(esfera|sphere).*(radio|radius)`), volume, Geometry, func(n []*formula.Node) *formula.Node { return div(mul(formula.Int(4), pi(), pow(n[0], 3)), 3) }, 1},
	{asks(`(volumen|volume).*(cilindro|cylinder).*(radio|radius).*(altura|height)`), volume, Geometry, func(n []*formula.Node) *formula.Node { return mul(pi(), pow(n[0], 2), n[1]) }, 2},
	{asks(`(volumen|volume).*(cono|cone).*(radio|radius).*(altura|height)`), volume, Geometry, func(n []*formula.Node) *formula.Node { return div(mul(pi(), pow(n[0], 2), n[1]), 3) }, 2},
	{asks(`(catetos|legs).*(hipotenusa|hypotenuse)`), hypo, Geometry, func(n []*formula.Node) *formula.Node { return root(add(pow(n[0], 2), pow(n[1], 2))) }, 2},
	{asks(`hipotenusa (mide|es|de) .*cateto.*otro cateto|hypotenuse .*leg.*other leg`), leg, Geometry, func(n []*formula.Node) *formula.Node { return root(sub(pow(n[0], 2), pow(n[1], 2))) }, 2},
	{asks(`probabilidad de (sacar|obtener) un ` + item + ` (con|al lanzar|al tirar) un dado|probability of (rolling|getting) an? ` + item + ` (with|on|when rolling) a (fair )?(die|dice)`), chance, Probability, func([]*formula.Node) *formula.Node { return div(formula.Int(1), 6) }, 1},
	{asks(`(dos monedas.*dos caras|dos caras.*dos monedas|two heads.*two coins|two coins.*two heads)`), chance, Probability, func([]*formula.Node) *formula.Node { return div(formula.Int(1), 4) }, 0},
	{asks(`(dos monedas.*al menos una cara|at least one head.*two coins)`), chance, Probability, func([]*formula.Node) *formula.Node { return div(formula.Int(3), 4) }, 0},
	{asks(`probabilidad de (sacar|obtener) (un )?(número )?par (con|al lanzar|al tirar) un dado`), chance, Probability, func([]*formula.Node) *formula.Node { return div(formula.Int(1), 2) }, 0},
}

// measured are words one of which every sentence that gives a quantity has.
var measured = []string{"áre", "area", "perí", "peri", "volu", "longitud", "circun", "circum", "length", "hipotenusa", "hypotenuse", "cateto", "leg", "prob"}

func mentions(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// answered judges a sentence that gives the value of a quantity, whose data are
// in the sentence itself or in the question.
func (c *checker) answered(s *sentence) {
	if s.first == s.last {
		return
	}
	for _, q := range quantities {
		if !mentions(s.text, measured) { // the patterns cost more than the words
			break
		}
		m := q.answer.FindStringSubmatchIndex(s.text)
		if m == nil || s.refuted {
			continue
		}
		claim := marks(s.text[m[2]:m[3]])[0]
		if !c.clean([]int{claim}) || c.taken[claim] {
			continue
		}
		data, ok := c.data(s, q, claim)
		if !ok {
			continue
		}
		if c.compared(s, []int{claim}, q.kind, q.value(data), c.result(claim)) {
			c.taken[claim] = c.items[claim].Op != formula.Rel
			return
		}
	}
	c.urn(s)
	c.summarised(s)
}

// data are the numbers a quantity is reckoned from: those of the sentence, if
// it names the figure, or else those of the question. There must be exactly as
// many as are needed.
func (c *checker) data(s *sentence, q quantity, claim int) ([]*formula.Node, bool) {
	var nodes []*formula.Node
	switch {
	case q.asked.MatchString(s.text):
		for k := s.first; k < s.last && k < claim; k++ {
			nodes = append(nodes, c.items[k].Node)
		}
	case q.asked.MatchString(c.ask.text) && len(c.sentences) <= 4:
		for _, it := range c.ask.items {
			nodes = append(nodes, it.Node)
		}
	default:
		return nil, false
	}
	if len(nodes) != q.count {
		return nil, false
	}
	unit := ""
	for i, n := range nodes {
		for u := range unitsOf(n) {
			if unit != "" && u != unit {
				return nil, false
			}
			unit = u
		}
		if nodes[i] = stripped(n); len(nodes[i].Vars()) > 0 || nodes[i].Op == formula.Rel {
			return nil, false
		}
	}
	for u := range unitsOf(c.items[claim].Node) {
		if unit != "" && !strings.HasPrefix(u, unit) {
			return nil, false
		}
	}
	return nodes, true
}

var urns = regexp.MustCompile(`(?:hay|contiene|tiene|contains|has|are) (` + item + `) (?:bolas? |balls? )?(\pL+?)(?:[oa]?s)?(?: balls?)? (?:y|and) (` + item + `) (?:bolas? )?(\pL+?)(?:[oa]?s)?(?: balls?)?[ .,].*(?:sacar|extraer|drawing|getting|picking) (?:una |un |a )?(?:bola |ball )?(\pL+)`)

// urn judges the probability of one colour of two.
func (c *checker) urn(s *sentence) {
	m := chance.FindStringSubmatch(s.text)
	u := urns.FindStringSubmatch(c.ask.text)
	if m == nil || u == nil || len(c.ask.items) != 2 || len(c.sentences) > 4 {
		return
	}
	claim := marks(m[1])[0]
	a, b := stripped(c.ask.items[0].Node), stripped(c.ask.items[1].Node)
	if len(a.Vars())+len(b.Vars()) > 0 || a.Op == formula.Rel || b.Op == formula.Rel {
		return
	}
	first, second := strings.HasPrefix(u[5], u[2]), strings.HasPrefix(u[5], u[4])
	if first == second {
		return
	}
	if second {
		a, b = b, a
	}
	c.compared(s, []int{claim}, Probability, formula.New(formula.Div, a, add(a, b)), c.result(claim))
}

var (
	askedStat  = regexp.MustCompile(`(media|promedio|mean|average|mediana|median|moda|mode)(?: aritmética)? (?:de|of) (` + items + `)`)
	claimStat  = regexp.MustCompile(`(?:la|the|su|its|el) (media|promedio|mean|average|mediana|median|moda|mode)(?: aritmética)? ` + is + ` (` + item + `)`)
	askedLimit = regexp.MustCompile(`(?:límite|limit) (?:de|of) (` + item + `) (?:cuando|as|when) (` + item + `) (?:tiende a|tends to|approaches|goes to) (` + item + `|infinito|más infinito|infinity)`)
	claimLimit = regexp.MustCompile(`(?:límite|limit) ` + is + ` (` + item + `)`)
	claimDeriv = regexp.MustCompile(`(?:la|su|the|its) deriva(?:da|tive) ` + is + ` (` + item + `)`)
)

// summarised judges a mean, a limit or a derivative whose data the question gives.
func (c *checker) summarised(s *sentence) {
	if m, q := claimStat.FindStringSubmatch(s.text), askedStat.FindStringSubmatch(c.ask.text); m != nil && q != nil && !s.refuted {
		k := marks(m[2])[0]
		var data []*formula.Node
		for _, j := range marks(q[2]) {
			if j < len(c.ask.items) {
				data = append(data, stripped(c.ask.items[j].Node))
			}
		}
		if sameWord(m[1], q[1]) && len(data) == len(c.ask.items) && c.clean([]int{k}) {
			c.compared(s, []int{k}, Statistics, c.statisticOf(m[1], data), c.result(k))
			c.taken[k] = c.items[k].Op != formula.Rel
		}
	}
	if m, q := claimLimit.FindStringSubmatch(s.text), askedLimit.FindStringSubmatch(c.ask.text); m != nil && q != nil && !s.refuted {
		ks := marks(q[0])
		k := marks(m[1])[0]
		point := &formula.Node{Op: formula.Con, Name: "inf"}
		if len(ks) == 3 {
			point = c.ask.items[ks[2]].Node
		}
		if f, x := c.ask.items[ks[0]].Node, c.ask.items[ks[1]].Node; x.Op == formula.Sym && f.Op != formula.Rel && c.clean([]int{k}) {
			c.limitVerdict(s, []int{k}, f, x.Name, point, c.result(k))
			c.taken[k] = c.items[k].Op != formula.Rel
		}
	}
	if m := claimDeriv.FindStringSubmatch(s.text); m != nil && !s.refuted && c.ask.derive && c.ask.subject != nil {
		k := marks(m[1])[0]
		if g := c.result(k); g != nil && c.clean([]int{k}) && !c.taken[k] {
			t, at, d := c.derivativeIs(c.ask.subject, g, 1)
			c.derivativeVerdict(s, []int{k}, g, t, at, d)
			c.taken[k] = c.items[k].Op != formula.Rel
		}
	}
}

func sameWord(a, b string) bool {
	kind := func(w string) string {
		switch {
		case strings.HasPrefix(w, "median"):
			return "median"
		case strings.HasPrefix(w, "mod"):
			return "mode"
		}
		return "mean"
	}
	return kind(a) == kind(b)
}
