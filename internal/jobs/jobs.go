// Package jobs keeps fine-tuning jobs: a queue on disk and the workers that
// empty it.
//
//	queued → running → succeeded | failed | cancelled
//	paused ⇄ queued, and from running to paused
//
// River decides which worker runs what next; the truth about a job (state,
// progress, curve, wish to cancel) lies in our own tables. A job runs in slices:
// it trains for a while, saves a checkpoint and goes back to the queue's head.
// A job found running at start-up was cut off: it goes back to queued and goes
// on from its last checkpoint, unless the process has died under it too often.
package jobs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"go.uber.org/zap"

	"afina/internal/catalog"
	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/store"
	"afina/internal/train"
)

// State is where a job is in its life.
type State string

// The states.
const (
	Queued    State = "queued"
	Paused    State = "paused" // in the queue, but no worker takes it before it is resumed
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Over reports whether a job in this state stays in it for good.
func (s State) Over() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Job is one request to fine-tune.
type Job struct {
	ID       string           `json:"id"`     // job_…
	Object   string           `json:"object"` // "job"
	Status   State            `json:"status"`
	Spec     finetune.Spec    `json:"spec"`
	Progress Progress         `json:"progress"`
	Result   *finetune.Result `json:"result"`
	Error    *Failure         `json:"error"`
	Metadata Metadata         `json:"metadata,omitempty"`
	Attempts int              `json:"attempts"` // how often the process died under it since its last checkpoint
	Created  time.Time        `json:"created_at"`
	Started  *time.Time       `json:"started_at"`
	Finished *time.Time       `json:"finished_at"`
}

// Metadata are words of the client's own about a job.
type Metadata map[string]string

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
	TrainAccuracy   *float64 `json:"train_accuracy"` // share of tokens that were the most likely one; nil where it was not counted yet
	EvalLoss        *float64 `json:"eval_loss"`      // the latest in a Job; only where measured in a curve
	EvalAccuracy    *float64 `json:"eval_accuracy"`  // with EvalLoss
	LearningRate    float64  `json:"learning_rate"`
	GradNorm        float64  `json:"grad_norm"`
	TokensPerSecond float64  `json:"tokens_per_second"`
	ETASeconds      float64  `json:"eta_seconds"`

	// Marks are those of the held-out answers, as finetune.Marks; only where they
	// were measured.
	Marks *json.RawMessage `json:"marks,omitempty"`
}

// ProgressOf is the point of a curve that a training event makes.
func ProgressOf(e train.Event) Progress {
	p := Progress{
		Step: e.Step, Steps: e.Steps, Epoch: finite(e.Epoch), TrainLoss: finite(e.TrainLoss),
		TrainAccuracy: &e.TrainAccuracy, LearningRate: finite(e.LearningRate), GradNorm: finite(e.GradNorm),
		TokensPerSecond: finite(e.TokensPerSecond), ETASeconds: finite(e.ETASeconds),
	}
	if e.Marks != nil {
		p.Marks = &e.Marks
	}
	if e.EvalLoss != nil && finite(*e.EvalLoss) == *e.EvalLoss {
		p.EvalLoss, p.EvalAccuracy = e.EvalLoss, e.EvalAccuracy
	}
	return p
}

// finite is x, or 0 for what JSON has no number for.
func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

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

// Options size the queue. Zero fields take defaults.
type Options struct {
	Workers  int           // jobs that run at once; 1
	Dir      string        // folder of the jobs' checkpoints
	Slice    time.Duration // how long a job trains before it gives way; 10 min
	MaxJobs  int           // queued at once; beyond it Submit is fault.Busy; 1000
	Attempts int           // crashes of the process, without a checkpoint in between, after which a job is given up; 3
	Grace    time.Duration // how long running jobs may take for a last checkpoint when the queue ends; 10 s
}

func (o Options) filled() Options {
	if o.Workers <= 0 {
		o.Workers = 1
	}
	if o.Slice <= 0 {
		o.Slice = 10 * time.Minute
	}
	if o.MaxJobs <= 0 {
		o.MaxJobs = 1000
	}
	if o.Attempts <= 0 {
		o.Attempts = 3
	}
	if o.Grace <= 0 {
		o.Grace = 10 * time.Second
	}
	return o
}

// Queue is the jobs and their workers.
type Queue struct {
	Observe func(Event) // may be nil; set before Run; called from many goroutines

	store   *store.Store
	runner  Runner
	options Options
	log     *zap.Logger
	river   *river.Client[*sql.Tx]
	watch   hub

	// alive ends, with the cause errShutdown, when Run's context does.
	alive context.Context
	stop  context.CancelCauseFunc

	// mu is held while a job is claimed, so that whoever finds a job running in
	// the store finds it here too.
	mu   sync.Mutex
	runs map[string]*run
}

