package kernel

import "fmt"

// Gather writes dst row i = x row rows[i], zeros where that is negative.
//
//	dst is (len(rows), cols), x has rows of cols
func (g *Gang) Gather(dst, x []float32, rows []int32, cols int) {
	mustHold("dst of Gather", len(dst), len(rows)*cols)
	mustHaveRows("x of Gather", len(x), rows, cols)
	g.spanRows(len(rows), cols, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			to := dst[i*cols : (i+1)*cols]
			if r := int(rows[i]); r >= 0 {
				copy(to, x[r*cols:(r+1)*cols])
			} else {
				clear(to)
			}
		}
	})
}

// SumRows writes dst row i = Σ x row r over the r in rows[ends[i-1]:ends[i]], in
// their order.
//
//	dst is (len(ends), cols), x has rows of cols
func (g *Gang) SumRows(dst, x []float32, rows, ends []int32, cols int) {
	mustHold("dst of SumRows", len(dst), len(ends)*cols)
	mustHaveRows("x of SumRows", len(x), rows, cols)
	add := g.rows().add
	g.spanRows(len(ends), cols, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			from, to := 0, dst[i*cols:(i+1)*cols]
			if i > 0 {
				from = int(ends[i-1])
			}
			some := rows[from:ends[i]]
			if len(some) == 0 {
				clear(to)
				continue
			}
			copy(to, x[int(some[0])*cols:])
			for _, r := range some[1:] {
				add(to, x[int(r)*cols:(int(r)+1)*cols])
			}
		}
	})
}

// mustHaveRows panics when x is too short for one of rows.
func mustHaveRows(what string, have int, rows []int32, cols int) {
	for _, r := range rows {
		if (int(r)+1)*cols > have {
			panic(fmt.Sprintf("kernel: %s has %d numbers, row %d of %d is asked for", what, have, r, cols))
		}
	}
}
