package mathcheck

import (
	"math/big"
	"strings"

	"afina/internal/algebra"
	"afina/internal/formula"
)

// coprime judges 8 y 15 son primos entre sí. Of three numbers and more it may be
// meant of all together or of every two: only what holds for both is said.
func (c *checker) coprime(s *sentence, m []string, _ []int) bool {
	ks := marks(m[1])
	if len(ks) < 2 || c.possessed(s, ks[0]) || s.refuted && !denied(m) {
		return false
	}
	together, all := new(big.Int), algebra.Yes
	var seen []*big.Int
	for _, k := range ks {
		v, ok := c.whole(k)
		if !ok {
			return false
		}
		for _, u := range seen {
			all = all.And(yes(new(big.Int).GCD(nil, nil, abs(u), abs(v)).IsInt64() && new(big.Int).GCD(nil, nil, abs(u), abs(v)).Int64() == 1))
		}
		seen, together = append(seen, v), new(big.Int).GCD(nil, nil, together, abs(v))
	}
	if one := yes(together.Cmp(big.NewInt(1)) == 0); one != all {
		all = algebra.Unknown
	}
	why := say(c.lang, map[algebra.Truth]string{algebra.Yes: "class", algebra.No: "notclass", algebra.Unknown: "open"}[all])
	if denied(m) {
		all = all.Not()
	} else if all == algebra.No {
		why = say(c.lang, "common", together.String())
	}
	return c.worded(s, ks, Divisibility, nil, all, why, "")
}

func abs(v *big.Int) *big.Int { return new(big.Int).Abs(v) }

// theirs judges 8 y 15 …, su máximo común divisor es 1. A wrong value may be
// that of other numbers and is left open.
func (c *checker) theirs(s *sentence, m []string, _ []int) bool {
	list, k := marks(m[1]), marks(m[3])[0]
	claimed := c.result(k)
	if len(list) < 2 || s.refuted || claimed == nil || len(claimed.Vars()) > 0 || c.items[k].Op == formula.Rel {
		return false
	}
	for _, j := range list {
		if _, ok := c.whole(j); !ok {
			return false
		}
	}
	right := formula.Fn(common(m[2]), c.nodes(list)...)
	if c.w.Equal(right, claimed) != algebra.Yes {
		return false
	}
	c.compared(s, []int{k}, Divisibility, right, claimed)
	return false // the numbers are still to be judged by what else is said of them
}

// common is the function a name stands for: gcd or lcm.
func common(name string) string {
	for _, gcd := range []string{"mcd", "máx", "g", "h"} {
		if strings.HasPrefix(name, gcd) {
			return "gcd"
		}
	}
	return "lcm"
}

func (c *checker) common(s *sentence, m []string, ks []int) bool {
	list := marks(m[2])
	if len(list) < 2 {
		return false
	}
	return c.compared(s, ks, Divisibility, formula.Fn(common(m[1]), c.nodes(list)...), c.result(marks(m[3])[0]))
}
