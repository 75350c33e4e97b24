// Package train is the training loop: steps, schedule, held-out loss, early
// stop, checkpoints. Batches in, a trained adapter out.
//
// Everything a step does depends on the options, the data and the step's number,
// never on the clock or on what was done since the process began. So a run that
// was cut off anywhere and goes on from a checkpoint ends with the very bits of
// a run that was not.
package train

import (
	"context"
	"encoding/json"
	"fmt"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/graph"
)

// A run has blown up when the loss of blownSteps steps in a row lies above
// blownFactor times the first step's loss plus blownMargin nats.
const (
	blownFactor = 3
	blownMargin = 10
	blownSteps  = 3
)

// Options are the knobs of a run.
type Options struct {
	Plan         data.Plan
	LearningRate float64
	Schedule     string  // "linear", "cosine" or "constant"
	WarmupRatio  float64 // share of all steps
	WeightDecay  float64
	ClipNorm     float64 // global gradient norm; 0: no clipping
	EvalEvery    int     // steps between held-out losses; 0: once per epoch
	SaveEvery    int     // steps between checkpoints; 0: only at the end and when stopped
	Patience     int     // evaluations without improvement before stopping early; 0: never
	Seed         uint64

	// Marks marks the adapter wherever the held-out loss is measured; nil: not.
	// With ByMarks the best step is the one with the best score. Marked is how many
	// answers a score is of: runs that differ in it are different runs.
	Marks   Marker `json:"-"`
	ByMarks bool   `json:",omitempty"`
	Marked  int    `json:",omitempty"`
}

// Event is what an observer is told after each step. A run that goes on from a
// checkpoint tells the checkpoint's step again.
type Event struct {
	Step, Steps     int // 1-based step just made, and all
	Epoch           float64
	TrainLoss       float64  // mean over counted tokens of this step
	TrainAccuracy   float64  // share of the counted tokens that were the most likely one
	EvalLoss        *float64 // held-out mean loss, when measured at this step
	EvalAccuracy    *float64 // the same share of the held-out tokens; set with EvalLoss
	LearningRate    float64
	GradNorm        float64 // before clipping
	Tokens          int     // of this step
	TokensPerSecond float64
	ETASeconds      float64
	Checkpoint      bool // a checkpoint of this step is on disk

	Score *float64        `json:",omitempty"` // share of right answers, when marked at this step
	Marks json.RawMessage `json:",omitempty"` // the whole of the marks
}

// Result is how a run ended.
type Result struct {
	Steps     int
	BestStep  int      // whose values the adapter holds
	TrainLoss float64  // mean over the last epoch's steps
	EvalLoss  *float64 // at BestStep
	FirstEval *float64 // before the first step
	Score     *float64 // at BestStep; nil when nothing was marked
	Stopped   bool     // early
}

// Run trains until the plan or ctx ends. dir holds the checkpoints: a run that
// finds one there goes on from it and ends with the same bits as one that was
// never stopped; the adapter comes as it was before the first step. When ctx ends it saves a checkpoint and returns ctx's error.
// A loss or gradient that is not finite, or a loss that has blown up, is a
// *Diverged error. At the end the adapter holds the best step's values.
func Run(ctx context.Context, g *graph.Graph, seqs, held []chat.Sequence, o Options, dir string, observe func(Event)) (Result, error) {
	l, err := newLoop(g, seqs, held, o, dir, observe)
	if err != nil {
		return Result{}, err
	}
	if err := l.resume(); err != nil {
		return Result{}, err
	}
	if err := l.run(ctx); err != nil {
		return Result{}, err
	}
	return l.finish(), nil
}

// Diverged says at which step training left the finite numbers.
type Diverged struct {
	Step int
	What string
}

func (d *Diverged) Error() string {
	return fmt.Sprintf("training diverged at step %d: %s; a lower learning_rate or a longer warmup may help", d.Step, d.What)
}
