// Package jobs keeps fine-tuning jobs: a queue on disk and the workers that
// empty it.
//
//	queued → running → succeeded | failed | cancelled
//
// River decides which worker runs what next; the truth about a job (state,
// progress, curve, wish to cancel) lies in our own tables. A job runs in slices:
// it trains for a while, saves a checkpoint and goes back to the queue's head.
// A job found running at start-up was cut off: it goes back to queued and goes
// on from its last checkpoint.
package jobs

import (
	"context"
	"time"

	"go.uber.org/zap"

	"afina/internal/finetune"
	"afina/internal/store"
	"afina/internal/train"
)

// State is where a job is in its life.
type State string

// The states.
const (
	Queued    State = "queued"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Job is one request to fine-tune.
type Job struct {
	ID       string           `json:"id"`     // job_…
	Object   string           `json:"object"` // "job"
	Status   State            `json:"status"`
	Spec     finetune.Spec    `json:"spec"`
	Progress Progress         `json:"progress"`
	Result   *finetune.Result `json:"result"`
	Error    *Failure         `json:"error"`
	Attempts int              `json:"attempts"`
	Created  time.Time        `json:"created_at"`
	Started  *time.Time       `json:"started_at"`
	Finished *time.Time       `json:"finished_at"`
}

// Failure says why a job failed.
type Failure struct {
	Code    string `json:"code"` // "diverged", "crashed", "storage_error", "invalid", …
	Message string `json:"message"`
	Step    int    `json:"step,omitempty"`
}

// Progress is how far a job is. It is also one point of its curve.
type Progress struct {
	Step            int      `json:"step"`
	Steps           int      `json:"steps"`
	Epoch           float64  `json:"epoch"`
	TrainLoss       float64  `json:"train_loss"`
	EvalLoss        *float64 `json:"eval_loss"` // the latest in a Job; only where measured in a curve
	LearningRate    float64  `json:"learning_rate"`
	GradNorm        float64  `json:"grad_norm"`
	TokensPerSecond float64  `json:"tokens_per_second"`
	ETASeconds      float64  `json:"eta_seconds"`
}

// ProgressOf is the point of a curve that a training event makes.
func ProgressOf(e train.Event) Progress { panic("sketch") }

// Event is what a watcher of a job is told: a new point, or a new state.
type Event struct {
	Job   Job
	Point *Progress // nil when only the state changed
}

// Runner does the work of a job. *finetune.Tuner is one.
type Runner interface {
	Check(ctx context.Context, s finetune.Spec) (finetune.Spec, error)
	Run(ctx context.Context, s finetune.Spec, dir, job string, observe func(train.Event)) (finetune.Result, error)
}

var _ Runner = (*finetune.Tuner)(nil)

// Options size the queue.
type Options struct {
	Workers  int
	Dir      string        // folder of the jobs' checkpoints
	Slice    time.Duration // how long a job trains before it gives way
	MaxJobs  int           // queued at once; beyond it Submit is fault.Busy
	Attempts int           // crashes of the process after which a job is given up
}

// Queue is the jobs and their workers.
type Queue struct {
	Observe func(Event) // may be nil; set before Run
}

// New returns the queue kept in s.
func New(s *store.Store, r Runner, o Options, log *zap.Logger) (*Queue, error) { panic("sketch") }

// Submit checks and stores a new job and wakes a worker. A second call with the
// same non-empty key and the same spec returns the first job; with another
// spec it is fault.Conflict.
func (q *Queue) Submit(ctx context.Context, s finetune.Spec, key string) (Job, error) {
	panic("sketch")
}

// Find returns a job as it stands.
func (q *Queue) Find(ctx context.Context, id string) (Job, error) { panic("sketch") }

// List returns jobs, newest first, after the given id.
func (q *Queue) List(ctx context.Context, after string, limit int) (page []Job, more bool, err error) {
	panic("sketch")
}

// Curve returns every point of a job, by step.
func (q *Queue) Curve(ctx context.Context, id string) ([]Progress, error) { panic("sketch") }

// Watch tells of the job as it stands, then of every event until ctx ends or the
// job does. A slow reader misses points, never the final state.
func (q *Queue) Watch(ctx context.Context, id string) (<-chan Event, error) { panic("sketch") }

// Cancel asks a job to stop; it is cancelled within one step. A job that is
// over is fault.Conflict.
func (q *Queue) Cancel(ctx context.Context, id string) (Job, error) { panic("sketch") }

// Delete removes a job that is over, its curve and its checkpoints. The adapter
// it published stays.
func (q *Queue) Delete(ctx context.Context, id string) error { panic("sketch") }

// Using reports whether a job that is not over needs the dataset.
func (q *Queue) Using(ctx context.Context, dataset string) (bool, error) { panic("sketch") }

// Counts is how many jobs are in each state.
func (q *Queue) Counts(ctx context.Context) (map[State]int, error) { panic("sketch") }

// Run works until ctx ends, then lets running jobs save a checkpoint.
func (q *Queue) Run(ctx context.Context) error { panic("sketch") }
