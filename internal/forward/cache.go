package forward

// slot is the cache of one sequence: keys and values of every layer, in one
// stretch of memory.
//
//	buf is (layers, 2, cap, width): of each layer the keys, then the values
type slot struct {
	buf  []float32
	cap  int // positions that fit
	len  int // positions that are there
	next int // what len will be after the running pass
}

// firstRoom is how many positions a slot has room for once it is used.
const firstRoom = 64

// keys returns the keys of the first n positions in layer l.
func (s *slot) keys(l, n, width int) []float32 {
	at := 2 * l * s.cap * width
	return s.buf[at : at+n*width : at+n*width]
}

// values returns the values of the first n positions in layer l.
func (s *slot) values(l, n, width int) []float32 {
	at := (2*l + 1) * s.cap * width
	return s.buf[at : at+n*width : at+n*width]
}

// grow makes room for need positions, at least doubling it so that each
// position is moved a bounded number of times, up to the context.
func (s *slot) grow(need, width, layers, context int) {
	if need <= s.cap {
		return
	}
	old := *s
	s.cap = min(context, max(need, 2*old.cap, firstRoom))
	s.buf = make([]float32, layers*2*s.cap*width)
	s.move(&old, old.len, width, layers)
}

// take makes s hold the first n positions of from.
func (s *slot) take(from *slot, n, width, layers, context int) {
	s.len = 0 // nothing of the old content is worth moving
	s.grow(n, width, layers, context)
	s.move(from, n, width, layers)
	s.len = n
}

func (s *slot) move(from *slot, n, width, layers int) {
	for l := range layers {
		copy(s.keys(l, n, width), from.keys(l, n, width))
		copy(s.values(l, n, width), from.values(l, n, width))
	}
}
