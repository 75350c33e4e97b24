package finetune

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"

	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/graph"
	"afina/internal/lora"
	"afina/internal/model"
)

// maxTokens bounds the tokens of a batch: longer ones are cut into several whose
// gradients add up, which is the same sum in less memory. More at once is not
// faster. It must not depend on the machine: the order of a sum is in the bits
// of its result.
const maxTokens = 512

// longest is the longest sequence of both parts.
func longest(parts ...*data.Laid) int {
	n := 0
	for _, p := range parts {
		for _, s := range p.Sequences {
			n = max(n, len(s.Tokens))
		}
	}
	return n
}

// policy chooses how to compute, or says how much memory is missing. sequence is
// the length of the longest sequence.
func (t *Tuner) policy(s Spec, m *model.Model, sequence int) (graph.Options, error) {
	o := graph.Options{Dropout: s.LoRA.Dropout}
	var err error
	if o.Precision, err = Precision(s.Precision); err != nil {
		return o, err
	}
	a, err := outline(m, s)
	if err != nil {
		return o, err
	}
	tokens := max(sequence, maxTokens)
	needs := func(policy graph.Memory) int64 {
		o := o
		o.Memory = policy
		return graph.Estimate(m, a, tokens, s.options().Plan.Places(), o)
	}
	room := t.room(m)
	switch s.Memory {
	case "auto":
		// Storing is faster; the rest of the machine still wants its share.
		o.Memory = graph.Recompute
		if room == 0 || needs(graph.Store) <= room/4 {
			o.Memory = graph.Store
		}
	default:
		o.Memory = graph.Memory(s.Memory)
	}
	if need := needs(o.Memory); room > 0 && need > room {
		remedy := "lower max_length, batch_size or lora.rank, or choose a smaller model"
		if o.Memory == graph.Store {
			remedy = "choose memory recompute, or " + remedy
		}
		return o, fault.New(fault.NoSpace, "training %s on %d tokens at once takes about %s, and there is room for %s: %s",
			m.Name, tokens, mebibytes(need), mebibytes(room), remedy).WithCode("insufficient_memory")
	}
	return o, nil
}

// outline is the adapter's shape without its numbers.
func outline(m *model.Model, s Spec) (*lora.Adapter, error) {
	a := &lora.Adapter{Rank: s.LoRA.Rank, Alpha: s.LoRA.Alpha}
	for _, name := range s.LoRA.Targets {
		slot, ok := m.Spec.Slot(name)
		if !ok {
			_, err := lora.New(m, 1, 1, s.LoRA.Targets, 0) // which names the legal ones
			return nil, err
		}
		a.Slots = append(a.Slots, slot.GGUF)
	}
	if len(s.LoRA.Targets) == 0 {
		for _, slot := range m.Spec.Slots {
			a.Slots = append(a.Slots, slot.GGUF)
		}
	}
	return a, nil
}

// room is how many bytes a run may take beside the model; 0: not known.
func (t *Tuner) room(m *model.Model) int64 {
	if t.MemoryLimit > 0 {
		return t.MemoryLimit
	}
	machine := MachineBytes()
	if machine == 0 {
		return 0
	}
	return max(1, machine-m.Bytes())
}

// MachineBytes is the memory this process may use: the machine's, or less when
// a control group says so; 0 when it cannot be known.
func MachineBytes() int64 {
	total := kibibytes("/proc/meminfo", "MemTotal:")
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit > 0 && limit < total {
			total = limit
		}
	}
	return total
}

// peakBytes is the most memory this process has had resident.
func peakBytes() int64 {
	if peak := kibibytes("/proc/self/status", "VmHWM:"); peak > 0 {
		return peak
	}
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.Sys)
}

// kibibytes reads a line like "VmHWM:  1234 kB", in bytes; 0 when there is none.
func kibibytes(path, key string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) >= 2 && fields[0] == key {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

func mebibytes(n int64) string { return strconv.FormatInt((n+1<<20-1)>>20, 10) + " MiB" }
