package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOpenAIPage: docs/OPENAI.md names a test for every line of its tables, and
// each of them is there.
func TestOpenAIPage(t *testing.T) {
	text, err := os.ReadFile("../docs/OPENAI.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z]+)\\.(Test[A-Za-z0-9]+)`")
	rows, tests := 0, map[string]map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| What") {
			continue
		}
		rows++
		found := named.FindAllStringSubmatch(line, -1)
		if len(found) == 0 {
			t.Errorf("no test is named for %s", line)
		}
		for _, m := range found {
			room, test := m[1], m[2]
			if tests[room] == nil {
				tests[room] = testsOf(t, room)
			}
			if !tests[room][test] {
				t.Errorf("%s has no test %s, which is named for %s", room, test, line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("the page has only %d lines in its tables", rows)
	}
}

// testsOf are the tests of a room, or of the program.
func testsOf(t *testing.T, room string) map[string]bool {
	t.Helper()
	dir := room
	if room == "server" {
		dir = filepath.Join("..", "cmd", room)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no tests: %v", room, err)
	}
	all := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				all[f.Name.Name] = true
			}
		}
	}
	return all
}
