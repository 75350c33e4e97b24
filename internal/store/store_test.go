package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"afina/internal/fault"
	"afina/internal/store"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("AFINA_STORE_CHILD"); dir != "" {
		hold(dir)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// hold is the child process of TestLock: it opens the store and waits to be
// killed.
func hold(dir string) {
	if _, err := store.Open(context.Background(), dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
}

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func job(id string) store.Job {
	return store.Job{ID: id, State: "queued", Spec: json.RawMessage(`{"model":"m"}`)}
}

func add(t *testing.T, s *store.Store, j store.Job) store.Job {
	t.Helper()
	j, fresh, err := s.AddJob(t.Context(), j, 1000, func(*sql.Tx) error { return nil })
	if err != nil || !fresh {
		t.Fatalf("AddJob(%s) = fresh %v, %v", j.ID, fresh, err)
	}
	return j
}

func move(t *testing.T, s *store.Store, id, state string) error {
	t.Helper()
	_, err := s.ChangeJob(t.Context(), id, func(j *store.Job) error { j.State = state; return nil })
	return err
}

func want(t *testing.T, err error, kind fault.Kind, words ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != kind {
		t.Fatalf("got error %v, want a fault of kind %s", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q, want it to name %q", err, w)
		}
	}
}

func TestOpenAgainKeepsRows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c%20#d")
	s := open(t, dir)
	d, err := s.AddDataset(t.Context(), store.Dataset{ID: "ds_1", Name: "álgebra's \"x\"", SHA256: "ff", Conversations: 3, Bytes: 9, Math: json.RawMessage(`{"true":2}`)})
	if err != nil {
		t.Fatal(err)
	}
	j := add(t, s, store.Job{ID: "job_1", State: "queued", Spec: json.RawMessage(`{"a":"?' 'ñ"}`)})
	s.Close()

	if _, err := os.Stat(filepath.Join(dir, "afina.db")); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	gd, err := s.Dataset(t.Context(), "ds_1")
	if err != nil || !reflect.DeepEqual(gd, d) {
		t.Errorf("dataset after reopening = %+v, %v; want %+v", gd, err, d)
	}
	gj, err := s.Job(t.Context(), "job_1")
	if err != nil || string(gj.Spec) != `{"a":"?' 'ñ"}` || !gj.Created.Equal(j.Created) || gj.Created.Location() != time.UTC {
		t.Errorf("job after reopening = %+v, %v; want %+v", gj, err, j)
	}
	if gj.Progress != nil || gj.Started != nil || gj.Key != "" {
		t.Errorf("empty fields came back as %+v", gj)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := store.Open(t.Context(), dir)
	want(t, err, fault.Conflict, dir)
	s.Close()

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "AFINA_STORE_CHILD="+dir)
	in, _ := child.StdinPipe()
	defer in.Close()
	out, _ := child.StdoutPipe()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 5)
	if _, err := io.ReadFull(out, said); err != nil || string(said) != "held\n" {
		t.Fatalf("child said %q, %v", said, err)
	}
	_, err = store.Open(t.Context(), dir)
	want(t, err, fault.Conflict, dir)

	child.Process.Kill()
	child.Wait()
	open(t, dir) // the kernel let go of the lock of the killed process
}

func TestNotFound(t *testing.T) {
	s := open(t, t.TempDir())
	_, err := s.Job(t.Context(), "job_x")
	want(t, err, fault.NotFound, "job_x")
	_, err = s.Dataset(t.Context(), "ds_x")
	want(t, err, fault.NotFound, "ds_x")
	want(t, s.DeleteDataset(t.Context(), "ds_x"), fault.NotFound)
	want(t, s.DeleteJob(t.Context(), "job_x", nil), fault.NotFound)
	_, err = s.Points(t.Context(), "job_x")
	want(t, err, fault.NotFound)
	_, _, err = s.Jobs(t.Context(), "job_x", 5, nil)
	want(t, err, fault.Invalid, "after")
	_, _, err = s.Datasets(t.Context(), "ds_x", 5)
	want(t, err, fault.Invalid, "after")
}

