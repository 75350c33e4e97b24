package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sample is one measurement of one side.
type sample struct {
	Seconds       float64            `json:"seconds"`
	Tokens        int                `json:"tokens,omitempty"`
	Conversations int                `json:"conversations,omitempty"`
	Peak          float64            `json:"rss_mib,omitempty"` // of the process, since it began
	Loss          float64            `json:"loss,omitempty"`    // mean, of a training step
	Figures       map[string]float64 `json:"figures,omitempty"`
}

// side is one of the two that are measured in turn.
type side interface {
	start(ctx context.Context) error
	measure(ctx context.Context) (sample, error)
	stop()
	line() string // the command line, as a person would type it
}

// hindering are the variables that make libraries take a slower path than they
// would choose: no side sees them.
var hindering = []string{"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NVPL_BLAS_DEBUG_CPU_TYPE", "ATEN_CPU_CAPABILITY",
	"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
	"MKL_NUM_THREADS", "GOMAXPROCS", "GOGC", "GODEBUG", "LD_LIBRARY_PATH"}

// environment is ours without what hinders, and with extra.
func environment(extra []string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(hindering, name)
	})
	return append(env, extra...)
}

// typed is argv as a person would type it.
func typed(env, argv []string) string {
	here, err := os.Getwd()
	words := slices.Concat(env, argv)
	for i, w := range words {
		if rel, relErr := filepath.Rel(here, w); err == nil && relErr == nil && filepath.IsAbs(w) && !strings.HasPrefix(rel, "..") {
			words[i] = rel
		}
	}
	return strings.Join(words, " ")
}

// worker is a process that stays: for every line it is told it measures once and
// answers a line of JSON. Loading and warming up are not measured.
type worker struct {
	argv, env []string
	about     string // what it said when it was ready

	cmd   *exec.Cmd
	tell  io.WriteCloser
	hear  *bufio.Scanner
	noise bytes.Buffer // its standard error
}

func (w *worker) line() string { return typed(w.env, w.argv) }

func (w *worker) start(ctx context.Context) error {
	w.cmd = exec.CommandContext(ctx, w.argv[0], w.argv[1:]...)
	w.cmd.Env = environment(w.env)
	w.noise.Reset()
	w.cmd.Stderr = &w.noise
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if w.tell, err = w.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := w.cmd.Start(); err != nil {
		return err
	}
	w.hear = bufio.NewScanner(out)
	var ready struct{ Ready string }
	if err := w.answer(&ready); err != nil {
		return err
	}
	w.about = ready.Ready
	return nil
}

// answer reads a line of JSON into v; what else is printed is passed over.
func (w *worker) answer(v any) error {
	for w.hear.Scan() {
		if bytes.HasPrefix(w.hear.Bytes(), []byte("{")) {
			return json.Unmarshal(w.hear.Bytes(), v)
		}
	}
	w.tell.Close()
	err := errors.Join(w.hear.Err(), w.cmd.Wait())
	w.cmd = nil
	return fmt.Errorf("%s ended (%v):\n%s", w.line(), err, last(w.noise.String(), 1500))
}

func (w *worker) measure(context.Context) (s sample, err error) {
	if _, err = io.WriteString(w.tell, "run\n"); err != nil {
		return s, err
	}
	return s, w.answer(&s)
}

func (w *worker) stop() {
	if w.cmd == nil {
		return
	}
	w.tell.Close() // the end of its work
	_ = w.cmd.Wait()
	w.cmd = nil
}

// command is a process per measurement.
type command struct {
	argv, env []string
	parse     func(out []byte) (sample, error) // nil: only the time from start to end counts
}

func (c *command) line() string                { return typed(c.env, c.argv) }
func (c *command) start(context.Context) error { return nil }
func (c *command) stop()                       {}

func (c *command) measure(ctx context.Context) (sample, error) {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = environment(c.env)
	var noise bytes.Buffer
	cmd.Stderr = &noise
	begin := time.Now()
	out, err := cmd.Output()
	took := time.Since(begin).Seconds()
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w\n%s", c.line(), err, last(noise.String(), 1500))
	}
	if c.parse == nil {
		return sample{Seconds: took}, nil
	}
	return c.parse(out)
}

// last is the end of s, at most n bytes.
func last(s string, n int) string { return s[max(0, len(s)-n):] }
