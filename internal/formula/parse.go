package formula

import (
	"errors"
	"strings"
)

// A parser reads expressions from tokens. Its methods return nil where the
// tokens at hand are no expression; the place is then of no meaning.
type parser struct {
	ts    []Token
	i     int
	doubt bool // what was read can be read in another way
	depth int
	facts
}

// facts of the whole text decide between readings of its letters.
type facts struct {
	bound map[string]bool // letters that are variables here, though they could be units or e
	calls map[string]bool // letters that are functions here
}

const deepest = 60

func (p *parser) peek() Token { return p.ahead(0) }

func (p *parser) ahead(k int) Token {
	if p.i+k < 0 || p.i+k >= len(p.ts) {
		return Token{class: tBreak, space: true}
	}
	return p.ts[p.i+k]
}

func (p *parser) is(c class, text string) bool {
	t := p.peek()
	return t.class == c && (text == "" || t.text == text)
}

func (p *parser) take(c class, text string) bool {
	if p.is(c, text) {
		p.i++
		return true
	}
	return false
}

func (p *parser) span(n *Node, start int) *Node {
	if n == nil {
		return nil
	}
	if p.i > start && start < len(p.ts) {
		n.Start, n.End = p.ts[start].start, p.ts[p.i-1].end
	}
	return n
}

// chain reads members joined by relations, as many as there are.
func (p *parser) chain() *Node {
	start := p.i
	first := p.sum()
	if first == nil {
		return nil
	}
	rel := &Node{Op: Rel, Args: []*Node{first}}
	for p.peek().class == tRel {
		mark := p.i
		sign := p.peek().text
		p.i++
		p.take(tAmp, "")
		next := p.sum()
		if next == nil {
			p.i = mark
			break
		}
		rel.Rels = append(rel.Rels, sign)
		rel.Args = append(rel.Args, next)
	}
	if len(rel.Rels) == 0 {
		return first
	}
	return p.span(rel, start)
}

// sum reads terms joined by + − ± ∪ ∩ ∖.
func (p *parser) sum() *Node {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > deepest {
		return nil
	}
	start := p.i
	n := p.product()
	for n != nil {
		t := p.peek()
		if t.class == tAmp { // alignment
			p.i++
			continue
		}
		if t.class != tOp || !strings.Contains("+-±∓∪∩∖", t.text) {
			break
		}
		mark := p.i
		p.i++
		right := p.product()
		if right == nil {
			p.i = mark
			break
		}
		n = p.span(join(t.text, n, right), start)
	}
	return n
}

func join(sign string, a, b *Node) *Node {
	switch sign {
	case "+":
		return flat(Add, a, b)
	case "-":
		if isSet(a) {
			return New(Minus, a, b)
		}
		return flat(Add, a, New(Neg, b))
	case "±":
		return New(PM, a, b)
	case "∓":
		return &Node{Op: PM, Name: "-", Args: []*Node{a, b}}
	case "∪":
		return flat(Union, a, b)
	case "∩":
		return flat(Inter, a, b)
	}
	return New(Minus, a, b)
}

func isSet(n *Node) bool {
	return n.Op == NumSet || n.Op == Set || n.Op == Interval || n.Op == Union || n.Op == Minus || n.Op == Inter
}

func flat(op Op, a, b *Node) *Node {
	if a.Op == op && a.Name == "" {
		return New(op, append(append([]*Node{}, a.Args...), b)...)
	}
	return New(op, a, b)
}

// product reads factors joined by signs, by / and : from the left.
func (p *parser) product() *Node {
	start := p.i
	n := p.unary()
	for n != nil {
		t := p.peek()
		if t.class != tOp || t.text != "*" && t.text != "/" && t.text != ":" {
			break
		}
		mark := p.i
		p.i++
		divisor := p.i
		right := p.unary()
		if right == nil {
			p.i = mark
			break
		}
		p.doubt = p.doubt || t.doubt
		if t.text != "*" {
			p.doubt = p.doubt || p.implied(right, divisor)
			n = p.span(New(Div, n, right), start)
			continue
		}
		n = p.span(flat(Mul, n, right), start)
	}
	return n
}

