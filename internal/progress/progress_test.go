package progress_test

import (
	"os"
	"strings"
	"testing"

	"afina/internal/jobs"
	"afina/internal/progress"
)

func TestLine(t *testing.T) {
	eval := 1.5
	for _, tt := range []struct {
		name string
		p    jobs.Progress
		eval *float64
		want string
	}{
		{"first", jobs.Progress{Step: 1, Steps: 66, TrainLoss: 2.5, TokensPerSecond: 431.6, ETASeconds: 75}, nil,
			"step 1/66  loss 2.5000  432 tokens/s  1m15s left"},
		{"long", jobs.Progress{Step: 2, Steps: 9, TrainLoss: 1, TokensPerSecond: 20, ETASeconds: 7260}, &eval,
			"step 2/9  loss 1.0000  held-out 1.5000  20 tokens/s  2h01m left"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := progress.Line(tt.p, tt.eval); got != tt.want {
				t.Errorf("line = %q, want %q", got, tt.want)
			}
		})
	}
}

// Where there is no screen, only the first, the last and one point every ten
// seconds are told.
func TestNoScreen(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := progress.New(f)
	for i := range 50 {
		b.Show(jobs.Progress{Step: i + 1, Steps: 50})
	}
	b.Done()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "step 1/50") || !strings.HasPrefix(lines[1], "step 50/50") {
		t.Errorf("told %q, want the first and the last step", lines)
	}
}
