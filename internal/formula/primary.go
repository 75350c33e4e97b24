package formula

import "strings"

// primary reads a numeral, a letter, brackets, a root, a function or a big sign.
func (p *parser) primary() *Node {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > deepest {
		return nil
	}
	t := p.peek()
	switch t.class {
	case tNum:
		return p.numeral()
	case tIdent:
		return p.letter()
	case tFunc:
		return p.function()
	case tOpen:
		return p.brackets()
	case tBar:
		return p.bars()
	case tCmd:
		return p.command()
	case tBig:
		return p.big()
	case tSet:
		p.i++
		if p.is(tSup, "") || p.is(tSub, "") || p.is(tOp, "^") { // ℝ⁺, ℝ²
			return nil
		}
		return &Node{Op: NumSet, Name: t.text}
	case tSup: // ³√27
		if r := p.ahead(1); r.class == tCmd && r.text == "sqrt" && !r.space {
			index := p.inside(t.inner)
			p.i += 2
			return p.root(index)
		}
	}
	return nil
}

func (p *parser) numeral() *Node {
	t := p.peek()
	p.i++
	p.doubt = p.doubt || t.doubt
	n := &Node{Op: Num, Rat: t.rat, Digits: t.digs, Dots: t.dots}
	next := p.peek()
	if next.class == tSub && next.math { // 204₅ is of another base
		return nil
	}
	if next.class == tNum && !t.math { // 2 1/2
		p.doubt = true
	}
	return n
}

// letter reads a constant, a variable with its subscript, or a function of the text.
func (p *parser) letter() *Node {
	t := p.peek()
	p.i++
	switch t.text {
	case "π":
		return &Node{Op: Con, Name: "pi"}
	case "∞":
		return &Node{Op: Con, Name: "inf"}
	case "∅":
		return New(Set)
	case "e":
		if !p.bound["e"] && p.peek().class != tSub {
			return &Node{Op: Con, Name: "e"}
		}
	}
	name := t.text
	if s := p.peek(); s.class == tSub && !s.space {
		name += "_" + s.text
		p.i++
	}
	primes := 0
	for p.is(tPost, "'") && !p.peek().space || p.is(tPost, "''") {
		primes += len(p.peek().text)
		p.i++
	}
	if n := p.applied(name, primes); n != nil {
		return n
	}
	if primes > 0 {
		name += strings.Repeat("'", primes)
	}
	return Var(name)
}

const functionLetters = "fghpqFGHPQABVSTCLR"

// applied reads f(x), f'(x), f⁻¹(x) and f^{-1}(x); other letters before a bracket are factors.
func (p *parser) applied(name string, primes int) *Node {
	mark := p.i
	inverse := false
	if s := p.peek(); s.class == tSup && s.text == "-1" {
		inverse = true
		p.i++
	} else if s.class == tOp && s.text == "^" && p.invertedNext() {
		inverse = true
	}
	if s := p.peek(); s.class == tOp && s.text == "^" && p.primesNext() {
		primes++
	}
	open := p.peek()
	if open.class != tOpen || open.text != "(" || open.space || !p.calls[name] && primes == 0 && !strings.Contains(functionLetters, name) {
		p.i = mark
		return nil
	}
	p.i++
	inner := p.list()
	if inner == nil || !p.take(tClose, ")") {
		p.i = mark
		return nil
	}
	args := []*Node{inner}
	if inner.Op == List {
		args = inner.Args
	}
	n := &Node{Op: Apply, Name: name, Args: args, Order: primes}
	if inverse {
		n.Order = -1
	}
	return n
}

// invertedNext takes ^{-1} or ^-1 when it stands before a bracket.
func (p *parser) invertedNext() bool {
	for _, sign := range [][]string{{"^", "{", "-", "1", "}"}, {"^", "-", "1"}, {"^", "(", "-", "1", ")"}} {
		ok := true
		for k, s := range sign {
			ok = ok && p.ahead(k).text == s
		}
		if ok && p.ahead(len(sign)).text == "(" {
			p.i += len(sign)
			return true
		}
	}
	return false
}

