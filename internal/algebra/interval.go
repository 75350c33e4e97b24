package algebra

import "math"

// A Range is a closed interval of reals that holds the true value. The bounds
// are rounded outwards after every operation.
type Range struct{ Lo, Hi float64 }

var inf = math.Inf(1)

var everything = Range{-inf, inf}

func down(x float64) float64 { return math.Nextafter(x, -inf) }
func up(x float64) float64   { return math.Nextafter(x, inf) }

// wide widens by eight units in the last place: more than the elementary
// functions of package math are off on any machine.
func wide(lo, hi float64) Range {
	return Range{lo - math.Abs(lo)*0x1p-49 - 0x1p-1070, hi + math.Abs(hi)*0x1p-49 + 0x1p-1070}
}

// sign is -1 or 1 where the whole range has it, and 0 otherwise.
func (a Range) sign() int {
	switch {
	case a.Lo > 0:
		return 1
	case a.Hi < 0:
		return -1
	}
	return 0
}

func (a Range) add(b Range) Range { return Range{down(a.Lo + b.Lo), up(a.Hi + b.Hi)}.sane() }
func (a Range) neg() Range        { return Range{-a.Hi, -a.Lo} }

// sane replaces what overflow has spoilt.
func (a Range) sane() Range {
	if math.IsNaN(a.Lo) || math.IsNaN(a.Hi) {
		return everything
	}
	return a
}

func (a Range) mul(b Range) Range {
	lo, hi := inf, -inf
	for _, x := range [2]float64{a.Lo, a.Hi} {
		for _, y := range [2]float64{b.Lo, b.Hi} {
			p := x * y
			if math.IsNaN(p) { // 0 · ∞
				p = 0
			}
			lo, hi = math.Min(lo, p), math.Max(hi, p)
		}
	}
	return Range{down(lo), up(hi)}.sane()
}

func (a Range) inverse() (Range, bool) {
	if a.sign() == 0 {
		return everything, false
	}
	return Range{down(1 / a.Hi), up(1 / a.Lo)}.sane(), true
}

func (a Range) abs() Range {
	switch {
	case a.Lo >= 0:
		return a
	case a.Hi <= 0:
		return a.neg()
	}
	return Range{0, math.Max(-a.Lo, a.Hi)}
}

// power is aⁿ for n ≥ 0.
func (a Range) power(n int) Range {
	r := Range{1, 1}
	b := a
	if n%2 == 0 {
		b = a.abs()
	}
	for k := 0; k < n && k < 4096; k++ {
		r = r.mul(b)
	}
	if n > 4096 {
		return everything
	}
	if n%2 == 0 {
		r.Lo = math.Max(r.Lo, 0)
	}
	return r
}

// root is the n-th root; it is none of a range that holds negative numbers and n even.
func (a Range) root(n int) (Range, bool) {
	if n == 2 {
		if a.Lo < 0 {
			return everything, false
		}
		return Range{math.Max(down(math.Sqrt(a.Lo)), 0), up(math.Sqrt(a.Hi))}, true
	}
	if n%2 == 0 && a.Lo < 0 {
		return everything, false
	}
	f := func(x float64) float64 {
		if n == 3 {
			return math.Cbrt(x)
		}
		return math.Copysign(math.Pow(math.Abs(x), 1/float64(n)), x)
	}
	r := wide(f(a.Lo), f(a.Hi))
	slack := 0x1p-49 * float64(n)
	return Range{r.Lo - math.Abs(r.Lo)*slack, r.Hi + math.Abs(r.Hi)*slack}.sane(), true
}

func (a Range) exp() Range {
	r := wide(math.Exp(a.Lo), math.Exp(a.Hi))
	return Range{math.Max(r.Lo, 0), r.Hi}.sane()
}

func (a Range) log() (Range, bool) {
	if a.Lo <= 0 {
		return everything, false
	}
	return wide(math.Log(a.Lo), math.Log(a.Hi)).sane(), true
}

// sin bounds the sine: the ends, and ±1 where a crest or a trough may lie between.
func (a Range) sin() Range {
	if !(a.Hi-a.Lo < 6) || math.Abs(a.Lo) > 1e9 || math.Abs(a.Hi) > 1e9 {
		return Range{-1, 1}
	}
	x, y := math.Sin(a.Lo), math.Sin(a.Hi)
	r := wide(math.Min(x, y), math.Max(x, y))
	r.Lo, r.Hi = r.Lo-0x1p-50, r.Hi+0x1p-50
	crest := func(phase float64) bool { // some phase + 2πk in a
		k := math.Floor((a.Hi-phase)/(2*math.Pi) + 1e-9)
		return phase+2*math.Pi*k >= a.Lo-1e-6
	}
	if crest(math.Pi / 2) {
		r.Hi = 1
	}
	if crest(-math.Pi / 2) {
		r.Lo = -1
	}
	return Range{math.Max(r.Lo, -1), math.Min(r.Hi, 1)}
}

func (a Range) cos() Range {
	return a.add(Range{math.Pi / 2, up(math.Pi / 2)}).sin()
}

// monotone bounds a rising function.
func (a Range) monotone(f func(float64) float64) Range {
	r := wide(f(a.Lo), f(a.Hi))
	return Range{r.Lo - 0x1p-1000, r.Hi + 0x1p-1000}.sane()
}
