package mathcheck_test

import (
	"fmt"
	"math/big"
	"math/rand"
	"strings"
	"testing"

	"afina/internal/mathcheck"
)

// A generator makes a claim whose result is right, or off by the whole number
// off, which is not zero.
type generator func(r *rand.Rand, off int64) (question, text string)

func rat(n, d int64) *big.Rat { return big.NewRat(n, d) }

// shown writes a rational as a fraction.
func shown(v *big.Rat) string { return strings.Replace(v.RatString(), "-", "−", 1) }

func plus(v *big.Rat, off int64) *big.Rat { return new(big.Rat).Add(v, rat(off, 1)) }

func some(r *rand.Rand, lo, hi int64) int64 { return lo + r.Int63n(hi-lo+1) }

func signed(n int64) string { return strings.Replace(fmt.Sprint(n), "-", "−", 1) }

// term writes "+ n" or "− n".
func term(n int64, of string) string {
	if n < 0 {
		return "− " + fmt.Sprint(-n) + of
	}
	return "+ " + fmt.Sprint(n) + of
}

func comma(n int64, places int) string {
	d := int64(1)
	for range places {
		d *= 10
	}
	return strings.Replace(big.NewRat(n, d).FloatString(places), ".", ",", 1)
}

// generators cover the kinds of claims, in both languages and notations.
var generators = map[string]generator{
	"sum": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, -99, 99), some(r, 1, 99)
		return "", fmt.Sprintf("%s + %d = %s", signed(a), b, signed(a+b+off))
	},
	"order": func(r *rand.Rand, off int64) (string, string) {
		a, b, c := some(r, 1, 20), some(r, 2, 20), some(r, 2, 12)
		return "", fmt.Sprintf("Calculamos %d − %d · %d = %s.", a, b, c, signed(a-b*c+off))
	},
	"fractions": func(r *rand.Rand, off int64) (string, string) {
		a, b, c, d := some(r, 1, 9), some(r, 2, 9), some(r, 1, 9), some(r, 2, 9)
		v := new(big.Rat).Add(rat(a, b), rat(c, d))
		return "", fmt.Sprintf("$\\frac{%d}{%d} + \\frac{%d}{%d} = %s$", a, b, c, d, plus(v, off).RatString())
	},
	"quotient": func(r *rand.Rand, off int64) (string, string) {
		a, b, c, d := some(r, 1, 9), some(r, 2, 9), some(r, 1, 9), some(r, 2, 9)
		return "", fmt.Sprintf("%d/%d : %d/%d = %s", a, b, c, d, shown(plus(rat(a*d, b*c), off)))
	},
	"decimals": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, 1, 999), some(r, 1, 999)
		return "", fmt.Sprintf("La suma es %s + %s = %s.", comma(a, 2), comma(b, 2), comma(a+b+off, 2))
	},
	"points": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, 1, 99), some(r, 1, 99)
		return "", strings.ReplaceAll(fmt.Sprintf("We get %s × %s = %s.", comma(a, 1), comma(b, 1), comma(a*b+off, 2)), ",", ".")
	},
	"power": func(r *rand.Rand, off int64) (string, string) {
		a, n := some(r, 2, 9), some(r, 2, 4)
		v := int64(1)
		for range n {
			v *= a
		}
		return "", fmt.Sprintf("%d^%d = %d", a, n, v+off)
	},
	"root": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, 2, 12), []int64{2, 3, 5, 7}[r.Intn(4)]
		return "", fmt.Sprintf("√%d = %d√%d", a*a*b, a+off, b)
	},
	"percent": func(r *rand.Rand, off int64) (string, string) {
		p, b := some(r, 1, 19)*5, some(r, 1, 40)*20
		return "", fmt.Sprintf("El %d %% de %d es %d.", p, b, p*b/100+off)
	},
	"percentEnglish": func(r *rand.Rand, off int64) (string, string) {
		p, b := some(r, 1, 19)*5, some(r, 1, 40)*20
		return "", fmt.Sprintf("%d%% of %d is %d.", p, b, p*b/100+off)
	},
	"gcd": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, 2, 200), some(r, 2, 200)
		g := new(big.Int).GCD(nil, nil, big.NewInt(a), big.NewInt(b)).Int64()
		return "", fmt.Sprintf("mcd(%d, %d) = %d", a, b, g+off)
	},
	"lcm": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, 2, 40), some(r, 2, 40)
		g := new(big.Int).GCD(nil, nil, big.NewInt(a), big.NewInt(b)).Int64()
		return "", fmt.Sprintf("The least common multiple of %d and %d is %d.", a, b, a*b/g+off)
	},
	"prime": func(r *rand.Rand, off int64) (string, string) {
		n := some(r, 2, 999)
		no := ""
		if big.NewInt(n).ProbablyPrime(0) != (off == 0) {
			no = "no "
		}
		return "", fmt.Sprintf("El %d %ses primo.", n, no)
	},
	"divisible": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, 2, 30), some(r, 2, 30)
		if off != 0 {
			return "", fmt.Sprintf("%d es divisible por %d.", a*b+1+r.Int63n(b-1), b)
		}
		return "", fmt.Sprintf("%d es divisible por %d.", a*b, b)
	},
	"parity": func(r *rand.Rand, off int64) (string, string) {
		n := some(r, 1, 999)
		word := []string{"even", "odd"}[(n+min(off*off, 1))%2]
		return "", fmt.Sprintf("%d is %s.", n, word)
	},
	"linear": func(r *rand.Rand, off int64) (string, string) {
		a, x, b := some(r, 2, 12), some(r, -12, 12), some(r, -20, 20)
		return fmt.Sprintf("Resuelve %dx %s = %s.", a, term(b, ""), signed(a*x+b)), fmt.Sprintf("x = %s", signed(x+off))
	},
	"linearFraction": func(r *rand.Rand, off int64) (string, string) {
		a, b, c := some(r, 2, 9), some(r, 1, 20), some(r, 1, 20)
		return fmt.Sprintf("Solve %dx + %d = %d.", a, b, c), fmt.Sprintf("The solution is x = %s.", plus(rat(c-b, a), off).RatString())
	},
	"quadratic": func(r *rand.Rand, off int64) (string, string) {
		p, q := some(r, -9, 9), some(r, -9, 9)
		question := fmt.Sprintf("Resuelve x² %s %s = 0.", term(-(p+q), "x"), term(p*q, ""))
		if p == q {
			return question, fmt.Sprintf("La solución es x = %s.", signed(p+off))
		}
		if p+off == q {
			return question, fmt.Sprintf("La única solución es x = %s.", signed(q))
		}
		return question, fmt.Sprintf("Las soluciones son x₁ = %s y x₂ = %s.", signed(p+off), signed(q))
	},
	"missing": func(r *rand.Rand, off int64) (string, string) {
		p := some(r, 1, 12)
		if off != 0 {
			return fmt.Sprintf("Solve x^2 = %d.", p*p), fmt.Sprintf("The solution is x = %d.", p)
		}
		return fmt.Sprintf("Solve x^2 = %d.", p*p), fmt.Sprintf("The solutions are x = %d and x = -%d.", p, p)
	},
	"surds": func(r *rand.Rand, off int64) (string, string) {
		p, d := some(r, -6, 6), []int64{2, 3, 5, 6, 7, 10, 11}[r.Intn(7)] // (x − p)² = d
		return fmt.Sprintf("Resuelve x² %s %s = 0.", term(-2*p, "x"), term(p*p-d, "")), fmt.Sprintf("x = %s ± √%d", signed(p+off), d)
	},
	"radical": func(r *rand.Rand, off int64) (string, string) {
		x := some(r, 2, 9) // √(x + a) = x has the roots x and, extraneous, 1 − x
		a := x*x - x
		if off != 0 && off%2 != 0 {
			return fmt.Sprintf("Resuelve √(x + %d) = x.", a), fmt.Sprintf("Las soluciones son x = %d y x = %s.", x, signed(1-x))
		}
		return fmt.Sprintf("Resuelve √(x + %d) = x − 0.", a+off*off*1000), fmt.Sprintf("x = %d", x)
	},
	"system": func(r *rand.Rand, off int64) (string, string) {
		x, y, a, b := some(r, -9, 9), some(r, -9, 9), some(r, 2, 5), some(r, 2, 5)
		return fmt.Sprintf("Resuelve el sistema x + %dy = %s, %dx − y = %s.", a, signed(x+a*y), b, signed(b*x-y)), fmt.Sprintf("La solución es x = %s, y = %s.", signed(x), signed(y+off))
	},
	"inequality": func(r *rand.Rand, off int64) (string, string) {
		a, x, b := some(r, 2, 9), some(r, -9, 9), some(r, 0, 9)
		sign, turned := "<", ">"
		if r.Intn(2) == 0 {
			sign, turned = "≥", "≤"
		}
		if r.Intn(2) == 0 {
			return fmt.Sprintf("Resuelve la inecuación %dx + %d %s %s.", a, b, sign, signed(a*x+b)), fmt.Sprintf("x %s %s", sign, signed(x+off))
		}
		return fmt.Sprintf("Resuelve la inecuación %d − %dx %s %s.", b, a, sign, signed(b-a*x)), fmt.Sprintf("La solución es x %s %s.", turned, signed(x+off))
	},
	"quadraticInequality": func(r *rand.Rand, off int64) (string, string) {
		p := some(r, -9, 8)
		q := p + some(r, 1, 6)
		question := fmt.Sprintf("Solve the inequality x^2 %s %s <= 0.", strings.ReplaceAll(term(-(p+q), "x"), "−", "-"), strings.ReplaceAll(term(p*q, ""), "−", "-"))
		if off != 0 && off%2 == 0 {
			return question, fmt.Sprintf("The solution is (%d, %d).", p, q)
		}
		return question, fmt.Sprintf("The solution is [%d, %d].", p, q+off*off)
	},
	"domain": func(r *rand.Rand, off int64) (string, string) {
		a := some(r, -9, 9)
		return fmt.Sprintf("Halla el dominio de f(x) = √(x %s).", term(-a, "")), fmt.Sprintf("El dominio es [%s, +∞).", signed(a+off))
	},
	"derivative": func(r *rand.Rand, off int64) (string, string) {
		a, n, b := some(r, 2, 9), some(r, 2, 6), some(r, 2, 9)
		return fmt.Sprintf("Deriva f(x) = %dx^%d + %dx.", a, n, b), fmt.Sprintf("f'(x) = %dx^%d + %d", a*n, n-1, b+off)
	},
	"chain": func(r *rand.Rand, off int64) (string, string) {
		a := some(r, 2, 9)
		return fmt.Sprintf("Differentiate $f(x) = \\sin(%dx)$.", a), fmt.Sprintf("$f'(x) = %d\\cos(%dx)$", a+off, a)
	},
	"integral": func(r *rand.Rand, off int64) (string, string) {
		a, n := some(r, 1, 9), some(r, 1, 5)
		return "", fmt.Sprintf("∫ %dx^%d dx = %s·x^%d + C", a*(n+1), n, signed(a+off), n+1)
	},
	"definite": func(r *rand.Rand, off int64) (string, string) {
		b := some(r, 1, 6)
		return "", fmt.Sprintf("$\\int_0^{%d} 3x^2\\,dx = %d$", b, b*b*b+off)
	},
	"limit": func(r *rand.Rand, off int64) (string, string) {
		a := some(r, 1, 9)
		return "", fmt.Sprintf("$\\lim_{x \\to %d} \\frac{x^2 - %d}{x - %d} = %d$", a, a*a, a, 2*a+off)
	},
	"expand": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, 1, 9), some(r, 1, 9)
		return fmt.Sprintf("Desarrolla (%dx + %d)².", a, b), fmt.Sprintf("(%dx + %d)² = %dx² + %dx + %d", a, b, a*a, 2*a*b+off, b*b)
	},
	"factor": func(r *rand.Rand, off int64) (string, string) {
		p, q := some(r, 1, 9), some(r, 1, 9)
		return "Factor the polynomial.", fmt.Sprintf("$x^2 + %dx + %d = (x + %d)(x + %s)$", p+q, p*q, p, fmt.Sprint(q+off*off))
	},
	"evaluate": func(r *rand.Rand, off int64) (string, string) {
		a, b, x := some(r, 2, 9), some(r, -9, 9), some(r, -5, 5)
		return fmt.Sprintf("Sea f(x) = %dx² %s.", a, term(b, "")), fmt.Sprintf("f(%s) = %s", signed(x), signed(a*x*x+b+off))
	},
	"mean": func(r *rand.Rand, off int64) (string, string) {
		a, b, c := some(r, 1, 30), some(r, 1, 30), some(r, 1, 30)
		return "", fmt.Sprintf("La media de %d, %d y %d es %s.", a, b, c, shown(plus(rat(a+b+c, 3), off)))
	},
	"logarithm": func(r *rand.Rand, off int64) (string, string) {
		b, n := some(r, 2, 7), some(r, 1, 4)
		v := int64(1)
		for range n {
			v *= b
		}
		return "", fmt.Sprintf("$\\log_{%d} %d = %d$", b, v, n+off)
	},
	"membership": func(r *rand.Rand, off int64) (string, string) {
		n := some(r, 2, 60)
		s := new(big.Int).Sqrt(big.NewInt(n)).Int64()
		sign := "∈"
		if (s*s == n) != (off == 0) {
			sign = "∉"
		}
		return "", fmt.Sprintf("√%d %s ℚ", n, sign)
	},
	"compare": func(r *rand.Rand, off int64) (string, string) {
		a, b, c, d := some(r, 1, 9), some(r, 2, 9), some(r, 1, 9), some(r, 2, 9)
		sign := ">"
		if (rat(a, b).Cmp(rat(c, d)) > 0) != (off == 0) {
			sign = "≤"
		}
		return "", fmt.Sprintf("%d/%d %s %d/%d", a, b, sign, c, d)
	},
	"area": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, 2, 30), some(r, 2, 30)
		return fmt.Sprintf("Calcula el área de un rectángulo de %d cm por %d cm.", a, b), fmt.Sprintf("El área es %d cm².", a*b+off)
	},
	"units": func(r *rand.Rand, off int64) (string, string) {
		a := some(r, 1, 40)
		return "", fmt.Sprintf("%d km = %d m", a, a*1000+off)
	},
	"approximate": func(r *rand.Rand, off int64) (string, string) {
		a, b := some(r, 1, 50), some(r, 3, 29)
		v := new(big.Rat).Add(rat(a, b), rat(off*23, 1000))
		return "", fmt.Sprintf("%d/%d ≈ %s", a, b, strings.Replace(v.FloatString(2), ".", ",", 1))
	},
	"angle": func(r *rand.Rand, off int64) (string, string) {
		k := some(r, 1, 12)
		return "", fmt.Sprintf("sen²(%d°) + cos²(%d°) = %d", 7*k, 7*k, 1+off)
	},
}

