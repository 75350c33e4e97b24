// Package finetune does one fine-tuning from names to a saved adapter. The
// job queue and the command line both come here.
package finetune

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/train"
)

// Spec says what to train on what. It is also the body of POST /jobs: start from
// Defaults and decode over it.
type Spec struct {
	Model   string `json:"model" yaml:"-" validate:"required,max=200"`
	Dataset string `json:"dataset" yaml:"-" validate:"required,max=200"`
	Name    string `json:"name,omitempty" yaml:"-" validate:"omitempty,max=64,adapter_name"`
	// Validation is a dataset to hold out, in place of a share of the other one.
	Validation string `json:"validation_dataset,omitempty" yaml:"-" validate:"omitempty,max=200"`

	LoRA LoRA `json:"lora" yaml:"lora"`

	Epochs               int     `json:"epochs" yaml:"epochs" validate:"min=1,max=1000"`
	LearningRate         float64 `json:"learning_rate" yaml:"learning_rate" validate:"gt=0,lte=1"`
	BatchSize            int     `json:"batch_size" yaml:"batch_size" validate:"min=1,max=1024"`
	GradientAccumulation int     `json:"gradient_accumulation" yaml:"gradient_accumulation" validate:"min=1,max=1024"`
	WarmupRatio          float64 `json:"warmup_ratio" yaml:"warmup_ratio" validate:"gte=0,lte=1"`
	Schedule             string  `json:"schedule" yaml:"schedule" validate:"oneof=linear cosine constant"`
	WeightDecay          float64 `json:"weight_decay" yaml:"weight_decay" validate:"gte=0,lte=1"`
	MaxGradNorm          float64 `json:"max_grad_norm" yaml:"max_grad_norm" validate:"gte=0,lte=1000"`
	MaxLength            int     `json:"max_length" yaml:"max_length" validate:"min=8,max=131072"`
	Seed                 int64   `json:"seed" yaml:"seed" validate:"gte=0"`
	TestSplit            float64 `json:"test_split" yaml:"test_split" validate:"gte=0,lte=0.9"`
	EvalEvery            int     `json:"eval_every" yaml:"eval_every" validate:"gte=0"`
	SaveEvery            int     `json:"save_every" yaml:"save_every" validate:"gte=0"`
	EarlyStopPatience    int     `json:"early_stop_patience" yaml:"early_stop_patience" validate:"gte=0"`
	EvalQuestions        int     `json:"eval_questions" yaml:"eval_questions" validate:"gte=0,lte=10000"`
	SelectBy             string  `json:"select_by" yaml:"select_by" validate:"oneof=loss marks"`
	Precision            string  `json:"precision" yaml:"precision" validate:"oneof=fast exact"`
	Memory               string  `json:"memory" yaml:"memory" validate:"oneof=store recompute auto"`
}

// LoRA is the shape of the adapter.
type LoRA struct {
	Rank    int      `json:"rank" yaml:"rank" validate:"min=1,max=256"`
	Alpha   float32  `json:"alpha" yaml:"alpha" validate:"gt=0,lte=4096"`
	Dropout float32  `json:"dropout" yaml:"dropout" validate:"gte=0,lt=1"`
	Targets []string `json:"targets,omitempty" yaml:"targets" validate:"max=16,dive,max=64"` // none: all
}

// Defaults are the settings used where the caller says nothing.
func Defaults() Spec {
	return Spec{
		LoRA:   LoRA{Rank: 16, Alpha: 32, Dropout: 0.05},
		Epochs: 3, LearningRate: 2e-4, BatchSize: 8, GradientAccumulation: 1,
		WarmupRatio: 0.03, Schedule: "cosine", MaxGradNorm: 1, MaxLength: 1024, Seed: 42, TestSplit: 0.1,
		SaveEvery: 10, SelectBy: ByLoss, Precision: "fast", Memory: "auto",
	}
}

// Precision reads "fast" or "exact".
func Precision(name string) (kernel.Precision, error) {
	switch name {
	case "fast":
		return kernel.Fast, nil
	case "exact":
		return kernel.Exact, nil
	}
	return 0, fault.New(fault.Invalid, "precision is %q; choose fast or exact", name).WithParam("precision")
}

// Result is what a finished run leaves behind.
type Result struct {
	Adapter       string   `json:"adapter"` // its name: the model to ask for
	Folder        string   `json:"folder"`
	SHA256        string   `json:"sha256"` // of adapter_model.safetensors
	Steps         int      `json:"steps"`
	BestStep      int      `json:"best_step"`
	TrainLoss     float64  `json:"train_loss"`
	EvalLoss      *float64 `json:"eval_loss"`
	FirstEval     *float64 `json:"eval_loss_before"`
	Right         *float64 `json:"right_answers,omitempty"` // share at BestStep, when answers were marked
	EarlyStopped  bool     `json:"early_stopped"`
	TrainedTokens int      `json:"trained_tokens"` // tokens with a loss, all epochs
	Truncated     int      `json:"truncated_conversations"`
	LeftOut       int      `json:"left_out_conversations"`
	PeakBytes     int64    `json:"peak_memory_bytes"`
}

// Shelf is what a Tuner asks of the catalog. *catalog.Catalog is one.
type Shelf interface {
	Entries() ([]catalog.Entry, error)
	Model(name string) (*model.Model, error)
	Dataset(ctx context.Context, id string) (catalog.Dataset, error)
	Conversations(ctx context.Context, id string) ([]chat.Conversation, error)
	Taken(name string) bool
	Publish(a *lora.Adapter, m *model.Model, job string) (dir string, err error)
	KeepStep(a *lora.Adapter, m *model.Model, job string, s catalog.Step) error
}

var _ Shelf = (*catalog.Catalog)(nil)

