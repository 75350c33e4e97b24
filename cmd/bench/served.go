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
	"syscall"
	"time"
)

// served is a service that is started for every measurement: what counts is the
// time from its start to the first token that it answers over HTTP.
type served struct {
	argv, env []string // {port} stands for a free port
	model     string   // as requests name it
}

func (s *served) line() string                { return typed(s.env, s.argv) }
func (s *served) start(context.Context) error { return nil }
func (s *served) stop()                       {}

func (s *served) measure(ctx context.Context) (sample, error) {
	port, err := freePort()
	if err != nil {
		return sample{}, err
	}
	var argv []string
	for _, a := range s.argv {
		argv = append(argv, string(bytes.ReplaceAll([]byte(a), []byte("{port}"), []byte(port))))
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = environment(s.env)
	var noise bytes.Buffer
	cmd.Stdout, cmd.Stderr = &noise, &noise
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	took, err := s.first(ctx, "http://127.0.0.1:"+port, begin, ended)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill() // it had its time
	}
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w\n%s", s.line(), err, last(noise.String(), 1500))
	}
	return sample{Seconds: took.Seconds()}, nil
}

// first asks until an answer comes, and returns how long that took since begin.
func (s *served) first(ctx context.Context, base string, begin time.Time, ended chan error) (time.Duration, error) {
	body, err := json.Marshal(map[string]any{"model": s.model, "max_tokens": 1, "temperature": 0,
		"messages": []map[string]string{{"role": "user", "content": "Hola"}}})
	if err != nil {
		return 0, err
	}
	for time.Since(begin) < time.Minute {
		select {
		case err := <-ended:
			ended <- err
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
