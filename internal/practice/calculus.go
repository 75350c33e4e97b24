package practice

import (
	"fmt"
	"strconv"
)

// derive are the ways to ask for a derivative.
var derive = words{
	es: []string{"Deriva f(x) = %s.", "Calcula la derivada de f(x) = %s.", "Halla f'(x) si f(x) = %s."},
	en: []string{"Differentiate f(x) = %s.", "Find the derivative of f(x) = %s.", "Find f'(x) if f(x) = %s."},
}

// derivePolynomial goes term by term.
func derivePolynomial(d *draw) Item {
	a, b, c, e := d.of(0, 4), d.not0(9), d.not0(9), d.not0(9)
	text := poly(a, b, c, e)
	result := poly(3*a, 2*b, c)
	steps := d.say("Derivamos término a término; la derivada de la constante %s es 0: f'(x) = %s.",
		"Differentiate term by term; the derivative of the constant %s is 0: f'(x) = %s.", n(e), result)
	return Item{Question: d.one(derive, text), Steps: steps, Answer: "f'(x) = " + result}
}

// power writes an exponent as superscript; 1 is left out.
func power(n int) string {
	if n == 1 {
		return ""
	}
	return superscripts.Replace(strconv.Itoa(n))
}

// derivePower is the rule for xⁿ alone.
func derivePower(d *draw) Item {
	a, k := d.of(2, 12), d.of(2, 9)
	text := fmt.Sprintf("%dx%s", a, power(k))
	result := fmt.Sprintf("%dx%s", a*k, power(k-1))
	steps := d.say("La derivada de xⁿ es n · xⁿ⁻¹: f'(x) = %d · %dx%s = %s.",
		"The derivative of xⁿ is n · xⁿ⁻¹: f'(x) = %d · %dx%s = %s.", a, k, power(k-1), result)
	return Item{Question: d.one(derive, text), Steps: steps, Answer: "f'(x) = " + result}
}

// deriveChain is (ax + b)ⁿ.
func deriveChain(d *draw) Item {
	a, b, k := d.of(2, 9), d.not0(9), d.of(2, 6)
	inner := poly(a, b)
	text := fmt.Sprintf("(%s)%s", inner, power(k))
	result := fmt.Sprintf("%d(%s)%s", a*k, inner, power(k-1))
	steps := d.say("Por la regla de la cadena, f'(x) = %d(%s)%s · %d = %s.",
		"By the chain rule, f'(x) = %d(%s)%s · %d = %s.", k, inner, power(k-1), a, result)
	return Item{Question: d.one(derive, text), Steps: steps, Answer: "f'(x) = " + result}
}

// deriveAt asks for the slope at a point.
func deriveAt(d *draw) Item {
	a, b, c, x := d.of(1, 6), d.not0(9), d.not0(9), d.not0(5)
	question := d.one(words{
		es: []string{"Si f(x) = %s, calcula f'(%s).", "Dada f(x) = %s, ¿cuánto vale f'(%s)?"},
		en: []string{"If f(x) = %s, calculate f'(%s).", "Given f(x) = %s, what is f'(%s)?"},
	}, poly(a, b, c), n(x))
	slope := 2*a*x + b
	steps := d.say("La derivada es f'(x) = %s. Entonces f'(%s) = %d · %s%s = %s.",
		"The derivative is f'(x) = %s. So f'(%s) = %d · %s%s = %s.", poly(2*a, b), n(x), 2*a, par(x), plus(b), n(slope))
	return Item{Question: question, Steps: steps, Answer: n(slope)}
}
