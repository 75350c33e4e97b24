package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"

	"afina/internal/assistant"
	"afina/internal/config"
	"afina/internal/data"
	"afina/internal/evaluate"
	"afina/internal/finetune"
)

// evaluateCmd marks a model on a dataset.
type evaluateCmd struct {
	Model     string  `required:"" help:"A base model or an adapter, by name." placeholder:"NAME"`
	Dataset   string  `required:"" help:"A dataset file (JSON or JSONL)." type:"existingfile" placeholder:"FILE"`
	Questions int     `help:"Held-out questions to answer with the base and with the model (--questions=-1: all)." default:"100"`
	Verify    int     `help:"Answer once more, each time taking the best of this many candidates (math_verify; at most 16)." placeholder:"K"`
	Samples   int     `help:"Answered questions to show." default:"5"`
	TestSplit float64 `help:"Share of the conversations that is held out; as in training." default:"${split}"`
	Seed      int64   `help:"Seed of the split (as in training), the draws and the intervals." default:"${seed}"`
	MaxTokens int     `help:"Longest answer." default:"256"`
	Format    string  `help:"Of the report: markdown, json or csv." enum:"json,markdown,csv" default:"markdown"`
	JSON      bool    `help:"The same as --format json."`
	Out       string  `help:"File for the report; - is the terminal." default:"-" placeholder:"FILE"`
}

// Run prints the marks. It needs no data folder to itself, so it works beside a
// running service.
func (c evaluateCmd) Run(ctx context.Context, cfg config.Config) error {
	f, err := os.Open(c.Dataset)
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := data.ReadAll(f, limits(cfg.Dataset))
	if err != nil {
		return explain(err)
	}
	r, err := openModels(cfg)
	if err != nil {
		return err
	}
	defer r.close()
	ask, err := r.assistant(cfg)
	if err != nil {
		return err
	}
	precision, err := finetune.Precision(cfg.Serve.Precision)
	if err != nil {
		return err
	}
	return alongside(ctx, ask.Run, func(ctx context.Context) error {
		report, err := c.mark(ctx, cfg, r, ask, evaluate.Spec{
			Model: c.Model, Conversations: all, Questions: c.Questions, Samples: c.Samples, Verify: c.Verify,
			TestSplit: c.TestSplit, Seed: c.Seed,
			MaxLength: cfg.Train.MaxLength, MaxTokens: c.MaxTokens, Precision: precision,
		})
		if err != nil {
			return err
		}
		return c.write(report)
	})
}

// write puts the report where it was asked for.
func (c evaluateCmd) write(r evaluate.Report) error {
	if c.Out == "-" {
		return c.render(os.Stdout, r)
	}
	f, err := os.Create(c.Out)
	if err != nil {
		return err
	}
	return errors.Join(c.render(f, r), f.Close())
}

// render writes the report in the format.
func (c evaluateCmd) render(w io.Writer, r evaluate.Report) error {
	format := c.Format
	if c.JSON {
		format = "json"
	}
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "csv":
		return r.CSV(w)
	}
	return r.Markdown(w)
}

// mark runs the evaluation behind a progress bar.
func (c evaluateCmd) mark(ctx context.Context, cfg config.Config, r *rooms, ask *assistant.Assistant, s evaluate.Spec) (evaluate.Report, error) {
	bar := progressbar.NewOptions(1000,
		progressbar.OptionSetDescription("marking "+c.Model),
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionClearOnFinish(),
	)
	e := evaluate.Evaluator{Catalog: r.catalog, Assistant: ask, Gang: r.gang}
	report, err := e.Run(ctx, s, func(done float64) { _ = bar.Set(int(done * 1000)) })
	_ = bar.Finish()
	return report, err
}
