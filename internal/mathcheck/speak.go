package mathcheck

import "fmt"

// sentences by key: Spanish, English. %s are formulas.
var sayings = map[string][2]string{
	"holds":          {"Es correcto: los miembros valen lo mismo.", "Correct: the members have the same value."},
	"identity":       {"Es una identidad: se cumple para todos los valores en que está definida.", "It is an identity: it holds for all values where it is defined."},
	"member":         {"Es correcto: el número pertenece, o no, como se dice.", "Correct: the number belongs, or does not, as stated."},
	"open":           {"No se ha podido demostrar ni refutar.", "It could be neither proven nor refuted."},
	"doubt":          {"La notación o el contexto admiten otra lectura.", "The notation or the context can be read in another way."},
	"numerals":       {"La coma o el punto pueden ser decimales o separar millares.", "The comma or the point may be decimal or group thousands."},
	"undefined":      {"%s no está definido en los números reales.", "%s is not defined in the real numbers."},
	"rounded":        {"Solo es igual si se redondea.", "It is equal only when rounded."},
	"unit":           {"Solo cuadra si se dejan fuera los signos % o °.", "It is right only when the signs % or ° are left out."},
	"near":           {"El valor redondeado es correcto.", "The rounded value is right."},
	"truncated":      {"La última cifra puede estar truncada o mal redondeada.", "The last digit may be cut off or wrongly rounded."},
	"counterexample": {"No se cumple siempre: para %s, un lado vale %s y el otro %s.", "It does not always hold: for %s one side is %s and the other %s."},
	"worth":          {"%s vale %s, no %s.", "%s is %s, not %s."},
	"fails":          {"No se cumple que %s %s %s.", "It is not true that %s %s %s."},
	"inverse":        {"Al componer con %s se obtiene la variable: es la inversa.", "Composed with %s it gives back the variable: it is the inverse."},
	"notinverse":     {"Al componer con %s no se obtiene la variable.", "Composed with %s it does not give back the variable."},
	"halfline":       {"Solo vale donde la variable es positiva; falta el valor absoluto.", "It holds only where the variable is positive; the absolute value is missing."},
	"noconstant":     {"Falta la constante de integración.", "The constant of integration is missing."},
	"primitive":      {"Al derivar se obtiene la función del integrando.", "Its derivative is the function under the integral."},
	"notprimitive":   {"La derivada de %s es %s, no %s.", "The derivative of %s is %s, not %s."},
	"nolimit":        {"El límite no existe: los límites laterales son distintos.", "The limit does not exist: the one-sided limits differ."},
	"limit":          {"El límite vale %s.", "The limit is %s."},
	"outside":        {"%s = %s no puede ser solución: algún término no está definido ahí.", "%s = %s cannot be a solution: some term is not defined there."},
	"notroot":        {"Con %s = %s el primer miembro vale %s y el segundo %s.", "With %s = %s the left side is %s and the right side %s."},
	"none":           {"no hay soluciones reales", "there are no real solutions"},
	"all":            {"todo número es solución", "every number is a solution"},
	"and":            {" y ", " and "},
	"root":           {"Al sustituir, la ecuación se cumple.", "Substituted, the equation holds."},
	"roots":          {"Al sustituir, la ecuación se cumple, y no hay más soluciones.", "Substituted, the equation holds, and there are no other solutions."},
	"perhaps":        {"Cumple la ecuación, pero puede haber más soluciones.", "It satisfies the equation, but there may be other solutions."},
	"restricted":     {"Cumple la ecuación; si falta alguna solución depende del contexto.", "It satisfies the equation; whether a solution is missing depends on the context."},
	"missing":        {"Falta una solución: %s.", "A solution is missing: %s."},
	"count":          {"El número de soluciones no es ese.", "That is not the number of solutions."},
	"system":         {"No se cumple la ecuación %s: un miembro vale %s y el otro %s.", "The equation %s does not hold: one side is %s and the other %s."},
	"systemholds":    {"Se cumplen todas las ecuaciones y la solución es única.", "All equations hold and the solution is unique."},
	"set":            {"El conjunto es el correcto, con sus extremos.", "The set is right, with its endpoints."},
	"extra":          {"%s = %s está en el conjunto dado y no debería.", "%s = %s is in the given set and should not be."},
	"lacks":          {"%s = %s falta en el conjunto dado.", "%s = %s is missing from the given set."},
	"class":          {"Es correcto.", "Correct."},
	"notclass":       {"No es de esa clase.", "It is not of that kind."},
	"common":         {"Tienen el divisor común %s.", "They have the common divisor %s."},
	"factors":        {"%s = %s.", "%s = %s."},
	"division":       {"La división entera no dice eso.", "The division does not say so."},
	"result":         {"El resultado correcto es %s.", "The right result is %s."},
	"compare":        {"Al comparar los números sale lo contrario.", "Comparing the numbers gives the contrary."},
	"malformed":      {"La fórmula está mal escrita: un paréntesis o una llave no tiene pareja.", "The formula is malformed: a bracket or brace has no partner."},
}

// say is the sentence of a key in the language.
func say(lang Language, key string, args ...string) string {
	s := sayings[key][0]
	if lang == English {
		s = sayings[key][1]
	}
	rest := make([]any, len(args))
	for i, a := range args {
		rest[i] = a
	}
	if len(rest) == 0 {
		return s
	}
	n := 0
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '%' && s[i+1] == 's' {
			n++
		}
	}
	return fmt.Sprintf(s, rest[:min(n, len(rest))]...)
}
