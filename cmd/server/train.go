package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"afina/internal/client"
	"afina/internal/config"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/progress"
	"afina/internal/train"
)

// trainCmd fine-tunes: by the running service, or in this process when there is
// none.
type trainCmd struct {
	Dataset string `arg:"" help:"Dataset: a JSON array of {\"messages\":[…]} or JSONL of the same." type:"existingfile"`

	Model        string   `required:"" help:"Base model, by name." placeholder:"NAME"`
	Name         string   `help:"Name of the adapter; it is the model to ask for afterwards." placeholder:"NAME"`
	Epochs       int      `help:"Passes over the training part." placeholder:"N"`
	LearningRate float64  `help:"Highest learning rate." placeholder:"RATE"`
	BatchSize    int      `help:"Conversations per batch." placeholder:"N"`
	Accumulation int      `name:"gradient-accumulation" help:"Batches per step." placeholder:"N"`
	MaxLength    int      `help:"Longest conversation, in tokens." placeholder:"N"`
	Rank         int      `help:"Rank of the adapter." placeholder:"N"`
	Alpha        float32  `help:"Alpha of the adapter." placeholder:"X"`
	Dropout      *float32 `help:"Dropout of the adapter." placeholder:"X"`
	Targets      []string `help:"Layers that the adapter changes (default all)." placeholder:"q_proj,…"`
	Schedule     string   `help:"linear, cosine or constant." placeholder:"KIND"`
	Seed         *int64   `help:"Seed of the split, the order, the start and the dropout." placeholder:"N"`
	TestSplit    *float64 `help:"Share of the conversations that is held out." placeholder:"X"`
	EvalEvery    int      `help:"Steps between held-out losses." placeholder:"N"`
	EvalQuest    int      `name:"eval-questions" help:"Held-out questions to answer and mark at each of these." placeholder:"N"`
	SelectBy     string   `help:"Keep the best step by loss or by marks." placeholder:"HOW"`
	Precision    string   `help:"fast or exact." placeholder:"P"`
	Memory       string   `help:"store, recompute or auto." placeholder:"M"`
}

// spec lays the flags over the configured defaults.
func (c trainCmd) spec(d finetune.Spec) finetune.Spec {
	d.Model, d.Name = c.Model, c.Name
	set(&d.Epochs, c.Epochs)
	set(&d.LearningRate, c.LearningRate)
	set(&d.BatchSize, c.BatchSize)
	set(&d.GradientAccumulation, c.Accumulation)
	set(&d.MaxLength, c.MaxLength)
	set(&d.LoRA.Rank, c.Rank)
	set(&d.LoRA.Alpha, c.Alpha)
	set(&d.Schedule, c.Schedule)
	set(&d.EvalEvery, c.EvalEvery)
	set(&d.EvalQuestions, c.EvalQuest)
	set(&d.SelectBy, c.SelectBy)
	set(&d.Precision, c.Precision)
	set(&d.Memory, c.Memory)
	if c.Dropout != nil {
		d.LoRA.Dropout = *c.Dropout
	}
	if c.Seed != nil {
		d.Seed = *c.Seed
	}
	if c.TestSplit != nil {
		d.TestSplit = *c.TestSplit
	}
	if len(c.Targets) > 0 {
		d.LoRA.Targets = c.Targets
	}
	return d
}

// set overrides dst unless v is zero.
func set[T comparable](dst *T, v T) {
	var zero T
	if v != zero {
		*dst = v
	}
}

// Run trains and prints where the adapter lies.
func (c trainCmd) Run(ctx context.Context, cfg config.Config) error {
	s := c.spec(cfg.Train)
	if service := client.Find(ctx, cfg.Listen, apiKey(cfg)); service != nil {
		return c.remote(ctx, service, s)
	}
	return c.local(ctx, cfg, s)
}

