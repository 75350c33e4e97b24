package optim_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"testing"

	"afina/internal/kernel"
	"afina/internal/optim"
	"afina/internal/parallel"
)

func gang(t testing.TB) *kernel.Gang {
	t.Helper()
	pool := parallel.New(2)
	t.Cleanup(pool.Close)
	g, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func floats(t *testing.T, s string) []float32 {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

func load(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Ten steps of PyTorch: equal but for what fused multiply-adds round otherwise.
func TestAdamWGolden(t *testing.T) {
	var runs []struct {
		Decay float64
		Start []string
		Steps []struct {
			LR, Norm            float64
			Grads, Values, M, V []string
		}
	}
	load(t, "testdata/adamw.json", &runs)
	g := gang(t)
	for _, run := range runs {
		a := optim.NewAdamW(g, run.Decay)
		var params []optim.Param
		for _, s := range run.Start {
			params = append(params, optim.Param{Name: "p", Value: floats(t, s)})
		}
		for step, s := range run.Steps {
			for i := range params {
				params[i].Grad = floats(t, s.Grads[i])
			}
			if got := optim.GradNorm(g, params); math.Abs(got-s.Norm) > 1e-12*s.Norm {
				t.Errorf("decay %v, step %d: norm %v, want %v", run.Decay, step, got, s.Norm)
			}
			a.Step(params, s.LR, 1)
			for i, p := range params {
				near(t, "value", p.Value, floats(t, s.Values[i]))
				near(t, "m", a.M[i], floats(t, s.M[i]))
				near(t, "v", a.V[i], floats(t, s.V[i]))
			}
			if t.Failed() {
				t.Fatalf("decay %v: differs at step %d", run.Decay, step)
			}
		}
	}
}

// near allows two units in the last place, and what they are where numbers cancel.
func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i] - want[i])); d > 2.5e-7*math.Abs(float64(want[i]))+1e-10 {
			t.Errorf("%s[%d] = %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestScheduleGolden(t *testing.T) {
	var cases []struct {
		Kind          string
		Warmup, Total int
		Factors       []float64
	}
	load(t, "testdata/schedules.json", &cases)
	for _, c := range cases {
		s := optim.Schedule{Kind: c.Kind, Warmup: c.Warmup, Total: c.Total}
		for step, want := range c.Factors {
			if got := s.Factor(step); math.Abs(got-want) > 1e-12 {
				t.Errorf("%+v: factor %v at step %d, want %v", s, got, step, want)
			}
		}
	}
}

func TestNormAndZero(t *testing.T) {
	g := gang(t)
	p := []optim.Param{{Value: make([]float32, 5), Grad: []float32{3, 4, 0, 0, 12}}}
	if got := optim.GradNorm(g, p); got != 13 {
		t.Errorf("norm %v, want 13", got)
	}
	optim.Zero(g, p)
	if got := optim.GradNorm(g, p); got != 0 {
		t.Errorf("norm after Zero %v, want 0", got)
	}
}

// TestScaledStep: a step at half the gradients is the step of gradients that were
// halved before.
func TestScaledStep(t *testing.T) {
	g := gang(t)
	half := func(factor float32) []optim.Param {
		return []optim.Param{{Name: "a", Value: []float32{1, 2, 3}, Grad: []float32{3 * factor, -4 * factor, factor / 3}}}
	}
	scaled, halved := half(1), half(0.5)
	one, two := optim.NewAdamW(g, 0.1), optim.NewAdamW(g, 0.1)
	for range 2 {
		one.Step(scaled, 0.1, 0.5)
		two.Step(halved, 0.1, 1)
	}
	for i, x := range halved[0].Value {
		if got := scaled[0].Value[i]; got != x {
			t.Errorf("value %d is %v, want %v", i, got, x)
		}
	}
}

func TestStepLeavesGradientsAndRefusesOthers(t *testing.T) {
	p := []optim.Param{{Name: "a", Value: []float32{1, 2}, Grad: []float32{3, 4}}}
	a := optim.NewAdamW(gang(t), 0)
	a.Step(p, 0.1, 1)
	if p[0].Grad[0] != 3 || p[0].Grad[1] != 4 || a.Steps != 1 {
		t.Errorf("gradients %v after %d steps, want them as they were after 1", p[0].Grad, a.Steps)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for a parameter of another size")
		}
	}()
	a.Step([]optim.Param{{Name: "a", Value: make([]float32, 3), Grad: make([]float32, 3)}}, 0.1, 1)
}
