package formula

import (
	"strings"
	"unicode/utf8"
)

// latexSigns are the commands that stand for one sign.
var latexSigns = map[string]struct {
	c    class
	text string
}{
	"cdot": {tOp, "*"}, "times": {tOp, "*"}, "ast": {tOp, "*"}, "div": {tOp, ":"}, "pm": {tOp, "±"}, "mp": {tOp, "∓"},
	"cup": {tOp, "∪"}, "cap": {tOp, "∩"}, "setminus": {tOp, "∖"}, "backslash": {tOp, "∖"},
	"le": {tRel, "≤"}, "leq": {tRel, "≤"}, "leqslant": {tRel, "≤"}, "ge": {tRel, "≥"}, "geq": {tRel, "≥"}, "geqslant": {tRel, "≥"},
	"lt": {tRel, "<"}, "gt": {tRel, ">"}, "ne": {tRel, "≠"}, "neq": {tRel, "≠"}, "approx": {tRel, "≈"}, "simeq": {tRel, "≈"}, "cong": {tRel, "≈"}, "equiv": {tRel, "≡"},
	"in": {tRel, "∈"}, "notin": {tRel, "∉"}, "subset": {tRel, "⊂"}, "subseteq": {tRel, "⊂"},
	"infty": {tIdent, "∞"}, "pi": {tIdent, "π"}, "emptyset": {tIdent, "∅"}, "varnothing": {tIdent, "∅"}, "ell": {tIdent, "l"},
	"int": {tBig, "∫"}, "sum": {tBig, "Σ"}, "prod": {tBig, "Π"}, "lim": {tBig, "lim"}, "iint": {tWord, "∬"}, "oint": {tWord, "∮"},
	"ldots": {tDots, "…"}, "dots": {tDots, "…"}, "cdots": {tDots, "…"}, "dotsm": {tDots, "…"},
	"to": {tArrow, "→"}, "rightarrow": {tArrow, "→"}, "Rightarrow": {tArrow, "⇒"}, "implies": {tArrow, "⇒"}, "iff": {tArrow, "⇒"}, "Leftrightarrow": {tArrow, "⇒"},
	"Longrightarrow": {tArrow, "⇒"}, "longrightarrow": {tArrow, "⇒"}, "therefore": {tArrow, "⇒"}, "leftrightarrow": {tArrow, "⇒"},
	"%": {tPost, "%"}, "degree": {tPost, "°"}, "prime": {tPost, "'"}, "{": {tOpen, "\\{"}, "}": {tClose, "\\}"}, "lbrace": {tOpen, "\\{"}, "rbrace": {tClose, "\\}"},
	"lvert": {tBar, "|"}, "rvert": {tBar, "|"}, "vert": {tBar, "|"}, "mid": {tBar, "|"}, "|": {tBar, "||"},
	"$": {tWord, "$"}, "\\": {tEnd, "\\"}, "&": {tWord, "&"}, "#": {tWord, "#"}, "land": {tWord, "y"}, "lor": {tWord, "o"}, "vee": {tWord, "o"}, "wedge": {tWord, "y"},
}

// latexSkips leave no trace.
var latexSkips = map[string]bool{
	"left": true, "right": true, "big": true, "Big": true, "bigg": true, "Bigg": true, "bigl": true, "bigr": true, "Bigl": true, "Bigr": true,
	"displaystyle": true, "textstyle": true, "limits": true, "nolimits": true, "mathstrut": true, "hline": true, "centering": true,
	",": true, ";": true, "!": true, ":": true, " ": true, "quad": true, "qquad": true, "thinspace": true, "/": true, "hfill": true, "nonumber": true,
}

// latexWords wrap words or upright letters.
var latexWords = map[string]bool{
	"text": true, "mathrm": true, "textbf": true, "mbox": true, "operatorname": true, "textnormal": true, "textit": true, "mathbf": true, "textrm": true, "mathit": true, "bm": true, "mathsf": true,
}

var latexArgs = map[string]int{"frac": 2, "dfrac": 2, "tfrac": 2, "cfrac": 2, "binom": 2, "dbinom": 2, "tbinom": 2, "sqrt": 1}

