package practice

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
)

// draw is the source of everything random, and knows the language.
type draw struct {
	r    *rand.Rand
	lang Lang
}

// of is a number from a to b, each as likely.
func (d *draw) of(a, b int) int { return a + d.r.IntN(b-a+1) }

// not0 is a number from -b to b, but 0.
func (d *draw) not0(b int) int {
	n := d.of(1, b)
	if d.r.IntN(2) == 0 {
		return -n
	}
	return n
}

// say is the sentence in the language of the item.
func (d *draw) say(es, en string, args ...any) string {
	if d.lang == English {
		return fmt.Sprintf(en, args...)
	}
	return fmt.Sprintf(es, args...)
}

// words are ways to say one thing, in both languages.
type words struct{ es, en []string }

// one is one of the ways, filled in.
func (d *draw) one(w words, args ...any) string {
	list := w.es
	if d.lang == English {
		list = w.en
	}
	return fmt.Sprintf(list[d.r.IntN(len(list))], args...)
}

// n writes a whole number with the minus sign of print.
func n(x int) string {
	if x < 0 {
		return "−" + strconv.Itoa(-x)
	}
	return strconv.Itoa(x)
}

// par is n, in brackets when negative: after an operator.
func par(x int) string {
	if x < 0 {
		return "(" + n(x) + ")"
	}
	return n(x)
}

// plus is x as the next term of a sum: " + 3" or " − 3".
func plus(x int) string {
	if x < 0 {
		return " − " + strconv.Itoa(-x)
	}
	return " + " + strconv.Itoa(x)
}

// frac writes p/q in lowest terms, a whole number as such.
func frac(p, q int) string {
	r := big.NewRat(int64(p), int64(q))
	return strings.Replace(r.RatString(), "-", "−", 1)
}

// raw writes p/q as it is.
func raw(p, q int) string { return n(p) + "/" + strconv.Itoa(q) }

// decimal writes p/q, whose denominator has no prime factors but 2 and 5, with
// the decimal sign of the language.
func (d *draw) decimal(p, q int) string {
	r := big.NewRat(int64(p), int64(q))
	digits, exact := r.FloatPrec()
	if !exact {
		panic(fmt.Sprintf("practice: %d/%d is no finite decimal", p, q))
	}
	text := strings.Replace(r.FloatString(digits), "-", "−", 1)
	if d.lang == Spanish {
		text = strings.Replace(text, ".", ",", 1)
	}
	return text
}

// over is the sign of division that the language teaches.
func (d *draw) over() string { return d.say(":", "÷") }

var superscripts = strings.NewReplacer("0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹")

// poly writes a polynomial in x, its coefficients from the highest power down.
func poly(coefficients ...int) string {
	var b strings.Builder
	for i, c := range coefficients {
		if c == 0 {
			continue
		}
		switch {
		case b.Len() == 0 && c < 0:
			b.WriteString("−")
		case b.Len() > 0 && c < 0:
			b.WriteString(" − ")
		case b.Len() > 0:
			b.WriteString(" + ")
		}
		b.WriteString(term(max(c, -c), len(coefficients)-1-i))
	}
	if b.Len() == 0 {
		return "0"
	}
	return b.String()
}

// term writes c·xᵖ with c > 0.
func term(c, power int) string {
	if power == 0 {
		return strconv.Itoa(c)
	}
	text := "x"
	if c != 1 {
		text = strconv.Itoa(c) + "x"
	}
	if power > 1 {
		text += superscripts.Replace(strconv.Itoa(power))
	}
	return text
}

// list writes numbers with commas between them. (A decimal comma never occurs in
// them.)
func list(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, x := range numbers {
		texts[i] = n(x)
	}
	return strings.Join(texts, ", ")
}

// added writes a sum of numbers that are not negative.
func added(numbers []int) string { return strings.ReplaceAll(list(numbers), ", ", " + ") }

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return max(a, -a)
}
