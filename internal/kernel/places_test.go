package kernel_test

import (
	"slices"
	"testing"

	"afina/internal/kernel"
	"afina/internal/parallel"
)

// TestPlaces spreads rows over places and sums them back.
func TestPlaces(t *testing.T) {
	pool := parallel.New(2)
	t.Cleanup(pool.Close)
	g, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	const cols = 37
	x := make([]float32, 3*cols)
	for i := range x {
		x[i] = float32(i)
	}
	places := []int32{2, 0, -1, 2, 1}
	spread := make([]float32, len(places)*cols)
	g.Gather(spread, x, places, cols)
	for i, r := range places {
		want := make([]float32, cols)
		if r >= 0 {
			want = x[r*cols:][:cols]
		}
		if got := spread[i*cols:][:cols]; !slices.Equal(got, want) {
			t.Errorf("row %d is %v, want %v", i, got, want)
		}
	}
	sum := []float32{0: 7, 3*cols - 1: 7}
	g.SumRows(sum, spread, []int32{1, 0, 3}, []int32{1, 1, 3}, cols)
	for i := range cols {
		if want := x[i]; sum[i] != want {
			t.Errorf("row 0[%d] is %v, want %v", i, sum[i], want)
		}
		if sum[cols+i] != 0 {
			t.Errorf("row 1[%d] is %v, want 0", i, sum[cols+i])
		}
		if want := 2 * x[2*cols+i]; sum[2*cols+i] != want {
			t.Errorf("row 2[%d] is %v, want %v", i, sum[2*cols+i], want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for a row that is not there")
		}
	}()
	g.Gather(spread, x, []int32{3}, cols)
}