// latex reads one command.
func (l *lexer) latex() bool {
	rest := l.s[l.i+1:]
	if rest == "" {
		return false
	}
	n := 0
	for n < len(rest) && (rest[n] >= 'a' && rest[n] <= 'z' || rest[n] >= 'A' && rest[n] <= 'Z') {
		n++
	}
	if n == 0 {
		_, n = utf8.DecodeRuneInString(rest)
	}
	name := rest[:n]
	switch name {
	case "(", "[":
		l.math, l.space = true, true
		l.i += 2
		return true
	case ")", "]":
		l.math, l.space = false, true
		l.i += 2
		return true
	}
	if s, ok := latexSigns[name]; ok {
		l.emit(s.c, s.text, n+1)
		return true
	}
	return l.command(name, n+1)
}

func (l *lexer) command(name string, n int) bool {
	switch {
	case latexSkips[name]:
		l.i += n
		l.space = l.space || name != "left" && name != "right"
		if (name == "left" || name == "right") && strings.HasPrefix(l.rest(), ".") {
			l.i++
		}
	case IsFunction(name):
		l.emit(tFunc, functions[name], n)
	case greek[name] != "":
		l.emit(tIdent, greek[name], n)
	case latexWords[name] || name == "boxed" || name == "fbox" || name == "mathbb" || name == "overline" || name == "bar":
		return l.wrapped(name, n)
	case name == "begin" || name == "end":
		return l.environment(name, n)
	case latexArgs[name] > 0:
		l.emit(tCmd, strings.TrimLeft(name, "dtc"), n)
		if name == "binom" || name == "dbinom" || name == "tbinom" {
			l.out[len(l.out)-1].text = "binom"
		}
		l.digits(latexArgs[name])
	default:
		l.emit(tWord, "\\"+name, n)
	}
	return true
}

// digits reads the bare arguments of \frac12 and \sqrt2.
func (l *lexer) digits(args int) {
	for range args {
		rest := l.rest()
		trimmed := strings.TrimLeft(rest, " ")
		if trimmed == "" || !digit(trimmed[0]) {
			return
		}
		l.i += len(rest) - len(trimmed)
		t := l.emit(tNum, trimmed[:1], 1)
		t.rat, t.digs = Int(int64(trimmed[0]-'0')).Rat, -1
	}
}

// wrapped reads \text{…}, \boxed{…}, \mathbb{R} and \overline{3}.
func (l *lexer) wrapped(name string, n int) bool {
	rest := l.s[l.i+n:]
	arg := strings.TrimLeft(rest, " ")
	lead := n + len(rest) - len(arg)
	end, braced := 1, strings.HasPrefix(arg, "{")
	if braced {
		end = matching(arg)
		if end < 0 || l.depth > 8 {
			l.emit(tWord, "\\"+name, n)
			return true
		}
		arg = arg[1:end]
		lead, end = lead+1, end+1
	} else if arg != "" {
		_, size := utf8.DecodeRuneInString(arg)
		arg = arg[:size]
	} else {
		return false
	}
	start, whole := l.i, lead+end-1
	if !braced {
		whole = lead + len(arg)
	}
	switch {
	case name == "mathbb":
		l.emit(tSet, arg, whole)
		return true
	case name == "overline" || name == "bar":
		if p := len(l.out) - 1; p >= 0 && l.out[p].class == tNum && l.out[p].digs >= 0 && run(arg) == len(arg) && arg != "" {
			t := &l.out[p]
			w, f, _ := strings.Cut(strings.ReplaceAll(t.text, ",", "."), ".")
			t.rat, t.digs, t.end = repeating(w, f, arg), -1, start+whole
			l.i += whole
			return true
		}
		l.emit(tWord, "\\"+name, whole)
		return true
	}
	boxed := name == "boxed" || name == "fbox"
	inner := lex(arg, l.mode, boxed, l.depth+1)
	l.ambiguous = l.ambiguous || inner.ambiguous
	if boxed && !l.math {
		l.emit(tBreak, "", 0)
	}
	l.out = append(l.out, shifted(inner.out, start+lead)...)
	l.i = start + whole
	l.space = !boxed
	if boxed && !l.math {
		l.emit(tBreak, "", 0)
	}
	return true
}

// environment reads \begin{pmatrix} as the start of a matrix and skips the
// fences of displayed formulas.
func (l *lexer) environment(name string, n int) bool {
	rest := l.s[l.i+n:]
	end := strings.IndexByte(rest, '}')
	if !strings.HasPrefix(rest, "{") || end < 0 {
		l.emit(tWord, "\\"+name, n)
		return true
	}
	env := rest[1:end]
	size := n + end + 1
	switch strings.TrimRight(env, "*") {
	case "pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix":
		if name == "end" {
			env = "end"
		}
		l.emit(tCmd, env, size)
	default:
		l.math = name == "begin"
		l.emit(tBreak, env, size)
	}
	return true
}
