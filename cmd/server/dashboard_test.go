package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"afina/internal/client"
	"afina/internal/jobs"
)

// TestGrafanaExpressions lets a real Prometheus scrape the live service, and
// evaluates every expression of the Grafana dashboard: each must return data.
func TestGrafanaExpressions(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no prometheus on this machine (Debian: apt-get install prometheus)")
	}
	s := newService(t)
	s.start()
	query := scrape(t, program, s.address)

	job := s.submit(map[string]any{"model": "tiny", "dataset": s.upload(40), "name": "curvas", "epochs": 8})
	if _, err := s.Watch(t.Context(), job.ID, func(jobs.Progress) {}); err != nil {
		t.Fatal(err)
	}
	ask := func() { // rates need traffic between two scrapes
		q := client.Question{Model: "curvas", Messages: []client.Message{{Role: "user", Content: "1 + 2"}}, MaxTokens: 8}
		if _, err := s.Chat(t.Context(), q, func(string) {}); err != nil {
			t.Fatal(err)
		}
	}
	exprs := expressions(t)
	if len(exprs) < 10 {
		t.Fatalf("the dashboard holds only %d expressions", len(exprs))
	}
	for _, e := range exprs {
		e = strings.ReplaceAll(e, "$name", ".+")
		deadline := time.Now().Add(30 * time.Second)
		for n := query(e); n == 0; n = query(e) {
			if time.Now().After(deadline) {
				t.Errorf("no data for %s", e)
				break
			}
			ask()
			time.Sleep(500 * time.Millisecond)
		}
	}
}

// scrape runs Prometheus on the service; the function it returns evaluates an
// expression and returns how many series came back with a number.
func scrape(t *testing.T, program, target string) func(expr string) int {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: afina\n  static_configs: [{targets: [%q]}]\n", target)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(program, "--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "tsdb"), "--web.listen-address", address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return func(expr string) int {
		resp, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expr))
		if err != nil {
			return 0 // not up yet
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		var answer struct {
			Status string
			Error  string
			Data   struct {
				Result []struct{ Value [2]any }
			}
		}
		if err := json.Unmarshal(b, &answer); err != nil {
			return 0
		}
		if answer.Status != "success" && resp.StatusCode == http.StatusBadRequest {
			t.Fatalf("%s: %s", expr, answer.Error)
		}
		n := 0
		for _, r := range answer.Data.Result {
			if r.Value[1] != "NaN" {
				n++
			}
		}
		return n
	}
}

// expressions are those of every panel of the dashboard.
func expressions(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("../../deploy/grafana/dashboards/training.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range d.Panels {
		for _, x := range p.Targets {
			all = append(all, x.Expr)
		}
	}
	return all
}
