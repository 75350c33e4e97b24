package mathcheck

import (
	"regexp"
	"strconv"
	"strings"

	"afina/internal/formula"
)

// A sentence is a stretch of text with its formulas replaced by ⟦k⟧, in lower
// case, so that prose can be matched around them.
type sentence struct {
	text         string
	first, last  int  // its items
	start, end   int  // its bytes
	asks         bool // it is a question
	refuted      bool // it says of its formulas that they do not hold, or only would
	supposes     bool // it takes them for granted, or tries them
	hypothetical bool // it begins from what need not be so
}

var (
	refutes      = regexp.MustCompile(`\b(fals[oa]s?|imposible|contradic\w*|absurd[oa]|incorrect[oa]?|mal|erróne[oa]|equivocad[oa]|error|fuera|sería|serían|tendría|cumpliría|podría|debería|valdría|impossible|false|wrong|mistake|incorrect|would|were|could|untrue|contradiction)\b|no es (verdad|ciert)|no son iguales|no se cumple|no vale|not (true|equal|correct|hold)|isn't|no es igual|no es lo mismo|en lugar de|instead of|no coincid|en vez de|doesn't|does not|escribió|escribieron|escriben|ha escrito|han escrito|wrote|confund\w*|confus\w*|cree que|creen que|piensan? que|thinks?\b|no se (sigue|deduce)|no implica|not (follow|imply)|no es una identidad|not an identity|(alumn\w+|estudiantes?|students?|pupils?)( \pL+)? (escrib\w+|write|ha puesto|ponen?|suelen?|often)|(mistake|error|fallo|típic[oa]|typical|common)\b[^⟦]*: ⟦`)
	supposes     = regexp.MustCompile(`(^|[\s,;:(¿])(si|if|supon\w*|supong\w*|suppos\w*|assum\w*|sea|sean|let|when|cuando|para x|para n|for x|for n|tomamos|toma|probamos|prueba|try|sustitu\w*|substitut\w*|plug\w*|ejemplo|example|candidat\w*|posibles?|possible|descart\w*|reject\w*|extran\w*|extrañ\w*|excepto|except|salvo|unless|vértice|vertex|se anula|anulan?|vanish\w*|máximo|mínimo|maximum|minimum|punto|point|asíntota|asymptote|excluded?|exclu\w*|denominador|denominator|inválid\w*|invalid\w*|aunque|pero|but|válid\w*|valid)([\s,;:)]|$)|no es (una )?solución|not a solution|no pertenece|no sirve|no satisf|no cumple`)
	hypothetical = regexp.MustCompile(`(^|[\s,;:(¿])(si|if|supon\w*|supong\w*|suppos\w*|assum\w*|imagin\w*)[\s,:]`)
)

// split cuts text into sentences. Points inside formulas end nothing.
func split(text string, items []formula.Item) []sentence {
	var out []sentence
	var b strings.Builder
	first, k, at, from := 0, 0, 0, 0
	end := func(asks bool) {
		s := sentence{text: strings.ToLower(b.String()), first: first, last: k, asks: asks}
		s.asks = s.asks || strings.Contains(s.text, "¿")
		s.refuted = s.asks || refutes.MatchString(s.text)
		s.supposes = supposes.MatchString(s.text)
		s.hypothetical = hypothetical.MatchString(s.text)
		s.start, s.end = from+len(text[from:at])-len(strings.TrimLeft(text[from:at], " \t\n")), at
		out = append(out, s)
		b.Reset()
		first, from = k, at
	}
	for at < len(text) {
		if k < len(items) && at == items[k].Start {
			b.WriteString(" ⟦" + strconv.Itoa(k) + "⟧ ")
			at = items[k].End
			k++
			continue
		}
		stop := len(text)
		if k < len(items) {
			stop = items[k].Start
		}
		prose := text[at:stop]
		i := strings.IndexAny(prose, ".?!\n;")
		if i < 0 {
			b.WriteString(prose)
			at = stop
			continue
		}
		b.WriteString(prose[:i])
		at += i + 1
		if prose[i] != '.' || b.Len() > 0 {
			end(prose[i] == '?')
		}
	}
	end(false)
	for i := range out {
		out[i].text = tidy(out[i].text)
	}
	return out
}

var blanks = regexp.MustCompile(`[\s*_]+`)

// tidy makes the spaces of prose single, drops markup and the fences of LaTeX.
func tidy(s string) string {
	s = strings.NewReplacer(`\(`, " ", `\)`, " ", `\[`, " ", `\]`, " ", "$", " ", "}", " ").Replace(s)
	s = blanks.ReplaceAllString(s, " ")
	s = strings.ReplaceAll(s, " ,", ",")
	return strings.TrimSpace(strings.ReplaceAll(s, " :", ":"))
}

var spanishWords = regexp.MustCompile(`(?i)[ñ¿¡áéíóú]|\b(el|la|los|las|de|del|que|es|son|una|por|con|para|en|se|y|o|al|resuelve|calcula|deriva|halla|si|entonces|luego)\b`)
var englishWords = regexp.MustCompile(`(?i)\b(the|of|is|are|and|or|solve|find|so|then|if|with|for|to|that|has|this|what|we|by|compute|let)\b`)

// detect tells the language by its commonest words; Spanish where there are none.
func detect(text string) Language {
	if len(text) > 4000 {
		text = text[:4000]
	}
	es, en := len(spanishWords.FindAllString(text, -1)), len(englishWords.FindAllString(text, -1))
	if en > es {
		return English
	}
	return Spanish
}

var mark = regexp.MustCompile(`⟦(\d+)⟧`)

// before is the prose of s just before item k, and after just after it.
func (s *sentence) before(k int) string {
	i := strings.Index(s.text, "⟦"+strconv.Itoa(k)+"⟧")
	if i < 0 {
		return ""
	}
	return strings.TrimSpace(s.text[:i])
}

func (s *sentence) after(k int) string {
	m := "⟦" + strconv.Itoa(k) + "⟧"
	i := strings.Index(s.text, m)
	if i < 0 {
		return ""
	}
	return strings.TrimSpace(s.text[i+len(m):])
}

// numbers are the items a match of a pattern holds, in order.
func marks(s string) []int {
	var out []int
	for _, m := range mark.FindAllStringSubmatch(s, -1) {
		k, err := strconv.Atoi(m[1])
		if err == nil {
			out = append(out, k)
		}
	}
	return out
}
