//go:build unix && !race

package tokenizer_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"afina/internal/tokenizer"
)

// spent is the processor time that this process has used.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestMegabyte: a megabyte without a border takes less than a second of computing,
// whatever else the machine is doing. (Not under the race detector, which is slow.)
func TestMegabyte(t *testing.T) {
	const size = 1 << 20
	random := make([]byte, size)
	state := uint64(1)
	for i := range random {
		state = state*6364136223846793005 + 1442695040888963407
		random[i] = 'a' + byte(state>>59)%26
	}
	texts := map[string]string{"random": string(random), "Spanish": strings.Repeat("¿Cuánto es la mitad de 3 cuartos? ", size/36)}
	for _, unit := range []string{"a", " ", "ñ", "\n", "1", "="} {
		texts[unit] = strings.Repeat(unit, size/len(unit))
	}
	made := every(t)
	for name, tok := range map[string]*tokenizer.Tokenizer{"real": smollm2(t), "qwen2": made["qwen2"], "spm": made["spm"]} {
		for what, text := range texts {
			start := spent(t)
			ids := tok.Encode(nil, text, true)
			if took := spent(t) - start; took > time.Second {
				t.Errorf("%s: a megabyte of %q took %v", name, what, took)
			}
			if got := tok.Decode(ids); got != text {
				t.Errorf("%s: a megabyte of %q did not come back", name, what)
			}
		}
	}
}
