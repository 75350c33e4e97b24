package jobs_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/store"
	"afina/internal/train"
)

const (
	killSteps = 60
	killJobs  = 3
)

// child is the process that TestKill kills: a queue at work on dir, until all
// jobs are over.
func child(dir string) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := store.Open(ctx, dir)
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	q, err := jobs.New(s, runner{run: func(ctx context.Context, s finetune.Spec, dir, job string, observe func(train.Event)) (finetune.Result, error) {
		r, err := counter(killSteps, 2*time.Millisecond)(ctx, s, dir, job, observe)
		if err == nil {
			err = publish(filepath.Join(dir, "..", "..", "published"), s.Name, job)
		}
		return r, err
	}}, jobs.Options{Workers: 2, Dir: filepath.Join(dir, "jobs"), Attempts: 1000, Slice: 40 * time.Millisecond}, nil)
	if err != nil {
		fmt.Println("new:", err)
		os.Exit(1)
	}
	for i := range killJobs { // the key makes it the same job after every restart
		name := fmt.Sprint("a", i)
		if _, err := q.Submit(ctx, finetune.Spec{Name: name}, name); err != nil {
			fmt.Println("submit:", err)
			os.Exit(1)
		}
	}
	fmt.Println("ready")
	go func() {
		for {
			counts, err := q.Counts(ctx)
			if err == nil && counts[jobs.Queued]+counts[jobs.Running] == 0 {
				cancel()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if err := q.Run(ctx); err != nil {
		fmt.Println("run:", err)
		os.Exit(1)
	}
	s.Close()
	fmt.Println("done")
}

// publish notes who published a name, once per job, as the catalog does.
func publish(dir, name, job string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	at := filepath.Join(dir, name)
	if old, err := os.ReadFile(at); err == nil {
		if string(old) != job {
			return fmt.Errorf("%s is %s's, not %s's", name, old, job)
		}
		return nil
	}
	if err := os.WriteFile(at+".tmp", []byte(job), 0o600); err != nil {
		return err
	}
	return os.Rename(at+".tmp", at)
}

// A process that is killed at random moments, again and again, ends with every
// job done once and every curve whole.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	kills := 0
	for done := false; !done; {
		p := exec.Command(os.Args[0])
		p.Env = append(os.Environ(), "AFINA_JOBS_CHILD="+dir)
		out, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if kills < 12 {
			kills++
			after := time.Duration(rand.IntN(350)) * time.Millisecond
			time.AfterFunc(after, func() { p.Process.Kill() })
		} else {
			defer time.AfterFunc(60*time.Second, func() { p.Process.Kill() }).Stop()
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			switch line := lines.Text(); {
			case line == "done":
				done = true
			case line != "ready":
				t.Fatalf("the child says %q", line)
			}
		}
		p.Wait()
		if kills >= 12 && !done && p.ProcessState.ExitCode() > 0 {
			t.Fatalf("the child ended with %v", p.ProcessState)
		}
	}

	p := prepare(t, open(t, dir), runner{}, jobs.Options{Dir: filepath.Join(dir, "jobs")})
	all, _, err := p.List(t.Context(), "", 100)
	if err != nil || len(all) != killJobs {
		t.Fatalf("%d jobs, %v; want %d", len(all), err, killJobs)
	}
	for _, j := range all {
		if j.Status != jobs.Succeeded || j.Result == nil || j.Result.Steps != killSteps {
			t.Errorf("%s is %s: %+v, %+v", j.ID, j.Status, j.Result, j.Error)
		}
		wantCurve(t, p, j.ID, killSteps)
		if by, err := os.ReadFile(filepath.Join(dir, "published", j.Spec.Name)); err != nil || string(by) != j.ID {
			t.Errorf("%s was published by %q, %v", j.Spec.Name, by, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "published", "*")); len(left) != killJobs {
		t.Errorf("published: %s", strings.Join(left, " "))
	}
}