// primesNext takes ^{\prime} before a bracket.
func (p *parser) primesNext() bool {
	switch {
	case p.ahead(1).text == "{" && p.ahead(2).text == "'" && p.ahead(3).text == "}":
		p.i += 4
	case p.ahead(1).text == "'":
		p.i += 2
	default:
		return false
	}
	return true
}

// function reads a known function with its powers, base and argument.
func (p *parser) function() *Node {
	name := p.peek().text
	p.i++
	var power, base *Node
	for {
		t := p.peek()
		switch {
		case t.class == tSub && base == nil:
			base = p.inside(t.inner)
			if base == nil {
				return nil
			}
			p.i++
			continue
		case t.class == tSup && !t.space && power == nil:
			power = p.inside(t.inner)
			if power == nil {
				return nil
			}
			p.i++
			continue
		case t.class == tOp && t.text == "^" && power == nil:
			p.i++
			power = p.arg()
			if power == nil {
				return nil
			}
			continue
		}
		break
	}
	args := p.arguments(name)
	if args == nil {
		return nil
	}
	return p.call(name, args, power, base)
}

func (p *parser) call(name string, args []*Node, power, base *Node) *Node {
	var n *Node
	switch {
	case name == "sqrt" && len(args) == 1:
		n = New(Root, args[0], Int(2))
	case name == "cbrt" && len(args) == 1:
		n = New(Root, args[0], Int(3))
	case name == "exp" && len(args) == 1:
		n = New(Pow, &Node{Op: Con, Name: "e"}, args[0])
	case name == "log":
		n = Fn("log", base, args[0])
		if base == nil { // to the base ten, or e for some
			n.Args[0], n.Order = Int(10), 1
		}
	default:
		n = Fn(name, args...)
	}
	if power == nil {
		return n
	}
	if power.Op == Neg { // sin⁻¹ is the inverse for some and a reciprocal for others
		return nil
	}
	return New(Pow, n, power)
}

// arguments reads (a, b) or, for functions of one, the factors that follow.
func (p *parser) arguments(name string) []*Node {
	if t := p.peek(); t.class == tOpen && t.text == "(" {
		p.i++
		inner := p.list()
		if inner == nil || !p.take(tClose, ")") {
			return nil
		}
		if s := p.peek(); (s.class == tSup || s.class == tOp && s.text == "^") && !s.space && name != "sqrt" { // sin(x)² is (sin x)² or sin(x²)
			p.doubt = true
		}
		if inner.Op == List {
			return inner.Args
		}
		return []*Node{inner}
	}
	if name == "det" {
		if n := p.primary(); n != nil {
			return []*Node{n}
		}
		return nil
	}
	start := p.i
	if p.is(tOp, "-") {
		p.i++
		n := p.power()
		if n == nil {
			return nil
		}
		return []*Node{New(Neg, n)}
	}
	n := p.power()
	for n != nil {
		t := p.peek()
		simple := t.class == tIdent && (t.text == "π" || !p.differential()) && t.text != "∞" && p.unitless()
		if !simple || p.ahead(-1).class == tClose {
			break
		}
		factor := p.power()
		if factor == nil {
			return nil
		}
		n = p.span(flat(Mul, n, factor), start)
	}
	if n == nil {
		return nil
	}
	if t := p.peek(); t.class == tOp && t.text == "/" && !t.space { // cos x/2
		p.doubt = true
	}
	return []*Node{n}
}

func (p *parser) unitless() bool { return !p.peek().space || p.ahead(-1).class == tNum }

// brackets reads (…), […], {…}: a grouping, a tuple, an interval or a set.
func (p *parser) brackets() *Node {
	open := p.peek()
	p.i++
	if open.text == "\\{" || open.text == "{" && !open.math {
		return p.braces()
	}
	if open.text == "{" {
		p.i--
		return p.group()
	}
	inner := p.list()
	if inner == nil {
		return nil
	}
	closing := p.peek()
	if closing.class != tClose && !(closing.class == tOpen && closing.text == "[") {
		return nil
	}
	if closing.text == "[" && (inner.Op != List || len(inner.Args) != 2) {
		return nil
	}
	p.i++
	if inner.Op != List {
		if inner.Op == Rel || open.text == "(" && closing.text != ")" || open.text == "[" && closing.text != "]" {
			return nil
		}
		return inner
	}
	if len(inner.Args) == 2 && (open.text != "(" || closing.text != ")" || infinite(inner.Args[0]) || infinite(inner.Args[1])) {
		n := New(Interval, inner.Args...)
		n.Open = [2]bool{open.text != "[", closing.text != "]"}
		if open.text == "]" {
			n.Open[0] = true
		}
		return n
	}
	if open.text != "(" || closing.text != ")" {
		return nil
	}
	return New(Tuple, inner.Args...)
}

