package kernel_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"afina/internal/kernel"
	"afina/internal/parallel"
	"afina/internal/quant"
)

// Matrices that nobody holds give their memory back; those that are held keep it.
func TestMemoryOfMatrices(t *testing.T) {
	pool := parallel.New(1)
	defer pool.Close()
	g, err := kernel.NewGang(pool, kernel.Generic)
	if err != nil {
		t.Fatal(err)
	}
	m := weights(t, quant.Q8_0, 1024, 1024, rand.New(rand.NewPCG(1, 1)))
	held, err := g.Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	want := held.Dense()
	most := 0
	for range 200 { // 200 MB, a hundred times the memory of one
		if _, err := g.Pack(m); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		matrices, _ := g.Slabs()
		most = max(most, matrices)
	}
	if most > 4 {
		t.Errorf("%d slabs at once for one matrix at a time", most)
	}
	for i, v := range held.Dense() {
		if v != want[i] {
			t.Fatalf("number %d of a matrix that is held became %g", i, v)
		}
	}
}

// Adapters that come and go beside keys and values that stay, as those of a running
// job do in a long day, give their memory back.
func TestMemoryOfFactors(t *testing.T) {
	pool := parallel.New(1)
	defer pool.Close()
	g, err := kernel.NewGang(pool, kernel.Generic)
	if err != nil {
		t.Fatal(err)
	}
	keep := kernel.Keeping{Heads: kernel.Heads{Query: 1, KV: 1, Dim: 64, Scale: 1}, Layers: 16, Half: true}
	pair := kernel.Pair{In: 8192, Out: 8192, A: make([]float32, 16*8192), B: make([]float32, 16*8192)}
	var pages []*kernel.Page
	most := 0
	for range 600 { // 300 MB of factors, 512 KiB at a time
		if _, err := g.NewFactors(16, 1, kernel.Fast, pair); err != nil {
			t.Fatal(err)
		}
		page, err := g.NewPage(keep)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page)
		if len(pages)%4 == 0 {
			runtime.GC()
		}
		_, factors := g.Slabs()
		most = max(most, factors)
	}
	if most > 4 {
		t.Errorf("%d slabs at once for one adapter at a time", most)
	}
	runtime.KeepAlive(pages)
}
