package exams_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/evaluate"
	"afina/internal/exams"
	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// shelf has one model and one dataset.
type shelf struct{}

func (shelf) Resolve(name string) (*model.Model, *lora.Adapter, error) {
	if name != "tiny" {
		return nil, nil, fault.New(fault.NotFound, "no model is called %q", name).WithCode("model_not_found")
	}
	return &model.Model{}, nil, nil
}

func (shelf) Dataset(_ context.Context, id string) (catalog.Dataset, error) {
	if id != "mates" && id != "ds_1" {
		return catalog.Dataset{}, fault.New(fault.NotFound, "there is no dataset %q", id)
	}
	return catalog.Dataset{ID: "ds_1"}, nil
}

func (shelf) Conversations(context.Context, string) ([]chat.Conversation, error) {
	return make([]chat.Conversation, 3), nil
}

// marker marks by a function.
type marker func(ctx context.Context, s evaluate.Spec, progress func(float64)) (evaluate.Report, error)

func (m marker) Run(ctx context.Context, s evaluate.Spec, progress func(float64)) (evaluate.Report, error) {
	return m(ctx, s, progress)
}

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// start runs a queue until stop.
func start(t *testing.T, s *store.Store, m marker) (q *exams.Queue, stop func()) {
	t.Helper()
	q, err := exams.New(s, shelf{}, m, kernel.Fast, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	return q, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func spec() exams.Spec {
	s := exams.Defaults(finetune.Defaults())
	s.Model, s.Dataset = "tiny", "mates"
	return s
}

// becomes waits until an evaluation is in a state.
func becomes(t *testing.T, q *exams.Queue, id string, want jobs.State) exams.Evaluation {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		e, err := q.Find(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		if e.Status == want {
			return e
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %s, want %s", id, e.Status, want)
		}
	}
}

func TestLife(t *testing.T) {
	went := make(chan struct{})
	q, stop := start(t, open(t, t.TempDir()), func(_ context.Context, s evaluate.Spec, progress func(float64)) (evaluate.Report, error) {
		progress(0.5)
		<-went
		if s.Seed == 7 {
			return evaluate.Report{}, fault.New(fault.Unprocessable, "nothing to mark").WithCode("no_trainable_tokens")
		}
		if s.Seed == 8 {
			panic("no")
		}
		return evaluate.Report{Model: s.Model, Loss: 1.5, Conversations: len(s.Conversations)}, nil
	})
	defer stop()
	e, err := q.Submit(t.Context(), spec())
	if err != nil || e.Status != jobs.Queued || !strings.HasPrefix(e.ID, "eval_") || len(e.ID) != 21 || e.Spec.Dataset != "ds_1" {
		t.Fatalf("%+v, %v", e, err)
	}
	for e = becomes(t, q, e.ID, jobs.Running); e.Progress != 0.5; e = becomes(t, q, e.ID, jobs.Running) {
		time.Sleep(time.Millisecond)
	}
	close(went)
	e = becomes(t, q, e.ID, jobs.Succeeded)
	if e.Report == nil || e.Report.Loss != 1.5 || e.Report.Conversations != 3 || e.Progress != 1 || e.Started == nil || e.Finished == nil {
		t.Errorf("%+v", e)
	}
	for seed, code := range map[int64]string{7: "no_trainable_tokens", 8: "internal"} {
		s := spec()
		s.Seed = seed
		e, err := q.Submit(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if e = becomes(t, q, e.ID, jobs.Failed); e.Error == nil || e.Error.Code != code {
			t.Errorf("%+v", e.Error)
		}
	}
	page, more, err := q.List(t.Context(), "", 2)
	if err != nil || len(page) != 2 || !more {
		t.Fatalf("%+v, %v, %v", page, more, err)
	}
	page, more, err = q.List(t.Context(), page[1].ID, 2)
	if err != nil || len(page) != 1 || more || page[0].ID != e.ID || page[0].Report != nil {
		t.Errorf("%+v, %v, %v", page, more, err)
	}
}

func TestCancel(t *testing.T) {
	q, stop := start(t, open(t, t.TempDir()), func(ctx context.Context, _ evaluate.Spec, _ func(float64)) (evaluate.Report, error) {
		<-ctx.Done()
		return evaluate.Report{}, fmt.Errorf("given up: %w", ctx.Err())
	})
	defer stop()
	first, err1 := q.Submit(t.Context(), spec())
	second, err2 := q.Submit(t.Context(), spec())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	becomes(t, q, first.ID, jobs.Running)
	for _, id := range []string{first.ID, second.ID} {
		if err := q.Delete(t.Context(), id); fault.KindOf(err) != fault.Conflict {
			t.Errorf("deleted before it was over: %v", err)
		}
	}
	if e, err := q.Cancel(t.Context(), second.ID); err != nil || e.Status != jobs.Cancelled {
		t.Errorf("a queued one: %+v, %v", e, err)
	}
	if _, err := q.Cancel(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	becomes(t, q, first.ID, jobs.Cancelled)
	if err := q.Delete(t.Context(), second.ID); err != nil {
		t.Error(err)
	}
	if _, err := q.Find(t.Context(), second.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the deleted one: %v", err)
	}
	if err := q.Delete(t.Context(), second.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("deleted again: %v", err)
	}
	_, err := q.Cancel(t.Context(), first.ID)
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second time: %v", err)
	}
	_, err = q.Cancel(t.Context(), "eval_x")
	if fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown one: %v", err)
	}
}

// What the end of the server cut off begins anew; what it died under too often is
// given up.
func TestAgain(t *testing.T) {
	s := open(t, t.TempDir())
	q, stop := start(t, s, func(ctx context.Context, _ evaluate.Spec, _ func(float64)) (evaluate.Report, error) {
		<-ctx.Done()
		return evaluate.Report{}, ctx.Err()
	})
	e, err := q.Submit(t.Context(), spec())
	if err != nil {
		t.Fatal(err)
	}
	becomes(t, q, e.ID, jobs.Running)
	stop()
	becomes(t, q, e.ID, jobs.Queued)
	for range 2 { // kills
		if _, err := s.ChangeEvaluation(t.Context(), e.ID, func(row *store.Evaluation) error { row.State = "running"; return nil }); err != nil {
			t.Fatal(err)
		}
		if q, err = exams.New(s, shelf{}, nil, kernel.Fast, zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		becomes(t, q, e.ID, jobs.Queued)
	}
	if _, err := s.ChangeEvaluation(t.Context(), e.ID, func(row *store.Evaluation) error { row.State = "running"; return nil }); err != nil {
		t.Fatal(err)
	}
	if q, err = exams.New(s, shelf{}, nil, kernel.Fast, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if e = becomes(t, q, e.ID, jobs.Failed); e.Error.Code != "crashed" {
		t.Errorf("%+v", e.Error)
	}
}

func TestRefusals(t *testing.T) {
	q, err := exams.New(open(t, t.TempDir()), shelf{}, nil, kernel.Fast, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*exams.Spec){
		"model":   func(s *exams.Spec) { s.Model = "other" },
		"dataset": func(s *exams.Spec) { s.Dataset = "other" },
		"verify":  func(s *exams.Spec) { s.Verify = 17 },
	} {
		s := spec()
		change(&s)
		if _, err := q.Submit(t.Context(), s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for i := range 101 {
		_, err = q.Submit(t.Context(), spec())
		if (err != nil) != (i == 100) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if fault.KindOf(err) != fault.Busy {
		t.Errorf("beyond the limit: %v", err)
	}
}