// implied reports whether the divisor is a product without a sign: 1/2x.
func (p *parser) implied(n *Node, from int) bool {
	return n.Op == Mul && p.ts[from].class != tOpen && p.ts[from].class != tCmd && from+1 < p.i
}

func (p *parser) unary() *Node {
	t := p.peek()
	if t.class != tOp || !strings.Contains("+-±∓", t.text) {
		return p.fraction()
	}
	start := p.i
	p.i++
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > deepest {
		return nil
	}
	n := p.unary()
	if n == nil {
		return nil
	}
	switch t.text {
	case "-":
		n = New(Neg, n)
	case "±":
		n = New(PM, Int(0), n)
	case "∓":
		n = &Node{Op: PM, Name: "-", Args: []*Node{Int(0), n}}
	}
	return p.span(n, start)
}

// fraction reads a/b written without room, which binds before : and · do, so
// that 2/3 : 4/5 is a quotient of fractions.
func (p *parser) fraction() *Node {
	start := p.i
	n := p.juxtaposed()
	for n != nil && p.is(tOp, "/") && !p.peek().space && !p.ahead(1).space {
		mark := p.i
		p.i++
		right := p.juxtaposed()
		if right == nil {
			p.i = mark
			break
		}
		p.doubt = p.doubt || p.implied(right, mark+1) || n.Op == Div // 12/05/2024
		n = p.span(New(Div, n, right), start)
	}
	return n
}

// juxtaposed reads factors that stand side by side, and a unit after them.
func (p *parser) juxtaposed() *Node {
	start := p.i
	n := p.power()
	for n != nil {
		if u := p.unit(start); u != "" {
			n = p.span(&Node{Op: Unit, Name: u, Args: []*Node{n}}, start)
			break
		}
		if !p.factorNext() {
			break
		}
		mark := p.i
		right := p.power()
		if right == nil {
			p.i = mark
			break
		}
		n = p.span(flat(Mul, n, right), start)
	}
	return n
}

// factorNext reports whether the next token begins a factor without a sign.
func (p *parser) factorNext() bool {
	t, last := p.peek(), p.ahead(-1)
	switch t.class {
	case tIdent:
		return t.text != "∅" && !(t.text == "d" && t.math && p.ahead(1).class == tIdent && !p.ahead(1).space) && !(t.text == "d" && p.differential())
	case tFunc, tCmd:
		return t.text != "end"
	case tOpen:
		return t.text == "(" || t.text == "{" && t.math || t.text == "[" && !t.space
	case tNum:
		return last.class == tClose && last.text == "}" && t.math // \frac{1}{2} 3
	case tSup:
		return false
	}
	return false
}

// differential reports whether dx is next.
func (p *parser) differential() bool {
	d, x := p.peek(), p.ahead(1)
	return d.class == tIdent && d.text == "d" && x.class == tIdent && !x.space
}

// letterUnits are units of one letter; a letter the text uses as a variable is none.
const letterUnits = "mghslLt"

// unit reads the unit after a number, with its power, or nothing.
func (p *parser) unit(start int) string {
	t := p.peek()
	known := t.class == tWord && units[t.text]
	if t.class == tIdent && strings.Contains(letterUnits, t.text) && !p.bound[t.text] && !t.math && start < p.i {
		last := p.ahead(-1)
		known = t.space && (last.class == tNum || last.class == tIdent && last.text == "π")
	}
	if !known {
		return ""
	}
	p.i++
	name := t.text
	if s := p.peek(); s.class == tSup && !s.space && (s.text == "2" || s.text == "3") {
		p.i++
		name += s.text
	}
	if s := p.peek(); s.class == tOp && s.text == "/" && !s.space {
		if d := p.ahead(1); !d.space && (units[d.text] || len(d.text) == 1 && strings.Contains(letterUnits, d.text)) {
			p.i += 2
			name += "/" + d.text
		}
	}
	return name
}

