package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"afina/internal/engine"
	"afina/internal/forward"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/model"
	"afina/internal/parallel"
)

// work is our side in a process of its own: the rooms that the service is built
// of, called as it calls them.
type work struct {
	kind, path, batches, level, memory string

	dropout float64
	threads int
	streams int
	tokens  int // of each prompt
	limit   int // of each answer
	times   int // prompts per measurement
	chunk   int // tokens of a prompt per pass

	pool  *parallel.Pool
	gang  *kernel.Gang
	model *model.Model
}

// measurement measures once.
type measurement func(ctx context.Context) (sample, error)

// ourSide is `bench side`: it opens, warms up and says that it is ready; then for
// every line it reads it measures once and answers with a line of JSON.
func ourSide(ctx context.Context, args []string) error {
	w, err := parseWork(args)
	if err != nil {
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	defer w.close()
	if w.kind == "open" {
		return w.token()
	}
	prepare := map[string]func(context.Context) (measurement, error){
		"train": w.train, "prompt": w.prompt, "generate": w.generate, "chat": w.chat,
	}[w.kind]
	if prepare == nil {
		return fmt.Errorf("no work is called %q", w.kind)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	measure, err := prepare(ctx)
	if err != nil {
		return err
	}
	say := json.NewEncoder(os.Stdout)
	if err := say.Encode(map[string]any{"ready": "afina", "level": w.gang.Level(), "threads": w.pool.Workers()}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		s, err := measure(ctx)
		if err != nil {
			return err
		}
		s.Peak = peakMiB()
		if err := say.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

func parseWork(args []string) (*work, error) {
	w := &work{}
	fs := flag.NewFlagSet("bench side", flag.ContinueOnError)
	fs.StringVar(&w.kind, "work", "", "train, prompt, generate, chat or open")
	fs.StringVar(&w.path, "model", "", "the GGUF file")
	fs.StringVar(&w.batches, "batches", "", "JSON: [[{tokens, learn}, …], …]")
	fs.StringVar(&w.level, "level", "", "generic, avx2, avx512 or amx; empty: the best here")
	fs.StringVar(&w.memory, "memory", string(graph.Store), "store or recompute")
	fs.Float64Var(&w.dropout, "dropout", 0, "of the adapter")
	fs.IntVar(&w.threads, "threads", 0, "cores; 0: all")
	fs.IntVar(&w.streams, "streams", 1, "answers written at once")
	fs.IntVar(&w.tokens, "tokens", 512, "tokens of each prompt")
	fs.IntVar(&w.limit, "limit", 128, "tokens of each answer")
	fs.IntVar(&w.times, "times", 1, "prompts per measurement")
	fs.IntVar(&w.chunk, "chunk", engine.Defaults().Chunk, "tokens of a prompt per pass")
	return w, fs.Parse(args)
}

func (w *work) open() (err error) {
	w.pool = parallel.New(w.threads)
	if w.gang, err = kernel.NewGang(w.pool, kernel.Level(w.level)); err != nil {
		return err
	}
	w.model, err = model.Open(w.path, w.gang)
	return err
}

func (w *work) close() {
	if w.model != nil {
		_ = w.model.Close() // only read
	}
	w.pool.Close()
}

// token is the first token that an open model answers.
func (w *work) token() error {
	pass := forward.New(w.model, w.gang, kernel.Fast, 1, w.tokens)
	_, err := pass.Run([]forward.Row{{Token: 1, Logits: true}})
	return err
}

// prompt reads prompts, a chunk per pass, as the engine does; the last token's
// logits are computed.
func (w *work) prompt(ctx context.Context) (measurement, error) {
	pass := forward.New(w.model, w.gang, kernel.Fast, 1, w.tokens)
	ids := draw(w.tokens, w.model.Dims.Vocab, 1)
	read := func() error {
		pass.Reset(0, 0)
		for lo := 0; lo < len(ids); lo += w.chunk {
			var rows []forward.Row
			for i := lo; i < min(lo+w.chunk, len(ids)); i++ {
				rows = append(rows, forward.Row{Token: ids[i], Pos: i, Logits: i == len(ids)-1})
			}
			if _, err := pass.Run(rows); err != nil {
				return err
			}
		}
		return nil
	}
	measure := func(context.Context) (sample, error) {
		start := time.Now()
		for range w.times {
			if err := read(); err != nil {
				return sample{}, err
			}
		}
		return sample{Seconds: time.Since(start).Seconds(), Tokens: w.times * len(ids)}, nil
	}
	_, err := measure(ctx)
	return measure, err
}

// draw is n random ids, none of them among the first, which are control tokens.
func draw(n, vocab int, seed uint64) []int32 {
	r, ids := random(seed), make([]int32, n)
	for i := range ids {
		ids[i] = int32(20 + r.next()%uint64(vocab-20))
	}
	return ids
}

// peakMiB is the most memory that this process has had resident.
func peakMiB() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0 // not Linux
	}
	for l := range strings.Lines(string(b)) {
		var kib float64
		if n, _ := fmt.Sscanf(l, "VmHWM: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	return 0
}

// readBatches are the batches of the file.
func (w *work) readBatches() ([][]sequence, error) {
	batches, err := readJSON[[][]sequence](w.batches)
	if err == nil && len(batches) == 0 {
		err = errors.New("no batches in " + w.batches)
	}
	return batches, err
}
