package kernel

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"afina/internal/fault"
	"afina/internal/parallel"
)

// Gang runs kernels at one level on one pool. Its methods may be called from
// several goroutines.
type Gang struct {
	pool    *parallel.Pool
	level   Level
	kit     *products
	half    *halves
	buffers *shelf // of chunks
	large   *shelf // of products
	weights *arena
	pages   *arena // of keys and values
	factors *arena // of adapters: they come and go, and must not hold the pages' memory

	gathered *gathered // not nil: where loops are put instead of being run
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
		half:    halvesOf(level),
		buffers: new(shelf),
		large:   new(shelf),
		weights: new(arena),
		pages:   new(arena),
		factors: new(arena),
	}
	if level != Generic {
		if err := newTrial(g.kit).all(2, 2); err != nil {
			return nil, fmt.Errorf("kernel level %s on this machine: %w", level, err)
		}
		if err := newTrial(g.kit).attends(g.attending(), 2, 1); err != nil {
			return nil, fmt.Errorf("kernel level %s on this machine: %w", level, err)
		}
		if err := checkHalves(g.half); err != nil {
			return nil, fmt.Errorf("kernel level %s on this machine: %w", level, err)
		}
		if err := checkRows(g.rows()); err != nil {
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

// scratch is the memory of one chunk of work, or of one product.
type scratch struct {
	home   *shelf
	floats []float32
	pairs  []uint32
	at     []*uint32 // strips of keys and values
	loops  gathered
	low    lows
	tile   [maxHeight * wide]float32 // a tile of the result whose columns stand over the edge
}

// shelf keeps what is not borrowed. What came back last goes out first, but for a
// few places that are taken and given back without a lock, from the first one on.
type shelf struct {
	near [8]atomic.Pointer[scratch]
	lock sync.Mutex
	free []*scratch
}

func (b *shelf) borrow() *scratch {
	for i := range b.near {
		if b.near[i].Load() == nil {
			continue
		}
		if s := b.near[i].Swap(nil); s != nil {
			return s
		}
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	last := len(b.free) - 1
	if last < 0 {
		return &scratch{home: b}
	}
	s := b.free[last]
	b.free = b.free[:last]
	return s
}

// borrow returns the scratch of a chunk.
func (g *Gang) borrow() *scratch { return g.buffers.borrow() }

// borrowOwn returns the scratch of a product as a whole, which may be large. They
// have a shelf of their own, lest the scratch of every chunk grow as large.
func (g *Gang) borrowOwn() *scratch { return g.large.borrow() }

func (g *Gang) giveBack(s *scratch) {
	b := s.home
	for i := range b.near {
		if b.near[i].Load() == nil && b.near[i].CompareAndSwap(nil, s) {
			return
		}
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	b.free = append(b.free, s)
}

// float32s returns n numbers with any content, on a cache line.
func (s *scratch) float32s(n int) []float32 {
	if len(s.floats) < n {
		s.floats = aligned[float32](n)
	}
	return s.floats[:n]
}

// strips returns room for two pointers to each of n strips.
func (s *scratch) strips(n int) (keys, values []*uint32) {
	if len(s.at) < 2*n {
		s.at = make([]*uint32, 2*n)
	}
	return s.at[:n], s.at[n : 2*n]
}

// uint32s returns n pairs of bfloat16 with any content, on a cache line.
func (s *scratch) uint32s(n int) []uint32 {
	if len(s.pairs) < n {
		s.pairs = aligned[uint32](n)
	}
	return s.pairs[:n]
}
