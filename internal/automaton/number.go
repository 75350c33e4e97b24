package automaton

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Decimal is a number as it is written: a sign, digits before and behind the
// point, without zeros that say nothing.
type Decimal struct {
	Negative bool
	Whole    string // "0" when below 1
	Part     string
}

// maxDigits is how many digits a bound may have on either side of its point.
const maxDigits = 60

// ParseDecimal reads a JSON number.
func ParseDecimal(s string) (Decimal, error) {
	var d Decimal
	s, d.Negative = strings.CutPrefix(s, "-")
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(s[i+1:]); err != nil || exponent > maxDigits || exponent < -maxDigits {
			return d, fmt.Errorf("%s is too large or too small a number", s)
		}
		mantissa = s[:i]
	}
	whole, part, _ := strings.Cut(mantissa, ".")
	if exponent > 0 {
		part += strings.Repeat("0", max(0, exponent-len(part)))
		whole, part = whole+part[:exponent], part[exponent:]
	} else {
		whole = strings.Repeat("0", max(0, -exponent-len(whole))) + whole
		n := len(whole) + exponent
		whole, part = whole[:n], whole[n:]+part
	}
	d.Whole, d.Part = strings.TrimLeft(whole, "0"), strings.TrimRight(part, "0")
	if d.Whole == "" {
		d.Whole = "0"
	}
	if len(d.Whole) > maxDigits || len(d.Part) > maxDigits {
		return d, fmt.Errorf("%s has too many digits", s)
	}
	if d.Whole == "0" && d.Part == "" {
		d.Negative = false
	}
	return d, nil
}

// Rat is the number itself.
func (d Decimal) Rat() *big.Rat {
	r, _ := new(big.Rat).SetString(d.Whole + "." + d.Part + "0")
	if d.Negative {
		r.Neg(r)
	}
	return r
}

// Bound is one end of a range.
type Bound struct {
	Decimal
	Open bool // the number itself is outside
}

// Limits are the numbers that may be written.
type Limits struct {
	Lo, Hi  Bound
	Integer bool
	Step    int // numbers are multiples of Step / 10^Places; 0 for all
	Places  int
}

// Without bounds, integers are those of 64 bits, and the rest of a range with one
// bound goes as far.
var (
	Least64 = Bound{Decimal: Decimal{Negative: true, Whole: "9223372036854775808"}}
	Most64  = Bound{Decimal: Decimal{Whole: "9223372036854775807"}}
)

// maxPlaces is how many digits behind the point are written.
const maxPlaces = 17

// inNumber is a place in a number.
type inNumber struct {
	phase    phase
	negative bool
	digits   int  // read in this phase
	lo, hi   int8 // how what was read compares with the same digits of the bounds: -1, 0, 1
	rem      int  // of the digits, by the step
}

type phase uint8

const (
	atStart phase = iota
	atSign        // a minus was read
	inWhole
	atPoint
	inPart
)

// Range is the automaton of the numbers in l, written without exponents.
func Range(l Limits, has *Bytes) (*Table, error) {
	var c cuts
	c.each("-.0123456789")
	sides := map[bool]*side{false: newSide(l, false), true: newSide(l, true)}
	return build(rules[inNumber]{
		start: inNumber{}, cuts: c,
		step: func(n inNumber, b byte) (inNumber, bool) {
			if n.phase == atStart && b == '-' {
				return inNumber{phase: atSign, negative: true}, true
			}
			return sides[n.negative].step(n, b)
		},
		accept: func(n inNumber) bool { return sides[n.negative].accept(n) },
	}, has)
}

// side is the numbers of one sign: their magnitudes lie between two bounds.
type side struct {
	Limits
	empty bool
}

func newSide(l Limits, negative bool) *side {
	zero := Bound{Decimal: Decimal{Whole: "0"}}
	s := &side{Limits: l}
	lo, hi := l.Lo, l.Hi
	if negative {
		lo, hi = l.Hi, l.Lo
		lo.Negative, hi.Negative = !lo.Negative, !hi.Negative
		zero.Open = l.Integer // an integer zero has no sign
	}
	s.empty = hi.Negative && hi.Rat().Sign() != 0
	switch {
	case lo.Rat().Sign() == 0: // minus zero lies outside where zero does
		zero.Open = zero.Open || lo.Open
		lo = zero
	case lo.Negative:
		lo = zero
	}
	s.Lo, s.Hi = lo, hi
	return s
}

