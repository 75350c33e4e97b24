package mathcheck

import (
	"regexp"
	"strings"

	"afina/internal/algebra"
	"afina/internal/formula"
)

// A problem is what was asked.
type problem struct {
	text       string // of the question, as a sentence has it
	items      []formula.Item
	equation   *formula.Node // a = b in the one variable x
	x          string
	system     []*formula.Node // two equations or more
	vars       []string
	inequality *formula.Node
	domain     *formula.Node // the expression whose domain is sought
	subject    *formula.Node // the only expression of the question
	solve      bool          // an equation or inequality is to be solved
	restricted bool          // not every real number will do
	besides    bool          // something is asked for that is reckoned from the unknown
	complex    bool
	derive     bool
	given      bool // it gives values to variables
}

var (
	solving    = regexp.MustCompile(`resuel|resolv|solve|solving|soluci|solution|raíces|raíz de la|roots? of|zeros?\b|ceros de|ecuaci|equation|valor(es)? de [xyzt⟦]|despej|value of|find x|halla x|encuentra x|calcula x|incógnita|sistema|inecuaci|inequalit`)
	wanting    = regexp.MustCompile(`(?:halla|hallar|encuentra|encontrar|calcula|calcular|determina|obtén|averigua|find|determine|compute|cuánto vale|what is|valor(?:es)? de|values? of)(?: el valor de| los valores de| the values? of| all values of)? (⟦\d+⟧|[a-z])(?:[ ,]|$)`)
	restricted = regexp.MustCompile(`positiv|negativ|natural|enter[oa]s?\b|integer|mayor|menor|greater|less|intervalo|interval\b|entre|between|agudo|acute|cuadrante|quadrant|primer|smallest|largest|racional|rational|edad|\bage|longitud|length|lado|side|distint|una solución|one solution|a solution|alguna|some`)
	counts     = regexp.MustCompile(`cuánt[oa]s|how many|suman|sumar|add up|signo|sign of`)
	complexes  = regexp.MustCompile(`complej|complex|imaginari`)
	domains    = regexp.MustCompile(`dominio|domain`)
	deriving   = regexp.MustCompile(`deriv|differentiat`)
)

// understand finds the problem in a question.
func understand(question string, mode formula.Mode, w *algebra.Work) problem {
	p := problem{}
	if strings.TrimSpace(question) == "" {
		return p
	}
	t := formula.Read(question, mode)
	p.items = t.Items()
	for _, s := range split(question, p.items) {
		p.text += s.text + " . "
	}
	p.restricted = restricted.MatchString(p.text)
	p.complex = complexes.MatchString(p.text) || strings.Contains(question, "ℂ")
	p.derive = deriving.MatchString(p.text)
	p.sort()
	p.solve = p.equation != nil || p.system != nil || p.inequality != nil
	if domains.MatchString(p.text) {
		p.domain = p.subject
		p.equation, p.inequality = nil, nil
		if p.domain != nil && len(p.domain.Vars()) == 1 {
			p.x = p.domain.Vars()[0]
		}
	}
	return p
}

// sort puts the formulas of the question in their places.
func (p *problem) sort() {
	wanted := solving.MatchString(p.text)
	var equations, inequalities, others []*formula.Node
	for _, it := range p.items {
		n := it.Node
		p.given = p.given || n.Op == formula.Rel
		if it.Left == formula.Cut || it.Right == formula.Cut {
			p.restricted = true
			continue
		}
		switch {
		case n.Op != formula.Rel:
			if n.Op != formula.Num && n.Op != formula.Sym && n.Op != formula.Tuple {
				others = append(others, n)
			}
		case definitional(n):
			others = append(others, n.Args[1])
		case len(n.Rels) == 1 && n.Rels[0] == "=" && len(n.Vars()) > 0 && !n.Has(formula.Apply):
			equations = append(equations, n)
		case ordered(n) && len(n.Vars()) == 1:
			inequalities = append(inequalities, n)
		default:
			p.restricted = true
		}
	}
	p.besides = len(others) > 0 || reckoned.MatchString(p.text) || counts.MatchString(p.text)
	if len(others) == 1 {
		p.subject = others[0]
	}
	wanted = wanted || p.wants(equations) && len(others) == 0
	bare := len(p.items) == len(equations)+len(inequalities) && len(mark.ReplaceAllString(p.text, "")) < 20
	if !wanted && !bare {
		return
	}
	switch {
	case len(equations) == 1 && len(equations[0].Vars()) == 1 && !assigned(equations[0]):
		p.equation, p.x = equations[0], equations[0].Vars()[0]
		p.restricted = p.restricted || len(inequalities) > 0 || len(others) > 0
	case len(equations) >= 2 && len(inequalities) == 0:
		p.joint(equations)
	case len(equations) == 0 && len(inequalities) == 1:
		p.inequality, p.x = inequalities[0], inequalities[0].Vars()[0]
	}
}

