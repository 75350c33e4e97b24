package practice

import (
	"fmt"
	"slices"
)

// rectangle asks for area or perimeter.
func rectangle(d *draw) Item {
	a, b := d.of(2, 30), d.of(2, 30)
	if d.r.IntN(2) == 0 {
		question := d.one(words{
			es: []string{"Calcula el área de un rectángulo de %d cm por %d cm.", "Un rectángulo mide %d cm de base y %d cm de altura. ¿Cuál es su área?"},
			en: []string{"Calculate the area of a rectangle of %d cm by %d cm.", "A rectangle is %d cm wide and %d cm high. What is its area?"},
		}, a, b)
		steps := d.say("El área es base por altura: A = %d · %d = %d cm².", "The area is base times height: A = %d · %d = %d cm².", a, b, a*b)
		return Item{Question: question, Steps: steps, Answer: fmt.Sprintf("%d cm²", a*b)}
	}
	question := d.one(words{
		es: []string{"Calcula el perímetro de un rectángulo de %d cm por %d cm.", "Los lados de un rectángulo miden %d cm y %d cm. ¿Cuál es su perímetro?"},
		en: []string{"Calculate the perimeter of a rectangle of %d cm by %d cm.", "The sides of a rectangle are %d cm and %d cm. What is its perimeter?"},
	}, a, b)
	steps := d.say("El perímetro es la suma de los lados: P = 2 · (%d + %d) = 2 · %d = %d cm.",
		"The perimeter is the sum of the sides: P = 2 · (%d + %d) = 2 · %d = %d cm.", a, b, a+b, 2*(a+b))
	return Item{Question: question, Steps: steps, Answer: fmt.Sprintf("%d cm", 2*(a+b))}
}

// triangle asks for the area.
func triangle(d *draw) Item {
	b, h := d.of(2, 30), d.of(2, 20)
	area := d.decimal(b*h, 2)
	question := d.one(words{
		es: []string{"Calcula el área de un triángulo de base %d cm y altura %d cm.", "Un triángulo tiene %d cm de base y %d cm de altura. ¿Cuál es su área?"},
		en: []string{"Calculate the area of a triangle with base %d cm and height %d cm.", "A triangle has a base of %d cm and a height of %d cm. What is its area?"},
	}, b, h)
	steps := d.say("El área es la mitad de base por altura: A = %d · %d/2 = %d/2 = %s cm².",
		"The area is half of base times height: A = %d · %d/2 = %d/2 = %s cm².", b, h, b*h, area)
	return Item{Question: question, Steps: steps, Answer: area + " cm²"}
}

// triples are right triangles with whole sides, without common factor.
var triples = [][3]int{{3, 4, 5}, {5, 12, 13}, {8, 15, 17}, {7, 24, 25}, {20, 21, 29}, {9, 40, 41}, {12, 35, 37}}

// hypotenuse asks for the third side of a right triangle.
func hypotenuse(d *draw) Item {
	t, k := triples[d.r.IntN(len(triples))], d.of(1, 6)
	a, b, c := t[0]*k, t[1]*k, t[2]*k
	if d.r.IntN(2) == 0 {
		a, b = b, a
	}
	if d.r.IntN(2) == 0 {
		question := d.one(words{
			es: []string{"Los catetos de un triángulo rectángulo miden %d cm y %d cm. ¿Cuánto mide la hipotenusa?", "Halla la hipotenusa de un triángulo rectángulo de catetos %d cm y %d cm."},
			en: []string{"The legs of a right triangle are %d cm and %d cm. How long is the hypotenuse?", "Find the hypotenuse of a right triangle with legs %d cm and %d cm."},
		}, a, b)
		steps := d.say("Por el teorema de Pitágoras, c² = %d² + %d² = %d + %d = %d, luego c = √%d = %d.",
			"By Pythagoras' theorem, c² = %d² + %d² = %d + %d = %d, so c = √%d = %d.", a, b, a*a, b*b, c*c, c*c, c)
		return Item{Question: question, Steps: steps, Answer: fmt.Sprintf("%d cm", c)}
	}
	question := d.one(words{
		es: []string{"La hipotenusa de un triángulo rectángulo mide %d cm y un cateto %d cm. ¿Cuánto mide el otro cateto?"},
		en: []string{"The hypotenuse of a right triangle is %d cm and a leg is %d cm. How long is the other leg?"},
	}, c, a)
	steps := d.say("Por el teorema de Pitágoras, b² = %d² − %d² = %d − %d = %d, luego b = √%d = %d.",
		"By Pythagoras' theorem, b² = %d² − %d² = %d − %d = %d, so b = √%d = %d.", c, a, c*c, a*a, b*b, b*b, b)
	return Item{Question: question, Steps: steps, Answer: fmt.Sprintf("%d cm", b)}
}

