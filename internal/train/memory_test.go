package train_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/modeltest"
	"afina/internal/quant"
	"afina/internal/train"
)

// TestMemory trains in a process of its own and compares the peak of its memory
// with what the admission check would have said, within 15 %.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("trains SmolLM2 in a process of its own")
	}
	if path := os.Getenv("AFINA_MEASURE_MODEL"); path != "" {
		measured(t, path, graph.Memory(os.Getenv("AFINA_MEASURE_POLICY")))
		return
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("the peak of a process's memory is read from /proc")
	}
	tiny := modeltest.Write(t, modeltest.Shape{Type: quant.Q8_0, Seed: 5})
	for name, path := range map[string]string{"tiny": tiny, "real": ""} {
		for _, policy := range []graph.Memory{graph.Store, graph.Recompute} {
			t.Run(name+" "+string(policy), func(t *testing.T) {
				if path == "" {
					path = modeltest.Real(t)
				}
				peak, estimate := measure(t, path, policy)
				off := estimate/peak - 1
				t.Logf("estimate %.1f MiB, peak %.1f MiB: %+.1f %%", estimate/(1<<20), peak/(1<<20), 100*off)
				// a process that small is mostly what the collector leaves lying
				if math.Abs(off) > 0.15 && math.Abs(estimate-peak) > 16<<20 {
					t.Errorf("the estimate is off by %+.1f %%", 100*off)
				}
			})
		}
	}
}

// measure runs this test's other half in a process of its own.
func measure(t *testing.T, path string, policy graph.Memory) (peak, estimate float64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemory$", "-test.v")
	cmd.Env = append(os.Environ(), "AFINA_MEASURE_MODEL="+path, "AFINA_MEASURE_POLICY="+string(policy))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if _, err := fmt.Sscanf(line, "peak %f estimate %f", &peak, &estimate); err == nil {
			return peak, estimate
		}
	}
	t.Fatalf("no figures in\n%s", out)
	return 0, 0
}

// measured makes 24 steps of 512 tokens, with checkpoints and held-out losses.
func measured(t *testing.T, path string, policy graph.Memory) {
	g := gang(t, 0)
	m := open(t, path, g)
	a, err := lora.New(m, 16, 32, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	o := graph.Options{Precision: kernel.Fast, Memory: policy, Dropout: 0.05}
	built, err := graph.Build(m, a, g, o)
	if err != nil {
		t.Fatal(err)
	}
	defer built.Close()
	seqs := make([]chat.Sequence, 24*4)
	for i := range seqs {
		s := chat.Sequence{Tokens: make([]int32, 129), Learn: make([]bool, 129)}
		for j := range s.Tokens {
			s.Tokens[j], s.Learn[j] = int32((i*131+j*j*7+j*13)%256), j >= 32
		}
		seqs[i] = s
	}
	plan := data.Plan{BatchSize: 4, Epochs: 1, MaxTokens: 512, Share: true, Seed: 1}
	_, err = train.Run(context.Background(), built, seqs, seqs[:2], train.Options{
		Plan: plan, LearningRate: 1e-5, Schedule: "constant", ClipNorm: 1, EvalEvery: 8, SaveEvery: 8,
	}, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("peak", peakBytes(t), "estimate", m.Bytes()+graph.Estimate(m, a, 512, plan.Places(), o))
}

// peakBytes is the most memory this process has had resident.
func peakBytes(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
