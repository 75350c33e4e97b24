package practice

import "fmt"

// calculate are the ways to ask for the value of an expression.
var calculate = words{
	es: []string{"Calcula %s.", "¿Cuánto es %s?", "Halla el valor de %s.", "¿Cuál es el resultado de %s?", "Resuelve la operación %s.", "Haz la cuenta: %s"},
	en: []string{"Calculate %s.", "What is %s?", "Find the value of %s.", "Work out %s.", "Evaluate %s.", "Compute: %s"},
}

// sum adds two numbers by tens and units.
func sum(d *draw) Item {
	a, b := d.of(11, 99), d.of(11, 99)
	tens, units := b/10*10, b%10
	text := fmt.Sprintf("%d + %d", a, b)
	steps := fmt.Sprintf("%s = %d.", text, a+b)
	if tens > 0 && units > 0 {
		steps = d.say("Sumamos %[1]d y después %[2]d: %[3]d + %[1]d = %[4]d y %[4]d + %[2]d = %[5]d.",
			"Add %[1]d and then %[2]d: %[3]d + %[1]d = %[4]d and %[4]d + %[2]d = %[5]d.", tens, units, a, a+tens, a+b)
	}
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: n(a + b)}
}

// difference subtracts by tens and units.
func difference(d *draw) Item {
	a, b := d.of(31, 99), d.of(11, 29)
	tens, units := b/10*10, b%10
	text := fmt.Sprintf("%d − %d", a, b)
	steps := fmt.Sprintf("%s = %d.", text, a-b)
	if units > 0 {
		steps = d.say("Restamos %[1]d y después %[2]d: %[3]d − %[1]d = %[4]d y %[4]d − %[2]d = %[5]d.",
			"Take away %[1]d and then %[2]d: %[3]d − %[1]d = %[4]d and %[4]d − %[2]d = %[5]d.", tens, units, a, a-tens, a-b)
	}
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: n(a - b)}
}

// product multiplies tens and units.
func product(d *draw) Item {
	a, b := d.of(12, 49), d.of(3, 9)
	tens, units := a/10*10, a%10
	text := fmt.Sprintf("%d · %d", a, b)
	steps := fmt.Sprintf("%s = %d.", text, a*b)
	if units > 0 {
		steps = d.say("Descomponemos: %[1]d · %[3]d = %[4]d y %[2]d · %[3]d = %[5]d. Sumamos: %[4]d + %[5]d = %[6]d.",
			"Split it: %[1]d · %[3]d = %[4]d and %[2]d · %[3]d = %[5]d. Add: %[4]d + %[5]d = %[6]d.", tens, units, b, tens*b, units*b, a*b)
	}
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: n(a * b)}
}

// quotient divides without remainder.
func quotient(d *draw) Item {
	b, q := d.of(3, 12), d.of(3, 15)
	text := fmt.Sprintf("%d %s %d", b*q, d.over(), b)
	steps := d.say("%d · %d = %d. Entonces %s = %d.", "%d · %d = %d. So %s = %d.", b, q, b*q, text, q)
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: n(q)}
}

// precedence has a product inside a sum.
func precedence(d *draw) Item {
	a, b, c := d.of(2, 40), d.of(2, 9), d.of(2, 9)
	sign, total := "+", a+b*c
	name := d.say("la suma", "the sum")
	if a > b*c {
		sign, total = "−", a-b*c
		name = d.say("la resta", "the difference")
	}
	text := fmt.Sprintf("%d %s %d · %d", a, sign, b, c)
	steps := d.say("Primero la multiplicación: %d · %d = %d. Después, %s: %d %s %d = %d.",
		"First the multiplication: %d · %d = %d. Then %s: %d %s %d = %d.", b, c, b*c, name, a, sign, b*c, total)
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: n(total)}
}

// bracket has a sum inside a product.
func bracket(d *draw) Item {
	a, b, c := d.of(2, 12), d.of(2, 12), d.of(2, 9)
	text := fmt.Sprintf("(%d + %d) · %d", a, b, c)
	steps := d.say("Primero el paréntesis: %d + %d = %d. Después, %d · %d = %d.",
		"First the brackets: %d + %d = %d. Then %d · %d = %d.", a, b, a+b, a+b, c, (a+b)*c)
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: n((a + b) * c)}
}

