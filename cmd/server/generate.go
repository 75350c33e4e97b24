package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"

	"afina/internal/fault"
	"afina/internal/practice"
)

// generateCmd makes datasets.
type generateCmd struct {
	Math mathCmd `cmd:"" help:"Practice conversations of school mathematics, with worked steps and verified answers."`
}

// mathCmd writes practice conversations.
type mathCmd struct {
	Topics []string `help:"What the questions are about: ${topics} (default all)." placeholder:"TOPIC,…"`
	N      int      `name:"n" help:"Conversations." default:"1000"`
	Seed   uint64   `help:"Equal seeds, equal conversations." default:"1"`
	Lang   string   `help:"es or en." enum:"es,en" default:"es"`
	Out    string   `help:"File to write, which must not exist; - is the terminal." default:"-" placeholder:"FILE"`
}

// Run writes a dataset: a JSON array, a conversation on each line.
func (c mathCmd) Run() error {
	items, err := practice.Generate(practice.Options{Topics: c.Topics, N: c.N, Seed: c.Seed, Lang: practice.Lang(c.Lang)})
	if err != nil {
		return err
	}
	if c.Out == "-" {
		return writePractice(os.Stdout, items)
	}
	f, err := os.OpenFile(c.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if os.IsExist(err) {
		return fault.New(fault.Conflict, "%s exists already; name another file with --out", c.Out)
	}
	if err != nil {
		return err
	}
	return errors.Join(writePractice(f, items), f.Close())
}

func writePractice(w io.Writer, items []practice.Item) error {
	out := bufio.NewWriter(w)
	for i, item := range items {
		separator := ",\n  "
		if i == 0 {
			separator = "[\n  "
		}
		if _, err := out.WriteString(separator); err != nil {
			return err
		}
		text, err := json.Marshal(item.Conversation())
		if err != nil {
			return err
		}
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	if _, err := out.WriteString("\n]\n"); err != nil {
		return err
	}
	return out.Flush()
}