func TestListNewestFirst(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 7 {
		add(t, s, job(fmt.Sprintf("job_%d", i)))
		if _, err := s.AddDataset(t.Context(), store.Dataset{ID: fmt.Sprintf("ds_%d", i), Name: "n"}); err != nil {
			t.Fatal(err)
		}
	}
	var jobs, sets []string
	for after, more := "", true; more; {
		page, m, err := s.Jobs(t.Context(), after, 3, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page {
			jobs = append(jobs, j.ID)
		}
		more, after = m, page[len(page)-1].ID
	}
	for after, more := "", true; more; {
		page, m, err := s.Datasets(t.Context(), after, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			sets = append(sets, d.ID)
		}
		more, after = m, page[len(page)-1].ID
	}
	if got, want := fmt.Sprint(jobs), "[job_6 job_5 job_4 job_3 job_2 job_1 job_0]"; got != want {
		t.Errorf("jobs %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(sets), "[ds_6 ds_5 ds_4 ds_3 ds_2 ds_1 ds_0]"; got != want {
		t.Errorf("datasets %s, want %s", got, want)
	}
}

// Every move between states either is in the table of reliability or is refused.
func TestOnlyLegalMoves(t *testing.T) {
	legal := map[string]string{
		"queued":  "queued running cancelled failed",
		"running": "running queued succeeded failed cancelled",
	}
	path := map[string][]string{
		"queued": nil, "running": {"running"}, "succeeded": {"running", "succeeded"},
		"failed": {"running", "failed"}, "cancelled": {"running", "cancelled"},
	}
	s := open(t, t.TempDir())
	for from, steps := range path {
		for to := range path {
			id := "job_" + from + "_" + to
			add(t, s, job(id))
			for _, step := range steps {
				if err := move(t, s, id, step); err != nil {
					t.Fatal(err)
				}
			}
			may := from == to || strings.Contains(" "+legal[from]+" ", " "+to+" ")
			if err := move(t, s, id, to); (err == nil) != may {
				t.Errorf("%s → %s: error %v, want allowed = %v", from, to, err, may)
			}
		}
	}
	add(t, s, job("job_odd"))
	if err := move(t, s, "job_odd", "paused"); err == nil {
		t.Error("an unknown state was stored")
	}
}

func TestChangeThatFailsChangesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, job("job_1"))
	no := errors.New("no")
	_, err := s.ChangeJob(t.Context(), "job_1", func(j *store.Job) error { j.State = "running"; return no })
	if !errors.Is(err, no) {
		t.Fatalf("got %v, want the error of change", err)
	}
	if j, _ := s.Job(t.Context(), "job_1"); j.State != "queued" {
		t.Errorf("state is %s after a change that failed", j.State)
	}
	_, _, err = s.AddJob(t.Context(), job("job_2"), 10, func(*sql.Tx) error { return no })
	if !errors.Is(err, no) {
		t.Fatalf("got %v, want the error of also", err)
	}
	_, err = s.Job(t.Context(), "job_2")
	want(t, err, fault.NotFound)
}

func TestAddJobRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	nop := func(*sql.Tx) error { return nil }
	first := job("job_1")
	first.Key, first.Fingerprint, first.Name = "k", "f", "Mates"
	first = add(t, s, first)

	again := job("job_2")
	again.Key, again.Fingerprint, again.Name = "k", "f", "Mates"
	got, fresh, err := s.AddJob(t.Context(), again, 1, nop)
	if err != nil || fresh || got.ID != "job_1" {
		t.Errorf("same key: %s, fresh %v, %v; want the first job", got.ID, fresh, err)
	}
	again.Fingerprint = "g"
	_, _, err = s.AddJob(t.Context(), again, 10, nop)
	want(t, err, fault.Conflict, "Idempotency-Key", "job_1")

	other := job("job_3")
	other.Name = "mATES"
	_, _, err = s.AddJob(t.Context(), other, 10, nop)
	want(t, err, fault.Conflict, "job_1", "mATES")
	_, _, err = s.AddJob(t.Context(), job("job_4"), 1, nop)
	want(t, err, fault.Busy, "1 jobs")

	move(t, s, "job_1", "cancelled")
	add(t, s, other)
}

func TestSameKeyAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			j := job(fmt.Sprintf("job_%d", i))
			j.Key = "k"
			got, _, err := s.AddJob(t.Context(), j, 100, func(*sql.Tx) error { return nil })
			if err != nil {
				t.Error(err)
			}
			ids[i] = got.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("got different jobs for one key: %v", ids)
		}
	}
}

// Many claim at once; each job is claimed once, oldest first.
func TestClaim(t *testing.T) {
	s := open(t, t.TempDir())
	const n = 40
	for i := range n {
		add(t, s, job(fmt.Sprintf("job_%02d", i)))
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]int{}
	for range 8 {
		wg.Go(func() {
			last := int64(0)
			for {
				j, found, err := s.ClaimJob(t.Context(), "queued", func(j *store.Job) error { j.State = "running"; return nil })
				if err != nil {
					t.Error(err)
					return
				}
				if !found {
					return
				}
				if j.Seq <= last {
					t.Errorf("claimed %d after %d", j.Seq, last)
				}
				last = j.Seq
				mu.Lock()
				seen[j.ID]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != n {
		t.Errorf("claimed %d jobs, want %d", len(seen), n)
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s claimed %d times", id, times)
		}
	}
	counts, err := s.CountJobs(t.Context())
	if err != nil || counts["running"] != n || counts["queued"] != 0 {
		t.Errorf("counts %v, %v", counts, err)
	}
	running, err := s.JobsIn(t.Context(), "running")
	if err != nil || len(running) != n || running[0].ID != "job_00" {
		t.Errorf("%d running, %v", len(running), err)
	}
}

func TestPointsReplaceAndCascade(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, job("job_1"))
	record := func(checkpoint bool, points ...store.Point) bool {
		t.Helper()
		ok, err := s.Record(t.Context(), "job_1", json.RawMessage(`{"step":1}`), points, checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if record(false, store.Point{Step: 1, Data: json.RawMessage(`0`)}) {
		t.Error("a point of a queued job was stored")
	}
	if _, err := s.ChangeJob(t.Context(), "job_1", func(j *store.Job) error { j.State, j.Attempts = "running", 2; return nil }); err != nil {
		t.Fatal(err)
	}
	record(false, store.Point{Step: 2, Data: json.RawMessage(`2`)}, store.Point{Step: 1, Data: json.RawMessage(`1`)})
	if j, _ := s.Job(t.Context(), "job_1"); j.Attempts != 2 || string(j.Progress) != `{"step":1}` {
		t.Errorf("job after Record: %+v", j)
	}
	record(true, store.Point{Step: 2, Data: json.RawMessage(`22`)}, store.Point{Step: 3, Data: json.RawMessage(`3`)})
	if j, _ := s.Job(t.Context(), "job_1"); j.Attempts != 0 {
		t.Errorf("attempts %d after a checkpoint, want 0", j.Attempts)
	}
	points, err := s.Points(t.Context(), "job_1")
	var flat string
	for _, p := range points {
		flat += fmt.Sprintf("%d=%s ", p.Step, p.Data)
	}
	if got, want := flat, "1=1 2=22 3=3 "; err != nil || got != want {
		t.Errorf("curve %s, %v; want %s", got, err, want)
	}

	keep := errors.New("keep")
	if err := s.DeleteJob(t.Context(), "job_1", func(store.Job) error { return keep }); !errors.Is(err, keep) {
		t.Errorf("got %v", err)
	}
	if err := s.DeleteJob(t.Context(), "job_1", func(store.Job) error { return nil }); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.DB().QueryRow("SELECT count(*) FROM points").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d points left, %v", n, err)
	}
}

func TestDatasetInUse(t *testing.T) {
	for _, by := range []string{"ds_1", "mates"} {
		t.Run(by, func(t *testing.T) {
			s := open(t, t.TempDir())
			if _, err := s.AddDataset(t.Context(), store.Dataset{ID: "ds_1", Name: "mates"}); err != nil {
				t.Fatal(err)
			}
			j := job("job_1")
			j.Dataset = by
			add(t, s, j)
			want(t, s.DeleteDataset(t.Context(), "ds_1"), fault.Conflict, "job_1")
			if user, err := s.Using(t.Context(), "ds_1"); err != nil || user != "job_1" {
				t.Errorf("Using = %q, %v", user, err)
			}
			move(t, s, "job_1", "cancelled")
			if err := s.DeleteDataset(t.Context(), "ds_1"); err != nil {
				t.Error(err)
			}
			if ids, err := s.DatasetIDs(t.Context()); err != nil || len(ids) != 0 {
				t.Errorf("left %v, %v", ids, err)
			}
		})
	}
}

func TestIsStorage(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"no space", fmt.Errorf("save: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}), true},
		{"read only", syscall.EROFS, true},
		{"fault of a full disk", fault.New(fault.NoSpace, "full: %w", syscall.ENOSPC), true},
		{"fault of too little memory", fault.New(fault.NoSpace, "memory"), false},
		{"other fault", fault.New(fault.Invalid, "no"), false},
		{"other", io.EOF, false},
		{"nothing", nil, false},
	} {
		if got := store.IsStorage(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A database that may not grow answers with fault.NoSpace, and works again when
// there is room.
func TestDiskFull(t *testing.T) {
	s := open(t, t.TempDir())
	s.DB().SetMaxOpenConns(1)
	if _, err := s.DB().Exec("PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	big := job("job_1")
	big.Spec = json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	_, _, err := s.AddJob(t.Context(), big, 10, func(*sql.Tx) error { return nil })
	want(t, err, fault.NoSpace)
	if !store.IsStorage(err) {
		t.Error("IsStorage does not know a full database")
	}
	if _, err := s.DB().Exec("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	add(t, s, big)
}

// TestStrangeTexts: what callers write reaches the database as it is, and finds
// nothing that is not there.
func TestStrangeTexts(t *testing.T) {
	s := open(t, t.TempDir())
	for _, text := range []string{"a\x00b", "\x00", "'; DROP TABLE jobs; --", "?", "\xff", "%"} {
		if _, err := s.Job(t.Context(), text); fault.KindOf(err) != fault.NotFound {
			t.Errorf("job %q: %v", text, err)
		}
		if _, err := s.File(t.Context(), text); fault.KindOf(err) != fault.NotFound {
			t.Errorf("file %q: %v", text, err)
		}
		if _, _, err := s.Jobs(t.Context(), text, 1, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("after %q: %v", text, err)
		}
		if page, _, err := s.Jobs(t.Context(), "", 1, map[string]string{text: text}); err != nil || len(page) != 0 {
			t.Errorf("metadata %q: %v, %v", text, page, err)
		}
		if named, err := s.DatasetsNamed(t.Context(), text, 1); err != nil || len(named) != 0 {
			t.Errorf("name %q: %v, %v", text, named, err)
		}
	}
	if _, err := s.AddDataset(t.Context(), store.Dataset{ID: "ds_1", Name: "a\x00b"}); err != nil {
		t.Fatal(err)
	}
	if named, err := s.DatasetsNamed(t.Context(), "a\x00b", 1); err != nil || len(named) != 1 || named[0].Name != "a\x00b" {
		t.Errorf("%+v, %v", named, err)
	}
}
