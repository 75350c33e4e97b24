package main

import (
	"context"
	"encoding/json"
	"fmt"
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
	Samples   int     `help:"Held-out questions to answer with the base and with the model." default:"5"`
	TestSplit float64 `help:"Share of the conversations that is held out; as in training." default:"${split}"`
	Seed      int64   `help:"Seed of the split; as in training." default:"${seed}"`
	MaxTokens int     `help:"Longest sample answer." default:"128"`
	JSON      bool    `help:"Print the report as JSON."`
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
			Model: c.Model, Conversations: all, Samples: c.Samples, TestSplit: c.TestSplit, Seed: c.Seed,
			MaxLength: cfg.Train.MaxLength, MaxTokens: c.MaxTokens, Precision: precision,
		})
		if err != nil {
			return err
		}
		if c.JSON {
			e := json.NewEncoder(os.Stdout)
			e.SetIndent("", "  ")
			return e.Encode(report)
		}
		printReport(report)
		return nil
	})
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

// printReport writes the marks for people.
func printReport(r evaluate.Report) {
	fmt.Printf("%d held-out conversations, %d tokens with a loss\n\n", r.Conversations, r.Tokens)
	fmt.Printf("%-28s %10s %12s\n", "", "loss", "perplexity")
	fmt.Printf("%-28s %10.4f %12.2f\n", r.Base+" (base)", r.BaseLoss, r.BasePerplex)
	if r.Model != r.Base {
		fmt.Printf("%-28s %10.4f %12.2f\n", r.Model, r.Loss, r.Perplexity)
	}
	for _, s := range r.Samples {
		fmt.Printf("\n? %s\n  reference: %s\n  base:      %s\n", s.Question, s.Reference, s.Base)
		if r.Model != r.Base {
			fmt.Printf("  tuned:     %s\n", s.Tuned)
		}
	}
}
