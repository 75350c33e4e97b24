package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/cpu"
)

// torchPeer is PyTorch with transformers and PEFT, in an environment of its own.
type torchPeer struct{ python string }

// pyTorch is the peer, fetched when it is not there yet.
func (b *bench) pyTorch(ctx context.Context) (*torchPeer, error) {
	if b.torch != nil {
		return b.torch, nil
	}
	dir := filepath.Join(b.scratch, "torch")
	python := filepath.Join(dir, "bin", "python")
	if exec.CommandContext(ctx, python, "-c", "import torch, transformers, peft, gguf").Run() != nil {
		fmt.Println("   fetching PyTorch, transformers and PEFT …")
		if _, err := tool(ctx, b.scratch, "python3", "-m", "venv", dir); err != nil {
			return nil, absent("PyTorch: " + err.Error())
		}
		if _, err := tool(ctx, b.scratch, python, "-m", "pip", "install", "-q", "torch", "transformers", "peft", "gguf", "numpy"); err != nil {
			return nil, absent("PyTorch: " + err.Error())
		}
		if _, err := tool(ctx, b.scratch, python, "-c", "import torch, transformers, peft, gguf"); err != nil {
			return nil, absent("PyTorch: " + err.Error())
		}
	}
	b.torch = &torchPeer{python}
	return b.torch, nil
}

// candidate is a setting of PyTorch.
type candidate struct {
	name string
	args []string
}

// able are the candidates worth trying here. Without bfloat16 in hardware PyTorch
// takes minutes for a step in it.
func able(candidates []candidate) []candidate {
	if cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16 || runtime.GOARCH != "amd64" {
		return candidates
	}
	return slices.DeleteFunc(candidates, func(c candidate) bool { return slices.Contains(c.args, "bf16") || slices.Contains(c.args, "autocast") })
}

// defaults are the precisions in which a user of PEFT trains, all else as PEFT
// and transformers have it.
func (b *bench) defaults(args ...string) []candidate {
	var out []candidate
	for _, c := range []candidate{{"BF16 weights", []string{"--weights", "bf16"}},
		{"BF16 autocast", []string{"--weights", "autocast"}}, {"FP32", []string{"--weights", "fp32"}}} {
		out = append(out, candidate{c.name + ", PEFT's defaults", append(c.args, args...)})
	}
	return out
}

// torchSide sets p's peer to the fastest of the candidates. key names the choice.
func (b *bench) torchSide(ctx context.Context, p *pair, key string, candidates []candidate) error {
	t, err := b.pyTorch(ctx)
	if err != nil {
		return err
	}
	versions, err := exec.CommandContext(ctx, t.python, "-c",
		"from importlib.metadata import version as v; print(f\"PyTorch {v('torch')}, transformers {v('transformers')}, PEFT {v('peft')}\")").Output()
	if err != nil {
		return err
	}
	name := strings.TrimSpace(string(versions))
	var sides []sided
	for _, c := range able(candidates) {
		argv := append([]string{t.python, filepath.Join(b.scripts, "torch_peer.py"), "--threads", fmt.Sprint(b.threads)}, c.args...)
		// Inductor's compiled code is kept beside the peer, so only the first run waits for it.
		env := []string{fmt.Sprint("OMP_NUM_THREADS=", b.threads), "TORCHINDUCTOR_CACHE_DIR=" + filepath.Join(b.scratch, "inductor")}
		sides = append(sides, sided{c.name, &worker{argv: argv, env: env}})
	}
	i, err := b.fastest(ctx, key+" "+name, sides, rate)
	if err != nil {
		return err
	}
	p.peer, p.peerName = sides[i].side, name+", "+sides[i].name
	return nil
}

// choices is the file of what was fastest, so that a later run need not ask.
func (b *bench) choices() string { return filepath.Join(b.scratch, "choices.json") }

// sided is a side and what sets it apart.
type sided struct {
	name string
	side side
}

// fastest measures each candidate in turn, twice, and returns the index of the one with
// the best measurement. The answer is kept under key in the scratch folder.
func (b *bench) fastest(ctx context.Context, key string, candidates []sided, value func(sample) float64) (int, error) {
	if len(candidates) == 1 {
		return 0, nil
	}
	known, err := readJSON[map[string]string](b.choices())
	if err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	for i, c := range candidates {
		if known[key] == c.name {
			fmt.Printf("   peer's setting, as chosen before: %s\n", c.name)
			return i, nil
		}
	}
	best, top := 0, 0.0
	for i, c := range candidates {
		v, err := try(ctx, c.side, value)
		if err != nil {
			fmt.Printf("   peer's setting %s does not run: %v\n", c.name, err)
			continue
		}
		fmt.Printf("   peer's setting %s: %.4g\n", c.name, v)
		if v > top {
			best, top = i, v
		}
	}
	if top == 0 {
		return 0, absent("none of its settings runs")
	}
	if known == nil {
		known = map[string]string{}
	}
	known[key] = candidates[best].name
	return best, writeJSON(b.choices(), known)
}

// try is the better of two measurements of s.
func try(ctx context.Context, s side, value func(sample) float64) (float64, error) {
	if err := s.start(ctx); err != nil {
		return 0, err
	}
	defer s.stop()
	best := 0.0
	for range 2 {
		x, err := s.measure(ctx)
		if err != nil {
			return 0, err
		}
		best = max(best, value(x))
	}
	return best, nil
}
