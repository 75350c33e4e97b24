package mathcheck_test

import (
	"testing"

	"afina/internal/mathcheck"
)

// TestProse demands that what is no mathematics gets no verdict.
func TestProse(t *testing.T) {
	for _, text := range []string{
		"La reunión es el 12/05/2024 a las 12:30 en el aula 3.",
		"Llámame al 612 345 678 o al +34 91 123 45 67.",
		"The release is 1.2.3, not 1.2.4; it needs go1.26.8 and libc 2.31.",
		"La partida acabó 1-0; la segunda, 1/2-1/2, y la tercera 0-1.",
		"Lee las páginas 12-15 y 20–24 del libro (ISBN 978-84-376-0494-7).",
		"1. Abre el libro.\n2. Lee el tema 3.\n3) Haz los ejercicios 4, 5 y 6.",
		"El equipo ganó 3-1 y el Madrid empató 2-2.",
		"Mide 1,80 m y pesa 75 kg; cuesta 12,50 € y tiene un descuento del 20 %.",
		"```go\nfor i := 0; i < n; i++ { x = x + 1 }\nif 2 + 2 == 5 { panic(1) }\n```",
		"Usa `x = 3` y luego `2 + 2 = 5` en la consola.",
		"Hola, ¿qué tal? Yo soy Ana y vivo en la calle Mayor, 5, 3.º B, 28013 Madrid.",
		"The meeting is at 9:30-10:45, room 4, see https://example.com/a=1&b=2?x=3",
		"My IP is 192.168.0.1 and the port is 8080.",
		"A las 8:00 sale el tren y a las 10:15 llega.",
		"En 1492 Colón llegó a América; en 1936-1939 hubo guerra.",
		"I have 3 apples and a pear; you have 2.",
		"La Constitución de 1978, artículo 14, y la ley 39/2006.",
		"El capítulo 2.3 trata de historia; la figura 4.1 muestra un mapa.",
		"e.g. version v2.0 of the app (build 1234), size 3.5 MB",
		"Sube la nota un 5 % y baja el paro al 11,3 %.",
		"Y dijo: a mí no me gusta, y o me voy o te vas.",
		"if (a > b) return a - b; else return 0;",
		"El resultado fue 4-2 (2-1 al descanso).",
		"Escribe a info@example.com o llama al 902-123-456.",
		"Talla 38, color #ff00aa, ref. 12.345-B.",
		"¿Es verdad que 2 + 2 = 5?",
		"",
		"       \n\n\t",
		"😀 🎉 100 % de acuerdo!!!",
	} {
		for _, f := range mathcheck.Check(text, mathcheck.Options{}) {
			if f.Verdict != mathcheck.Unknown {
				t.Errorf("%q: %q is called %s: %s", text, f.Text, f.Verdict, f.Reason)
			}
		}
	}
}

