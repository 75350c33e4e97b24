package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// row is what one pair of commands measures: one result or several.
type row struct {
	results []result
	phi     bool // of Phi-2's shape: heavy, so only when asked for
	sides   func(ctx context.Context, b *bench) (pair, error)
}

// result is one line of the table.
type result struct {
	name, unit string
	smaller    bool // less is better: the ratio is peer/ours
	value      func(sample) float64
}

// pair is the two sides. peer is nil where there is none, and note says why.
type pair struct {
	ours, peer side
	peerName   string
	note       string
}

func (r row) names() []string {
	var names []string
	for _, x := range r.results {
		names = append(names, x.name)
	}
	return names
}

// absent says that a peer is not to be had here.
type absent string

func (a absent) Error() string { return string(a) }

// without turns the absence of a peer into a note, and passes other errors on.
func (p *pair) without(err error) (pair, error) {
	var a absent
	if errors.As(err, &a) {
		p.peer, p.note = nil, "peer skipped: "+string(a)
		return *p, nil
	}
	return *p, err
}

func rate(s sample) float64          { return float64(s.Tokens) / s.Seconds }
func conversations(s sample) float64 { return float64(s.Conversations) / s.Seconds }
func peak(s sample) float64          { return s.Peak }
func milliseconds(s sample) float64  { return s.Seconds * 1000 }

func figure(name string) func(sample) float64 {
	return func(s sample) float64 { return s.Figures[name] }
}

const tokensPerSecond = "tokens/s"

// rows are all rows, in the order of the table.
func rows() []row {
	out := []row{
		{results: []result{{"train-512", tokensPerSecond, false, rate}, {"train-512-rss", "MiB", true, peak}}, sides: train512},
		{results: []result{{"train-512-best", tokensPerSecond, false, rate}}, sides: train512Best},
		{results: []result{{"train-short", "conversations/s", false, conversations}}, sides: trainShort},
	}
	for _, f := range []string{"q4_1", "q4_0", "q8_0"} {
		out = append(out, single("prompt-"+f, prompt(f, "")))
	}
	for _, f := range []string{"q4_1", "q4_0"} {
		out = append(out, single("generate-1-"+f, generate(f, 1)))
	}
	out = append(out,
		single("generate-16", generate("q4_0", 16)), single("generate-16-q4_1", generate("q4_1", 16)),
		people(1, 4), people(4, 3), people(8, 2), people(16, 2), manyAdapters(),
		row{results: []result{{"open-model", "ms", true, milliseconds}}, sides: openModel},
		row{results: []result{{"open-library", "ms", true, milliseconds}}, sides: openLibrary})
	for _, f := range []string{"q4_1", "q4_0", "q8_0"} {
		out = append(out, single("prompt-"+f+"-avx2", prompt(f, "avx2")))
	}
	out = append(out, row{results: []result{
		{"chat-p95-idle", "ms", true, figure("idle_p95_ms")},
		{"chat-p95-training", "ms", true, figure("busy_p95_ms")},
		{"chat-p95-growth", "times the idle value", true, figure("p95_growth")},
		{"train-beside-chat", "share of the speed alone", false, figure("train_share")},
	}, sides: chatWhileTraining})
	phi := []row{
		{results: []result{{"phi2-train-256", tokensPerSecond, false, rate}, {"phi2-train-256-rss", "MiB", true, peak}}, sides: phiTrain},
		single("phi2-prompt", prompt("phi2", "")), single("phi2-generate", generate("phi2", 1)),
	}
	for _, r := range phi {
		r.phi = true
		out = append(out, r)
	}
	return out
}

func single(name string, sides func(context.Context, *bench) (pair, error)) row {
	return row{results: []result{{name, tokensPerSecond, false, rate}}, sides: sides}
}

// trainSteps is how many steps a round takes: one alone would begin on cold caches.
const trainSteps = 4

// train512 is a packed row of 512 tokens at PEFT's defaults.
func train512(ctx context.Context, b *bench) (pair, error) {
	batches, err := b.packed(1, 512, trainSteps)
	if err != nil {
		return pair{}, err
	}
	p := pair{ours: b.ourTraining(b.model, batches, dropout)}
	return p.without(b.torchSide(ctx, &p, "defaults", b.defaults("--model", b.model, "--batches", batches)))
}

// train512Best is the same adapter and number of tokens as PyTorch likes them
// best; ours takes the very same batch, without dropout as well.
func train512Best(ctx context.Context, b *bench) (pair, error) {
	long, err := b.packed(1, 512, trainSteps)
	if err != nil {
		return pair{}, err
	}
	short, err := b.packed(8, 64, trainSteps)
	if err != nil {
		return pair{}, err
	}
	with := func(batches, numbers string, more ...string) []string {
		return append([]string{"--batches", batches, "--model", b.model, "--dropout", "0", "--weights", numbers, "--adapter", numbers}, more...)
	}
	p := pair{}
	err = b.torchSide(ctx, &p, "best", []candidate{
		{"BF16 weights and adapters, 8×64, torch.compile", with(short, "bf16", "--compile")},
		{"BF16 weights and adapters, 1×512, torch.compile", with(long, "bf16", "--compile")},
		{"BF16 weights and adapters, 8×64", with(short, "bf16")},
		{"FP32, 8×64, torch.compile", with(short, "fp32", "--compile")},
		{"FP32, 1×512, torch.compile", with(long, "fp32", "--compile")},
		{"FP32, 8×64", with(short, "fp32")},
	})
	batches := short
	if strings.Contains(p.peerName, "1×512") {
		batches = long
	}
	p.ours = b.ourTraining(b.model, batches, 0)
	return p.without(err)
}

