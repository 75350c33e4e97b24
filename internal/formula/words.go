package formula

import (
	"strings"
	"unicode/utf8"
)

// word reads a run of letters.
func (l *lexer) word() {
	n := letters(l.rest())
	if n == 0 {
		_, n = utf8.DecodeRuneInString(l.rest())
	}
	text := l.rest()[:n]
	_, size := utf8.DecodeRuneInString(text)
	switch {
	case text == "lim" || text == "lím" || text == "Lim" || text == "Lím":
		l.emit(tBig, "lim", n)
	case text == "Σ" || text == "Π":
		l.emit(tBig, text, n)
	case n == size:
		l.emit(tIdent, text, n)
		if k := run(l.rest()); k > 0 && !l.math && k < 3 { // x1
			digits := l.rest()[:k]
			l.emit(tSub, digits, k)
		}
	case IsFunction(text):
		l.emit(tFunc, functions[text], n)
	case text == "pi":
		l.emit(tIdent, "π", n)
	case IsFunction(strings.ToLower(text)) && text != "Sin" && text != "Max" && text != "Min":
		l.emit(tFunc, functions[strings.ToLower(text)], n)
	case text == "percent" || text == "pct" || text == "percentage":
		l.emit(tPost, "%", n)
	case text == "por" && strings.HasPrefix(l.rest(), "por ciento"):
		l.emit(tPost, "%", len("por ciento"))
	case l.math && !units[text] && utf8.RuneCountInString(text) <= 3:
		l.split(text)
	case len(text) == 2 && text[0] == 'd' && strings.Contains("xytuhsr", text[1:]):
		l.split(text)
	default:
		l.emit(tWord, text, n)
	}
}

// split emits every letter by itself; a function's name at the end stays whole (xsen is rare, xln is not).
func (l *lexer) split(text string) {
	for _, r := range text {
		l.emit(tIdent, string(r), utf8.RuneLen(r))
	}
}

// conjunctions are the letters that are words of Spanish or English as well.
const conjunctions = "ayeouAYEOUI"

// words decides, once the neighbours are known, which single letters are words
// and which short words are products of letters.
func (l *lexer) words() {
	var out []Token
	for i, t := range l.out {
		switch {
		case t.math || t.class != tIdent && t.class != tWord && t.class != tFunc:
		case t.class == tIdent && (t.text == "ó" || t.text == "á" || t.text == "é"):
			t.class = tWord
		case t.class == tIdent && len(t.text) == 1 && strings.Contains(conjunctions, t.text) && !l.operand(i):
			t.class = tWord
		case t.class == tFunc && t.text == "sin" && t.end-t.start == 3 && !l.argument(i):
			t.class = tWord
		case t.class == tFunc && (t.text == "max" || t.text == "min" || t.text == "det") && !l.argument(i):
			t.class = tWord
		case t.class == tFunc && (t.text == "gcd" || t.text == "lcm") && (i+1 >= len(l.out) || l.out[i+1].text != "("):
			t.class = tWord
		case t.class == tWord && (t.text == "x" || t.text == "X"):
		case t.class == tWord && l.product(i):
			for k := range len(t.text) {
				out = append(out, Token{class: tIdent, text: t.text[k : k+1], start: t.start + k, end: t.start + k + 1, space: t.space && k == 0})
			}
			continue
		}
		if t.class == tIdent && (t.text == "x" || t.text == "X") && !t.math && l.between(i) {
			t.class, t.text, t.doubt = tOp, "*", true
		}
		out = append(out, t)
	}
	l.out = out
}

func (l *lexer) at(i int) Token {
	if i < 0 || i >= len(l.out) {
		return Token{class: tBreak, space: true}
	}
	return l.out[i]
}

