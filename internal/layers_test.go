// Package internal_test holds the rule of the house: who may import whom.
package internal_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors is the building, ground floor first. A package imports only from
// floors below its own, or from packages to its left on the same floor.
var floors = [][]string{
	{"fault", "parallel", "quant", "kernel", "formula", "algebra", "equation", "mathcheck", "sampling", "optim", "safetensors", "automaton"},
	{"gguf", "tokenizer", "chat", "grammar", "schema", "model", "lora", "modeltest", "hub"},
	{"data", "lint", "practice", "forward", "graph"},
	{"engine", "train", "store", "catalog"},
	{"assistant", "evaluate", "finetune"},
	{"jobs", "exams", "metrics"},
	{"form", "config", "dashboard", "client", "progress", "door", "request", "openai", "tuning", "httpapi", "contract"},
}

// homes are the only packages that may import a dependency.
var homes = map[string][]string{
	"gorgonia.org":                        {"graph"},
	"github.com/chewxy/hm":                {"graph"},
	"github.com/go-chi":                   {"door", "openai", "tuning", "httpapi"},
	"github.com/go-playground/validator":  {"form"},
	"github.com/getkin/kin-openapi":       {"contract", "httpapi"},
	"github.com/prometheus/client_golang": {"metrics"},
	"go.uber.org/zap":                     {"door", "openai", "exams", "httpapi", "jobs"},
	"github.com/riverqueue":               {"jobs"},
	"github.com/uptrace/bun":              {"store"},
	"github.com/pressly/goose":            {"store"},
	"modernc.org/sqlite":                  {"store"},
	"github.com/ardanlabs/jinja":          {"chat"},
	"github.com/knadh/koanf":              {"config"},
	"github.com/alecthomas/kong":          {},
	"github.com/ergochat/readline":        {},
	"github.com/schollz/progressbar":      {"progress"},
}

// TestFloors reads the import lines itself: the result of running "go list"
// would be cached by "go test" and go stale.
func TestFloors(t *testing.T) {
	const house = "afina/internal/"
	rank := map[string]int{}
	for _, room := range slices.Concat(floors...) {
		rank[room] = len(rank)
	}

	files, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		room := filepath.Dir(file)
		if _, ok := rank[room]; !ok {
			t.Errorf("%s: room %q has no floor; add it to the table", file, room)
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if dep, ok := strings.CutPrefix(path, house); ok && rank[dep] >= rank[room] {
				t.Errorf("%s imports %s, which is not below it", file, dep)
			}
			for dep, home := range homes {
				if strings.HasPrefix(path, dep) && !slices.Contains(home, room) {
					t.Errorf("%s imports %s, whose home is %v", file, path, home)
				}
			}
		}
	}
}
