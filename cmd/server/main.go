// Command server is Afina, built as bin/afina: it fine-tunes small language
// models on your own conversations and serves the result.
//
//	afina serve      run the HTTP service (the default)
//	afina train      fine-tune on a dataset, by a running server or right here
//	afina chat       talk to a model in the terminal
//	afina evaluate   mark a model on a dataset
//	afina lint       check the mathematics of a dataset
//	afina generate   make practice data of school mathematics
//	afina models     list the models, or fetch one
//	afina export     copy an adapter out, as PEFT or GGUF
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"afina/internal/config"
	"afina/internal/hub"
	"afina/internal/practice"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "afina:", err)
		os.Exit(1)
	}
}

// version is set by the linker.
var version = "dev"

// commands is the command line: one field per command, each in a file of its
// name.
type commands struct {
	globals

	Serve    serveCmd         `cmd:"" default:"withargs" help:"Run the HTTP service (the default command)."`
	Train    trainCmd         `cmd:"" help:"Fine-tune a model on a dataset."`
	Chat     chatCmd          `cmd:"" help:"Talk to a model."`
	Evaluate evaluateCmd      `cmd:"" help:"Mark a model on a dataset: held-out loss, and what its answers are worth."`
	Lint     lintCmd          `cmd:"" help:"Check the mathematics of a dataset's answers."`
	Generate generateCmd      `cmd:"" help:"Make a dataset."`
	Models   modelsCmd        `cmd:"" help:"List the models, or fetch one."`
	Export   exportCmd        `cmd:"" help:"Copy a finished adapter out, as PEFT folder or GGUF LoRA file."`
	Version  kong.VersionFlag `help:"Print the version and stop."`
}

// globals are the flags of every command. They override the configuration.
type globals struct {
	Config  string `help:"Configuration file; configs/default.yaml documents every key." type:"existingfile" placeholder:"FILE"`
	Listen  string `help:"Address of the service (default ${listen})." placeholder:"HOST:PORT"`
	Data    string `help:"Folder of all that Afina writes (default ${data})." placeholder:"DIR"`
	Models  string `name:"models" help:"Folder of the *.gguf models (default ${models})." placeholder:"DIR"`
	Threads int    `help:"Cores to use (default all)." placeholder:"N"`
}

// load reads the configuration and lays the flags over it.
func (g globals) load() (config.Config, error) {
	var flags []string
	for key, value := range map[string]string{"listen": g.Listen, "data": g.Data, "models": g.Models} {
		if value != "" {
			flags = append(flags, key+"="+value)
		}
	}
	if g.Threads != 0 {
		flags = append(flags, fmt.Sprintf("threads=%d", g.Threads))
	}
	return config.Load(g.Config, os.Environ(), flags...)
}

// run parses the command line and runs the command.
func run(ctx context.Context, args []string) error {
	var cli commands
	d := config.Default()
	parser, err := kong.New(&cli,
		kong.Name("afina"),
		kong.Description("Fine-tunes small language models on your own conversations and serves them, on an ordinary CPU."),
		kong.Vars{
			"version": version, "listen": d.Listen, "data": d.Data, "models": d.Models, "known": hub.Known()[0].Name,
			"topics": strings.Join(practice.Topics(), ", "),
			"split":  fmt.Sprint(d.Train.TestSplit), "seed": fmt.Sprint(d.Train.Seed),
			"temperature": fmt.Sprint(d.Serve.Temperature), "max_tokens": fmt.Sprint(d.Serve.MaxTokens),
		},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	if err != nil {
		var usage *kong.ParseError
		if errors.As(err, &usage) {
			return fmt.Errorf("%w (try afina %s--help)", err, usedCommand(usage))
		}
		return err
	}
	cfg, err := cli.load()
	if err != nil {
		return err
	}
	return command.Run(cfg)
}

// usedCommand is the command that a mistaken line was about, with a space.
func usedCommand(e *kong.ParseError) string {
	if e.Context != nil && e.Context.Command() != "" && e.Context.Command() != "serve" {
		return e.Context.Command() + " "
	}
	return ""
}
