package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
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
		if err != nil || len(curve) != 3 || curve[2].Step != 3 || curve[2].TrainLoss != 1 || !reflect.DeepEqual(j.Progress, curve[2]) {
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
	if err != nil || counts[jobs.Succeeded] != 20 || len(counts) != 6 {
		t.Errorf("counts %v, %v", counts, err)
	}
	allEnded := func() bool { // observers are told after the state is stored
		mu.Lock()
		defer mu.Unlock()
		return len(ended) == len(all)
	}
	for deadline := time.Now().Add(10 * time.Second); !allEnded() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
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

func TestWatch(t *testing.T) {
	const steps = 500
	gate := make(chan struct{})
	p := start(t, open(t, t.TempDir()), runner{run: func(_ context.Context, s finetune.Spec, _, _ string, observe func(train.Event)) (finetune.Result, error) {
		<-gate
		for i := 1; i <= steps; i++ {
			e := train.Event{Step: i, Steps: steps, TrainLoss: 1}
			if i == 3 {
				loss, share := 2.5, 0.25
				e.EvalLoss, e.EvalAccuracy = &loss, &share
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
				if (e.Point.EvalLoss != nil) != (e.Point.Step == 3) || (e.Job.Progress.EvalLoss != nil) != (e.Point.Step >= 3) ||
					(e.Point.EvalAccuracy != nil) != (e.Point.Step == 3) || (e.Job.Progress.EvalAccuracy != nil) != (e.Point.Step >= 3) {
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
