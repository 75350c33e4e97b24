package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"afina/internal/config"
	"afina/internal/fault"
)

const documented = "../../configs/default.yaml"

func TestDefaultFile(t *testing.T) {
	got, err := config.Load(documented, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Errorf("the file is not the defaults (-defaults +file):\n%s", diff)
	}
	empty, err := config.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), empty); diff != "" {
		t.Error(diff)
	}
}

// TestEveryKeyDocumented: each key of the struct stands in the file, under its
// section, right below a comment.
func TestEveryKeyDocumented(t *testing.T) {
	text, err := os.ReadFile(documented)
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	var sections []string
	comment := false
	line := regexp.MustCompile(`^( *)([a-z_]+):(.*)$`)
	for _, l := range strings.Split(string(text), "\n") {
		m := line.FindStringSubmatch(l)
		if m == nil {
			comment = strings.HasPrefix(strings.TrimSpace(l), "# ")
			continue
		}
		sections = append(sections[:len(m[1])/2], m[2])
		if m[3] != "" {
			described[strings.Join(sections, ".")] = comment
		}
		comment = false
	}
	for _, key := range keys(reflect.TypeFor[config.Config](), "") {
		commented, there := described[key]
		if !there || !commented {
			t.Errorf("%s: in the file %v, with a comment above it %v", key, there, commented)
		}
		delete(described, key)
	}
	if len(described) > 0 {
		t.Errorf("keys that do not exist: %v", described)
	}
}

func keys(typ reflect.Type, under string) (all []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		switch name := f.Tag.Get("yaml"); {
		case name == "-":
		case f.Type.Kind() == reflect.Struct:
			all = append(all, keys(f.Type, under+name+".")...)
		default:
			all = append(all, under+name)
		}
	}
	return all
}

func write(t *testing.T, yaml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "afina.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOrder(t *testing.T) {
	path := write(t, `
log:
http:
  timeout: 1m
  api_keys: [0123456789abcdef]
serve: {temperature: 1, top_k: 40}
jobs: {workers: 2}
train:
  lora: {rank: 4, targets: [q, v]}
  epochs: 1
`)
	got, err := config.Load(path, []string{
		"HOME=/root", "AFINA_TEST_MODEL=x", "AFINA_JOBS__WORKERS=3", "AFINA_TRAIN__LORA__RANK= 8 ",
		"AFINA_HTTP__API_KEYS=aaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbb", "AFINA_LISTEN=0.0.0.0:9000",
	}, "jobs.workers=4", "listen=[::1]:0", "kernel=")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.HTTP.Timeout = time.Minute
	want.HTTP.APIKeys = []string{"aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"}
	want.Serve.Temperature, want.Serve.TopK = 1, 40
	want.Jobs.Workers = 4
	want.Train.LoRA.Rank, want.Train.LoRA.Targets, want.Train.Epochs = 8, []string{"q", "v"}, 1
	want.Listen = "[::1]:0"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, yaml, env, flag, says string }{
		{"unknown", "listn: x", "", "", `unknown key "listn" (did you mean "listen"?)`},
		{"unknown, nested", "train: {lora: {rnak: 1}}", "", "", `(did you mean "train.lora.rank"?)`},
		{"unknown in environment", "", "AFINA_HTTP__API_KEY=x", "", `unknown key "http.api_key" (did you mean "http.api_keys"?)`},
		{"unknown flag", "", "", "nothing=1", `unknown key "nothing"`},
		{"no value", "", "", "listen", "key=value"},
		{"section as value", "http: 5", "", "", "http is a section"},
		{"value as section", "listen: {port: 5}", "", "", `unknown key "listen.port"`},
		{"not yaml", "a: [", "", "", "afina.yaml"},
		{"key twice", "threads: 1\nthreads: 2", "", "", "already defined"},
		{"a list", "- a", "", "", "afina.yaml"},
		{"fraction", "jobs: {workers: 1.5}", "", "", "jobs.workers is 1.5: it must be a whole number"},
		{"whole, written as fraction", "jobs: {workers: 2.0}", "", "", "whole number"},
		{"text for number", "", "AFINA_THREADS=many", "", "threads is many: it must be a whole number"},
		{"too big", "", "AFINA_THREADS=99999999999999999999", "", "whole number"},
		{"not a number", "serve: {temperature: .nan}", "", "", "serve.temperature is NaN: it must be a number"},
		{"number for text", "models: 5", "", "", "must be text"},
		{"time without unit", "http: {timeout: 30}", "", "", "http.timeout is 30: it must be a time with its unit"},
		{"list of numbers", "http: {api_keys: [1234567890123456]}", "", "", "http.api_keys has an entry 0 that is not text"},
		{"number for list", "http: {api_keys: 1}", "", "", "must be a list"},
		{"address", "listen: '8080'", "", "", "such as 127.0.0.1:8080"},
		{"port", "listen: ':http'", "", "", "port must be a number"},
		{"public", "listen: ':8080'", "", "", "set http.api_keys"},
		{"public by name", "listen: 'box.example:8080'", "", "", "set http.api_keys"},
		{"short key", "http: {api_keys: [secret]}", "", "", "http.api_keys[0] must be at least 16 characters long"},
		{"key with a space", "http: {api_keys: ['0123456789 abcdef']}", "", "", "http.api_keys[0] holds a space"},
		{"level", "log: {level: loud}", "", "", `log.level is "loud": it must be one of debug, info, warn, error`},
		{"kernel", "kernel: sse", "", "", "generic, avx2, avx512, amx"},
		{"folder", "models: ''", "", "", "models is missing"},
		{"time", "http: {timeout: 5ms}", "", "", "http.timeout is 5ms: it must be at least 1s"},
		{"temperature", "serve: {temperature: 3}", "", "", "serve.temperature is 3: it must be at most 2"},
		{"workers", "jobs: {workers: 0}", "", "", "jobs.workers is 0: it must be at least 1"},
		{"train", "train: {lora: {rank: 0}}", "", "", "train.lora.rank is 0: it must be at least 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var environ, flags []string
			if c.env != "" {
				environ = []string{c.env}
			}
			if c.flag != "" {
				flags = []string{c.flag}
			}
			_, err := config.Load(write(t, c.yaml), environ, flags...)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid {
				t.Fatalf("got %v, want a fault.Invalid", err)
			}
			if !strings.Contains(f.Message, c.says) {
				t.Errorf("got %q, should say %q", f.Message, c.says)
			}
			if strings.Contains(f.Message, "secret") || strings.Contains(f.Message, "0123456789") {
				t.Errorf("tells a key: %q", f.Message)
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), nil)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestPublicWithKey(t *testing.T) {
	c := config.Default()
	c.Listen = "0.0.0.0:8080"
	c.HTTP.APIKeys = []string{"0123456789abcdef"}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	for _, listen := range []string{"localhost:80", "127.8.9.1:80", "[::1]:80"} {
		c := config.Default()
		c.Listen = listen
		if err := c.Check(); err != nil {
			t.Error(err)
		}
	}
}
