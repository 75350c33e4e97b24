package kernel

import (
	"fmt"
	"slices"
	"sync"

	"afina/internal/fault"
	"afina/internal/parallel"
)

// Gang runs kernels at one level on one pool. Its methods may be called from
// several goroutines.
type Gang struct {
	pool    *parallel.Pool
	level   Level
	kit     *products
	buffers *sync.Pool // of *scratch
}

// NewGang returns a gang; level "" means Detect(). It fails when this CPU does
// not have the level, or computes something else with it than plain Go does.
func NewGang(pool *parallel.Pool, level Level) (*Gang, error) {
	if level == "" {
		level = Detect()
	}
	if levels := available(); !slices.Contains(levels, level) {
		return nil, fault.New(fault.Invalid, "kernel level %q is not one of this machine's: %v", level, levels)
	}
	g := &Gang{
		pool:    pool,
		level:   level,
		kit:     productsOf(level),
		buffers: &sync.Pool{New: func() any { return new(scratch) }},
	}
	if level != Generic {
		if err := newTrial(g.kit).all(2, 2); err != nil {
			return nil, fmt.Errorf("kernel level %s on this machine: %w", level, err)
		}
	}
	return g, nil
}

// Level is the instruction set in use.
func (g *Gang) Level() Level { return g.level }

// Background is the same gang on the pool's background view.
func (g *Gang) Background() *Gang {
	b := *g
	b.pool = g.pool.Background()
	return &b
}

// scratch is the memory of one chunk of work, which goes back to the gang.
type scratch struct {
	floats []float32
	pairs  []uint32
	tile   [maxHeight * wide]float32 // a tile of the result whose columns stand over the edge
}

func (g *Gang) borrow() *scratch    { return g.buffers.Get().(*scratch) }
func (g *Gang) giveBack(s *scratch) { g.buffers.Put(s) }

// float32s returns n numbers with any content, on a cache line.
func (s *scratch) float32s(n int) []float32 {
	if len(s.floats) < n {
		s.floats = aligned[float32](n)
	}
	return s.floats[:n]
}

// uint32s returns n pairs of bfloat16 with any content, on a cache line.
func (s *scratch) uint32s(n int) []uint32 {
	if len(s.pairs) < n {
		s.pairs = aligned[uint32](n)
	}
	return s.pairs[:n]
}
