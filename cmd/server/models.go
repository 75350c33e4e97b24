package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"

	"afina/internal/catalog"
	"afina/internal/config"
	"afina/internal/hub"
)

// modelsCmd lists the models, or fetches one.
type modelsCmd struct {
	List listCmd `cmd:"" default:"1" help:"List base models and adapters (the default)."`
	Pull pullCmd `cmd:"" help:"Fetch a base model into the models folder."`
}

type listCmd struct{}

// Run prints every model that can be asked for.
func (listCmd) Run(cfg config.Config) error {
	shelf, err := catalog.New(catalog.Options{Models: cfg.Models, Data: cfg.Data}, nil, nil)
	if err != nil {
		return err
	}
	entries, err := shelf.Entries()
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		fmt.Printf("No models in %s. Try: afina models pull %s\n", cfg.Models, hub.Known()[0].Name)
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tKIND\tSIZE\tNOTE")
	for _, e := range entries {
		kind, note := "base", e.Problem
		if e.Base != "" {
			kind, note = "adapter", "of "+e.Base
			if e.Problem != "" {
				note += ": " + e.Problem
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Name, kind, mib(e.Bytes), note)
	}
	return w.Flush()
}

// mib is a size as people read it.
func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

type pullCmd struct {
	Name string `arg:"" optional:"" default:"${known}" help:"Name of the model (default ${known})."`
}

// Run fetches the model.
func (c pullCmd) Run(ctx context.Context, cfg config.Config) error {
	source, err := hub.Find(c.Name)
	if err != nil {
		return err
	}
	bar := progressbar.NewOptions64(source.Bytes,
		progressbar.OptionSetDescription(source.Name),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionClearOnFinish(),
	)
	puller := hub.Puller{
		Dir:      cfg.Models,
		Progress: func(done, _ int64) { _ = bar.Set64(done) },
		Say:      func(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) },
	}
	path, err := puller.Pull(ctx, source)
	if err != nil {
		return err
	}
	fmt.Printf("%s (%s, %s) lies in %s\n", source.Name, source.About, source.License, path)
	return nil
}
