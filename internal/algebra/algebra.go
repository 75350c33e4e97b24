// Package algebra reckons with expression trees: exactly where it can, by
// rationals, surds and polynomial normal forms, and otherwise by intervals
// whose bounds are rounded outwards.
//
// It knows no text and no language. Whatever it answers is proven; where it
// cannot prove, it says so. Work bounds every answer by a count of steps, so
// that answers do not depend on the speed of a machine.
package algebra

import "math/big"

// A Truth is an answer that may be unknown.
type Truth int8

// The answers.
const (
	No Truth = iota - 1
	Unknown
	Yes
)

// Not is the contrary of t.
func (t Truth) Not() Truth { return -t }

// And is Yes when both are, No when one is No.
func (t Truth) And(u Truth) Truth { return min(t, u) }

// Or is No when both are, Yes when one is Yes.
func (t Truth) Or(u Truth) Truth { return max(t, u) }

func truth(b bool) Truth {
	if b {
		return Yes
	}
	return No
}

// Work is what may still be spent. A Work that is spent makes every answer Unknown.
type Work struct {
	left int
	stop func() bool // asked now and then; nil never stops
	tick int
}

// NewWork allows that many steps; stop, when not nil, can end it before.
func NewWork(steps int, stop func() bool) *Work { return &Work{left: steps, stop: stop} }

// Spent reports whether nothing is left.
func (w *Work) Spent() bool { return w.left <= 0 }

// Part is a Work of at most share steps; End gives back what it left.
func (w *Work) Part(share int) *Work {
	share = min(share, w.left)
	w.left -= share
	return &Work{left: share, stop: w.stop}
}

// End gives what part left back to w.
func (w *Work) End(part *Work) { w.left += max(part.left, 0) }

// spend takes k steps and reports whether there are some left.
func (w *Work) spend(k int) bool {
	w.left -= k
	w.tick += k
	if w.tick > 2000 {
		w.tick = 0
		if w.stop != nil && w.stop() {
			w.left = 0
		}
	}
	return w.left > 0
}

const widest = 8000 // bits of a number

func bits(r *big.Rat) int { return r.Num().BitLen() + r.Denom().BitLen() }
