package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ergochat/readline"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/client"
	"afina/internal/config"
	"afina/internal/fault"
	"afina/internal/sampling"
)

// chatCmd talks to a model: one of the running service, or one opened here.
type chatCmd struct {
	Model       string   `required:"" help:"A base model or an adapter, by name." placeholder:"NAME"`
	System      string   `help:"System message to begin with." placeholder:"TEXT"`
	Temperature *float64 `help:"0 takes the likeliest token every time (default ${temperature})." placeholder:"X"`
	MaxTokens   int      `help:"Longest answer, in tokens (default ${max_tokens})." placeholder:"N"`
	Seed        *int64   `help:"Seed of the draws: equal seeds, equal answers." placeholder:"N"`
	Question    string   `arg:"" optional:"" help:"Ask this one question and stop; without it, a conversation begins."`
}

// answerer gives the next turn of a conversation, piece by piece.
type answerer func(ctx context.Context, c chat.Conversation, tell func(string)) (string, error)

// Run talks.
func (c chatCmd) Run(ctx context.Context, cfg config.Config) error {
	if c.Temperature != nil {
		cfg.Serve.Temperature = float32(*c.Temperature)
	}
	set(&cfg.Serve.MaxTokens, c.MaxTokens)
	if service := client.Find(ctx, cfg.Listen, apiKey(cfg)); service != nil {
		return c.talk(ctx, c.remote(cfg, service))
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
	return alongside(ctx, ask.Run, func(ctx context.Context) error {
		if err := ask.Load(ctx, c.Model); err != nil {
			return err
		}
		return c.talk(ctx, c.local(cfg, ask))
	})
}

// remote asks the running service.
func (c chatCmd) remote(cfg config.Config, service *client.Client) answerer {
	return func(ctx context.Context, conv chat.Conversation, tell func(string)) (string, error) {
		t := float64(cfg.Serve.Temperature)
		q := client.Question{Model: c.Model, Temperature: &t, MaxTokens: cfg.Serve.MaxTokens, Seed: c.Seed}
		for _, m := range conv.Messages {
			q.Messages = append(q.Messages, client.Message{Role: string(m.Role), Content: m.Content})
		}
		return service.Chat(ctx, q, tell)
	}
}

// local asks the assistant of this process.
func (c chatCmd) local(cfg config.Config, ask *assistant.Assistant) answerer {
	o := sampling.Options{
		Temperature: cfg.Serve.Temperature, TopP: cfg.Serve.TopP, TopK: cfg.Serve.TopK,
		MinP: cfg.Serve.MinP, RepeatPenalty: cfg.Serve.RepeatPenalty, Seed: randomSeed(),
	}
	if c.Seed != nil {
		o.Seed = uint64(*c.Seed)
	}
	return func(ctx context.Context, conv chat.Conversation, tell func(string)) (string, error) {
		var answer strings.Builder
		q := assistant.Question{Model: c.Model, Conversation: conv, Sampling: o, Limit: cfg.Serve.MaxTokens}
		for d, err := range ask.Ask(ctx, q) {
			if err != nil {
				return answer.String(), err
			}
			answer.WriteString(d.Text)
			tell(d.Text)
		}
		return answer.String(), nil
	}
}

const chatHelp = `/reset         forget the conversation
/system TEXT   set the system message (and forget the conversation)
/save FILE     save the conversation as a dataset of one
/help          this
/exit          leave (so does Ctrl-D)`

// talk reads questions and prints answers until the reader ends.
func (c chatCmd) talk(ctx context.Context, answer answerer) error {
	t := &talker{answer: answer, out: os.Stdout}
	t.reset(c.System)
	if c.Question != "" {
		return t.ask(ctx, c.Question)
	}
	rl, err := readline.NewFromConfig(&readline.Config{Prompt: "> "})
	if err != nil {
		return err
	}
	defer rl.Close()
	fmt.Printf("Talking to %s. /help lists the commands.\n", c.Model)
	for ctx.Err() == nil {
		line, err := rl.ReadLine()
		if errors.Is(err, readline.ErrInterrupt) {
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		more, err := t.line(ctx, strings.TrimSpace(line))
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// talker is one conversation in the terminal.
type talker struct {
	answer answerer
	out    io.Writer
	system string
	conv   chat.Conversation
}

// reset begins anew, with a system message unless it is empty.
func (t *talker) reset(system string) {
	t.system, t.conv = system, chat.Conversation{}
	if system != "" {
		t.conv.Messages = []chat.Message{{Role: chat.System, Content: system}}
	}
}

// line takes one line: a command or a question. It returns false at the end.
func (t *talker) line(ctx context.Context, line string) (more bool, err error) {
	command, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case line == "":
	case command == "/exit" || command == "/quit":
		return false, nil
	case command == "/help":
		fmt.Fprintln(t.out, chatHelp)
	case command == "/reset":
		t.reset(t.system)
	case command == "/system":
		t.reset(rest)
	case command == "/save":
		return true, t.save(rest)
	case strings.HasPrefix(command, "/"):
		return true, fault.New(fault.Invalid, "no command is called %s; /help lists them", command)
	default:
		return true, t.ask(ctx, line)
	}
	return true, nil
}

// ask puts a question. A failed one is taken back, so that it can be put again.
func (t *talker) ask(ctx context.Context, question string) error {
	before := len(t.conv.Messages)
	t.conv.Messages = append(t.conv.Messages, chat.Message{Role: chat.User, Content: question})
	text, err := t.answer(ctx, t.conv, func(s string) { fmt.Fprint(t.out, s) })
	fmt.Fprintln(t.out)
	if err != nil {
		t.conv.Messages = t.conv.Messages[:before]
		return err
	}
	t.conv.Messages = append(t.conv.Messages, chat.Message{Role: chat.Assistant, Content: text})
	return nil
}

// save writes the conversation in the form of a dataset.
func (t *talker) save(file string) error {
	if file == "" {
		return fault.New(fault.Invalid, "/save needs the name of a file")
	}
	b, err := json.MarshalIndent([]chat.Conversation{t.conv}, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if os.IsExist(err) {
		return fault.New(fault.Conflict, "%s exists already", file)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(append(b, '\n')); err != nil {
		f.Close()
		return err
	}
	fmt.Fprintf(t.out, "saved to %s\n", file)
	return f.Close()
}
