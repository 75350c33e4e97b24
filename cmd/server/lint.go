package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"afina/internal/config"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/lint"
)

// lintCmd checks the mathematics of a dataset.
type lintCmd struct {
	File string `arg:"" help:"Dataset: a JSON array of {\"messages\":[…]} or JSONL of the same." type:"existingfile"`
	JSON bool   `help:"Print the report as JSON."`
	All  bool   `help:"Print the claims that are true or unknown as well."`
}

// Run prints what is suspicious. It fails when a claim is false.
func (c lintCmd) Run(ctx context.Context, cfg config.Config) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := data.ReadAll(f, limits(cfg.Dataset))
	if err != nil {
		return explain(err)
	}
	report, err := lint.Conversations(ctx, all, lint.Linter{All: c.All, Most: 100_000})
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return err
		}
	} else {
		printLint(report)
	}
	if report.False > 0 {
		return fault.New(fault.Unprocessable, "%d of %d claims are false", report.False, report.Claims)
	}
	return nil
}

// printLint writes the report for people.
func printLint(r lint.Report) {
	for _, f := range r.Findings {
		fmt.Println(f)
	}
	fmt.Printf("%d answers, %d claims: %d true, %d false, %d unknown, %d malformed\n",
		r.Answers, r.Claims, r.True, r.False, r.Unknown, r.Malformed)
}
