package practice

import "fmt"

// solve are the ways to ask for the solutions of an equation.
var solve = words{
	es: []string{"Resuelve %s.", "Resuelve la ecuación %s.", "Halla x si %s.", "¿Qué valor de x cumple %s?", "Encuentra la solución de %s.", "Despeja x en %s."},
	en: []string{"Solve %s.", "Solve the equation %s.", "Find x if %s.", "Which value of x satisfies %s?", "Find the solution of %s.", "Solve for x: %s"},
}

// move says how the constant b leaves the left side.
func (d *draw) move(b int, rest string) string {
	if b > 0 {
		return d.say("Restamos %d: %s.", "Subtract %d: %s.", b, rest)
	}
	return d.say("Sumamos %d: %s.", "Add %d: %s.", -b, rest)
}

// divide says how the factor a leaves the left side.
func (d *draw) divide(a int, rest string) string {
	return d.say("Dividimos entre %s: %s.", "Divide by %s: %s.", n(a), rest)
}

// linearOne is ax + b = c.
func linearOne(d *draw) Item {
	a, x, b := d.of(2, 9), d.not0(12), d.not0(20)
	text := fmt.Sprintf("%s = %s", poly(a, b), n(a*x+b))
	steps := d.move(b, fmt.Sprintf("%s = %s", poly(a, 0), n(a*x))) + " " + d.divide(a, "x = "+n(x))
	return Item{Question: d.one(solve, text), Steps: steps, Answer: "x = " + n(x)}
}

// linearBoth is ax + b = cx + d.
func linearBoth(d *draw) Item {
	c, x, b := d.of(1, 5), d.not0(10), d.not0(15)
	a := c + d.of(2, 6)
	right := (a-c)*x + b
	if right == 0 {
		return linearOne(d)
	}
	text := fmt.Sprintf("%s = %s", poly(a, b), poly(c, right))
	steps := d.say("Restamos %s: %s = %s. ", "Subtract %s: %s = %s. ", poly(c, 0), poly(a-c, b), n(right)) +
		d.move(b, fmt.Sprintf("%s = %s", poly(a-c, 0), n((a-c)*x))) + " " + d.divide(a-c, "x = "+n(x))
	return Item{Question: d.one(solve, text), Steps: steps, Answer: "x = " + n(x)}
}

// linearBracket is a(x + b) = c.
func linearBracket(d *draw) Item {
	a, x, b := d.of(2, 9), d.not0(12), d.not0(9)
	text := fmt.Sprintf("%d(%s) = %s", a, poly(1, b), n(a*(x+b)))
	steps := d.divide(a, fmt.Sprintf("%s = %s", poly(1, b), n(x+b))) + " " + d.move(b, "x = "+n(x))
	return Item{Question: d.one(solve, text), Steps: steps, Answer: "x = " + n(x)}
}

// linearQuotient is x/a + b = c.
func linearQuotient(d *draw) Item {
	a, q, b := d.of(2, 9), d.not0(9), d.not0(15)
	text := fmt.Sprintf("x/%d%s = %s", a, plus(b), n(q+b))
	steps := d.move(b, fmt.Sprintf("x/%d = %s", a, n(q))) + " " +
		d.say("Multiplicamos por %d: x = %s.", "Multiply by %d: x = %s.", a, n(a*q))
	return Item{Question: d.one(solve, text), Steps: steps, Answer: "x = " + n(a*q)}
}

// both are the two solutions, the greater first.
func (d *draw) both(p, q int) string {
	return d.say("x₁ = %s y x₂ = %s", "x₁ = %s and x₂ = %s", n(max(p, q)), n(min(p, q)))
}

// quadraticTwo is x² + bx + c = 0 with two whole solutions, by the formula.
func quadraticTwo(d *draw) Item {
	p, q := d.not0(9), d.not0(9)
	for p == q || p == -q {
		q = d.not0(9)
	}
	b, c := -(p + q), p*q
	text := poly(1, b, c) + " = 0"
	root := max(p-q, q-p)
	steps := d.say("El discriminante es %s² − 4 · 1 · %s = %s = %d. Entonces x = (%s ± %d)/2.",
		"The discriminant is %s² − 4 · 1 · %s = %s = %d. So x = (%s ± %d)/2.",
		par(b), par(c), n(b*b)+plus(-4*c), root*root, n(-b), root)
	return Item{Question: d.one(solveAll, text), Steps: steps, Answer: d.both(p, q)}
}

// solveAll are the ways to ask for all solutions.
var solveAll = words{
	es: []string{"Resuelve %s.", "Resuelve la ecuación %s.", "Halla las soluciones de %s.", "¿Qué valores de x cumplen %s?"},
	en: []string{"Solve %s.", "Solve the equation %s.", "Find the solutions of %s.", "What are the solutions of %s?"},
}

