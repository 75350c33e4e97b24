package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/store"
	"afina/internal/train"
)

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want jobs.Failure
	}{
		{"diverged", fmt.Errorf("train: %w", &train.Diverged{Step: 7, What: "the loss is NaN"}),
			jobs.Failure{Code: "diverged", Message: (&train.Diverged{Step: 7, What: "the loss is NaN"}).Error(), Step: 7}},
		{"disk full", fmt.Errorf("save: %w", &os.PathError{Op: "write", Path: "/x/y", Err: syscall.ENOSPC}),
			jobs.Failure{Code: "storage_error", Message: "the disk that holds the data folder is full or failing; the last checkpoint is kept"}},
		{"with a code", fault.New(fault.Conflict, "a model called %q exists already", "a").WithCode("name_taken"),
			jobs.Failure{Code: "name_taken", Message: `a model called "a" exists already`}},
		{"too little memory", fault.New(fault.NoSpace, "it needs 9 GB").WithCode("insufficient_memory"),
			jobs.Failure{Code: "insufficient_memory", Message: "it needs 9 GB"}},
		{"without a code", fault.New(fault.Invalid, "no such target"), jobs.Failure{Code: "invalid", Message: "no such target"}},
		{"internal", errors.New("open /secret/path: odd"), jobs.Failure{Code: "internal", Message: "internal error; the server's log says more"}},
		{"context of its own", fmt.Errorf("x: %w", context.Canceled), jobs.Failure{Code: "internal", Message: "internal error; the server's log says more"}},
		{"panic", nil, jobs.Failure{Code: "internal", Message: "internal error; the server's log says more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, open(t, t.TempDir()), runner{run: func(ctx context.Context, s finetune.Spec, dir, job string, observe func(train.Event)) (finetune.Result, error) {
				if s.Name == "after" {
					return instant(ctx, s, dir, job, observe)
				}
				if c.err == nil {
					panic("kernel: 3 rows, want 4")
				}
				return finetune.Result{}, c.err
			}}, jobs.Options{})
			j := p.awaitState(p.submit("a").ID, jobs.Failed)
			if j.Error == nil || *j.Error != c.want || j.Result != nil || j.Finished == nil {
				t.Errorf("got %+v, want %+v", j.Error, c.want)
			}
			p.awaitState(p.submit("after").ID, jobs.Succeeded)
		})
	}
}

// counter is a run of n steps that keeps its step in a file, as training keeps a
// checkpoint, and tells the checkpoint's step again when it goes on.
func counter(n int, pause time.Duration) func(context.Context, finetune.Spec, string, string, func(train.Event)) (finetune.Result, error) {
	return func(ctx context.Context, s finetune.Spec, dir, job string, observe func(train.Event)) (finetune.Result, error) {
		file := filepath.Join(dir, "checkpoint")
		save := func(step int) error {
			if err := os.WriteFile(file+".tmp", fmt.Append(nil, step), 0o600); err != nil {
				return err
			}
			return os.Rename(file+".tmp", file)
		}
		event := func(step int) train.Event {
			return train.Event{Step: step, Steps: n, TrainLoss: 1 / float64(step), Checkpoint: step%5 == 0}
		}
		step := 0
		if text, err := os.ReadFile(file); err == nil {
			fmt.Sscan(string(text), &step)
			if step > 0 {
				observe(event(step))
			}
		}
		for step < n {
			select {
			case <-ctx.Done():
				return finetune.Result{}, errors.Join(save(step), ctx.Err())
			case <-time.After(pause):
			}
			step++
			if step%5 == 0 {
				if err := save(step); err != nil {
					return finetune.Result{}, err
				}
			}
			observe(event(step))
		}
		return finetune.Result{Adapter: s.Name, Steps: step}, nil
	}
}

func wantCurve(t *testing.T, p *place, id string, n int) {
	t.Helper()
	curve, err := p.Curve(context.Background(), id)
	if err != nil || len(curve) != n {
		t.Fatalf("curve of %s has %d points, %v; want %d", id, len(curve), err, n)
	}
	for i, point := range curve {
		if point.Step != i+1 || point.TrainLoss != 1/float64(i+1) {
			t.Fatalf("point %d of %s is %+v", i, id, point)
		}
	}
}