// power reads a factor and its exponent; 2^3^2 goes from the right.
func (p *parser) power() *Node {
	start := p.i
	n := p.postfix()
	if n == nil {
		return nil
	}
	for {
		t := p.peek()
		switch {
		case t.class == tSup && !t.space:
			if p.ahead(1).class == tCmd && p.ahead(1).text == "sqrt" && !p.ahead(1).space { // 2³√27
				p.doubt = true
			}
			e := p.inside(t.inner)
			if e == nil {
				return nil
			}
			p.i++
			n = p.span(New(Pow, n, e), start)
			n = p.tail(n, start)
			continue
		case t.class == tOp && t.text == "^":
			p.i++
			e := p.exponent()
			if e == nil {
				return nil
			}
			n = p.span(New(Pow, n, e), start)
			n = p.tail(n, start)
		}
		return n
	}
}

// exponent reads what follows ^: a group, or a signed factor.
func (p *parser) exponent() *Node {
	if p.is(tOpen, "{") {
		return p.group()
	}
	if t := p.peek(); t.class == tOp && (t.text == "-" || t.text == "+") {
		p.i++
		n := p.exponent()
		if n == nil || t.text == "+" {
			return n
		}
		return New(Neg, n)
	}
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > deepest {
		return nil
	}
	return p.power()
}

// inside parses inner tokens as one whole expression.
func (p *parser) inside(ts []Token) *Node {
	q := parser{ts: ts, depth: p.depth + 1, facts: p.facts}
	n := q.sum()
	p.doubt = p.doubt || q.doubt
	if n == nil || q.i != len(ts) {
		return nil
	}
	return n
}

// group reads {…}.
func (p *parser) group() *Node {
	if !p.take(tOpen, "{") {
		return nil
	}
	n := p.chain()
	if n == nil || !p.take(tClose, "}") {
		return nil
	}
	return n
}

// arg reads an argument of a LaTeX command: a group or one token.
func (p *parser) arg() *Node {
	if p.is(tOpen, "{") {
		return p.group()
	}
	return p.postfix()
}

// postfix reads a primary and the signs after it.
func (p *parser) postfix() *Node {
	start := p.i
	n := p.primary()
	if n == nil {
		return nil
	}
	return p.tail(p.span(n, start), start)
}

// tail reads ! % ° after n.
func (p *parser) tail(n *Node, start int) *Node {
	for {
		t := p.peek()
		if t.class != tPost {
			return n
		}
		switch {
		case t.text == "!" && !t.space && !p.exclaims():
			n = Fn("fact", n)
		case t.text == "%":
			n = New(Percent, n)
		case t.text == "°" && !t.space:
			if next := p.ahead(1); next.class == tIdent && !next.space && (next.text == "C" || next.text == "F") {
				return nil
			}
			n = New(Degree, n)
		default:
			return n
		}
		p.i++
		n = p.span(n, start)
	}
}

// exclaims reports whether the ! ends an exclamation; at the end of a sentence it may.
func (p *parser) exclaims() bool {
	next := p.ahead(1)
	if next.class == tBreak || next.class == tWord && next.space {
		for k := p.i; k >= 0; k-- {
			if p.ts[k].class == tBreak && p.ts[k].text == "¡" {
				return true
			}
		}
		p.doubt = true
	}
	return false
}

// ErrSyntax is returned for what is no expression.
var ErrSyntax = errors.New("not a formula")

// Parse reads s as one whole expression or chain of relations.
func Parse(s string, m Mode) (*Node, error) {
	t := Read(s, m)
	p := parser{ts: t.tokens, facts: t.facts}
	n := p.list()
	for p.is(tBreak, "") && p.i < len(p.ts) {
		p.i++
	}
	if n == nil || p.i != len(p.ts) {
		return nil, ErrSyntax
	}
	return n, nil
}

// list reads chains separated by commas.
func (p *parser) list() *Node {
	first := p.chain()
	if first == nil || !p.is(tComma, "") {
		return first
	}
	all := []*Node{first}
	for p.take(tComma, "") {
		next := p.chain()
		if next == nil {
			return nil
		}
		all = append(all, next)
	}
	return New(List, all...)
}
