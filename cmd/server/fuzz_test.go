package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"afina/api"
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
	s.Base = "http://" + s.address // schemathesis itself holds all against the contract
	dataset, err := s.Upload(t.Context(), training(t), "fuzz")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := filepath.Abs(filepath.Join("testdata", "schemathesis.toml"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(st, "--config-file", settings, "run", reachable(t, dataset), "--url", s.Base,
		"--header", "Authorization: Bearer "+sdkKey, "--max-time", strconv.Itoa(int(fuzzFor.Seconds())), "--continue-on-failure")
	cmd.Dir = t.TempDir() // it keeps caches where it runs
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

// reachable writes a copy of the contract in which models, datasets and files are
// those that there are, so that most requests get past the question whether they
// exist, and in which a request has few choices.
func reachable(t *testing.T, dataset string) string {
	t.Helper()
	text := string(api.Contract)
	for _, r := range []struct{ from, to string }{
		{`(\n +model: \{ type: string), minLength: 1, maxLength: 200`, `$1, enum: [tiny, toolful, huge]`},
		{`(\n +dataset: \{ type: string), minLength: 1, maxLength: 200`, `$1, enum: [` + dataset + `, nothing]`},
		{`(\n +(?:training|validation)_file: \{ type: string)(, nullable: true)?(?:, minLength: 1)?, maxLength: 200`,
			`$1, enum: [file-` + strings.TrimPrefix(dataset, "ds_") + `, nothing]$2`},
		{`(\n +n: \{ type: integer, nullable: true, minimum: 1, maximum:) 128`, `$1 4`},
	} {
		re := regexp.MustCompile(r.from)
		if !re.MatchString(text) {
			t.Fatalf("the contract has no %s", r.from)
		}
		text = re.ReplaceAllString(text, r.to)
	}
	path := filepath.Join(t.TempDir(), "openapi.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
