package practice

// percentOf takes a share of a number that leaves a whole or a half.
func percentOf(d *draw) Item {
	p, whole := 5*d.of(1, 19), 10*d.of(2, 60)
	question := d.one(words{
		es: []string{"¿Cuánto es el %d %% de %d?", "Calcula el %d %% de %d.", "Halla el %d %% de %d."},
		en: []string{"What is %d %% of %d?", "Calculate %d %% of %d.", "Find %d %% of %d."},
	}, p, whole)
	share, result := d.decimal(p, 100), d.decimal(p*whole, 100)
	steps := d.say("El %d %% es %s: %s · %d = %s.", "%d %% is %s: %s · %d = %s.", p, share, share, whole, result)
	return Item{Question: question, Steps: steps, Answer: result}
}

// goods are what is sold in the questions.
var goods = words{
	es: []string{"Una camisa", "Un libro", "Una mochila", "Un balón", "Una lámpara", "Un reloj", "Una bicicleta", "Un abrigo"},
	en: []string{"A shirt", "A book", "A backpack", "A ball", "A lamp", "A watch", "A bicycle", "A coat"},
}

// discount takes a share off a price.
func discount(d *draw) Item {
	p, price := 5*d.of(1, 15), 4*d.of(5, 60)
	thing := d.one(goods)
	question := d.one(words{
		es: []string{"%s cuesta %d € y tiene un descuento del %d %%. ¿Cuánto se paga?", "%s de %d € se rebaja un %d %%. ¿Cuál es el precio final en euros?"},
		en: []string{"%s costs %d € and has a discount of %d %%. How much is paid?", "%s of %d € is reduced by %d %%. What is the final price in euros?"},
	}, thing, price, p)
	share, result := d.decimal(100-p, 100), d.decimal((100-p)*price, 100)
	steps := d.say("Se paga el %d %%: %s · %d = %s.", "%d %% is paid: %s · %d = %s.", 100-p, share, price, result)
	return Item{Question: question, Steps: steps, Answer: result + " €"}
}

// increase adds a share to a price.
func increase(d *draw) Item {
	p, price := 5*d.of(1, 15), 4*d.of(5, 60)
	thing := d.one(goods)
	question := d.one(words{
		es: []string{"%s cuesta %d € y sube un %d %%. ¿Cuánto cuesta ahora?", "%s valía %d € y su precio aumenta un %d %%. ¿Cuál es el precio nuevo en euros?"},
		en: []string{"%s costs %d € and goes up by %d %%. How much does it cost now?", "%s was %d € and its price rises by %d %%. What is the new price in euros?"},
	}, thing, price, p)
	share, result := d.decimal(100+p, 100), d.decimal((100+p)*price, 100)
	steps := d.say("Se paga el %d %%: %s · %d = %s.", "%d %% is paid: %s · %d = %s.", 100+p, share, price, result)
	return Item{Question: question, Steps: steps, Answer: result + " €"}
}

// whatPercent asks which share one number is of another.
func whatPercent(d *draw) Item {
	p, whole := 5*d.of(1, 19), 20*d.of(1, 30)
	part := p * whole / 100
	question := d.one(words{
		es: []string{"¿Qué porcentaje es %d de %d?", "¿Qué tanto por ciento representa %d respecto a %d?", "Expresa %d como porcentaje de %d."},
		en: []string{"What percentage is %d of %d?", "%d is what percent of %d?", "Express %d as a percentage of %d."},
	}, part, whole)
	steps := d.say("Dividimos: %d/%d = %s, y %s · 100 = %d.", "Divide: %d/%d = %s, and %s · 100 = %d.",
		part, whole, d.decimal(p, 100), d.decimal(p, 100), p)
	return Item{Question: question, Steps: steps, Answer: n(p) + " %"}
}