// Tuner runs specs.
type Tuner struct {
	Catalog     Shelf
	Gang        *kernel.Gang
	MemoryLimit int64 // bytes; a run estimated above it is refused; 0: what the machine has

	live live
}

// Run opens, lays out, trains, saves and publishes. dir holds the run's
// checkpoints; a run cut off anywhere goes on from there, and one that was cut
// off after it had published finds its own adapter and returns what it would
// have returned. When ctx ends, it saves a checkpoint and returns ctx's error.
func (t *Tuner) Run(ctx context.Context, s Spec, dir, job string, observe func(train.Event)) (Result, error) {
	if err := t.free(s.Name, job); err != nil {
		return Result{}, err
	}
	m, err := t.Catalog.Model(s.Model)
	if err != nil {
		return Result{}, err
	}
	learn, held, apart, err := t.lay(ctx, s, m)
	if err != nil {
		return Result{}, err
	}
	policy, err := t.policy(s, m, longest(learn, held))
	if err != nil {
		return Result{}, err
	}
	a, err := lora.New(m, s.LoRA.Rank, s.LoRA.Alpha, s.LoRA.Targets, uint64(s.Seed))
	if err != nil {
		return Result{}, err
	}
	a.Name, a.Base, a.Dropout = s.Name, m.Name, s.LoRA.Dropout
	g, err := graph.Build(m, a, t.Gang, policy)
	if err != nil {
		return Result{}, fmt.Errorf("fine-tune %s: %w", m.Name, err)
	}
	defer g.Close()
	o := s.options()
	if o.Marks, err = t.marker(s, m, a, apart); err != nil {
		return Result{}, err
	}
	whole := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	steps := &steps{tuner: t, job: job, adapter: a, model: m, tell: observe, stop: cancel}
	leave := t.live.enter(steps)
	defer func() { leave(whole.Err() != nil) }()
	done, err := train.Run(ctx, g, learn.Sequences, held.Sequences, o, dir, steps.observe)
	if err != nil {
		return Result{}, cmp.Or(steps.broken, err)
	}
	return t.publish(a, m, job, Result{
		Adapter: s.Name, Steps: done.Steps, BestStep: done.BestStep, TrainLoss: done.TrainLoss,
		EvalLoss: done.EvalLoss, FirstEval: done.FirstEval, Right: done.Score, EarlyStopped: done.Stopped,
		TrainedTokens: trained(o.Plan, learn.Sequences, done.Steps),
		Truncated:     len(learn.Truncated) + len(held.Truncated), LeftOut: len(learn.Empty) + len(held.Empty),
	})
}

// publish stores the adapter and completes the result.
func (t *Tuner) publish(a *lora.Adapter, m *model.Model, job string, r Result) (Result, error) {
	folder, err := t.Catalog.Publish(a, m, job)
	if err != nil {
		return Result{}, err
	}
	r.Folder, r.PeakBytes = folder, peakBytes()
	if r.SHA256, err = hashFile(filepath.Join(folder, "adapter_model.safetensors")); err != nil {
		return Result{}, fmt.Errorf("read the published adapter: %w", err)
	}
	return r, nil
}

// lay deals the dataset into a part to learn and a held-out part, laid out for m.
// apart are the held-out conversations as they are.
func (t *Tuner) lay(ctx context.Context, s Spec, m *model.Model) (learn, held *data.Laid, apart []chat.Conversation, err error) {
	all, err := t.Catalog.Conversations(ctx, s.Dataset)
	if err != nil {
		return nil, nil, nil, err
	}
	inTrain, inTest := s.split(all)
	if learn, err = data.Lay(m, all, inTrain, s.maxLength(m)); err != nil {
		return nil, nil, nil, err
	}
	if s.Validation != "" {
		if all, err = t.Catalog.Conversations(ctx, s.Validation); err != nil {
			return nil, nil, nil, err
		}
		inTest = everything(len(all))
	}
	if held, err = data.Lay(m, all, inTest, s.maxLength(m)); err != nil {
		return nil, nil, nil, err
	}
	if learn.Learned == 0 {
		return nil, nil, nil, nothing(s, m)
	}
	for _, i := range inTest {
		apart = append(apart, all[i])
	}
	return learn, held, apart, nil
}

// split deals out the conversations of the dataset. With another one for
// validation nothing of it is held out.
func (s Spec) split(all []chat.Conversation) (inTrain, inTest []int) {
	if s.Validation != "" {
		return everything(len(all)), nil
	}
	return data.Split(all, s.TestSplit, uint64(s.Seed))
}

// everything is 0 to n-1.
func everything(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// options are those of the loop.
func (s Spec) options() train.Options {
	return train.Options{
		Plan: data.Plan{
			BatchSize: s.BatchSize, Accumulate: s.GradientAccumulation, Epochs: s.Epochs,
			MaxTokens: maxTokens, Share: true, Seed: uint64(s.Seed),
		},
		LearningRate: s.LearningRate, Schedule: s.Schedule, WarmupRatio: s.WarmupRatio,
		WeightDecay: s.WeightDecay, ClipNorm: s.MaxGradNorm, EvalEvery: s.EvalEvery,
		SaveEvery: s.SaveEvery, Patience: s.EarlyStopPatience, Seed: uint64(s.Seed),
		ByMarks: s.SelectBy == ByMarks, Marked: s.EvalQuestions,
	}
}

// maxLength is that of the spec, or what the model can see if that is less.
func (s Spec) maxLength(m *model.Model) int { return min(s.MaxLength, m.Dims.Context) }

// trained counts the tokens with a loss in the steps that were made.
func trained(p data.Plan, seqs []chat.Sequence, steps int) int {
	n := 0
	for i := range steps {
		n += p.Step(seqs, i).Counted
	}
	return n
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