// local trains in this process. An interrupted run goes on when the same
// command is given again.
func (c trainCmd) local(ctx context.Context, cfg config.Config, s finetune.Spec) error {
	r, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer r.close()
	m, err := r.catalog.Model(s.Model)
	if err != nil {
		return err
	}
	fmt.Printf("CPU %s on %d cores; %s of memory; %s: %s, %d layers, %s packed\n", r.gang.Level(), r.pool.Workers(),
		mib(finetune.MachineBytes()), m.Name, m.Spec.Name, m.Dims.Layers, mib(m.Bytes()))
	set, err := c.dataset(ctx, r)
	if err != nil {
		return explain(err)
	}
	s.Dataset = set
	key, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(key)
	job := "local_" + hex.EncodeToString(sum[:8]) // equal orders share their checkpoints
	dir := filepath.Join(jobsDir(cfg), job)
	// A run that was cut off has been checked, and may have published its adapter.
	if _, begun := os.Stat(dir); begun != nil || s.Name == "" {
		if s, err = r.tuner.Check(ctx, s); err != nil {
			return err
		}
	}
	bar := progress.New(os.Stderr)
	result, err := r.tuner.Run(ctx, s, dir, job, func(e train.Event) { bar.Show(jobs.ProgressOf(e)) })
	bar.Done()
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted; a checkpoint is saved, and the same command goes on from it")
	}
	if err != nil {
		return err
	}
	printResult(result)
	return os.RemoveAll(dir)
}

// dataset stores the file, or finds it where it is stored already.
func (c trainCmd) dataset(ctx context.Context, r *rooms) (string, error) {
	f, err := os.Open(c.Dataset)
	if err != nil {
		return "", err
	}
	defer f.Close()
	d, err := r.catalog.AddDataset(ctx, filepath.Base(c.Dataset), f)
	return d.ID, err
}

// remote trains by the running service.
func (c trainCmd) remote(ctx context.Context, service *client.Client, s finetune.Spec) error {
	var err error
	if s.Dataset, err = service.Upload(ctx, c.Dataset, filepath.Base(c.Dataset)); err != nil {
		return err
	}
	var job jobs.Job
	if err := service.Post(ctx, "/jobs", s, &job); err != nil {
		return err
	}
	id := job.ID
	fmt.Printf("%s submitted to %s as %s, on dataset %s\n", job.Spec.Name, service.Base, id, s.Dataset)
	bar := progress.New(os.Stderr)
	job, err = service.Watch(ctx, id, bar.Show)
	bar.Done()
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("no longer watching; %s goes on at the service (POST %s/jobs/%s/cancel stops it)", id, service.Base, id)
	}
	if err != nil {
		return err
	}
	if job.Status == jobs.Succeeded && job.Result != nil {
		printResult(*job.Result)
		return nil
	}
	if job.Error != nil {
		return fmt.Errorf("%s %s: %s", id, job.Status, job.Error.Message)
	}
	return fmt.Errorf("%s is %s", id, job.Status)
}

// printResult says what a run left behind.
func printResult(r finetune.Result) {
	fmt.Printf("%s is ready: ask for model %q\n  %d steps, best at step %d, training loss %.4f", r.Adapter, r.Adapter, r.Steps, r.BestStep, r.TrainLoss)
	if r.EvalLoss != nil && r.FirstEval != nil {
		fmt.Printf(", held-out loss %.4f -> %.4f", *r.FirstEval, *r.EvalLoss)
	}
	if r.Right != nil {
		fmt.Printf(", right answers %.1f %%", 100**r.Right)
	}
	fmt.Printf("\n  peak memory %s\n  adapter in %s\n", mib(r.PeakBytes), r.Folder)
	if r.Truncated > 0 {
		fmt.Printf("  %d conversations were cut to the maximum length\n", r.Truncated)
	}
	if r.LeftOut > 0 {
		fmt.Printf("  %d conversations were left out: nothing to learn in them\n", r.LeftOut)
	}
}

// explain adds the single findings of a refused dataset to its error.
func explain(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	problems, ok := f.Details.([]data.Problem)
	if !ok {
		return err
	}
	var b strings.Builder
	b.WriteString(err.Error())
	for _, p := range problems {
		fmt.Fprintf(&b, "\n  line %d, %s: %s", p.Line, p.Path, p.Message)
	}
	return errors.New(b.String())
}