// TestContext are claims whose truth hangs on the words around them: what is
// denied, supposed or asked is not claimed.
func TestContext(t *testing.T) {
	for _, c := range []struct {
		question, text string
		want           mathcheck.Verdict
	}{
		{"", "Se obtiene 2 = 5, que es falso.", mathcheck.Unknown},
		{"", "No es verdad que 2 + 2 = 5.", mathcheck.Unknown},
		{"", "Un error común es escribir (a + b)² = a² + b².", mathcheck.Unknown},
		{"", "Si 2 + 2 = 5, entonces…", mathcheck.Unknown},
		{"", "El doble de 5 = 10", mathcheck.Unknown},
		{"", "12/05/2024 = 3", mathcheck.Unknown},
		{"", "2 más 3 = 5", mathcheck.Unknown},
		{"", "3 = 2 más 1", mathcheck.Unknown},
		{"Resuelve √(x + 3) = x + 1.", "Elevando al cuadrado: x = 1 o x = −2. Descartamos x = −2 porque no cumple la ecuación. La solución es x = 1.", mathcheck.True},
		{"Resuelve x² = 9 con x positivo.", "x = 3", mathcheck.Unknown},
		{"Resuelve x² = 9.", "Una solución es x = 3.", mathcheck.True},
		{"Resuelve x² − 5x + 6 = 0.", "Factorizamos: (x − 2)(x − 3) = 0. Entonces x − 2 = 0, x = 2, o bien x − 3 = 0, x = 3.", mathcheck.True},
		{"Un rectángulo tiene área 12 y base 4. Halla la altura.", "4 · h = 12, luego h = 3.", mathcheck.Unknown},
		{"", "x² − 5x = 6", mathcheck.Unknown},
		{"", "y = 2x + 1", mathcheck.Unknown},
		{"", "Los múltiplos de 4 son pares.", mathcheck.Unknown},
		{"", "La suma de 3 y 5 es par.", mathcheck.Unknown},
		{"", "√(x²) = x, si x ≥ 0", mathcheck.Unknown},
		{"", "1.234 + 1 = 2.234", mathcheck.Unknown},
		{"", "5/0 = 0", mathcheck.False},
		{"", "$(2 + 3 = 5$", mathcheck.Unknown},
		{"", "π = 3,14", mathcheck.Unknown},
		{"", "π = 3", mathcheck.False},
		{"", "e = 60 · 2 = 120", mathcheck.True},
		{"Resuelve 2x + 3 = 7.", "2x = 4\nx = 2", mathcheck.True},
		{"Solve x^2 = 2.", "x = 1.41", mathcheck.Unknown},
		{"", "2 h 30 min = 150 min", mathcheck.Unknown},
		{"", "2 horas y 30 minutos = 150 minutos", mathcheck.Unknown},
		{"", "1 min 30 s = 90 s", mathcheck.Unknown},
		{"", "5 m + 20 cm = 5,2 m", mathcheck.True},
		{"", "2 1/2 = 5/2", mathcheck.Unknown},
		{"", "50 − 20 % = 40", mathcheck.Unknown},
		{"", "log e = 1", mathcheck.Unknown},
		{"", "sen 90 = 1", mathcheck.Unknown},
		{"", "2/3 = 0,66", mathcheck.Unknown},
		{"", "π = 3,14159…", mathcheck.True},
		{"", "0,999… = 1", mathcheck.True},
		{"", "1 + 2 + 3 + ... + 10 = 55", mathcheck.Unknown},
		{"", "0^0 = 1", mathcheck.Unknown},
		{"", "(-8)^(1/3) = -2", mathcheck.Unknown},
		{"", "√16 = ±4", mathcheck.Unknown},
		{"Calcula 2x + 1 para x = 3.", "2x + 1 = 7", mathcheck.Unknown},
		{"Deriva f(x) = x² y calcula f'(3).", "f'(x) = 2x = 2 · 3 = 6", mathcheck.True},
		{"Resuelve x² − 5x + 6 = 0 probando.", "x = 1: 1² − 5 · 1 + 6 = 2. x = 2: 2² − 5 · 2 + 6 = 0. Las soluciones son x = 2 y x = 3.", mathcheck.True},
		{"Resuelve x² − 5x + 6 = 0.", "S = {2, 3}", mathcheck.True},
		{"Resuelve x² − 5x + 6 = 0.", "x1 = 2, x2 = 4", mathcheck.False},
		{"", "El 9 no es primo; 15 tampoco es primo.", mathcheck.True},
		{"", "17 : 5 = 3 y sobran 2", mathcheck.Unknown},
		{"Resuelve x² − 4 = 0.", "x = 2 ó x = −2", mathcheck.True},
		{"Resuelve x² − 4 = 0.", "Si Δ < 0 no hay soluciones reales, pero aquí Δ = 16. Las soluciones son 2 y −2.", mathcheck.True},
		{"Resuelve x⁴ − 5x² − 36 = 0.", "Con t = x²: t = 9 o t = −4. x² = −4 no tiene solución real. De x² = 9, x = ±3.", mathcheck.True},
		{"Resuelve log x = 2.", "x = e²", mathcheck.Unknown},
		{"Resuelve sen x = 0.", "x = 0", mathcheck.Unknown},
		{"Solve for x: 3(x - 2) = 2x + 1.", "3x - 6 = 2x + 1\n3x - 2x = 1 + 6\nx = 7", mathcheck.True},
		{"Solve 2x + 3 = 7.", "2x + 3 = 7\n2x = 7 - 3\n2x = 4\nx = 4/2\nx = 2", mathcheck.True},
	} {
		if got := overall(mathcheck.Check(c.text, mathcheck.Options{Question: c.question})); got != c.want {
			t.Errorf("%q | %q: %s, want %s: %+v", c.question, c.text, got, c.want, mathcheck.Check(c.text, mathcheck.Options{Question: c.question}))
		}
	}
}
