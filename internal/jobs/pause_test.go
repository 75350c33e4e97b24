package jobs_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/train"
)

// TestPause: a paused job keeps its place, leaves the worker to others, outlives
// the process, and goes on when it is told to.
func TestPause(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	finish := make(chan struct{})
	run := runner{run: func(ctx context.Context, s finetune.Spec, d, job string, observe func(train.Event)) (finetune.Result, error) {
		select {
		case <-finish:
			return instant(ctx, s, d, job, observe)
		default:
		}
		if s.Name == "other" {
			return instant(ctx, s, d, job, observe)
		}
		return patient(ctx, s, d, job, observe)
	}}
	p := start(t, s, run, jobs.Options{Dir: dir})
	id := p.submit("first").ID
	p.await(id, "a step", func(j jobs.Job) bool { return j.Progress.Step > 1 })
	other := p.submit("other").ID
	events, err := p.Watch(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for e := range events { // the watch goes on, and tells of it
		if e.Job.Status == jobs.Paused {
			break
		}
	}
	p.awaitState(other, jobs.Succeeded)
	if _, err := p.Pause(t.Context(), id); fault.KindOf(err) != fault.Conflict {
		t.Errorf("paused twice: %v", err)
	}
	if _, err := p.Resume(t.Context(), other); fault.KindOf(err) != fault.Conflict {
		t.Errorf("resumed what is over: %v", err)
	}
	if _, err := p.Pause(t.Context(), other); fault.KindOf(err) != fault.Conflict {
		t.Errorf("paused what is over: %v", err)
	}
	if n, err := p.Counts(t.Context()); err != nil || n[jobs.Paused] != 1 || n[jobs.Queued] != 0 {
		t.Errorf("counts %v, %v", n, err)
	}
	p.stop()

	p = start(t, s, run, jobs.Options{Dir: dir})
	late := p.submit("other").ID // it is worked on, so the paused one was passed over
	p.awaitState(late, jobs.Succeeded)
	if j, err := p.Find(t.Context(), id); err != nil || j.Status != jobs.Paused {
		t.Errorf("after a restart it is %s, %v", j.Status, err)
	}
	j, err := p.Resume(t.Context(), id)
	if err != nil || j.Status != jobs.Queued {
		t.Error(j.Status, err)
	}
	p.awaitState(id, jobs.Running)
	if _, err := p.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	p.awaitState(id, jobs.Paused)
	close(finish)
	if _, err := p.Resume(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	p.awaitState(id, jobs.Succeeded)

	queued := prepare(t, open(t, t.TempDir()), run, jobs.Options{})
	j = queued.submit("a")
	if j, err = queued.Pause(t.Context(), j.ID); err != nil || j.Status != jobs.Paused {
		t.Error(j.Status, err)
	}
	if j, err = queued.Cancel(t.Context(), j.ID); err != nil || j.Status != jobs.Cancelled {
		t.Error(j.Status, err)
	}
}

// TestHappenings: what happened is told newest first, page by page, a step once.
func TestHappenings(t *testing.T) {
	eval, share := 0.5, 0.75
	p := start(t, open(t, t.TempDir()), runner{run: func(_ context.Context, _ finetune.Spec, _, _ string, observe func(train.Event)) (finetune.Result, error) {
		for _, step := range []int{1, 2, 2, 3} {
			e := train.Event{Step: step, Steps: 3, TrainLoss: float64(10 - step), TrainAccuracy: float64(step) / 8}
			if step == 3 {
				e.EvalLoss, e.EvalAccuracy = &eval, &share
			}
			observe(e)
		}
		return finetune.Result{Adapter: "a", Steps: 3}, nil
	}}, jobs.Options{})
	id := p.awaitState(p.submit("a").ID, jobs.Succeeded).ID
	var got []string
	after := ""
	for pages := 0; ; pages++ {
		page, more, err := p.Happenings(t.Context(), id, after, 2)
		if err != nil || pages > 4 {
			t.Fatal(pages, err)
		}
		for _, h := range page {
			got = append(got, h.Message)
			if h.Level != "info" || h.Created.IsZero() {
				t.Errorf("%+v", h)
			}
			after = h.ID
		}
		if !more {
			break
		}
	}
	want := []string{"The job has completed", "Step 3/3: training loss=7.0000, full validation loss=0.5000",
		"Step 2/3: training loss=8.0000", "Step 1/3: training loss=9.0000", "The job started", "Created fine-tuning job: " + id}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	for _, strange := range []string{"0", "x", "999999"} {
		_, _, err := p.Happenings(t.Context(), id, strange, 2)
		wantFault(t, err, fault.Invalid, "invalid_value")
	}
	f, err := p.s.File(t.Context(), id)
	csv := "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,9,0.125,,\n2,8,0.25,,\n3,7,0.375,0.5,0.75\n"
	if err != nil || f.Text != csv || f.Bytes != int64(len(csv)) || f.Purpose != "fine-tune-results" {
		t.Errorf("%+v, %v", f, err)
	}
	if err := p.Delete(t.Context(), id); err != nil {
		t.Error(err)
	}
	if _, _, err := p.Happenings(t.Context(), id, "", 2); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

// TestPlace: suffix, metadata, key and a dataset that teaches nothing.
func TestPlace(t *testing.T) {
	nothing := fault.New(fault.Unprocessable, "nothing to learn").WithCode("no_trainable_tokens")
	p := prepare(t, open(t, t.TempDir()), runner{check: func(s finetune.Spec) (finetune.Spec, error) {
		if s.Dataset == "empty" {
			return s, nothing
		}
		return s, nil
	}}, jobs.Options{})
	suffix := "mates"
	o := jobs.Order{Spec: finetune.Spec{Model: "m", Dataset: "d"}, Key: "k", Suffix: &suffix, Metadata: jobs.Metadata{"class": "3B", `o"dd`: "x"}}
	j, err := p.Place(t.Context(), o)
	if err != nil || j.Spec.Name != "mates-"+strings.TrimPrefix(j.ID, "job_") || j.Metadata["class"] != "3B" {
		t.Fatalf("%+v, %v", j, err)
	}
	if again, err := p.Place(t.Context(), o); err != nil || again.ID != j.ID {
		t.Errorf("sent twice: %s and %s, %v", j.ID, again.ID, err)
	}
	o.Metadata = nil
	_, err = p.Place(t.Context(), o)
	wantFault(t, err, fault.Conflict, "idempotency_conflict")
	for i, pairs := range []jobs.Metadata{{"class": "3B"}, {"class": "3B", `o"dd`: "x"}, {"class": "3C"}, {"class": "3B", "a": "b"}} {
		page, _, err := p.ListLike(t.Context(), "", 9, pairs)
		if want := i < 2; err != nil || (len(page) == 1) != want {
			t.Errorf("%v: %d jobs, %v", pairs, len(page), err)
		}
	}
	bad := jobs.Order{Spec: finetune.Spec{Model: "m", Dataset: "empty"}}
	_, err = p.Place(t.Context(), bad)
	wantFault(t, err, fault.Unprocessable, "no_trainable_tokens")
	bad.Patient = true
	j, err = p.Place(t.Context(), bad)
	if err != nil || j.Status != jobs.Failed || j.Error == nil || j.Error.Code != "invalid_training_file" || j.Finished == nil {
		t.Errorf("%+v, %v", j, err)
	}
	if !j.Finished.Before(time.Now().Add(time.Second)) {
		t.Error(fmt.Sprint(j.Finished))
	}
}
