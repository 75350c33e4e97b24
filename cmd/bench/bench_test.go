package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"afina/internal/gguf"
	"afina/internal/modeltest"
	"afina/internal/quant"
)

func TestLineOfARow(t *testing.T) {
	ours := []sample{{Seconds: 1, Tokens: 40}, {Seconds: 1, Tokens: 60}, {Seconds: 1, Tokens: 50}}
	peer := []sample{{Seconds: 1, Tokens: 20}, {Seconds: 1, Tokens: 20}, {Seconds: 1, Tokens: 10}}
	for _, c := range []struct {
		name                         string
		smaller                      bool
		ours, peer, ratio, best, top float64
	}{
		{"more is better", false, 50, 20, 3, 60, 20},
		{"less is better", true, 50, 20, 0.333333, 40, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := result{"x", tokensPerSecond, c.smaller, rate}.line([][]sample{ours, peer})
			got := []float64{l.Ours, *l.Peer, *l.RatioMedian, l.OursBest, *l.PeerBest}
			if want := []float64{c.ours, c.peer, c.ratio, c.best, c.top}; !cmp.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	if l := (result{"x", "ms", true, milliseconds}).line([][]sample{ours}); l.Peer != nil || l.RatioMedian != nil || l.Ours != 1000 {
		t.Errorf("a row without a peer: %+v", l)
	}
}

// What was measured before stays, in the order of the table.
func TestSaveMerges(t *testing.T) {
	b := bench{out: t.TempDir()}
	for _, name := range []string{"open-model", "train-512", "prompt-q4_0", "train-512"} {
		if err := b.save([]line{{Row: name, Unit: "x", Ours: 2}}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readJSON[[]line](filepath.Join(b.out, "latest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range all {
		got = append(got, l.Row)
	}
	if want := []string{"train-512", "prompt-q4_0", "open-model"}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTogetherCountsWhileAllWrite(t *testing.T) {
	at := func(seconds ...int) (out []time.Time) {
		for _, s := range seconds {
			out = append(out, time.Unix(int64(s), 0))
		}
		return out
	}
	s, err := together([][]time.Time{at(1, 2, 3, 4), at(2, 3, 4, 5, 6)})
	if want := (sample{Seconds: 2, Tokens: 4}); err != nil || !cmp.Equal(s, want) {
		t.Errorf("got %+v (%v), want %+v", s, err, want)
	}
	if _, err := together([][]time.Time{at(1, 2), at(3, 4)}); err == nil {
		t.Error("streams that never wrote together were counted")
	}
}

func TestPeersOutput(t *testing.T) {
	s, err := parseBench([]byte(`[{"n_prompt": 512, "n_gen": 0, "avg_ns": 500000000}]`))
	if want := (sample{Seconds: 0.5, Tokens: 512}); err != nil || !cmp.Equal(s, want) {
		t.Errorf("llama-bench: got %+v (%v), want %+v", s, err, want)
	}
	s, err = parseBatched([]byte("noise\n{\"n_kv_max\": 1, \"pp\": 128, \"tg\": 64, \"pl\": 16, \"t_pp\": 1.0, \"t_tg\": 2.0}\n"))
	if want := (sample{Seconds: 2, Tokens: 1024}); err != nil || !cmp.Equal(s, want) {
		t.Errorf("llama-batched-bench: got %+v (%v), want %+v", s, err, want)
	}
	for _, bad := range []string{"", "[]", "{}"} {
		if _, err := parseBench([]byte(bad)); err == nil {
			t.Errorf("llama-bench: %q was read", bad)
		}
		if _, err := parseBatched([]byte(bad)); err == nil {
			t.Errorf("llama-batched-bench: %q was read", bad)
		}
	}
}

func TestChoose(t *testing.T) {
	all, err := choose("")
	if err != nil || len(all) == 0 || all[len(all)-1].phi {
		t.Errorf("all rows: %d, %v", len(all), err)
	}
	if two, err := choose("train-512-rss,generate-16,train-512"); err != nil || len(two) != 2 {
		t.Errorf("got %d rows (%v), want 2: the first and the last are measured together", len(two), err)
	}
	if _, err := choose("train-513"); err == nil {
		t.Error("an unknown row was chosen")
	}
}

func TestRequantize(t *testing.T) {
	from := modeltest.Write(t, modeltest.Shape{Type: quant.Q4_1})
	to := filepath.Join(t.TempDir(), "q8.gguf")
	if err := requantize(from, to, quant.Q8_0); err != nil {
		t.Fatal(err)
	}
	a, b := openFile(t, from), openFile(t, to)
	if !cmp.Equal(a.Metadata, b.Metadata) || !cmp.Equal(a.Names, b.Names) {
		t.Errorf("keys or names differ: %s", cmp.Diff(a.Metadata, b.Metadata))
	}
	for _, name := range a.Names {
		x, _ := a.Tensor(name)
		y, _ := b.Tensor(name)
		want := x.Type
		if want == quant.Q4_1 {
			want = quant.Q8_0
		}
		if y.Type != want || x.Rows != y.Rows || x.Cols != y.Cols {
			t.Errorf("%s: got %s (%d, %d), want %s (%d, %d)", name, y.Type, y.Rows, y.Cols, want, x.Rows, x.Cols)
			continue
		}
		near(t, name, x, y)
	}
	before, _ := os.Stat(to)
	if err := requantize(from, to, quant.Q8_0); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(to); after.ModTime() != before.ModTime() {
		t.Error("the file was written again")
	}
}

func openFile(t *testing.T, path string) *gguf.File {
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// near compares with the step of Q8_0: a 127th of the greatest in a block, half
// of it either way, and as much again for its float16 scale.
func near(t *testing.T, name string, x, y quant.Matrix) {
	a, b := make([]float32, x.Cols), make([]float32, x.Cols)
	for i := range x.Rows {
		x.Dequantize(a, i)
		y.Dequantize(b, i)
		top := float32(0)
		for _, v := range a {
			top = max(top, v, -v)
		}
		for j := range a {
			if d := a[j] - b[j]; max(d, -d) > top/127 {
				t.Fatalf("%s row %d: got %g, want %g", name, i, b[j], a[j])
			}
		}
	}
}
