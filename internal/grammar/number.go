package grammar

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// decimal is a number as it is written: a sign, digits before and behind the
// point, without zeros that say nothing.
type decimal struct {
	negative bool
	whole    string // "0" when below 1
	part     string
}

// maxDigits is how many digits a bound may have on either side of its point.
const maxDigits = 60

// parseDecimal reads a JSON number.
func parseDecimal(s string) (decimal, error) {
	var d decimal
	s, d.negative = strings.CutPrefix(s, "-")
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
	d.whole, d.part = strings.TrimLeft(whole, "0"), strings.TrimRight(part, "0")
	if d.whole == "" {
		d.whole = "0"
	}
	if len(d.whole) > maxDigits || len(d.part) > maxDigits {
		return d, fmt.Errorf("%s has too many digits", s)
	}
	if d.whole == "0" && d.part == "" {
		d.negative = false
	}
	return d, nil
}

// rat is the number itself.
func (d decimal) rat() *big.Rat {
	r, _ := new(big.Rat).SetString(d.whole + "." + d.part + "0")
	if d.negative {
		r.Neg(r)
	}
	return r
}

// bound is one end of a range.
type bound struct {
	decimal
	open bool // the number itself is outside
}

// limits are the numbers that may be written.
type limits struct {
	lo, hi  bound
	integer bool
	step    int // numbers are multiples of step / 10^places; 0 for all
	places  int
}

// Without bounds, integers are those of 64 bits, and the rest of a range with one
// bound goes as far.
var (
	least64 = bound{decimal: decimal{negative: true, whole: "9223372036854775808"}}
	most64  = bound{decimal: decimal{whole: "9223372036854775807"}}
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

// ranged is the automaton of the numbers in l, written without exponents.
func ranged(l limits, has *[256]bool) (*table, bool) {
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
	limits
	empty bool
}

func newSide(l limits, negative bool) *side {
	zero := bound{decimal: decimal{whole: "0"}}
	s := &side{limits: l}
	lo, hi := l.lo, l.hi
	if negative {
		lo, hi = l.hi, l.lo
		lo.negative, hi.negative = !lo.negative, !hi.negative
		zero.open = l.integer // an integer zero has no sign
	}
	s.empty = hi.negative && hi.rat().Sign() != 0
	if lo.negative || lo.rat().Sign() == 0 && zero.open {
		lo = zero
	}
	s.lo, s.hi = lo, hi
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
	if n.digits >= max(len(s.hi.whole), 1) {
		return n, false
	}
	if n.digits == 0 && b == '0' {
		n.digits, n.lo, n.hi = 1, zeroFirst, 0
		return n, true
	}
	n.lo = follow(n.lo, b, s.lo.whole, n.digits)
	n.hi = follow(n.hi, b, s.hi.whole, n.digits)
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
	if s.limits.step == 0 {
		return 0
	}
	return (rem*10 + int(b-'0')) % s.limits.step
}

// settle compares the whole digits read with the bounds.
func (s *side) settle(n inNumber) (lo, hi int8) {
	if n.lo == zeroFirst {
		return compareWhole("0", s.lo.whole), compareWhole("0", s.hi.whole)
	}
	lo, hi = n.lo, n.hi
	if d := n.digits - len(s.lo.whole); d != 0 {
		lo = int8(max(-1, min(1, d)))
	}
	if d := n.digits - len(s.hi.whole); d != 0 {
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
	if s.integer || n.phase != inWhole {
		return n, false
	}
	lo, hi := s.settle(n)
	if lo < 0 || hi > 0 {
		return n, false
	}
	return inNumber{phase: atPoint, negative: n.negative, lo: lo, hi: hi, rem: n.rem}, true
}

func (s *side) part(n inNumber, b byte) (inNumber, bool) {
	most := max(maxPlaces, len(s.lo.part)+1, len(s.hi.part)+1)
	if s.limits.step > 0 {
		most = s.places
	}
	if n.digits >= most {
		return n, false
	}
	n.lo = follow(n.lo, b, s.lo.part, n.digits)
	n.hi = follow(n.hi, b, s.hi.part, n.digits)
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
	if lo == 0 && len(s.lo.part) > read {
		lo = -1
	}
	if hi == 0 && len(s.hi.part) > read {
		hi = -1
	}
	if lo < 0 || hi > 0 || lo == 0 && s.lo.open || hi == 0 && s.hi.open {
		return false
	}
	if s.limits.step == 0 {
		return true
	}
	rem := n.rem
	for range s.places - read {
		rem = rem * 10 % s.limits.step
	}
	return rem == 0
}

// anyNumber is the automaton of numbers without bounds: up to 20 digits, 20
// places and an exponent of two digits, so that every one is a finite float64.
func anyNumber(has *[256]bool) *table {
	t, _ := pattern(`-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`, bare, lengths{max: -1}, has)
	return t
}
