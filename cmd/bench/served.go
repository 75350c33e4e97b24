package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// service is a process that answers over HTTP.
type service struct {
	argv, env []string // {port} stands for a free port
	model     string   // as requests name it

	cmd   *exec.Cmd
	ended chan error
	noise bytes.Buffer
}

func (s *service) line() string { return typed(s.env, s.argv) }

// open starts the process and returns the time from there to the first token that
// it answered, and where it is to be asked.
func (s *service) open(ctx context.Context) (took time.Duration, base string, err error) {
	port, err := freePort()
	if err != nil {
		return 0, "", err
	}
	var argv []string
	for _, a := range s.argv {
		argv = append(argv, strings.ReplaceAll(a, "{port}", port))
	}
	s.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	s.cmd.Env = environment(s.env)
	s.noise.Reset()
	s.cmd.Stdout, s.cmd.Stderr = &s.noise, &s.noise
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return 0, "", err
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.cmd.Wait() }()
	base = "http://127.0.0.1:" + port
	if took, err = s.first(ctx, base, begin); err != nil {
		s.shut()
		return 0, "", s.blame(err)
	}
	return took, base, nil
}

// blame adds what the process said.
func (s *service) blame(err error) error {
	return fmt.Errorf("%s: %w\n%s", s.line(), err, last(s.noise.String(), 1500))
}

// shut ends the process.
func (s *service) shut() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill() // it had its time
		<-s.ended
	}
	s.cmd = nil
}

// first asks until an answer comes, and returns how long that took since begin.
func (s *service) first(ctx context.Context, base string, begin time.Time) (time.Duration, error) {
	body, err := json.Marshal(map[string]any{"model": s.model, "max_tokens": 1, "temperature": 0,
		"messages": []map[string]string{{"role": "user", "content": "Hola"}}})
	if err != nil {
		return 0, err
	}
	for time.Since(begin) < time.Minute {
		select {
		case err := <-s.ended:
			s.ended <- err
			return 0, fmt.Errorf("it ended: %v", err)
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		r, err := http.Post(base+"/v1/chat/completions", "application/json", bytes.NewReader(body))
		if err != nil {
			continue // it does not listen yet
		}
		answer, err := io.ReadAll(r.Body)
		r.Body.Close()
		switch {
		case err == nil && r.StatusCode == http.StatusOK:
			return time.Since(begin), nil
		case r.StatusCode != http.StatusServiceUnavailable:
			return 0, fmt.Errorf("status %d: %s", r.StatusCode, last(string(answer), 300))
		}
	}
	return 0, fmt.Errorf("no answer in a minute")
}

// served is a service that is started for every measurement: what counts is the
// time from its start to the first token that it answers over HTTP.
type served struct{ service }

func (s *served) start(context.Context) error { return nil }
func (s *served) stop()                       {}

func (s *served) measure(ctx context.Context) (sample, error) {
	took, _, err := s.open(ctx)
	s.shut()
	return sample{Seconds: took.Seconds()}, err
}

// hosted is a service that stays, and is asked by crowds in every measurement.
type hosted struct {
	service
	crowds []*crowd
	merge  func([]sample) sample

	base string
	turn uint64
}

// start also lets the crowds ask for a few tokens before anything is measured.
func (h *hosted) start(ctx context.Context) (err error) {
	if _, h.base, err = h.open(ctx); err != nil {
		return err
	}
	h.turn = 0
	for _, c := range h.crowds {
		warm := *c
		warm.each, warm.limit = 1, 4
		if _, err := warm.run(ctx, h.base, h.turn); err != nil {
			h.shut()
			return h.blame(err)
		}
	}
	return nil
}

// measure lets the crowds ask, one after the other, and returns what merge makes
// of their samples.
func (h *hosted) measure(ctx context.Context) (sample, error) {
	h.turn++
	var all []sample
	for _, c := range h.crowds {
		s, err := c.run(ctx, h.base, h.turn)
		if err != nil {
			h.shut()
			return s, h.blame(err)
		}
		all = append(all, s)
	}
	return h.merge(all), nil
}

func (h *hosted) stop() { h.shut() }

// freePort is a port of the loopback address that nobody listens on now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