// step reads one byte behind the sign.
func (s *side) step(n inNumber, b byte) (inNumber, bool) {
	if s.empty {
		return n, false
	}
	if b == '.' {
		return s.point(n)
	}
	if b < '0' || b > '9' {
		return n, false
	}
	switch n.phase {
	case atStart, atSign:
		n.phase, n.digits = inWhole, 0
	case inWhole:
		if n.digits == 1 && n.lo == zeroFirst {
			return n, false // nothing follows a first zero
		}
	case atPoint:
		n.phase, n.digits = inPart, 0
	}
	if n.phase == inPart {
		return s.part(n, b)
	}
	return s.whole(n, b)
}

// zeroFirst as inNumber.lo says that the only digit so far is 0.
const zeroFirst = 2

func (s *side) whole(n inNumber, b byte) (inNumber, bool) {
	if n.digits >= max(len(s.Hi.Whole), 1) {
		return n, false
	}
	if n.digits == 0 && b == '0' {
		n.digits, n.lo, n.hi = 1, zeroFirst, 0
		return n, true
	}
	n.lo = follow(n.lo, b, s.Lo.Whole, n.digits)
	n.hi = follow(n.hi, b, s.Hi.Whole, n.digits)
	n.rem = s.residue(n.rem, b)
	n.digits++
	return n, true
}

// follow compares one more digit with digit i of another number, past whose end
// are zeros.
func follow(so int8, b byte, other string, i int) int8 {
	o := byte('0')
	if i < len(other) {
		o = other[i]
	}
	switch {
	case so != 0 || b == o:
		return so
	case b < o:
		return -1
	}
	return 1
}

// residue reads one more digit of a number modulo the step.
func (s *side) residue(rem int, b byte) int {
	if s.Limits.Step == 0 {
		return 0
	}
	return (rem*10 + int(b-'0')) % s.Limits.Step
}

// settle compares the whole digits read with the bounds.
func (s *side) settle(n inNumber) (lo, hi int8) {
	if n.lo == zeroFirst {
		return compareWhole("0", s.Lo.Whole), compareWhole("0", s.Hi.Whole)
	}
	lo, hi = n.lo, n.hi
	if d := n.digits - len(s.Lo.Whole); d != 0 {
		lo = int8(max(-1, min(1, d)))
	}
	if d := n.digits - len(s.Hi.Whole); d != 0 {
		hi = int8(max(-1, min(1, d)))
	}
	return lo, hi
}

// compareWhole compares digits without leading zeros.
func compareWhole(a, b string) int8 {
	if len(a) != len(b) {
		return int8(max(-1, min(1, len(a)-len(b))))
	}
	return int8(strings.Compare(a, b))
}

func (s *side) point(n inNumber) (inNumber, bool) {
	if s.Integer || n.phase != inWhole {
		return n, false
	}
	lo, hi := s.settle(n)
	if lo < 0 || hi > 0 {
		return n, false
	}
	return inNumber{phase: atPoint, negative: n.negative, lo: lo, hi: hi, rem: n.rem}, true
}

func (s *side) part(n inNumber, b byte) (inNumber, bool) {
	most := max(maxPlaces, len(s.Lo.Part)+1, len(s.Hi.Part)+1)
	if s.Limits.Step > 0 {
		most = s.Places
	}
	if n.digits >= most {
		return n, false
	}
	n.lo = follow(n.lo, b, s.Lo.Part, n.digits)
	n.hi = follow(n.hi, b, s.Hi.Part, n.digits)
	n.rem = s.residue(n.rem, b)
	n.digits++
	return n, n.lo >= 0 && n.hi <= 0
}

// accept reports whether the number may end here.
func (s *side) accept(n inNumber) bool {
	if s.empty || n.phase != inWhole && n.phase != inPart {
		return false
	}
	lo, hi, read := n.lo, n.hi, n.digits
	if n.phase == inWhole {
		lo, hi = s.settle(n)
		read = 0
	}
	if lo == 0 && len(s.Lo.Part) > read {
		lo = -1
	}
	if hi == 0 && len(s.Hi.Part) > read {
		hi = -1
	}
	if lo < 0 || hi > 0 || lo == 0 && s.Lo.Open || hi == 0 && s.Hi.Open {
		return false
	}
	if s.Limits.Step == 0 {
		return true
	}
	rem := n.rem
	for range s.Places - read {
		rem = rem * 10 % s.Limits.Step
	}
	return rem == 0
}

// Number is the automaton of numbers without bounds: up to 20 digits, 20
// places and an exponent of two digits, so that every one is a finite float64.
func Number(has *Bytes) *Table {
	t, _ := pattern(`-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`, bare, Length{Max: -1}, has)
	return t
}