// angles asks for the third angle of a triangle.
func angles(d *draw) Item {
	a, b := d.of(20, 85), d.of(20, 85)
	question := d.one(words{
		es: []string{"Dos ángulos de un triángulo miden %d° y %d°. ¿Cuánto mide el tercero?", "En un triángulo, dos ángulos son de %d° y %d°. Halla el otro."},
		en: []string{"Two angles of a triangle are %d° and %d°. How big is the third?", "In a triangle, two angles are %d° and %d°. Find the other."},
	}, a, b)
	steps := d.say("Los tres ángulos suman 180°: %d + %d = %d y 180 − %d = %d.",
		"The three angles add up to 180°: %d + %d = %d and 180 − %d = %d.", a, b, a+b, a+b, 180-a-b)
	return Item{Question: question, Steps: steps, Answer: fmt.Sprintf("%d°", 180-a-b)}
}

// circle asks for length or area, in multiples of π.
func circle(d *draw) Item {
	r := d.of(2, 40)
	if d.r.IntN(2) == 0 {
		question := d.one(words{
			es: []string{"¿Cuál es el área de un círculo de radio %d cm?", "Calcula, en función de π, el área de un círculo de %d cm de radio."},
			en: []string{"What is the area of a circle of radius %d cm?", "Calculate, in terms of π, the area of a circle with radius %d cm."},
		}, r)
		steps := d.say("A = πr² = π · %d² = %dπ cm².", "A = πr² = π · %d² = %dπ cm².", r, r*r)
		return Item{Question: question, Steps: steps, Answer: fmt.Sprintf("%dπ cm²", r*r)}
	}
	question := d.one(words{
		es: []string{"¿Cuál es la longitud de una circunferencia de radio %d cm?", "Calcula, en función de π, la longitud de una circunferencia de %d cm de radio."},
		en: []string{"What is the circumference of a circle of radius %d cm?", "Calculate, in terms of π, the circumference of a circle with radius %d cm."},
	}, r)
	steps := d.say("L = 2πr = 2π · %d = %dπ cm.", "C = 2πr = 2π · %d = %dπ cm.", r, 2*r)
	return Item{Question: question, Steps: steps, Answer: fmt.Sprintf("%dπ cm", 2*r)}
}

// box asks for a volume.
func box(d *draw) Item {
	a, b, c := d.of(2, 12), d.of(2, 12), d.of(2, 12)
	question := d.one(words{
		es: []string{"Calcula el volumen de una caja de %d cm, %d cm y %d cm.", "Una caja mide %d cm de largo, %d cm de ancho y %d cm de alto. ¿Cuál es su volumen?"},
		en: []string{"Calculate the volume of a box of %d cm, %d cm and %d cm.", "A box is %d cm long, %d cm wide and %d cm high. What is its volume?"},
	}, a, b, c)
	steps := d.say("El volumen es el producto de las tres dimensiones: V = %d · %d · %d = %d · %d = %d cm³.",
		"The volume is the product of the three dimensions: V = %d · %d · %d = %d · %d = %d cm³.", a, b, c, a*b, c, a*b*c)
	return Item{Question: question, Steps: steps, Answer: fmt.Sprintf("%d cm³", a*b*c)}
}

