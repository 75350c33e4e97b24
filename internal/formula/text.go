package formula

import "strings"

// A Text is running text with its formulas found.
type Text struct {
	Source    string
	Ambiguous bool // some numeral reads otherwise in the other Mode
	tokens    []Token
	facts
}

// An Item is a formula of a Text: an expression or a chain of relations.
type Item struct {
	*Node
	Doubt bool // it can be read in another way
	Left  Edge // what stands before it
	Right Edge // what stands after it
	Fence bool // it is inside $…$ or another LaTeX fence
}

// An Edge is where a formula ends.
type Edge uint8

// The edges. Cut: a sign of mathematics follows that the formula could not
// take in, so the formula is a part of something unread.
const (
	Clean Edge = iota
	Related
	Cut
	Comma // a comma without room, as in 1,2
)

// Read finds the tokens of s.
func Read(s string, m Mode) *Text {
	first := &lexer{s: s, mode: m}
	first.bullet()
	l := lex(s[first.i:], m, false, 0)
	shifted(l.out, first.i)
	t := &Text{Source: s, Ambiguous: l.ambiguous, tokens: l.out}
	t.facts = learn(l.out)
	return t
}

// learn sees which letters are variables and which are functions: those that
// begin a statement, f(x) = … and m = ….
func learn(ts []Token) facts {
	f := facts{bound: map[string]bool{}, calls: map[string]bool{}}
	for i, t := range ts {
		if t.class != tIdent {
			continue
		}
		before := Token{class: tBreak}
		if i > 0 {
			before = ts[i-1]
		}
		next := Token{class: tBreak}
		if i+1 < len(ts) {
			next = ts[i+1]
		}
		if before.class != tOp && before.class != tNum && next.class == tRel && next.text != "≈" || next.class == tSub && !next.space {
			f.bound[t.text] = true
		}
		if next.class == tOpen && next.text == "(" && !next.space && i+4 < len(ts) && ts[i+3].class == tClose && ts[i+4].class == tRel && before.class != tOp && before.class != tNum {
			f.calls[t.text] = t.text == "f" || t.text == "g" || strings.Contains("hpqsuvjk", t.text)
		}
	}
	return f
}

// Items are the formulas of the text, in order. Each is as long as it can be.
func (t *Text) Items() []Item {
	var items []Item
	for i := 0; i < len(t.tokens); {
		if !t.begins(i) {
			i++
			continue
		}
		p := parser{ts: t.tokens, i: i, facts: t.facts}
		n := p.chain()
		if n == nil || p.i == i {
			i++
			continue
		}
		n.Start, n.End = t.tokens[i].start, t.tokens[p.i-1].end
		items = append(items, Item{Node: n, Doubt: p.doubt, Left: t.left(i, p.i), Right: t.right(i, p.i), Fence: t.tokens[i].math})
		i = p.i
	}
	return items
}

// begins reports whether a formula can begin at token i.
func (t *Text) begins(i int) bool {
	k := t.tokens[i]
	switch k.class {
	case tNum, tIdent, tFunc, tOpen, tBar, tCmd, tBig, tSet:
		return true
	case tSup:
		return i+1 < len(t.tokens) && t.tokens[i+1].text == "sqrt"
	case tOp:
		return strings.Contains("+-±∓", k.text) && i+1 < len(t.tokens) && (!t.tokens[i+1].space || k.math)
	}
	return false
}

func (t *Text) token(i int) Token {
	if i < 0 || i >= len(t.tokens) {
		return Token{class: tBreak, space: true}
	}
	return t.tokens[i]
}

func (t *Text) left(i, j int) Edge {
	p, first := t.token(i-1), t.token(i)
	switch p.class {
	case tRel:
		return Related
	case tOp, tSup, tSub, tFunc, tCmd, tBig, tDots, tBar, tPost:
		return Cut
	case tNum, tIdent, tClose: // 2 1/2, 2 h 30 min
		return Cut
	case tOpen:
		if n := t.token(j); n.class != tClose && n.class != tComma && n.class != tBreak && n.class != tWord {
			return Cut
		}
		if !p.space {
			return Cut
		}
	case tComma:
		if !first.space && !p.space && t.token(i-2).class == tNum {
			return Comma
		}
	case tWord:
		if !first.space || units[p.text] && t.token(i-2).class == tNum { // 1 min 30 s
			return Cut
		}
	}
	return Clean
}

func (t *Text) right(i, j int) Edge {
	n := t.token(j)
	switch n.class {
	case tRel:
		return Related
	case tOp:
		if n.text == "-" && n.space && t.token(j+1).space { // a dash of prose
			return Cut
		}
		return Cut
	case tSup, tSub, tFunc, tCmd, tBig, tDots, tPost:
		return Cut
	case tBar:
		return Cut
	case tNum, tIdent, tSet:
		return Cut
	case tOpen:
		if !n.space {
			return Cut
		}
	case tClose:
		if t.token(i-1).class != tOpen && t.token(i-1).class != tComma && !t.opened(i) {
			return Cut
		}
	case tComma:
		if !n.space && !t.token(j+1).space && t.token(j+1).class == tNum && t.token(j-1).class == tNum {
			return Comma
		}
	case tWord:
		if !n.space && (t.token(j-1).class != tNum || len(n.text) < 2) {
			return Cut
		}
	}
	return Clean
}

// opened reports whether a bracket of the sentence is open before token i.
func (t *Text) opened(i int) bool {
	depth := 0
	for k := i - 1; k >= 0 && t.tokens[k].class != tBreak; k-- {
		switch t.tokens[k].class {
		case tOpen:
			depth--
		case tClose:
			depth++
		}
		if depth < 0 {
			return true
		}
	}
	return false
}