func infinite(n *Node) bool {
	if n.Op == Neg {
		n = n.Args[0]
	}
	return n.Op == Con && n.Name == "inf"
}

func (p *parser) braces() *Node {
	if p.take(tClose, "") {
		return New(Set)
	}
	inner := p.list()
	if inner == nil || !p.is(tClose, "\\}") && !p.is(tClose, "}") {
		return nil
	}
	p.i++
	if inner.Op == List {
		return New(Set, inner.Args...)
	}
	return New(Set, inner)
}

// bars reads |…|. A bar opens where an operand can begin.
func (p *parser) bars() *Node {
	if !p.take(tBar, "|") {
		return nil
	}
	inner := p.sum()
	if inner == nil || !p.take(tBar, "|") {
		return nil
	}
	return Fn("abs", inner)
}

func (p *parser) root(index *Node) *Node {
	if index == nil {
		return nil
	}
	if p.is(tOp, "-") { // √−4
		return nil
	}
	t := p.peek()
	latex := t.class == tOpen && t.text == "{"
	n := p.arg()
	if n == nil {
		return nil
	}
	next := p.peek()
	if !latex && !next.space && (next.class == tSup || next.class == tOp && next.text == "^" || next.class == tIdent && next.text != "π" || next.class == tOp && next.text == "/" && t.text != "(") {
		p.doubt = p.doubt || t.class != tOpen || next.class == tSup || next.text == "^" // √x², √2x, √3/3
		if next.text == "/" && t.class == tNum {
			p.doubt = false || p.doubt && next.class != tOp
		}
	}
	return New(Root, n, index)
}

// command reads √, \frac, \binom, \sqrt[3] and matrices.
func (p *parser) command() *Node {
	t := p.peek()
	p.i++
	switch t.text {
	case "sqrt":
		index := Int(2)
		if p.is(tOpen, "[") && !p.peek().space {
			p.i++
			index = p.sum()
			if index == nil || !p.take(tClose, "]") {
				return nil
			}
		}
		return p.root(index)
	case "cbrt":
		return p.root(Int(3))
	case "4rt":
		return p.root(Int(4))
	case "frac", "binom", "rac":
		if n := p.leibniz(); n != nil {
			return n
		}
		a := p.arg()
		if a == nil {
			return nil
		}
		b := p.arg()
		if b == nil {
			return nil
		}
		if t.text == "binom" {
			return Fn("binom", a, b)
		}
		return New(Div, a, b)
	case "pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix":
		return p.matrix(t.text == "vmatrix")
	}
	return nil
}

// matrix reads rows ended by \\ and entries by &.
func (p *parser) matrix(det bool) *Node {
	m := New(Matrix)
	row := New(Tuple)
	for {
		if p.take(tCmd, "end") {
			break
		}
		n := p.sumIn()
		if n == nil {
			return nil
		}
		row.Args = append(row.Args, n)
		if p.take(tAmp, "&") {
			continue
		}
		m.Args = append(m.Args, row)
		row = New(Tuple)
		if !p.take(tEnd, "") && !p.is(tCmd, "end") {
			return nil
		}
	}
	for _, r := range m.Args {
		if len(r.Args) != len(m.Args[0].Args) {
			return nil
		}
	}
	if len(m.Args) == 0 {
		return nil
	}
	if det {
		return Fn("det", m)
	}
	return m
}

// sumIn is sum where & separates instead of aligning.
func (p *parser) sumIn() *Node {
	end := p.i
	for end < len(p.ts) && p.ts[end].class != tAmp && p.ts[end].class != tEnd && !(p.ts[end].class == tCmd && p.ts[end].text == "end") {
		end++
	}
	n := p.inside(p.ts[p.i:end])
	p.i = end
	return n
}