// sample draws count numbers.
func (d *draw) sample(count, most int) (numbers []int, total int) {
	for range count {
		x := d.of(1, most)
		numbers, total = append(numbers, x), total+x
	}
	return numbers, total
}

// mean asks for the arithmetic mean, which comes out whole.
func mean(d *draw) Item {
	count := d.of(3, 5)
	numbers, total := d.sample(count, 20)
	for total%count != 0 {
		numbers, total = d.sample(count, 20)
	}
	question := d.one(words{
		es: []string{"Calcula la media de %s.", "¿Cuál es la media aritmética de %s?", "Halla el promedio de %s."},
		en: []string{"Calculate the mean of %s.", "What is the arithmetic mean of %s?", "Find the average of %s."},
	}, list(numbers))
	steps := d.say("Sumamos y dividimos entre %d: (%s)/%d = %d/%d = %d.", "Add and divide by %d: (%s)/%d = %d/%d = %d.",
		count, added(numbers), count, total, count, total/count)
	return Item{Question: question, Steps: steps, Answer: n(total / count)}
}

// median asks for the middle.
func median(d *draw) Item {
	numbers, _ := d.sample(d.of(4, 7), 30)
	question := d.one(words{
		es: []string{"Halla la mediana de %s.", "¿Cuál es la mediana de los datos %s?", "Calcula la mediana: %s"},
		en: []string{"Find the median of %s.", "What is the median of the data %s?", "Calculate the median: %s"},
	}, list(numbers))
	sorted := slices.Sorted(slices.Values(numbers))
	k := len(sorted)
	ordered := d.say("Ordenamos: %s. ", "In order: %s. ", list(sorted))
	if k%2 == 1 {
		steps := ordered + d.say("El dato central es %d.", "The middle one is %d.", sorted[k/2])
		return Item{Question: question, Steps: steps, Answer: n(sorted[k/2])}
	}
	a, b := sorted[k/2-1], sorted[k/2]
	result := d.decimal(a+b, 2)
	steps := ordered + d.say("La mediana es la media de los dos centrales: (%d + %d)/2 = %s.",
		"The median is the mean of the two in the middle: (%d + %d)/2 = %s.", a, b, result)
	return Item{Question: question, Steps: steps, Answer: result}
}

// spread asks for the range.
func spread(d *draw) Item {
	numbers, _ := d.sample(d.of(4, 7), 60)
	low, high := slices.Min(numbers), slices.Max(numbers)
	question := d.one(words{
		es: []string{"Calcula el rango de %s.", "¿Cuál es el recorrido de los datos %s?"},
		en: []string{"Calculate the range of %s.", "What is the range of the data %s?"},
	}, list(numbers))
	steps := d.say("El mayor es %d y el menor es %d: %d − %d = %d.", "The greatest is %d and the least is %d: %d − %d = %d.",
		high, low, high, low, high-low)
	return Item{Question: question, Steps: steps, Answer: n(high - low)}
}

// urn asks for a probability by Laplace's rule.
func urn(d *draw) Item {
	a, b := d.of(1, 15), d.of(1, 15)
	question := d.one(words{
		es: []string{"En una urna hay %d bolas rojas y %d azules. ¿Cuál es la probabilidad de sacar una roja?", "Una bolsa tiene %d caramelos de fresa y %d de limón. ¿Cuál es la probabilidad de sacar uno de fresa?"},
		en: []string{"An urn holds %d red and %d blue balls. What is the probability of drawing a red one?", "A bag has %d strawberry and %d lemon sweets. What is the probability of drawing a strawberry one?"},
	}, a, b)
	steps := d.say("Hay %d + %d = %d casos posibles y %d favorables: P = %s%s", "There are %d + %d = %d possible cases and %d favourable ones: P = %s%s",
		a, b, a+b, a, raw(a, a+b), lowest(a, a+b))
	return Item{Question: question, Steps: steps, Answer: frac(a, a+b)}
}
