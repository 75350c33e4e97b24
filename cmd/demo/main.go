// Command demo shows the whole path on a real model, as any client would walk
// it: it starts the service, asks five questions of the base model, uploads a
// dataset, fine-tunes on it, asks the tuned model the same five questions, and
// prints both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"afina/internal/client"
	"afina/internal/jobs"
	"afina/internal/progress"
)

// questions are put to the model before and after.
var questions = []string{
	"¿Qué es un número primo?",
	"Resuelve 3x + 4 = 19.",
	"¿Qué dice el teorema de Pitágoras?",
	"Deriva f(x) = x².",
	"¿Cuál es la probabilidad de sacar un 3 con un dado?",
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var d demo
	flag.StringVar(&d.program, "afina", "bin/afina", "the program")
	flag.StringVar(&d.model, "model", "smollm2-135m-instruct", "base model")
	flag.StringVar(&d.models, "models", "models", "folder of the models")
	flag.StringVar(&d.dataset, "dataset", "dataset/matematicas.json", "dataset to train on")
	flag.StringVar(&d.data, "data", "checkpoints/demo", "folder that the service writes to")
	flag.IntVar(&d.epochs, "epochs", 2, "passes over the dataset")
	flag.Parse()
	start := time.Now()
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Printf("\nAll of it took %s.\n", time.Since(start).Round(time.Second))
}

type demo struct {
	program, model, models, dataset, data string
	epochs                                int
}

// run starts the service, walks the path and stops the service.
func (d demo) run(ctx context.Context) (err error) {
	service, stop, err := d.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	fmt.Printf("\n== Before: %s as it comes\n", d.model)
	before, err := ask(ctx, service, d.model)
	if err != nil {
		return err
	}
	job, curve, err := d.tune(ctx, service)
	if err != nil {
		return err
	}
	ended := time.Now()
	fmt.Printf("\n== After: %s\n", job.Result.Adapter)
	after, err := ask(ctx, service, job.Result.Adapter)
	if err != nil {
		return err
	}
	fmt.Printf("(the last of five answers came %.1f s after the job's end)\n", time.Since(ended).Seconds())
	report(job, curve, before, after)
	return nil
}

// start runs the service on a free port and waits until it is ready. stop ends
// it as an operator would, with SIGTERM.
func (d demo) start(ctx context.Context) (_ *client.Client, stop func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := l.Addr().String()
	l.Close()
	if err := os.MkdirAll(d.data, 0o755); err != nil {
		return nil, nil, err
	}
	log, err := os.Create(filepath.Join(d.data, "afina.log"))
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	cmd := exec.Command(d.program, "serve", "--listen", address, "--data", d.data, "--models", d.models)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("the service ended badly: %w (its log: %s)", err, log.Name())
		}
		return nil
	}
	for range 300 {
		if c := client.Find(ctx, address, ""); c != nil {
			fmt.Printf("== The service is at %s, its log in %s\n", c.Base, log.Name())
			return c, stop, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, nil, errors.Join(ctx.Err(), stop())
		}
	}
	return nil, nil, errors.Join(fmt.Errorf("the service did not come up; see %s", log.Name()), stop())
}

// ask puts every question to the model, with temperature 0.
func ask(ctx context.Context, service *client.Client, model string) ([]string, error) {
	var answers []string
	zero := 0.0
	for _, q := range questions {
		fmt.Printf("\n? %s\n  ", q)
		answer, err := service.Chat(ctx, client.Question{
			Model: model, Messages: []client.Message{{Role: "user", Content: q}}, Temperature: &zero, MaxTokens: 96,
		}, func(s string) { fmt.Print(strings.ReplaceAll(s, "\n", "\n  ")) })
		fmt.Println()
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// tune uploads the dataset, trains on it and returns the finished job with its
// curve.
func (d demo) tune(ctx context.Context, service *client.Client) (jobs.Job, []jobs.Progress, error) {
	id, err := service.Upload(ctx, d.dataset, filepath.Base(d.dataset))
	if err != nil {
		return jobs.Job{}, nil, err
	}
	var job jobs.Job
	err = service.Post(ctx, "/jobs", map[string]any{
		"model": d.model, "dataset": id, "epochs": d.epochs, "learning_rate": 1e-3,
		"name": "matematicas-" + time.Now().Format("20060102-150405"),
	}, &job)
	if err != nil {
		return job, nil, err
	}
	fmt.Printf("\n== Training: dataset %s, job %s\n", id, job.ID)
	bar := progress.New(os.Stderr)
	job, err = service.Watch(ctx, job.ID, bar.Show)
	bar.Done()
	if err != nil {
		return job, nil, err
	}
	if job.Status != jobs.Succeeded || job.Result == nil {
		message := string(job.Status)
		if job.Error != nil {
			message += ": " + job.Error.Message
		}
		return job, nil, fmt.Errorf("job %s %s", job.ID, message)
	}
	var curve struct {
		Data []jobs.Progress `json:"data"`
	}
	err = service.Call(ctx, http.MethodGet, "/jobs/"+job.ID+"/metrics", "", nil, &curve)
	return job, curve.Data, err
}

// report prints what changed.
func report(job jobs.Job, curve []jobs.Progress, before, after []string) {
	fmt.Printf("\n== Five questions, base against tuned\n")
	for i, q := range questions {
		fmt.Printf("\n? %s\n  base:  %s\n  tuned: %s\n", q, oneLine(before[i]), oneLine(after[i]))
	}
	r := job.Result
	fmt.Printf("\n== Loss (mean cross-entropy per trained token)\n")
	if len(curve) > 0 {
		fmt.Printf("  training: %.4f at the first step, %.4f at the last\n", curve[0].TrainLoss, curve[len(curve)-1].TrainLoss)
	}
	if r.FirstEval != nil && r.EvalLoss != nil {
		fmt.Printf("  held-out: %.4f before, %.4f after (step %d)\n", *r.FirstEval, *r.EvalLoss, r.BestStep)
	}
	fmt.Printf("  %d steps, %d trained tokens, peak memory %.0f MiB\n", r.Steps, r.TrainedTokens, float64(r.PeakBytes)/(1<<20))
	fmt.Printf("\n== The adapter lies in %s\n  SHA-256 of adapter_model.safetensors: %s\n", r.Folder, r.SHA256)
}

// oneLine is an answer on one line, cut to a readable length.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "…"
	}
	return s
}
