package main

import (
	"flag"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var fuzzFor = flag.Duration("fuzz-api", 0, "how long TestFuzzAPI sends requests; 0: it is skipped")

// TestFuzzAPI has schemathesis read the contract and send what it allows, and
// what it does not, to a real server with tiny models: no answer may be 5xx,
// other than a 503 or 507 that was due, or outside the contract.
func TestFuzzAPI(t *testing.T) {
	if *fuzzFor == 0 {
		t.Skip("run `make fuzz-api`")
	}
	st := sdk(t, filepath.Join("venv", "bin", "st"))
	s := newSDKService(t)
	file := training(t)
	for range 2 {
		if _, err := s.Upload(t.Context(), file, "fuzz"); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(st, "--config-file", filepath.Join("testdata", "schemathesis.toml"), "run", s.Base+"/openapi.yaml", "--url", s.Base,
		"--header", "Authorization: Bearer "+sdkKey, "--max-time", strconv.Itoa(int(fuzzFor.Seconds())), "--continue-on-failure")
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		t.Errorf("schemathesis: %v\n%s", err, out)
	} else {
		t.Log(strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
	if _, err := s.job("job_none"); err == nil || s.cmd.ProcessState != nil {
		t.Error("the server is gone")
	}
}
