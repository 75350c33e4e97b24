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
		most = max(most, g.Slabs())
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
