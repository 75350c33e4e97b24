package mathcheck

import "regexp"

// fences are the stretches LaTeX marks as formulas.
var fences = regexp.MustCompile(`\$\$[^$]+\$\$|\$[^$\n]+\$|\\\((?s:.+?)\\\)|\\\[(?s:.+?)\\\]`)

var environments = regexp.MustCompile(`\\(begin|end)\{(cases|array|aligned|align\*?|split)\}|\\left\.|\\right\.`)

// malformed reports formulas inside LaTeX fences whose brackets do not match.
// Half-open intervals do: only the number of brackets counts.
func (c *checker) malformed() {
	for _, m := range fences.FindAllStringIndex(c.text, -1) {
		body := c.text[m[0]:m[1]]
		if environments.MatchString(body) || balanced(body) {
			continue
		}
		f := c.report(m[0], m[1], Malformed, nil, Unknown, say(c.lang, "malformed"))
		f.Expr = body
		for k, it := range c.items {
			if it.Start >= m[0] && it.End <= m[1] {
				c.taken[k] = true
			}
		}
	}
}

// balanced reports whether every bracket and brace of s has its partner.
func balanced(s string) bool {
	round, curly := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			if i < len(s) && (s[i] == '(' || s[i] == ')' || s[i] == '[' || s[i] == ']') {
				continue
			}
			if i < len(s) && s[i] == '{' {
				round++
			}
			if i < len(s) && s[i] == '}' {
				round--
			}
		case '(', '[':
			round++
		case ')', ']':
			round--
		case '{':
			curly++
		case '}':
			curly--
		}
		if round < -1 || curly < 0 {
			return false
		}
	}
	return round == 0 && curly == 0
}
