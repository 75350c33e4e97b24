package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/store"
	"afina/internal/train"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("AFINA_JOBS_CHILD"); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// runner is a jobs.Runner made of functions.
type runner struct {
	check func(s finetune.Spec) (finetune.Spec, error)
	run   func(ctx context.Context, s finetune.Spec, dir, job string, observe func(train.Event)) (finetune.Result, error)
}

func (r runner) Check(_ context.Context, s finetune.Spec) (finetune.Spec, error) {
	if r.check == nil {
		return s, nil
	}
	return r.check(s)
}

func (r runner) Run(ctx context.Context, s finetune.Spec, dir, job string, observe func(train.Event)) (finetune.Result, error) {
	return r.run(ctx, s, dir, job, observe)
}

// instant is a run that is done at once.
func instant(context.Context, finetune.Spec, string, string, func(train.Event)) (finetune.Result, error) {
	return finetune.Result{Adapter: "a", Steps: 1}, nil
}

// patient is a run that goes on until it is told to stop.
func patient(ctx context.Context, _ finetune.Spec, _, _ string, observe func(train.Event)) (finetune.Result, error) {
	for i := 1; ; i++ {
		observe(train.Event{Step: i, Steps: 1 << 20, TrainLoss: 1 / float64(i)})
		select {
		case <-ctx.Done():
			return finetune.Result{}, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// place is a queue at work.
type place struct {
	*jobs.Queue
	t    *testing.T
	s    *store.Store
	stop func() // ends Run and waits for it
}

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func start(t *testing.T, s *store.Store, r jobs.Runner, o jobs.Options) *place {
	t.Helper()
	p := prepare(t, s, r, o)
	p.begin()
	return p
}

func prepare(t *testing.T, s *store.Store, r jobs.Runner, o jobs.Options) *place {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "jobs")
	}
	q, err := jobs.New(s, r, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &place{Queue: q, t: t, s: s}
}

func (p *place) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("Run: %v", err)
		}
	})
	p.t.Cleanup(p.stop)
}

func (p *place) submit(name string) jobs.Job {
	p.t.Helper()
	j, err := p.Submit(p.t.Context(), finetune.Spec{Model: "m", Dataset: "d", Name: name}, "")
	if err != nil {
		p.t.Fatal(err)
	}
	return j
}

