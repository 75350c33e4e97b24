package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"afina/internal/jobs"
)

// TestPage works the dashboard in a headless Chromium: a job is paused, resumed
// and cancelled by its buttons.
func TestPage(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium on this machine (Debian: apt-get install chromium)")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	s := newService(t)
	s.start()
	job := s.submit(map[string]any{"model": "tiny", "dataset": s.upload(100), "name": "largo", "epochs": 1000})
	profile, err := os.MkdirTemp("", "afina-page")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // Chromium's helpers may outlive it by a moment, and write
		for range 50 {
			if err = os.RemoveAll(profile); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("remove Chromium's profile: %v", err)
	})
	cmd := exec.Command(node, "--experimental-websocket", "testdata/page.mjs", chromium, s.Base, profile)
	if picture := os.Getenv("AFINA_TEST_PICTURE"); picture != "" {
		cmd.Args = append(cmd.Args, picture)
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "all well") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	if j, err := s.job(job.ID); err != nil || j.Status != jobs.Cancelled {
		t.Errorf("the job is %+v, %v", j, err)
	}
}
