// Package finetune does one fine-tuning from names to a saved adapter. The
// job queue and the command line both come here.
package finetune

import (
	"context"

	"afina/internal/catalog"
	"afina/internal/kernel"
	"afina/internal/train"
)

// Spec says what to train on what. It is also the body of POST /jobs: start from
// Defaults and decode over it.
type Spec struct {
	Model   string `json:"model" yaml:"-" validate:"required,max=200"`
	Dataset string `json:"dataset" yaml:"-" validate:"required,max=200"`
	Name    string `json:"name,omitempty" yaml:"-" validate:"omitempty,max=64,adapter_name"`

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
		SaveEvery: 10, Precision: "fast", Memory: "auto",
	}
}

// Precision reads "fast" or "exact".
func Precision(name string) (kernel.Precision, error) { panic("sketch") }

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
	EarlyStopped  bool     `json:"early_stopped"`
	TrainedTokens int      `json:"trained_tokens"` // tokens with a loss, all epochs
	Truncated     int      `json:"truncated_conversations"`
	LeftOut       int      `json:"left_out_conversations"`
	PeakBytes     int64    `json:"peak_memory_bytes"`
}

// Tuner runs specs.
type Tuner struct {
	Catalog     *catalog.Catalog
	Gang        *kernel.Gang
	MemoryLimit int64 // bytes; a run estimated above it is refused; 0: what the machine has
}

// Check finds everything that can be known to be wrong before the run: unknown
// model or dataset, unknown targets, a name that is taken, no token to learn,
// more memory than there is. It fills in Name when empty.
func (t *Tuner) Check(ctx context.Context, s Spec) (Spec, error) { panic("sketch") }

// Run opens, lays out, trains, saves and publishes. dir holds the run's
// checkpoints; a run cut off anywhere goes on from there. When ctx ends, it saves
// a checkpoint and returns ctx's error.
func (t *Tuner) Run(ctx context.Context, s Spec, dir, job string, observe func(train.Event)) (Result, error) {
	panic("sketch")
}