// trainShort is conversations of the dataset as they come, by eights.
func trainShort(ctx context.Context, b *bench) (pair, error) {
	batches, err := b.conversations(8, 3)
	if err != nil {
		return pair{}, err
	}
	p := pair{ours: b.ourTraining(b.model, batches, dropout)}
	return p.without(b.torchSide(ctx, &p, "short", b.defaults("--model", b.model, "--batches", batches)))
}

// dropout is PEFT's usual one.
const dropout = 0.05

func (b *bench) ourTraining(model, batches string, dropout float64) side {
	return b.ours("train", "-model", model, "-batches", batches, "-dropout", fmt.Sprint(dropout))
}

func (b *bench) ours(work string, args ...string) *worker {
	argv := append([]string{b.self, "side", "-work", work, "-threads", fmt.Sprint(b.threads)}, args...)
	return &worker{argv: argv}
}

// prompt reads 512 tokens, or 256 where each takes long.
func prompt(format, level string) func(context.Context, *bench) (pair, error) {
	return func(ctx context.Context, b *bench) (pair, error) {
		model, err := b.file(format)
		if err != nil {
			return pair{}, err
		}
		tokens, times := "512", "4"
		if format == "phi2" {
			tokens, times = "256", "1"
		}
		p := pair{ours: b.ours("prompt", "-model", model, "-tokens", tokens, "-times", times)}
		if level != "" {
			p.ours = b.ours("prompt", "-model", model, "-tokens", tokens, "-times", times, "-level", level)
		}
		return p.without(b.llamaBench(ctx, &p, model, level, "-p", tokens, "-n", "0", "-r", times))
	}
}

// generate writes tokens for some streams at once.
func generate(format string, streams int) func(context.Context, *bench) (pair, error) {
	return func(ctx context.Context, b *bench) (pair, error) {
		model, err := b.file(format)
		if err != nil {
			return pair{}, err
		}
		if streams > 1 {
			p := pair{ours: b.ours("generate", "-model", model, "-streams", fmt.Sprint(streams), "-tokens", "128", "-limit", "80")}
			return p.without(b.batchedBench(ctx, &p, model, streams, 128, 64))
		}
		limit := "128"
		if format == "phi2" {
			limit = "32"
		}
		p := pair{ours: b.ours("generate", "-model", model, "-streams", "1", "-tokens", "1", "-limit", limit)}
		return p.without(b.llamaBench(ctx, &p, model, "", "-p", "0", "-n", limit, "-r", "1"))
	}
}

// openModel is the service: from its start to the first token that it answers
// over HTTP.
func openModel(ctx context.Context, b *bench) (pair, error) {
	name := strings.TrimSuffix(filepath.Base(b.model), ".gguf")
	p := pair{ours: &served{service{model: name, argv: []string{b.afina, "serve", "--listen", "127.0.0.1:{port}",
		"--models", filepath.Dir(b.model), "--data", filepath.Join(b.scratch, "data")}}}}
	return p.without(b.llamaServer(ctx, &p, b.model))
}

// openLibrary is a bare process that opens the model, computes one token and
// ends, without a service around it.
func openLibrary(ctx context.Context, b *bench) (pair, error) {
	p := pair{ours: &command{argv: b.ours("open", "-model", b.model).argv}}
	return p.without(b.llamaOpen(ctx, &p, b.model))
}

func chatWhileTraining(_ context.Context, b *bench) (pair, error) {
	batches, err := b.packed(1, 512, trainSteps)
	return pair{ours: b.ours("chat", "-model", b.model, "-batches", batches, "-dropout", fmt.Sprint(dropout)),
		note: "no peer: one process that trains and serves is ours alone"}, err
}

func phiTrain(ctx context.Context, b *bench) (pair, error) {
	model, err := b.file("phi2")
	if err != nil {
		return pair{}, err
	}
	batches, err := b.packed(1, 256, 1)
	if err != nil {
		return pair{}, err
	}
	p := pair{ours: b.ours("train", "-model", model, "-batches", batches, "-dropout", fmt.Sprint(dropout), "-memory", "store")}
	return p.without(b.torchSide(ctx, &p, "phi2", []candidate{
		{"BF16 weights", []string{"--phi2", "--weights", "bf16", "--warm", "1", "--batches", batches}},
		{"FP32", []string{"--phi2", "--weights", "fp32", "--warm", "1", "--batches", batches}}}))
}
