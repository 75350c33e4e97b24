package kernel

// lows is the low-rank products beside several products of one operand, cut into
// chunks. Few adapters have their inner halves beside the products with weights
// and their outer halves after them, each shared between the cores. Where many
// have a row or two each, it is their way from memory that takes the time: both
// halves of one are a chunk then, which reads all its factors in one go.
type lows struct {
	parts        []lowPart
	inner, outer []lowChunk
	whole        []lowChunk
	next         []int // of each product, the first of its low-rank products that is not cut
}

// lowPart is some rows of a low-rank product.
type lowPart struct {
	factors     *Factors
	x, low, dst []float32
	n           int
}

// lowChunk is parts lo … hi-1; of an outer half it is panels p0 … p1-1 of part lo.
type lowChunk struct{ lo, hi, p0, p1 int }

const (
	lowRows   = 96 // rows of one part, a multiple of all heights
	lowWork   = 96 // rows times panels of a chunk of outer halves, about
	lowPanels = 8  // panels of such a chunk: the least
	lowMost   = 24 // and the most

	// So many adapters with up to lowFew rows each are enough to share whole.
	lowMany = 6
	lowFew  = 4
)

// cut cuts the low-rank products of products. s has room for what lies between
// their halves.
func (l *lows) cut(s *scratch, x *Operand, products []Product) {
	room := 0
	l.next = l.next[:0]
	for _, p := range products {
		l.next = append(l.next, 0)
		for _, low := range p.Low {
			room += (low.Hi - low.Lo) * low.Factors.rank
		}
	}
	low := s.float32s(room)
	for lo, hi := l.rows(products); lo < hi; lo, hi = l.rows(products) {
		for from := lo; from < hi; from += lowRows {
			n, first := min(lowRows, hi-from), len(l.parts)
			for i, p := range products {
				if f := l.of(p, i, lo, hi); f != nil {
					l.parts = append(l.parts, lowPart{
						factors: f, n: n, x: x.x[from*x.cols:], low: low[:n*f.rank], dst: p.Dst[from*p.W.Rows:],
					})
					low = low[n*f.rank:]
				}
			}
			if n <= lowFew {
				l.whole = append(l.whole, lowChunk{lo: first, hi: len(l.parts)})
			} else {
				l.share(first, len(l.parts))
			}
		}
		for i, p := range products {
			if l.of(p, i, lo, hi) != nil {
				l.next[i]++
			}
		}
	}
	if len(l.whole) < lowMany {
		for _, c := range l.whole {
			l.share(c.lo, c.hi)
		}
		l.whole = l.whole[:0]
	}
}

// rows is the rows of the next low-rank products; none when all are cut.
func (l *lows) rows(products []Product) (lo, hi int) {
	for i, p := range products {
		if l.next[i] < len(p.Low) {
			if next := p.Low[l.next[i]]; lo == hi || next.Lo < lo || next.Lo == lo && next.Hi < hi {
				lo, hi = next.Lo, next.Hi
			}
		}
	}
	return lo, hi
}

// of is the factors of product i on rows lo … hi-1, nil when its next are others.
func (l *lows) of(p Product, i, lo, hi int) *Factors {
	if l.next[i] == len(p.Low) || p.Low[l.next[i]].Lo != lo || p.Low[l.next[i]].Hi != hi {
		return nil
	}
	return p.Low[l.next[i]].Factors
}

// share makes chunks of the halves of parts lo … hi-1.
func (l *lows) share(lo, hi int) {
	for k := lo; k < hi; k++ {
		l.inner = append(l.inner, lowChunk{lo: k, hi: k + 1})
		panels := l.parts[k].factors.panels()
		step := min(lowMost, max(lowPanels, lowWork/l.parts[k].n))
		for p := 0; p < panels; p += step {
			l.outer = append(l.outer, lowChunk{k, k + 1, p, min(panels, p+step)})
		}
	}
}

// down computes the inner halves of a chunk.
func (l *lows) down(g *Gang, c lowChunk) {
	for k := c.lo; k < c.hi; k++ {
		p := &l.parts[k]
		p.factors.down(g, p.low, p.x, p.n)
	}
}

// up computes some panels of an outer half.
func (l *lows) up(g *Gang, c lowChunk) {
	p := &l.parts[c.lo]
	p.factors.up(g, p.dst, p.low, p.n, c.p0, c.p1)
}

// both computes both halves of a chunk.
func (l *lows) both(g *Gang, c lowChunk) {
	l.down(g, c)
	for k := c.lo; k < c.hi; k++ {
		l.up(g, lowChunk{k, k + 1, 0, l.parts[k].factors.panels()})
	}
}

// clear lets go of the factors.
func (l *lows) clear() {
	clear(l.parts)
	l.parts, l.inner, l.outer, l.whole = l.parts[:0], l.inner[:0], l.outer[:0], l.whole[:0]
}