// operand reports whether the letter at i stands where only a variable can.
func (l *lexer) operand(i int) bool {
	p, t, n := l.at(i-1), l.at(i), l.at(i+1)
	attached := !n.space && (n.class == tSup || n.class == tSub || n.class == tOpen || n.class == tPost || n.class == tIdent || n.class == tOp && n.text != "±")
	before := !t.space && (p.class == tNum || p.class == tIdent || p.class == tClose || p.class == tSup || p.class == tOpen || p.class == tBar)
	unary := n.class == tOp && n.space && (n.text == "-" || n.text == "+" || n.text == "±") && !l.at(i+2).space
	infix := n.class == tOp && !unary
	listed := (p.class == tOpen || p.class == tComma) && (n.class == tComma || n.class == tClose) && l.inBrackets(i)
	return attached || before || infix || p.class == tOp || p.class == tRel || n.class == tRel || listed
}

func (l *lexer) inBrackets(i int) bool {
	for k := i - 1; k >= 0 && k > i-12; k-- {
		switch l.out[k].class {
		case tOpen:
			return true
		case tClose, tBreak, tWord:
			return false
		}
	}
	return false
}

// argument reports whether what follows the function at i can be its argument.
func (l *lexer) argument(i int) bool {
	n := l.at(i + 1)
	switch n.class {
	case tNum, tOpen, tSup, tBar:
		return true
	case tIdent:
		m := l.at(i + 2)
		return n.text == "π" || !n.space || m.class != tWord && m.class != tIdent
	case tCmd, tOp:
		return n.text == "sqrt" || n.text == "frac" || n.text == "^"
	}
	return false
}

// between reports whether the x at i stands between two spaced numbers: 3 x 4.
func (l *lexer) between(i int) bool {
	p, t, n := l.at(i-1), l.at(i), l.at(i+1)
	return p.class == tNum && n.class == tNum && t.space == n.space
}

var stopwords = set(`de la el en un es se no si por que los las con son del al su lo le ya ni muy dos uno hay sea mas tan san fue era
		the is of to in it as at be by we or if so an on no not and for are was has two one can get all any our you let sum mean mode tres seis
		use set out its per via yes ten six but how why who may see say top end cos ver dar ir ha he han te me mi tu ti os nos sus mis tus les
		hoy fin sol luz ley red año mes dia vez eso esa ese han cm mm km kg mg dm dl cl ml ms mph kmh min hr hrs euros eur usd`)

// product reports whether the short word at i is a product of letters: 4ac, bx².
func (l *lexer) product(i int) bool {
	t := l.out[i]
	if len(t.text) > 3 || len(t.text) < 2 || stopwords[t.text] || units[t.text] {
		return false
	}
	for _, r := range t.text {
		if r < 'a' || r > 'z' {
			return false
		}
	}
	p, n := l.at(i-1), l.at(i+1)
	left := p.class == tNum && !t.space || p.class == tOp || p.class == tRel || p.class == tOpen && !t.space
	right := (n.class == tSup || n.class == tOpen) && !n.space || n.class == tOp && (n.space || n.text == "^") || n.class == tRel || n.class == tClose && p.class != tWord
	return left && (right || n.class != tWord && n.class != tIdent) || right && p.class != tWord
}

// units are kept apart from the numbers they follow.
var units = set(`cm mm km dm hm dam kg mg dg hg cg dl cl ml hl min ms mph kmh hr hrs cc ha nm kW kWh Hz kHz MHz GB MB KB kB
		€ $ £ euros euro EUR USD dólares dólar dollars dollar céntimos cents pesos soles
		metros metro meters meter metres kilómetros km² centímetros centímetro milímetros litros litro liters liter gramos gramo grams gram kilos kilogramos kilogramo kilograms kilogram toneladas
		segundos segundo seconds second minutos minuto minutes minute horas hora hours hour días día days day semanas weeks años años años año years year meses months
		grados grado degrees degree radianes radián radians radian rad unidades units puntos points personas people alumnos estudiantes students manzanas apples libros books
		inches inch feet foot ft yards miles mile lb pounds oz formas maneras ways casos cases  goles pasos caramelos naranjas bolas balls cuadrados cúbicos`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}
