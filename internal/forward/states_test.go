package forward_test

import (
	"slices"
	"testing"

	"afina/internal/forward"
	"afina/internal/kernel"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
)

// TestStates: the states are of the model's width, the same however the sequence
// is cut, and the logits are what the output matrix makes of them.
func TestStates(t *testing.T) {
	pool := parallel.New(1)
	defer pool.Close()
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(modeltest.Write(t, modeltest.Shape{Seed: 4}), gang)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var rows []forward.Row
	for i, id := range []int32{5, 9, 200, 31, 7} {
		rows = append(rows, forward.Row{Token: id, Pos: i, Logits: true})
	}
	whole, err := forward.New(m, gang, kernel.Exact, 1, 16).States(rows)
	if err != nil || len(whole) != 5 || len(whole[0]) != m.Dims.Hidden {
		t.Fatalf("%d states, %v", len(whole), err)
	}
	first := slices.Clone(whole[1])
	if slices.Equal(whole[0], whole[1]) {
		t.Error("two tokens have one state")
	}
	cut := forward.New(m, gang, kernel.Exact, 1, 16)
	if _, err := cut.States(rows[:1]); err != nil {
		t.Fatal(err)
	}
	again, err := cut.States(rows[1:])
	if err != nil || !slices.Equal(again[0], first) {
		t.Errorf("a sequence that was cut has other states: %v", err)
	}
	var in kernel.Operand
	gang.Prepare(&in, first, 1, m.Dims.Hidden, kernel.Exact)
	want := make([]float32, m.Dims.Vocab)
	gang.MatMul(want, &in, m.Output.Weight)
	logits, err := forward.New(m, gang, kernel.Exact, 1, 16).Run(rows)
	if err != nil || !slices.Equal(logits[1], want) {
		t.Errorf("the logits are not made of the states: %v", err)
	}
}
