package finetune_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/train"
)

// TestLive: who asks in the middle of a run gets the adapter of the end of a
// step, and that stays as it is while the run goes on.
func TestLive(t *testing.T) {
	tuner, shelf := newTuner(t)
	if _, _, err := tuner.Live("job_1"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("live without a run: %v", err)
	}
	s := order()
	s.EvalEvery, s.Epochs = 1, 1000
	type answer struct {
		a   *lora.Adapter
		err error
	}
	asked, got := make(chan struct{}), make(chan answer, 1)
	go func() {
		<-asked
		_, a, err := tuner.Live("job_1")
		got <- answer{a, err}
	}()
	var first, again *lora.Adapter
	var before []float32
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := tuner.Run(ctx, s, t.TempDir(), "job_1", func(e train.Event) {
		if e.Step == 1 {
			close(asked)
		}
		if first != nil {
			_, again, _ = tuner.Live("job_1")
			cancel()
			return
		}
		select {
		case r := <-got:
			if first = r.a; r.err == nil {
				before = slices.Clone(first.Pairs[0]["attn_q"].B)
			}
		default:
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if first == nil || again == nil || first.Name != "job_1:live" {
		t.Fatalf("live was %v, then %v", first, again)
	}
	if !slices.Equal(first.Pairs[0]["attn_q"].B, before) {
		t.Error("a copy changed after it was handed out")
	}
	if _, _, err := tuner.Live("job_1"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("live after the run: %v", err)
	}
	if len(shelf.steps) == 0 || shelf.steps[0].Number != 1 || shelf.steps[0].EvalLoss == 0 || shelf.steps[0].TrainAccuracy == nil || shelf.steps[0].EvalAccuracy == nil {
		t.Errorf("kept %+v", shelf.steps)
	}
}

// TestKeepFails: a run whose step cannot be kept ends with that error.
func TestKeepFails(t *testing.T) {
	tuner, shelf := newTuner(t)
	shelf.keep = errors.New("no disk")
	s := order()
	s.EvalEvery = 1
	if _, err := tuner.Run(t.Context(), s, t.TempDir(), "job_1", nil); !errors.Is(err, shelf.keep) {
		t.Error(err)
	}
	if _, err := tuner.Run(t.Context(), s, t.TempDir(), "", nil); err != nil {
		t.Errorf("a run without a job keeps no steps: %v", err)
	}
}

// TestValidation: a dataset for validation is held out whole, and nothing else is.
func TestValidation(t *testing.T) {
	tuner, _ := newTuner(t)
	s := order()
	s.TestSplit, s.Validation = 0, "ds_1"
	checked, err := tuner.Check(context.Background(), s)
	if err != nil || checked.Validation != "ds_1" {
		t.Fatal(err)
	}
	r, err := tuner.Run(t.Context(), s, t.TempDir(), "job_1", nil)
	if err != nil || r.EvalLoss == nil || r.FirstEval == nil || *r.EvalLoss >= *r.FirstEval {
		t.Errorf("%+v, %v", r, err)
	}
	s.Validation = "ds_2"
	if _, err := tuner.Check(context.Background(), s); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

// TestLiveBetweenSlices: a run that is cut off and goes on at once is running to
// those who ask in between.
func TestLiveBetweenSlices(t *testing.T) {
	tuner, _ := newTuner(t)
	s := order()
	s.EvalEvery, s.Epochs = 1, 1000
	dir := t.TempDir()
	slice := func(f func(step int) (on bool)) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := tuner.Run(ctx, s, dir, "job_1", func(e train.Event) {
			if !f(e.Step) {
				cancel()
			}
		}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	slice(func(int) bool { return false })
	got := make(chan error)
	go func() {
		_, _, err := tuner.Live("job_1")
		got <- err
	}()
	time.Sleep(50 * time.Millisecond) // it asks while nothing runs
	var err error
	slice(func(int) bool {
		select {
		case err = <-got:
			return false
		default:
			return true
		}
	})
	if err != nil {
		t.Error(err)
	}
}
