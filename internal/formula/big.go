package formula

// big reads ∫, Σ, Π and lim with what stands under and over them.
func (p *parser) big() *Node {
	sign := p.peek().text
	p.i++
	switch sign {
	case "∫":
		return p.integral()
	case "lim":
		return p.limit()
	}
	op := Sum
	if sign == "Π" {
		op = Prod
	}
	lo, hi := p.bounds()
	if lo == nil || hi == nil || lo.Op != Rel || len(lo.Args) != 2 || lo.Rels[0] != "=" || lo.Args[0].Op != Sym {
		return nil
	}
	body := p.product()
	if body == nil {
		return nil
	}
	return &Node{Op: op, Name: lo.Args[0].Name, Args: []*Node{body, lo.Args[1], hi}}
}

// bounds reads what is lowered and raised after a big sign.
func (p *parser) bounds() (lo, hi *Node) {
	for {
		t := p.peek()
		switch {
		case t.class == tSub && lo == nil:
			q := parser{ts: t.inner, depth: p.depth + 1, facts: p.facts}
			lo = q.chain()
			if lo == nil || q.i != len(q.ts) {
				return nil, nil
			}
			p.i++
		case t.class == tSup && hi == nil:
			hi = p.inside(t.inner)
			p.i++
		case t.class == tOp && t.text == "^" && hi == nil:
			p.i++
			hi = p.arg()
		default:
			return lo, hi
		}
	}
}

// integral reads up to the differential.
func (p *parser) integral() *Node {
	lo, hi := p.bounds()
	if (lo == nil) != (hi == nil) {
		return nil
	}
	var body *Node
	if p.differential() {
		body = Int(1)
	} else {
		body = p.sum()
	}
	if body == nil {
		return nil
	}
	name := ""
	switch {
	case p.differential():
		name = p.ahead(1).text
		p.i += 2
	default: // ∫ dx/x
		return nil
	}
	n := &Node{Op: Integral, Name: name, Args: []*Node{body}}
	if lo != nil {
		n.Args = append(n.Args, lo, hi)
	}
	return n
}

// limit reads lim with x → a under it, lowered or in brackets.
func (p *parser) limit() *Node {
	var under []Token
	t := p.peek()
	switch {
	case t.class == tSub:
		under = t.inner
		p.i++
	case t.class == tOpen && (t.text == "(" || t.text == "{"):
		depth := 0
		for k := p.i; k < len(p.ts); k++ {
			if p.ts[k].class == tOpen {
				depth++
			}
			if p.ts[k].class == tClose {
				depth--
			}
			if depth == 0 {
				under = p.ts[p.i+1 : k]
				p.i = k + 1
				break
			}
		}
	case t.class == tIdent && p.ahead(1).text == "→": // lim x→2 x²
		q := parser{ts: p.ts, i: p.i + 2, depth: p.depth + 1, facts: p.facts}
		if n := q.unaryPlain(); n != nil {
			under = p.ts[p.i:q.i]
			p.i = q.i
		}
	}
	if len(under) < 3 || under[0].class != tIdent || under[1].class != tArrow {
		return nil
	}
	side, to := 0, under[2:]
	if last := to[len(to)-1]; len(to) > 1 && last.class == tSup && (last.text == "+" || last.text == "-") {
		side = map[string]int{"+": 1, "-": -1}[last.text]
		to = to[:len(to)-1]
	} else if len(to) > 2 && to[len(to)-2].text == "^" && last.class == tOp {
		side = map[string]int{"+": 1, "-": -1}[last.text]
		to = to[:len(to)-2]
	}
	point := p.inside(to)
	body := p.product()
	if point == nil || body == nil {
		return nil
	}
	return &Node{Op: Limit, Name: under[0].text, Args: []*Node{body, point}, Order: side}
}

// unaryPlain reads a signed numeral, letter or ∞: the point of a limit written in line.
func (p *parser) unaryPlain() *Node {
	neg := p.take(tOp, "-")
	if !neg {
		p.take(tOp, "+")
	}
	n := p.postfix()
	if n != nil && neg {
		return New(Neg, n)
	}
	return n
}

// leibniz reads {d}{dx} f, after \frac.
func (p *parser) leibniz() *Node {
	words := []string{"{", "d", "}", "{", "d", "", "}"}
	for k, w := range words {
		if t := p.ahead(k); w != "" && t.text != w || w == "" && t.class != tIdent {
			return nil
		}
	}
	name := p.ahead(5).text
	mark := p.i
	p.i += len(words)
	body := p.product()
	if body == nil {
		p.i = mark
		return nil
	}
	return &Node{Op: Diff, Name: name, Args: []*Node{body}, Order: 1}
}