// wants reports whether the unknown of the one equation is what is asked for:
// halla x si …, which values of x satisfy ….
func (p *problem) wants(equations []*formula.Node) bool {
	if len(equations) != 1 || len(equations[0].Vars()) != 1 {
		return false
	}
	m := wanting.FindStringSubmatch(p.text)
	if m == nil {
		return false
	}
	if ks := marks(m[1]); len(ks) == 1 {
		n := p.items[ks[0]].Node
		return n.Op == formula.Sym && n.Name == equations[0].Vars()[0]
	}
	return m[1] == equations[0].Vars()[0]
}

// assigned reports whether n is x = 3, which gives a value and asks nothing.
func assigned(n *formula.Node) bool {
	return n.Args[0].Op == formula.Sym && n.Args[1].Op == formula.Num
}

// joint takes equations in several variables as a system.
func (p *problem) joint(equations []*formula.Node) {
	all := formula.New(formula.Add)
	for _, e := range equations {
		all.Args = append(all.Args, e.Args...)
	}
	p.vars = all.Vars()
	if len(p.vars) >= 2 && len(p.vars) <= 4 && len(equations) >= len(p.vars) {
		p.system = equations
	}
}

// definitional reports whether n is f(x) = … or y = ….
func definitional(n *formula.Node) bool {
	if len(n.Rels) == 0 || n.Rels[0] != "=" {
		return false
	}
	l := n.Args[0]
	if l.Op == formula.Apply && l.Order == 0 && len(l.Args) == 1 && l.Args[0].Op == formula.Sym {
		return len(n.Args[1].Vars()) > 0 && !n.Args[1].Has(formula.Apply)
	}
	return false
}

// ordered reports whether all relations of n are of order.
func ordered(n *formula.Node) bool {
	for _, r := range n.Rels {
		if !strings.Contains("<>≤≥", r) {
			return false
		}
	}
	return len(n.Rels) > 0
}

// A definition is a function of the text: name(param) = body.
type definition struct {
	param string
	body  *formula.Node
}

// define gathers the functions defined in the question and the text. One that
// is defined twice, and not alike, is none.
func (c *checker) define() map[string]definition {
	defs := map[string]definition{}
	spoilt := map[string]bool{}
	add := func(n *formula.Node, firm bool) {
		if n.Op != formula.Rel || !definitional(n) {
			return
		}
		d := definition{n.Args[0].Args[0].Name, n.Args[1]}
		old, have := defs[n.Args[0].Name]
		switch {
		case !have:
			defs[n.Args[0].Name] = d
		case firm && !formula.Same(old.body, d.body):
			spoilt[n.Args[0].Name] = true
		}
	}
	for _, it := range c.ask.items {
		if it.Left != formula.Cut && it.Right != formula.Cut && !it.Doubt {
			add(it.Node, true)
		}
	}
	asked := len(defs)
	for _, s := range c.sentences {
		for k := s.first; k < s.last; k++ {
			it := c.items[k]
			if !s.refuted && it.Left != formula.Cut && it.Right != formula.Cut && !it.Doubt {
				add(it.Node, asked == 0)
			}
		}
	}
	if c.ask.derive && len(defs) == 0 && c.ask.subject != nil && len(c.ask.subject.Vars()) == 1 {
		d := definition{c.ask.subject.Vars()[0], c.ask.subject}
		defs["f"], defs["y"] = d, d
	}
	for name := range spoilt {
		delete(defs, name)
	}
	return defs
}