// signs multiplies or adds negative numbers.
func signs(d *draw) Item {
	a, b := d.not0(12), d.not0(12)
	if d.r.IntN(2) == 0 {
		text := fmt.Sprintf("%s · %s", par(a), par(b))
		rule := d.say("Signos distintos dan un producto negativo", "Different signs give a negative product")
		if a*b > 0 {
			rule = d.say("Signos iguales dan un producto positivo", "Equal signs give a positive product")
		}
		return Item{Question: d.one(calculate, text), Steps: fmt.Sprintf("%s: %s = %s.", rule, text, n(a*b)), Answer: n(a * b)}
	}
	text := fmt.Sprintf("%s − %s", n(a), par(b))
	if b > 0 {
		return Item{Question: d.one(calculate, text), Steps: fmt.Sprintf("%s = %s.", text, n(a-b)), Answer: n(a - b)}
	}
	steps := d.say("Restar un número negativo es sumar su opuesto: %s = %s%s = %s.",
		"To subtract a negative number is to add its opposite: %s = %s%s = %s.", text, n(a), plus(-b), n(a-b))
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: n(a - b)}
}

// squares adds or subtracts a number and a square.
func squares(d *draw) Item {
	a, b := d.of(2, 12), d.not0(30)
	text := fmt.Sprintf("%d²%s", a, plus(b))
	steps := d.say("Primero la potencia: %d² = %d. Después, %d%s = %s.",
		"First the power: %d² = %d. Then %d%s = %s.", a, a*a, a*a, plus(b), n(a*a+b))
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: n(a*a + b)}
}

// fraction draws a fraction in lowest terms, with a denominator from 2 to 9.
func (d *draw) fraction(most int) (p, q int) {
	q = d.of(2, 9)
	p = d.of(1, max(most, q-1))
	for gcd(p, q) != 1 {
		p = d.of(1, max(most, q-1))
	}
	return p, q
}

// fractionSum adds or subtracts fractions with different denominators.
func fractionSum(d *draw) Item {
	p, q := d.fraction(1)
	r, s := d.fraction(1)
	for s == q {
		r, s = d.fraction(1)
	}
	m := q * s / gcd(q, s)
	a, b := p*m/q, r*m/s
	sign, total := "+", a+b
	if d.r.IntN(2) == 0 {
		sign, total = "−", a-b
	}
	text := fmt.Sprintf("%s %s %s", raw(p, q), sign, raw(r, s))
	changed := raw(p, q) + " = " + raw(a, m) + d.say(" y ", " and ") + raw(r, s) + " = " + raw(b, m)
	switch m {
	case q:
		changed = raw(r, s) + " = " + raw(b, m)
	case s:
		changed = raw(p, q) + " = " + raw(a, m)
	}
	steps := d.say("El mcm de %d y %d es %d: %s. Entonces %s = %s %s %s = %s",
		"The lcm of %d and %d is %d: %s. So %s = %s %s %s = %s",
		q, s, m, changed, text, raw(a, m), sign, raw(b, m), raw(total, m))
	return Item{Question: d.one(calculate, text), Steps: steps + lowest(total, m), Answer: frac(total, m)}
}

// lowest ends a chain of equalities at p/q with its lowest terms.
func lowest(p, q int) string {
	if text := frac(p, q); text != raw(p, q) {
		return " = " + text + "."
	}
	return "."
}

// fractionProduct multiplies.
func fractionProduct(d *draw) Item {
	p, q := d.fraction(9)
	r, s := d.fraction(9)
	text := raw(p, q) + " · " + raw(r, s)
	steps := d.say("Numerador por numerador y denominador por denominador: %s = %s%s",
		"Numerator by numerator and denominator by denominator: %s = %s%s", text, raw(p*r, q*s), lowest(p*r, q*s))
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: frac(p*r, q*s)}
}

// fractionQuotient multiplies by the inverse.
func fractionQuotient(d *draw) Item {
	p, q := d.fraction(9)
	r, s := d.fraction(9)
	text := raw(p, q) + " " + d.over() + " " + raw(r, s)
	steps := d.say("Multiplicamos por la inversa: %s = %s · %s = %s%s",
		"Multiply by the inverse: %s = %s · %s = %s%s", text, raw(p, q), raw(s, r), raw(p*s, q*r), lowest(p*s, q*r))
	return Item{Question: d.one(calculate, text), Steps: steps, Answer: frac(p*s, q*r)}
}

// simplify reduces a fraction.
func simplify(d *draw) Item {
	p, q, k := d.of(1, 9), d.of(2, 12), d.of(2, 12)
	for gcd(p, q) != 1 {
		p, q = d.of(1, 9), d.of(2, 12)
	}
	question := d.one(words{
		es: []string{"Simplifica la fracción %s.", "Reduce %s a su mínima expresión.", "Escribe %s como fracción irreducible."},
		en: []string{"Simplify the fraction %s.", "Reduce %s to lowest terms.", "Write %s as an irreducible fraction."},
	}, raw(p*k, q*k))
	steps := d.say("El mcd de %d y %d es %d. Dividimos los dos entre %d: %s = %s.",
		"The gcd of %d and %d is %d. Divide both by %d: %s = %s.", p*k, q*k, k, k, raw(p*k, q*k), raw(p, q))
	return Item{Question: question, Steps: steps, Answer: raw(p, q)}
}