// New returns the queue kept in s. Jobs that a killed process left running are
// put back in their place.
func New(s *store.Store, r Runner, o Options, log *zap.Logger) (*Queue, error) {
	if log == nil {
		log = zap.NewNop()
	}
	q := &Queue{store: s, runner: r, options: o.filled(), log: log, runs: map[string]*run{}}
	q.alive, q.stop = context.WithCancelCause(context.Background())
	if err := os.MkdirAll(q.options.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of checkpoints: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if q.river, err = q.dispatcher(ctx); err != nil {
		return nil, err
	}
	if err := q.recover(ctx); err != nil {
		return nil, fmt.Errorf("take up the jobs of the last run: %w", err)
	}
	return q, nil
}

// Submit is Place for an order without more to it.
func (q *Queue) Submit(ctx context.Context, s finetune.Spec, key string) (Job, error) {
	return q.Place(ctx, Order{Spec: s, Key: key})
}

// Order is a request to fine-tune.
type Order struct {
	Spec     finetune.Spec
	Key      string // names the request: sent twice it makes one job; may be empty
	Metadata Metadata
	// Suffix, unless nil, names the adapter together with the job's id, in place
	// of Spec.Name: see catalog.AdapterName.
	Suffix *string
	// Patient makes of a dataset from which nothing can be learnt a job that has
	// failed, in place of an error.
	Patient bool
}

// Place checks and stores a new job and wakes a worker. A second call with the
// same non-empty key and the same order returns the first job; with another
// order it is fault.Conflict.
func (q *Queue) Place(ctx context.Context, o Order) (Job, error) {
	if len(o.Key) > 255 {
		return Job{}, fault.New(fault.Invalid, "the Idempotency-Key has %d bytes; use at most 255", len(o.Key)).WithParam("Idempotency-Key")
	}
	print, err := fingerprint(o)
	if err != nil {
		return Job{}, err
	}
	if row, found, err := q.store.JobByKey(ctx, o.Key, print); err != nil || found {
		return asJob(row, err)
	}
	row := store.Job{ID: newID(), State: string(Queued), Key: o.Key, Fingerprint: print}
	s := o.Spec
	if o.Suffix != nil {
		s.Name = catalog.AdapterName(*o.Suffix, row.ID)
	}
	row.News = "Created fine-tuning job: " + row.ID
	checked, err := q.runner.Check(ctx, s)
	if err == nil {
		s = checked
	} else if err = o.failing(&row, err); err != nil {
		return Job{}, err
	}
	if row.Spec, err = json.Marshal(s); err == nil && len(o.Metadata) > 0 {
		row.Metadata, err = json.Marshal(o.Metadata)
	}
	if err != nil {
		return Job{}, fmt.Errorf("store a job: %w", err)
	}
	row.Name, row.Dataset, row.Validation = s.Name, s.Dataset, s.Validation
	row, fresh, err := q.store.AddJob(ctx, row, q.options.MaxJobs, func(tx *sql.Tx) error { return q.ticket(ctx, tx) })
	job, err := asJob(row, err)
	if err == nil && fresh {
		q.tell(Event{Job: job})
	}
	return job, err
}

// failing makes row a failed job when the order is patient and err is about the
// content of its dataset; else it returns err.
func (o Order) failing(row *store.Job, err error) error {
	if !o.Patient || fault.KindOf(err) != fault.Unprocessable {
		return err
	}
	f := explain(err)
	if f.Code != "no_trainable_tokens" {
		return err
	}
	row.State, row.Finished = string(Failed), now()
	row.ErrorCode, row.Error = "invalid_training_file", f.Message
	row.News = "The job failed: " + f.Message
	return nil
}

// fingerprint is the SHA-256 of an order as it was given.
func fingerprint(o Order) (string, error) {
	text, err := json.Marshal(o.Spec)
	if err == nil && (o.Suffix != nil || len(o.Metadata) > 0) {
		var more []byte
		more, err = json.Marshal([]any{o.Suffix, o.Metadata})
		text = append(text, more...)
	}
	if err != nil {
		return "", fault.New(fault.Invalid, "the job holds a number that is not finite")
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

var jobID = regexp.MustCompile(`^job_[a-z0-9]{16}$`)

// newID is "job_" and 16 random characters of [a-z0-9].
func newID() string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	id := []byte("job_0123456789abcdef")
	rand.Read(id[4:])
	for i, b := range id[4:] {
		id[4+i] = letters[b%32]
	}
	return string(id)
}

// asJob is a row as the world sees it.
func asJob(row store.Job, err error) (Job, error) {
	if err != nil {
		return Job{}, err
	}
	j := Job{
		ID: row.ID, Object: "job", Status: State(row.State), Attempts: row.Attempts,
		Created: row.Created, Started: row.Started, Finished: row.Finished,
	}
	if row.Paused && j.Status == Queued {
		j.Status = Paused
	}
	if row.ErrorCode != "" {
		j.Error = &Failure{Code: row.ErrorCode, Message: row.Error, Step: row.ErrorStep}
	}
	for _, part := range []struct {
		text json.RawMessage
		into any
	}{{row.Spec, &j.Spec}, {row.Progress, &j.Progress}, {row.Result, &j.Result}, {row.Metadata, &j.Metadata}} {
		if len(part.text) == 0 {
			continue
		}
		if err := json.Unmarshal(part.text, part.into); err != nil {
			return Job{}, fmt.Errorf("read job %s: %w", row.ID, err)
		}
	}
	return j, nil
}

// Find returns a job as it stands.
func (q *Queue) Find(ctx context.Context, id string) (Job, error) {
	j, err := asJob(q.store.Job(ctx, id))
	if err != nil {
		return Job{}, err
	}
	return q.fresh(j), nil
}

// fresh puts the progress in memory, which is ahead of the store's, into a
// running job.
func (q *Queue) fresh(j Job) Job {
	q.mu.Lock()
	r := q.runs[j.ID]
	q.mu.Unlock()
	if r != nil && j.Status == Running {
		j.Progress = r.now()
	}
	return j
}

// List returns jobs, newest first, after the given id.
func (q *Queue) List(ctx context.Context, after string, limit int) (page []Job, more bool, err error) {
	return q.ListLike(ctx, after, limit, nil)
}

// ListLike is List of the jobs that have all of these pairs in their metadata.
func (q *Queue) ListLike(ctx context.Context, after string, limit int, pairs Metadata) (page []Job, more bool, err error) {
	rows, more, err := q.store.Jobs(ctx, after, limit, pairs)
	if err != nil {
		return nil, false, err
	}
	page = make([]Job, len(rows))
	for i, row := range rows {
		j, err := asJob(row, nil)
		if err != nil {
			return nil, false, err
		}
		page[i] = q.fresh(j)
	}
	return page, more, nil
}

// Curve returns every point of a job, by step.
func (q *Queue) Curve(ctx context.Context, id string) ([]Progress, error) {
	q.mu.Lock()
	r := q.runs[id]
	q.mu.Unlock()
	if r != nil {
		if err := r.flush(ctx); err != nil {
			return nil, err
		}
	}
	points, err := q.store.Points(ctx, id)
	if err != nil {
		return nil, err
	}
	curve := make([]Progress, len(points))
	for i, p := range points {
		if err := json.Unmarshal(p.Data, &curve[i]); err != nil {
			return nil, fmt.Errorf("read the curve of %s: %w", id, err)
		}
	}
	return curve, nil
}

// Cancel asks a job to stop; it is cancelled within one step. A job that is
// over is fault.Conflict.
func (q *Queue) Cancel(ctx context.Context, id string) (Job, error) {
	j, err := asJob(q.store.ChangeJob(ctx, id, func(row *store.Job) error {
		switch state := State(row.State); {
		case state.Over():
			return fault.New(fault.Conflict, "%s is %s already", id, state).WithCode("already_finished")
		case state == Queued:
			row.State, row.Finished, row.News = string(Cancelled), now(), "The job was cancelled"
		}
		row.Cancel = true
		return nil
	}))
	if err != nil {
		return Job{}, err
	}
	if j.Status == Cancelled {
		q.tell(Event{Job: j})
		return j, nil
	}
	q.mu.Lock()
	r := q.runs[id]
	q.mu.Unlock()
	if r != nil { // else it has just ended, or a worker finds the wish in the store
		r.cancel(errCancelled)
	}
	return q.fresh(j), nil
}

// now is the time as it is stored.
func now() *time.Time {
	t := time.Now().UTC().Truncate(time.Microsecond)
	return &t
}

// Delete removes a job that is over, its curve and its checkpoints. The adapter
// it published stays.
func (q *Queue) Delete(ctx context.Context, id string) error {
	err := q.store.DeleteJob(ctx, id, func(row store.Job) error {
		if state := State(row.State); !state.Over() {
			return fault.New(fault.Conflict, "%s is %s; cancel it first", id, state).WithCode("job_not_finished")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(q.options.Dir, id)); err != nil {
		return fmt.Errorf("remove the checkpoints of %s: %w", id, err)
	}
	return nil
}

// Using reports whether a job that is not over needs the dataset.
func (q *Queue) Using(ctx context.Context, dataset string) (bool, error) {
	job, err := q.store.Using(ctx, dataset)
	return job != "", err
}

// Counts is how many jobs are in each state.
func (q *Queue) Counts(ctx context.Context) (map[State]int, error) {
	rows, err := q.store.CountJobs(ctx)
	if err != nil {
		return nil, err
	}
	counts := map[State]int{Queued: 0, Paused: 0, Running: 0, Succeeded: 0, Failed: 0, Cancelled: 0}
	for state, n := range rows {
		counts[State(state)] = n
	}
	return counts, nil
}
