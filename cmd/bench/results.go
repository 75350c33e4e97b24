package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// line is one result as it is written. Ours and Peer are medians over the
// rounds; RatioMedian is the median of the ratios of the rounds, above 1 where
// ours is better.
type line struct {
	Row         string   `json:"row"`
	Unit        string   `json:"unit"`
	Ours        float64  `json:"ours"`
	Peer        *float64 `json:"peer"`
	PeerName    string   `json:"peer_name"`
	RatioMedian *float64 `json:"ratio_median"`
	Rounds      int      `json:"rounds"`

	Better      string    `json:"better"` // "higher" or "lower"
	OursBest    float64   `json:"ours_best"`
	PeerBest    *float64  `json:"peer_best"`
	OursRounds  []float64 `json:"ours_rounds"`
	PeerRounds  []float64 `json:"peer_rounds,omitempty"`
	Ratios      []float64 `json:"ratios,omitempty"`
	OursCommand string    `json:"ours_command"`
	PeerCommand string    `json:"peer_command,omitempty"`
	Note        string    `json:"note,omitempty"`

	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Commit string `json:"commit"`
	Date   string `json:"date"`
}

// row measures both sides in turn, round by round; who goes first changes.
func (b *bench) row(ctx context.Context, r row) ([]line, error) {
	fmt.Printf("\n== %s\n", strings.Join(r.names(), ", "))
	p, err := r.sides(ctx, b)
	if err != nil {
		return nil, err
	}
	sides := []side{p.ours}
	fmt.Println("   ours:", p.ours.line())
	if p.peer != nil {
		sides = append(sides, p.peer)
		fmt.Printf("   peer: %s\n         %s\n", p.peerName, p.peer.line())
	} else {
		fmt.Println("   " + p.note)
	}
	for _, s := range sides {
		if err := s.start(ctx); err != nil {
			return nil, err
		}
		defer s.stop()
	}
	samples := make([][]sample, len(sides))
	for round := range b.rounds {
		for turn := range sides {
			i := (round + turn) % len(sides)
			s, err := sides[i].measure(ctx)
			if err != nil {
				return nil, err
			}
			samples[i] = append(samples[i], s)
		}
	}
	var lines []line
	for _, x := range r.results {
		l := x.line(samples)
		l.OursCommand, l.PeerName, l.Note = p.ours.line(), p.peerName, p.note
		if p.peer != nil {
			l.PeerCommand = p.peer.line()
		}
		l.CPU, l.Cores, l.Commit, l.Date = processor(), b.threads, commit(ctx), time.Now().UTC().Format(time.DateTime)
		l.print()
		lines = append(lines, l)
	}
	return lines, nil
}

// line is the result of the samples of ours and, if there is one, of the peer.
func (x result) line(samples [][]sample) line {
	values := func(of []sample) (v []float64) {
		for _, s := range of {
			v = append(v, round(x.value(s)))
		}
		return v
	}
	best := slices.Max[[]float64]
	l := line{Row: x.name, Unit: x.unit, Better: "higher", OursRounds: values(samples[0]), Rounds: len(samples[0])}
	if x.smaller {
		l.Better, best = "lower", slices.Min[[]float64]
	}
	l.Ours, l.OursBest = median(l.OursRounds), best(l.OursRounds)
	if len(samples) == 1 {
		return l
	}
	l.PeerRounds = values(samples[1])
	for i, ours := range l.OursRounds {
		ratio := ours / l.PeerRounds[i]
		if x.smaller {
			ratio = 1 / ratio
		}
		l.Ratios = append(l.Ratios, round(ratio))
	}
	peer, top, ratio := median(l.PeerRounds), best(l.PeerRounds), median(l.Ratios)
	l.Peer, l.PeerBest, l.RatioMedian = &peer, &top, &ratio
	return l
}

func (l line) print() {
	fmt.Printf("   %-18s ours median %s best %s %s", l.Row, short(l.Ours), short(l.OursBest), l.Unit)
	if l.Peer != nil {
		fmt.Printf("; peer median %s best %s; ratios %v, median %s", short(*l.Peer), short(*l.PeerBest), l.Ratios, short(*l.RatioMedian))
	}
	fmt.Println()
}

// save merges lines into latest.json, in the order of the table, and writes
// latest.md from it.
func (b *bench) save(lines []line) error {
	path := filepath.Join(b.out, "latest.json")
	all, err := readJSON[[]line](path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, l := range lines {
		all = slices.DeleteFunc(all, func(old line) bool { return old.Row == l.Row })
		all = append(all, l)
	}
	var order []string
	for _, r := range rows() {
		order = append(order, r.names()...)
	}
	slices.SortStableFunc(all, func(x, y line) int { return slices.Index(order, x.Row) - slices.Index(order, y.Row) })
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	if err := writeJSON(path, all); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.out, "latest.md"), table(all), 0o644)
}

// table is the results as Markdown.
func table(all []line) []byte {
	var out bytes.Buffer
	out.WriteString("# Afina beside its peers\n\nWritten by `make bench`; how it measures is in [bench/README.md](../README.md). " +
		"Medians over the rounds, with the best in brackets; the ratio is the median of the rounds' ratios, above 1 where Afina is better.\n\n" +
		"| row | unit | Afina | peer | ratio | rounds | peer's name |\n|---|---|---|---|---|---|---|\n")
	for _, l := range all {
		peer, ratio, name := "–", "–", l.PeerName
		if l.Peer != nil {
			peer, ratio = fmt.Sprintf("%s (%s)", short(*l.Peer), short(*l.PeerBest)), fmt.Sprintf("**%.2f**", *l.RatioMedian)
		} else {
			name = l.Note
		}
		fmt.Fprintf(&out, "| %s | %s | %s (%s) | %s | %s | %d | %s |\n", l.Row, l.Unit, short(l.Ours), short(l.OursBest), peer, ratio, l.Rounds, strings.ReplaceAll(name, "\n", " "))
	}
	out.WriteString("\n## Where and when\n\n| row | processor | cores | commit | date (UTC) |\n|---|---|---|---|---|\n")
	for _, l := range all {
		fmt.Fprintf(&out, "| %s | %s | %d | %s | %s |\n", l.Row, l.CPU, l.Cores, l.Commit, l.Date)
	}
	out.WriteString("\n## Command lines\n")
	for _, l := range all {
		fmt.Fprintf(&out, "\n%s:\n\n    %s\n", l.Row, l.OursCommand)
		if l.PeerCommand != "" {
			fmt.Fprintf(&out, "    %s\n", l.PeerCommand)
		}
	}
	return out.Bytes()
}

// short is x with three or more digits.
func short(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// round keeps six digits or so: the files are for people too.
func round(x float64) float64 {
	var y float64
	_, _ = fmt.Sscan(fmt.Sprintf("%.6g", x), &y) // it was just printed
	return y
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// processor is its name, with its family where the name says little.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	field := func(name string) string {
		for l := range strings.Lines(string(b)) {
			if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
				return strings.TrimSpace(value)
			}
		}
		return "?"
	}
	return fmt.Sprintf("%s (family %s, model %s)", field("model name"), field("cpu family"), field("model"))
}

// commit is what is measured; a plus says that the tree has changes on top.
func commit(ctx context.Context) string {
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(head))
	if changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--", "cmd", "internal", "go.mod").Output(); err != nil || len(changes) > 0 {
		name += "+"
	}
	return name
}

func readJSON[T any](path string) (v T, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