// await returns the job as soon as ok.
func (p *place) await(id string, what string, ok func(jobs.Job) bool) jobs.Job {
	p.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		j, err := p.Find(context.Background(), id)
		if err != nil {
			p.t.Fatal(err)
		}
		if ok(j) {
			return j
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is %s, progress %+v; waited for %s", id, j.Status, j.Progress, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (p *place) awaitState(id string, want jobs.State) jobs.Job {
	p.t.Helper()
	return p.await(id, string(want), func(j jobs.Job) bool {
		if j.Status.Over() && j.Status != want {
			p.t.Fatalf("%s ended as %s (%+v), want %s", id, j.Status, j.Error, want)
		}
		return j.Status == want
	})
}

func wantFault(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != kind || f.Code != code {
		t.Fatalf("got error %v, want a fault of kind %s, code %q", err, kind, code)
	}
}

func TestTwentyJobsTwoWorkers(t *testing.T) {
	var now, most, runs atomic.Int32
	var mu sync.Mutex
	var order []string
	p := prepare(t, open(t, t.TempDir()), runner{run: func(_ context.Context, s finetune.Spec, _, job string, observe func(train.Event)) (finetune.Result, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		runs.Add(1)
		mu.Lock()
		order = append(order, s.Name)
		mu.Unlock()
		for i := 1; i <= 3; i++ {
			observe(train.Event{Step: i, Steps: 3, Epoch: float64(i) / 3, TrainLoss: 3 / float64(i)})
			time.Sleep(time.Millisecond)
		}
		return finetune.Result{Adapter: s.Name, SHA256: job}, nil
	}}, jobs.Options{Workers: 2})
	ended := map[string]int{}
	p.Observe = func(e jobs.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Job.Status.Over() {
			ended[e.Job.ID]++
		}
	}
	p.begin()
	var all []jobs.Job
	for i := range 20 {
		all = append(all, p.submit(fmt.Sprintf("a%02d", i)))
	}
	for i, j := range all {
		j = p.awaitState(j.ID, jobs.Succeeded)
		if j.Result == nil || j.Result.SHA256 != j.ID || j.Started == nil || j.Finished == nil || j.Error != nil {
			t.Errorf("job %d: %+v", i, j)
		}
		curve, err := p.Curve(t.Context(), j.ID)
		if err != nil || len(curve) != 3 || curve[2].Step != 3 || curve[2].TrainLoss != 1 || j.Progress != curve[2] {
			t.Errorf("curve %+v, %v; progress %+v", curve, err, j.Progress)
		}
	}
	if runs.Load() != 20 || most.Load() != 2 {
		t.Errorf("%d runs, at most %d at once; want 20 and 2", runs.Load(), most.Load())
	}
	for i, name := range order { // two workers may swap neighbours
		if n := 0; true {
			fmt.Sscanf(name, "a%d", &n)
			if n < i-1 || n > i+1 {
				t.Errorf("run %d was of job %d", i, n)
			}
		}
	}
	counts, err := p.Counts(t.Context())
	if err != nil || counts[jobs.Succeeded] != 20 || len(counts) != 5 {
		t.Errorf("counts %v, %v", counts, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, j := range all {
		if ended[j.ID] != 1 {
			t.Errorf("%s ended %d times", j.ID, ended[j.ID])
		}
	}
}

func TestStartsSoon(t *testing.T) {
	p := start(t, open(t, t.TempDir()), runner{run: instant}, jobs.Options{})
	time.Sleep(300 * time.Millisecond) // idle
	best := time.Hour
	for i := range 3 {
		began := time.Now()
		p.awaitState(p.submit(fmt.Sprint("a", i)).ID, jobs.Succeeded)
		best = min(best, time.Since(began))
	}
	t.Logf("from Submit to the end of an empty job: %v", best)
	if best > 500*time.Millisecond {
		t.Errorf("a job took %v to start and end", best)
	}
}

func TestCancel(t *testing.T) {
	p := start(t, open(t, t.TempDir()), runner{run: patient}, jobs.Options{Workers: 1})
	running, waiting := p.submit("a"), p.submit("b")
	p.await(running.ID, "steps", func(j jobs.Job) bool { return j.Progress.Step > 3 })

	j, err := p.Cancel(t.Context(), waiting.ID)
	if err != nil || j.Status != jobs.Cancelled || j.Finished == nil || j.Started != nil {
		t.Errorf("cancel of a queued job: %+v, %v", j, err)
	}
	for range 2 {
		if j, err = p.Cancel(t.Context(), running.ID); err != nil {
			break // it may be over by the second time
		}
	}
	j = p.awaitState(running.ID, jobs.Cancelled)
	if j.Error != nil || j.Result != nil || j.Finished == nil || j.Progress.Step < 4 {
		t.Errorf("cancelled job: %+v", j)
	}
	_, err = p.Cancel(t.Context(), running.ID)
	wantFault(t, err, fault.Conflict, "already_finished")
	_, err = p.Cancel(t.Context(), "job_none")
	wantFault(t, err, fault.NotFound, "job_not_found")
	curve, err := p.Curve(t.Context(), running.ID)
	if err != nil || len(curve) != j.Progress.Step {
		t.Errorf("curve of %d points, %v; want %d", len(curve), err, j.Progress.Step)
	}
	p.awaitState(p.submit("c").ID, jobs.Running) // the worker lives on
}

// Cancel races with the end of the run; either may win, once.
func TestCancelRace(t *testing.T) {
	const n = 150
	p := prepare(t, open(t, t.TempDir()), runner{run: func(ctx context.Context, s finetune.Spec, _, _ string, _ func(train.Event)) (finetune.Result, error) {
		select {
		case <-ctx.Done():
			return finetune.Result{}, ctx.Err()
		case <-time.After(time.Duration(rand.IntN(12000)) * time.Microsecond):
			return finetune.Result{Adapter: s.Name}, nil
		}
	}}, jobs.Options{Workers: 8})
	var mu sync.Mutex
	ended := map[string][]jobs.State{}
	p.Observe = func(e jobs.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Job.Status.Over() {
			ended[e.Job.ID] = append(ended[e.Job.ID], e.Job.Status)
		}
	}
	p.begin()
	var wg sync.WaitGroup
	var ids []string
	for i := range n {
		j := p.submit(fmt.Sprint("a", i))
		ids = append(ids, j.ID)
		wg.Go(func() {
			events, err := p.Watch(t.Context(), j.ID)
			if err != nil {
				t.Error(err)
				return
			}
			for e := range events {
				if e.Job.Status == jobs.Running {
					time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
					if _, err := p.Cancel(t.Context(), j.ID); err != nil && fault.KindOf(err) != fault.Conflict {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	tally := map[jobs.State]int{}
	for _, id := range ids {
		j, err := p.Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		tally[j.Status]++
		mu.Lock()
		if e := ended[id]; len(e) != 1 || e[0] != j.Status || (j.Status == jobs.Succeeded) != (j.Result != nil) {
			t.Errorf("%s is %s with result %v; told of ends %v", id, j.Status, j.Result, e)
		}
		mu.Unlock()
	}
	t.Logf("%v", tally)
	if tally[jobs.Succeeded]+tally[jobs.Cancelled] != n {
		t.Errorf("states %v", tally)
	}
}

func TestSubmit(t *testing.T) {
	bad := fault.New(fault.NotFound, "no such model").WithCode("model_not_found")
	p := prepare(t, open(t, t.TempDir()), runner{check: func(s finetune.Spec) (finetune.Spec, error) {
		if s.Model == "none" {
			return s, bad
		}
		if s.Name == "" {
			s.Name = "given"
		}
		return s, nil
	}}, jobs.Options{MaxJobs: 2}) // no worker
	s := finetune.Spec{Model: "m", Dataset: "ds", Epochs: 2}
	first, err := p.Submit(t.Context(), s, "key")
	if err != nil || first.Status != jobs.Queued || first.Spec.Name != "given" || first.Spec.Epochs != 2 || !strings.HasPrefix(first.ID, "job_") || len(first.ID) != 20 {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := p.Submit(t.Context(), s, "key")
	if err != nil || again.ID != first.ID {
		t.Errorf("same key: %s, %v; want %s", again.ID, err, first.ID)
	}
	other := s
	other.Epochs = 3
	_, err = p.Submit(t.Context(), other, "key")
	wantFault(t, err, fault.Conflict, "idempotency_conflict")
	_, err = p.Submit(t.Context(), other, strings.Repeat("k", 300))
	wantFault(t, err, fault.Invalid, "")
	_, err = p.Submit(t.Context(), s, "")
	wantFault(t, err, fault.Conflict, "name_taken")
	_, err = p.Submit(t.Context(), finetune.Spec{Model: "none"}, "")
	wantFault(t, err, fault.NotFound, "model_not_found")
	p.submit("b")
	_, err = p.Submit(t.Context(), finetune.Spec{Name: "c"}, "")
	wantFault(t, err, fault.Busy, "quota_exceeded")

	page, more, err := p.List(t.Context(), "", 1)
	if err != nil || len(page) != 1 || !more || page[0].Spec.Name != "b" {
		t.Errorf("List: %+v, %v, %v", page, more, err)
	}
	page, more, err = p.List(t.Context(), page[0].ID, 1)
	if err != nil || len(page) != 1 || more || page[0].ID != first.ID {
		t.Errorf("List: %+v, %v, %v", page, more, err)
	}
	for id, want := range map[string]bool{"ds": true, "other": false} {
		if got, err := p.Using(t.Context(), id); got != want || err != nil {
			t.Errorf("Using(%s) = %v, %v", id, got, err)
		}
	}
}

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

func TestWatch(t *testing.T) {
	const steps = 500
	gate := make(chan struct{})
	p := start(t, open(t, t.TempDir()), runner{run: func(_ context.Context, s finetune.Spec, _, _ string, observe func(train.Event)) (finetune.Result, error) {
		<-gate
		for i := 1; i <= steps; i++ {
			e := train.Event{Step: i, Steps: steps, TrainLoss: 1}
			if i == 3 {
				loss := 2.5
				e.EvalLoss = &loss
			}
			observe(e)
		}
		return finetune.Result{Adapter: s.Name}, nil
	}}, jobs.Options{})
	j := p.submit("a")
	watch := func(ctx context.Context) <-chan jobs.Event {
		events, err := p.Watch(ctx, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		return events
	}
	slow := watch(t.Context())
	ctx, leave := context.WithCancel(t.Context())
	leaving := watch(ctx)
	leave()
	quick := watch(t.Context())
	seen := make(chan int)
	go func() {
		n, last := 0, jobs.Event{}
		for e := range quick {
			if e.Point != nil {
				n++
				if (e.Point.EvalLoss != nil) != (e.Point.Step == 3) || (e.Job.Progress.EvalLoss != nil) != (e.Point.Step >= 3) {
					t.Errorf("held-out losses of step %d: point %v, job %v", e.Point.Step, e.Point.EvalLoss, e.Job.Progress.EvalLoss)
				}
			}
			last = e
		}
		if last.Job.Status != jobs.Succeeded || last.Job.Result == nil {
			t.Errorf("the last event was %+v", last)
		}
		seen <- n
	}()
	close(gate)
	p.awaitState(j.ID, jobs.Succeeded)
	if n := <-seen; n < steps/2 {
		t.Errorf("a quick reader saw %d of %d points", n, steps)
	}
	var last jobs.Event
	n := 0
	for last = range slow {
		n++
	}
	if last.Job.Status != jobs.Succeeded || n > 100 {
		t.Errorf("a slow reader saw %d events, the last %+v", n, last.Job.Status)
	}
	for range leaving {
	}
	n = 0
	for last = range watch(t.Context()) {
		n++
	}
	if n != 1 || last.Job.Status != jobs.Succeeded {
		t.Errorf("a watch of a job that is over told %d events, %s", n, last.Job.Status)
	}
	_, err := p.Watch(t.Context(), "job_none")
	wantFault(t, err, fault.NotFound, "job_not_found")
}

func TestDelete(t *testing.T) {
	s, dir := open(t, t.TempDir()), t.TempDir()
	p := start(t, s, runner{run: counter(7, 0)}, jobs.Options{Dir: dir})
	j := p.awaitState(p.submit("a").ID, jobs.Succeeded)
	if _, err := os.Stat(filepath.Join(dir, j.ID, "checkpoint")); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	_, err := p.Find(t.Context(), j.ID)
	wantFault(t, err, fault.NotFound, "job_not_found")
	_, err = p.Curve(t.Context(), j.ID)
	wantFault(t, err, fault.NotFound, "job_not_found")
	wantFault(t, p.Delete(t.Context(), j.ID), fault.NotFound, "job_not_found")
	p.stop()

	wantFault(t, p.Delete(t.Context(), p.submit("b").ID), fault.Conflict, "job_not_finished")
	stray, other := filepath.Join(dir, "job_aaaaaaaaaaaaaaaa"), filepath.Join(dir, "local_1")
	for _, d := range []string{stray, other} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	prepare(t, s, runner{}, jobs.Options{Dir: dir})
	if _, err := os.Stat(stray); err == nil {
		t.Error("checkpoints of no job are kept")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("a folder that is not a job's was removed")
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
