// Package train is the training loop: steps, schedule, held-out loss, early
// stop, checkpoints. Batches in, a trained adapter out.
package train

import (
	"context"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/graph"
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
	SaveEvery    int     // steps between checkpoints
	Patience     int     // evaluations without improvement before stopping early; 0: never
	Seed         uint64
}

// Event is what an observer is told after each step.
type Event struct {
	Step, Steps     int // 1-based step just made, and all
	Epoch           float64
	TrainLoss       float64  // mean over counted tokens of this step
	EvalLoss        *float64 // held-out mean loss, when measured at this step
	LearningRate    float64
	GradNorm        float64 // before clipping
	Tokens          int     // of this step
	TokensPerSecond float64
	ETASeconds      float64
	Checkpoint      bool // a checkpoint of this step is on disk
}

// Result is how a run ended.
type Result struct {
	Steps     int
	BestStep  int
	TrainLoss float64  // mean over the last epoch's steps
	EvalLoss  *float64 // at BestStep
	FirstEval *float64 // before the first step
	Stopped   bool     // early
}

// Run trains until the plan or ctx ends. dir holds the checkpoints: a run that
// finds one there goes on from it and ends with the same bits as one that was
// never stopped. When ctx ends it saves a checkpoint and returns ctx's error.
// A loss or gradient that is not finite, or a loss that has blown up, is a
// *Diverged error. At the end the adapter holds the best step's values.
func Run(ctx context.Context, g *graph.Graph, seqs, held []chat.Sequence, o Options, dir string, observe func(Event)) (Result, error) {
	panic("sketch")
}

// Diverged says at which step training left the finite numbers.
type Diverged struct {
	Step int
	What string
}

func (d *Diverged) Error() string { panic("sketch") }
