package kernel

import (
	"fmt"
	"runtime"
)

// Product is one of several products of one operand: Dst = x·Wᵀ, plus on some
// rows of x a low-rank product.
type Product struct {
	Dst []float32
	W   *Matrix
	Low []LowRank
}

// LowRank adds Factors to rows Lo … Hi-1.
type LowRank struct {
	Lo, Hi  int
	Factors *Factors
}

// MatMuls computes products that do not need one another, in as few loops over
// the cores as there can be: one for the weights and the inner halves of the
// low-rank products, one for their outer halves.
func (g *Gang) MatMuls(x *Operand, products ...Product) {
	for _, p := range products {
		p.check(x)
	}
	if x.n == 0 {
		return
	}
	if x.precision == Exact {
		for _, p := range products {
			g.MatMul(p.Dst, x, p.W)
			for _, l := range p.Low {
				l.Factors.exact(g, p.Dst[l.Lo*p.W.Rows:], x.x[l.Lo*x.cols:], l.Hi-l.Lo)
			}
		}
		return
	}
	s := g.borrowOwn()
	defer g.giveBack(s)
	t := *g
	t.gathered = &s.loops
	low := &s.low
	low.cut(s, x, products)
	s.loops.add(len(low.inner), func(i int) { low.down(g, low.inner[i]) }) // first, as these chunks are long
	for _, p := range products {
		t.MatMul(p.Dst, x, p.W)
	}
	s.loops.run(g)
	s.loops.add(len(low.whole), func(i int) { low.both(g, low.whole[i]) })
	s.loops.add(len(low.outer), func(i int) { low.up(g, low.outer[i]) })
	s.loops.run(g)
	low.clear()
	runtime.KeepAlive(products)
}

func (p *Product) check(x *Operand) {
	for _, l := range p.Low {
		if l.Lo < 0 || l.Hi > x.n || l.Lo >= l.Hi || l.Factors.In != x.cols || l.Factors.Out != p.W.Rows {
			panic(fmt.Sprintf("kernel: factors of an (%d, %d) matrix on rows %d to %d of (%d, %d), beside a matrix of (%d, %d)",
				l.Factors.Out, l.Factors.In, l.Lo, l.Hi, x.n, x.cols, p.W.Rows, p.W.Cols))
		}
	}
}

// gathered is loops that are run as one.
type gathered struct {
	loops []gatheredLoop
	total int
}

type gatheredLoop struct {
	first int // number of its first chunk
	f     func(chunk int)
}

// add puts a loop beside the others.
func (l *gathered) add(chunks int, f func(chunk int)) {
	if chunks > 0 {
		l.loops = append(l.loops, gatheredLoop{l.total, f})
		l.total += chunks
	}
}

// run runs the loops added and forgets them.
func (l *gathered) run(g *Gang) {
	if l.total > 0 {
		g.pool.Run(l.total, func(chunk int) {
			k := len(l.loops) - 1
			for l.loops[k].first > chunk {
				k--
			}
			l.loops[k].f(chunk - l.loops[k].first)
		})
	}
	clear(l.loops)
	l.loops, l.total = l.loops[:0], 0
}

// Each calls f(0) … f(n-1) on the cores.
func (g *Gang) Each(n int, f func(i int)) { g.span(n, 1, func(i, _ int) { f(i) }) }
