package dashboard_test

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"afina/internal/dashboard"
	"afina/internal/jobs"
)

// TestPolicy: the policy allows every style and script of the page, by the hash
// of its text, and the page asks no other address for anything.
func TestPolicy(t *testing.T) {
	p := dashboard.New()
	html := string(p.HTML)
	found := regexp.MustCompile(`(?s)<(style|script)[^>]*>(.*?)</(?:style|script)>`).FindAllStringSubmatch(html, -1)
	if len(found) != 4 {
		t.Fatalf("%d styles and scripts", len(found))
	}
	for _, m := range found {
		sum := sha256.Sum256([]byte(m[2]))
		hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		_, allowed, _ := strings.Cut(p.Policy, m[1]+"-src ")
		allowed, _, _ = strings.Cut(allowed, ";")
		if !strings.Contains(allowed, hash) {
			t.Errorf("a %s of %d bytes is not allowed by %q", m[1], len(m[2]), p.Policy)
		}
	}
	for _, never := range []string{" style=", " onclick=", "<!-- script", "<!-- style", "<!-- chart"} {
		if markup := regexp.MustCompile(`(?s)<(style|script).*?</(style|script)>`).ReplaceAllString(html, ""); strings.Contains(markup, never) {
			t.Errorf("the page holds %q", never)
		}
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if !strings.HasPrefix(m[1], "data:") {
			t.Errorf("the page asks for %s", m[1])
		}
	}
}

// TestWords: both languages have every word that page and script use.
func TestWords(t *testing.T) {
	script, err := os.ReadFile("page.js")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`data-t="(\w+)"`).FindAllStringSubmatch(string(page), -1) {
		used[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`\bt\.(\w+)`).FindAllStringSubmatch(string(script), -1) {
		used[m[1]] = true
	}
	for _, state := range []jobs.State{jobs.Queued, jobs.Paused, jobs.Running, jobs.Succeeded, jobs.Failed, jobs.Cancelled} {
		used[string(state)] = true
	}
	_, tables, _ := strings.Cut(string(script), "const words")
	en, rest, _ := strings.Cut(tables, "  es: {")
	es, _, _ := strings.Cut(rest, "\n};")
	for word := range used {
		for name, table := range map[string]string{"en": en, "es": es} {
			if !regexp.MustCompile(`\b` + word + `: `).MatchString(table) {
				t.Errorf("%s has no word for %q", name, word)
			}
		}
	}
}

// TestScript: the script is valid JavaScript, where node can tell.
func TestScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	script, err := os.Open("page.js")
	if err != nil {
		t.Fatal(err)
	}
	defer script.Close()
	cmd := exec.Command(node, "--check", "--input-type=module", "-")
	cmd.Stdin = script
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