// quadraticPure is ax² + c = 0.
func quadraticPure(d *draw) Item {
	a, x := d.of(1, 9), d.of(1, 12)
	text := fmt.Sprintf("%s = 0", poly(a, 0, -a*x*x))
	steps := d.say("Despejamos: %s = %d. ", "Isolate: %s = %d. ", poly(a, 0, 0), a*x*x)
	if a > 1 {
		steps += d.divide(a, fmt.Sprintf("x² = %d", x*x)) + " "
	}
	steps += d.say("Entonces x = ±√%d = ±%d.", "So x = ±√%d = ±%d.", x*x, x)
	return Item{Question: d.one(solveAll, text), Steps: steps, Answer: d.both(x, -x)}
}

// quadraticFactor is ax² + bx = 0.
func quadraticFactor(d *draw) Item {
	a, x := d.of(1, 9), d.not0(12)
	text := poly(a, -a*x, 0) + " = 0"
	steps := d.say("Sacamos factor común: %s(%s) = 0. Entonces x = 0 o x = %s.",
		"Take out the common factor: %s(%s) = 0. So x = 0 or x = %s.", poly(a, 0), poly(1, -x), n(x))
	return Item{Question: d.one(solveAll, text), Steps: steps, Answer: d.both(0, x)}
}

// quadraticNone has a negative discriminant.
func quadraticNone(d *draw) Item {
	a, b := d.of(1, 4), d.not0(6)
	c := b*b/(4*a) + d.of(1, 9)
	disc := b*b - 4*a*c
	text := poly(a, b, c) + " = 0"
	steps := d.say("El discriminante es %s² − 4 · %d · %d = %d − %d = %s, que es negativo.",
		"The discriminant is %s² − 4 · %d · %d = %d − %d = %s, which is negative.", par(b), a, c, b*b, 4*a*c, n(disc))
	return Item{Question: d.one(solveAll, text), Steps: steps, Answer: d.say("no hay soluciones reales", "there are no real solutions")}
}

// solveSystem are the ways to ask for x and y.
var solveSystem = words{
	es: []string{"Resuelve el sistema %s; %s.", "Halla x e y si %s y %s.", "Resuelve el sistema formado por %s y %s."},
	en: []string{"Solve the system %s; %s.", "Find x and y if %s and %s.", "Solve the system of %s and %s."},
}

// systemSum is a pair that is added up: the coefficients of y are opposite.
func systemSum(d *draw) Item {
	x, y, a, c, k := d.not0(9), d.not0(9), d.of(2, 5), d.of(1, 5), d.of(1, 4)
	e, f := a*x+k*y, c*x-k*y
	first := fmt.Sprintf("%s + %s = %s", term(a, 1), letter(k, "y"), n(e))
	second := fmt.Sprintf("%s − %s = %s", term(c, 1), letter(k, "y"), n(f))
	steps := d.say("Sumamos las dos ecuaciones: %[1]s = %[2]s, luego x = %[3]s. Sustituimos en la primera: %[4]d · %[5]s + %[6]s = %[7]s, luego y = %[8]s.",
		"Add the two equations: %[1]s = %[2]s, so x = %[3]s. Substitute in the first: %[4]d · %[5]s + %[6]s = %[7]s, so y = %[8]s.",
		term(a+c, 1), n(e+f), n(x), a, par(x), letter(k, "y"), n(e), n(y))
	return Item{Question: d.one(solveSystem, first, second), Steps: steps, Answer: d.pair(x, y)}
}

func (d *draw) pair(x, y int) string { return d.say("x = %s, y = %s", "x = %s, y = %s", n(x), n(y)) }

// letter writes c times a letter, with c > 0.
func letter(c int, name string) string {
	if c == 1 {
		return name
	}
	return fmt.Sprint(c) + name
}

// systemSubstitution gives y and puts it into the other.
func systemSubstitution(d *draw) Item {
	x, y, a, c, k := d.not0(8), d.not0(8), d.of(2, 5), d.of(1, 5), d.of(1, 4)
	b := y - a*x
	if b == 0 {
		return systemSum(d)
	}
	right := c*x + k*y
	first := fmt.Sprintf("y = %s", poly(a, b))
	second := fmt.Sprintf("%s + %s = %s", term(c, 1), letter(k, "y"), n(right))
	steps := d.say("Sustituimos y en la segunda: %[1]s + %[2]d(%[3]s) = %[4]s, es decir, %[5]s = %[4]s, luego x = %[6]s. Entonces y = %[7]d · %[8]s%[9]s = %[10]s.",
		"Substitute y in the second: %[1]s + %[2]d(%[3]s) = %[4]s, that is, %[5]s = %[4]s, so x = %[6]s. Then y = %[7]d · %[8]s%[9]s = %[10]s.",
		term(c, 1), k, poly(a, b), n(right), poly(c+k*a, k*b), n(x), a, par(x), plus(b), n(y))
	return Item{Question: d.one(solveSystem, first, second), Steps: steps, Answer: d.pair(x, y)}
}