// TestGenerated judges 10,000 claims that are right and 10,000 that are wrong,
// over all kinds: no verdict may be false, and nine of ten must be decided.
func TestGenerated(t *testing.T) {
	each := 10_000/len(generators) + 1
	if testing.Short() {
		each = 25
	}
	total, decided := map[bool]int{}, map[bool]int{}
	for name, make := range generators {
		open := 0
		for i := range each {
			for _, right := range []bool{true, false} {
				r := rand.New(rand.NewSource(int64(i)*1009 + int64(len(name))))
				off, want := int64(0), mathcheck.True
				if !right {
					off, want = []int64{1, -1, 2, -2, 3, 10}[i%6], mathcheck.False
				}
				question, text := make(r, off)
				got := overall(mathcheck.Check(text, mathcheck.Options{Question: question}))
				total[right]++
				switch got {
				case want:
					decided[right]++
				case mathcheck.Unknown:
					open++
				default:
					t.Errorf("%s: %q | %q is called %s, and it is %s", name, question, text, got, want)
				}
			}
		}
		if open*10 > each*2 {
			t.Errorf("%s: %d of %d stay open", name, open, 2*each)
		}
	}
	t.Logf("right: %d of %d decided; wrong: %d of %d decided", decided[true], total[true], decided[false], total[false])
}