// A job gives way after every slice and goes on before those that wait; slices
// are no crashes, and nobody hears of them.
func TestSlices(t *testing.T) {
	var mu sync.Mutex
	var order []string
	count := counter(8, time.Millisecond)
	p := prepare(t, open(t, t.TempDir()), runner{run: func(ctx context.Context, s finetune.Spec, dir, job string, observe func(train.Event)) (finetune.Result, error) {
		mu.Lock()
		order = append(order, s.Name)
		mu.Unlock()
		return count(ctx, s, dir, job, observe)
	}}, jobs.Options{Workers: 1, Slice: time.Nanosecond})
	a, b := p.submit("a"), p.submit("b")
	events, err := p.Watch(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.begin()
	for _, id := range []string{a.ID, b.ID} {
		j := p.awaitState(id, jobs.Succeeded)
		if j.Attempts != 0 || j.Result.Steps != 8 {
			t.Errorf("%+v", j)
		}
		wantCurve(t, p, id, 8)
	}
	queued := 0
	for e := range events {
		if e.Job.Status == jobs.Queued {
			queued++
		}
	}
	if queued > 1 { // the first look
		t.Errorf("told %d times of a queued job", queued)
	}
	if got := strings.Join(order, ""); strings.Contains(got, "ba") || len(got) < 14 {
		t.Errorf("order of slices %s", got)
	}
}

func TestRestartGoesOn(t *testing.T) {
	s, dir := open(t, t.TempDir()), t.TempDir()
	o := jobs.Options{Workers: 1, Dir: dir}
	r := runner{run: counter(40, 2*time.Millisecond)}
	p := start(t, s, r, o)
	a, b := p.submit("a"), p.submit("b")
	p.await(a.ID, "steps", func(j jobs.Job) bool { return j.Progress.Step > 12 })
	events, err := p.Watch(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	var last jobs.Event
	for last = range events { // ends: the queue has stopped
	}
	if last.Job.Status != jobs.Queued {
		t.Errorf("watchers were last told of a job that is %s", last.Job.Status)
	}
	j, err := p.Find(t.Context(), a.ID)
	if err != nil || j.Status != jobs.Queued || j.Attempts != 0 || j.Progress.Step < 13 {
		t.Fatalf("after the stop: %+v, %v", j, err)
	}

	p = prepare(t, s, r, o)
	var told []jobs.Event
	var once sync.Mutex
	p.Observe = func(e jobs.Event) {
		once.Lock()
		defer once.Unlock()
		told = append(told, e)
	}
	p.begin()
	defer func() {
		p.stop()
		if len(told) < 2 || told[0].Job.ID != a.ID || told[0].Job.Progress.Step < 13 || told[1].Job.ID != b.ID {
			t.Errorf("the observer was not told first of the jobs as they stood: %+v", told[:min(len(told), 2)])
		}
	}()
	for _, id := range []string{a.ID, b.ID} {
		j := p.awaitState(id, jobs.Succeeded)
		if j.Attempts != 0 || j.Result.Steps != 40 {
			t.Errorf("%+v", j)
		}
		wantCurve(t, p, id, 40)
	}
}

func TestCrashes(t *testing.T) {
	s := open(t, t.TempDir())
	o := jobs.Options{Attempts: 3, Dir: t.TempDir()}
	p := prepare(t, s, runner{run: instant}, o)
	poison, wished := p.submit("poison"), p.submit("wished")
	crash := func(id string, cancel bool) jobs.Job {
		t.Helper()
		if _, err := s.ChangeJob(t.Context(), id, func(j *store.Job) error {
			j.State, j.Cancel = "running", cancel
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		j, err := prepare(t, s, runner{run: instant}, o).Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	for i := 1; i <= 2; i++ {
		if j := crash(poison.ID, false); j.Status != jobs.Queued || j.Attempts != i {
			t.Errorf("after crash %d: %s, attempts %d", i, j.Status, j.Attempts)
		}
	}
	if j := crash(poison.ID, false); j.Status != jobs.Failed || j.Error == nil || j.Error.Code != "crashed" || j.Attempts != 3 {
		t.Errorf("after crash 3: %+v %+v", j, j.Error)
	}
	if j := crash(wished.ID, true); j.Status != jobs.Cancelled {
		t.Errorf("a job that was to be cancelled is %s after a crash", j.Status)
	}
	p = start(t, s, runner{run: instant}, o)
	p.awaitState(p.submit("next").ID, jobs.Succeeded) // the queue moves on
}

// Only a new checkpoint shows that a job gets on; one that is told again does
// not.
func TestCheckpointForgivesCrashes(t *testing.T) {
	for _, c := range []struct {
		name  string
		told  []train.Event
		wants int
	}{
		{"none", []train.Event{{Step: 8}}, 2},
		{"told again", []train.Event{{Step: 5, Checkpoint: true}, {Step: 6}}, 2},
		{"new", []train.Event{{Step: 5, Checkpoint: true}, {Step: 10, Checkpoint: true}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			p := prepare(t, s, runner{run: func(ctx context.Context, _ finetune.Spec, _, _ string, observe func(train.Event)) (finetune.Result, error) {
				for _, e := range c.told {
					observe(e)
				}
				<-ctx.Done()
				return finetune.Result{}, ctx.Err()
			}}, jobs.Options{})
			j := p.submit("a")
			if _, err := s.ChangeJob(t.Context(), j.ID, func(j *store.Job) error {
				j.Attempts, j.Progress = 2, []byte(`{"step":7}`)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			p.begin()
			last := c.told[len(c.told)-1].Step
			j = p.await(j.ID, "the last step", func(j jobs.Job) bool { return j.Status == jobs.Running && j.Progress.Step == last })
			if _, err := p.Curve(t.Context(), j.ID); err != nil { // all is stored
				t.Error(err)
			}
			if j, _ = p.Find(t.Context(), j.ID); j.Attempts != c.wants {
				t.Errorf("attempts %d, want %d", j.Attempts, c.wants)
			}
		})
	}
}

// A runner that does not stop in time is left behind; its job goes on later.
func TestStubbornRunner(t *testing.T) {
	s, release := open(t, t.TempDir()), make(chan struct{})
	p := start(t, s, runner{run: func(context.Context, finetune.Spec, string, string, func(train.Event)) (finetune.Result, error) {
		<-release
		return finetune.Result{}, nil
	}}, jobs.Options{Grace: 50 * time.Millisecond})
	j := p.submit("a")
	p.awaitState(j.ID, jobs.Running)
	began := time.Now()
	p.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if j, err := p.Find(t.Context(), j.ID); err != nil || j.Status != jobs.Queued || j.Attempts != 0 {
		t.Errorf("%+v, %v", j, err)
	}
	close(release)
	time.Sleep(50 * time.Millisecond)
	if j, err := p.Find(t.Context(), j.ID); err != nil || j.Status != jobs.Queued {
		t.Errorf("the runner that was left behind changed the job: %+v, %v", j, err)
	}
}

// While the database cannot grow, a job fails as storage_error as soon as that
// can be written, and the queue lives on.
func TestDiskFull(t *testing.T) {
	s := open(t, t.TempDir())
	s.DB().SetMaxOpenConns(1)
	gate, stopped := make(chan struct{}), make(chan struct{})
	p := start(t, s, runner{run: func(ctx context.Context, s finetune.Spec, dir, job string, observe func(train.Event)) (finetune.Result, error) {
		if s.Name != "a" {
			return instant(ctx, s, dir, job, observe)
		}
		<-gate
		defer close(stopped)
		for i := 1; ctx.Err() == nil; i++ {
			observe(train.Event{Step: i, Steps: 1 << 30, TrainLoss: 1})
		}
		return finetune.Result{}, ctx.Err()
	}}, jobs.Options{})
	// The limit is a property of the connection, and connections come and go.
	limit := func(pages int) {
		t.Helper()
		if _, err := s.DB().Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	j := p.submit("a")
	p.awaitState(j.ID, jobs.Running)
	limit(1)
	close(gate)
	for full := true; full; {
		select {
		case <-stopped:
			full = false
		default:
			limit(1)
		}
	}
	j = p.await(j.ID, "the end", func(j jobs.Job) bool { limit(1 << 20); return j.Status.Over() })
	if j.Status != jobs.Failed || j.Error.Code != "storage_error" {
		t.Errorf("%s with %+v", j.Status, j.Error)
	}
	p.awaitState(p.submit("b").ID, jobs.Succeeded)
}
