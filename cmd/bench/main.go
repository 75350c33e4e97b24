// Command bench measures Afina beside what a user would otherwise take: llama.cpp
// and PyTorch with PEFT, each in turn, round by round, on the machine at hand. It
// fetches the peers when it runs, and writes bench/results. See bench/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "side" {
		err = ourSide(ctx, os.Args[2:])
	} else {
		err = drive(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of the driver.
type bench struct {
	model, dataset string // as given
	scratch        string // for the peers and what is made for them
	out            string // bench/results
	scripts        string // bench/, where the peers' scripts lie
	rounds         int
	threads        int
	self, afina    string // this program, and ours

	llama *llamaPeer // nil until asked for
	torch *torchPeer
}

func drive(ctx context.Context, args []string) error {
	b := bench{threads: runtime.NumCPU()}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&b.model, "model", "models/smollm2-135m-instruct.gguf", "SmolLM2-135M-Instruct in Q4_1")
	fs.StringVar(&b.dataset, "dataset", "dataset/matematicas.json", "conversations to train on")
	fs.StringVar(&b.scratch, "peers", filepath.Join(os.TempDir(), "afina-bench-peers"), "folder for the peers and the models made for them (6 GB)")
	fs.StringVar(&b.out, "out", "bench/results", "folder of the results")
	fs.StringVar(&b.scripts, "scripts", "bench", "folder of the peers' scripts")
	fs.StringVar(&b.afina, "afina", "bin/afina", "the program of Afina, for the rows that need the service")
	fs.IntVar(&b.rounds, "rounds", 5, "rounds per row")
	names := fs.String("rows", "", "rows to measure, with commas; empty: all but those of Phi-2's shape; phi2: those")
	list := fs.Bool("list", false, "only list the rows")
	only := fs.Bool("table", false, "only write latest.md anew from latest.json")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *list {
		for _, r := range rows() {
			fmt.Println(strings.Join(r.names(), " "))
		}
		return nil
	}
	if *only {
		return b.save(nil)
	}
	chosen, err := choose(*names)
	if err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.rounds < 1 {
		return errors.New("rounds must be at least 1")
	}
	if err := os.MkdirAll(filepath.Join(b.scratch, "models"), 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(b.model); err != nil {
		return fmt.Errorf("no model: run `make model`: %w", err)
	}
	return b.all(ctx, chosen)
}

// choose returns the rows whose name, or the name of one of whose results, is in
// list.
func choose(list string) ([]row, error) {
	all := rows()
	if list == "" || list == "phi2" {
		return slices.DeleteFunc(all, func(r row) bool { return r.phi != (list == "phi2") }), nil
	}
	var chosen []row
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(r row) bool { return slices.Contains(r.names(), name) })
		if i < 0 {
			return nil, fmt.Errorf("no row is called %q; bench -list names them", name)
		}
		if !slices.ContainsFunc(chosen, func(r row) bool { return slices.Equal(r.names(), all[i].names()) }) {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}

// all measures rows one after another; the results are on disk after each.
func (b *bench) all(ctx context.Context, chosen []row) error {
	for _, r := range chosen {
		results, err := b.row(ctx, r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.names()[0], err)
		}
		if err := b.save(results); err != nil {
			return err
		}
	}
	fmt.Printf("\nWritten to %s and latest.md.\n", filepath.Join(b.out, "latest.json"))
	return nil
}
