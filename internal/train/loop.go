package train

import (
	"context"
	"fmt"
	"math"
	"time"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/graph"
	"afina/internal/optim"
)

// heldTokens is the length of the batches of the held-out loss.
const heldTokens = 512

// loop is a run on its way.
type loop struct {
	graph    *graph.Graph
	params   []optim.Param
	adam     *optim.AdamW
	schedule optim.Schedule
	seqs     []chat.Sequence
	held     []data.Batch
	o        Options
	steps    int
	perEpoch int
	best     [][]float32 // the values of state.BestStep, one per parameter; nil before there is one
	room     [][]float32 // for best
	files    files
	observe  func(Event)
	pace     pace

	state state
}

// state is what a checkpoint says besides the numbers of the parameters.
type state struct {
	Step      int      `json:"step"` // steps made
	FirstLoss float64  `json:"first_loss"`
	Blown     int      `json:"blown"` // steps in a row with a loss too high
	FirstEval *float64 `json:"first_eval"`
	BestEval  *float64 `json:"best_eval"`
	BestStep  int      `json:"best_step"`
	BestScore *float64 `json:"best_score,omitempty"`
	Waited    int      `json:"waited"` // evaluations since BestStep
	Stopped   bool     `json:"stopped"`
	Pending   bool     `json:"pending"`  // the held-out loss of Step is yet to be measured
	LossSum   float64  `json:"loss_sum"` // over the steps of the epoch so far
	Counted   int      `json:"counted"`
	Event     Event    `json:"event"` // of Step
}

func newLoop(g *graph.Graph, seqs, held []chat.Sequence, o Options, dir string, observe func(Event)) (*loop, error) {
	steps := o.Plan.Steps(len(seqs))
	if steps == 0 {
		return nil, fault.New(fault.Unprocessable, "there is nothing to train on: no conversation is left after the split").WithCode("no_trainable_tokens")
	}
	once := o.Plan
	once.Epochs = 1
	l := &loop{
		graph: g, params: g.Params(), adam: optim.NewAdamW(g.Gang(), o.WeightDecay), seqs: seqs,
		schedule: optim.Schedule{Kind: o.Schedule, Warmup: int(math.Ceil(o.WarmupRatio * float64(steps))), Total: steps},
		o:        o, steps: steps, perEpoch: once.Steps(len(seqs)), observe: observe,
	}
	if len(held) > 0 {
		l.held = data.Pack(held, heldTokens)
	}
	if l.observe == nil {
		l.observe = func(Event) {}
	}
	identity, err := identify(g, seqs, held, o)
	if err != nil {
		return nil, fmt.Errorf("describe the run: %w", err)
	}
	l.files = files{dir: dir, identity: identity}
	tokens, places := longest(o.Plan, seqs, l.held)
	return l, g.Reserve(tokens, places)
}

// longest bounds the tokens of any batch of the run, and the places of one in
// which some are shared.
func longest(p data.Plan, seqs []chat.Sequence, held []data.Batch) (tokens, places int) {
	one, all := 0, 0
	for _, s := range seqs {
		one, all = max(one, len(s.Tokens)), all+len(s.Tokens)
	}
	tokens, places = min(one*p.BatchSize*max(p.Accumulate, 1), all), min(p.Places(), all)
	if p.MaxTokens > 0 {
		tokens = min(tokens, max(one, p.MaxTokens))
	}
	for _, b := range held {
		tokens, places = max(tokens, len(b.Tokens)), max(places, len(b.Shared))
	}
	return tokens, places
}

// resume takes up the latest checkpoint, if there is one.
func (l *loop) resume() error {
	var err error
	for _, to := range []*[][]float32{&l.adam.M, &l.adam.V, &l.room} {
		if *to, err = l.graph.Zeros(); err != nil {
			return err
		}
	}
	found, err := l.files.load(&l.state, l.tensors(l.room))
	if err != nil || !found {
		return err
	}
	l.adam.Steps = l.state.Step
	if l.state.BestStep > 0 {
		l.best = l.room
	}
	if l.state.Step > 0 && !l.state.Pending {
		l.observe(l.state.Event)
	}
	return nil
}

// run makes the steps that are left. When ctx ends it leaves a checkpoint of
// where it is.
func (l *loop) run(ctx context.Context) error {
	err := l.advance(ctx)
	if ctx.Err() == nil {
		return err
	}
	if err := l.save(); err != nil {
		return err
	}
	return ctx.Err()
}

func (l *loop) advance(ctx context.Context) error {
	if l.state.Step == 0 && l.state.FirstEval == nil && len(l.held) > 0 {
		first, _, err := l.evaluate(ctx)
		if err != nil {
			return err
		}
		l.state.FirstEval = &first
	}
	for l.state.Pending || !l.over() {
		if !l.state.Pending {
			if err := l.step(ctx); err != nil {
				return err
			}
		}
		if l.state.Pending {
			eval, accuracy, err := l.evaluate(ctx)
			if err != nil {
				return err
			}
			if err := l.mark(ctx); err != nil {
				return err
			}
			l.judge(eval, accuracy)
		}
		if l.over() || l.o.SaveEvery > 0 && l.state.Step%l.o.SaveEvery == 0 {
			l.state.Event.Checkpoint = true
			if err := l.save(); err != nil {
				return err
			}
		}
		l.observe(l.state.Event)
	}
	return nil
}

// over reports whether no step is left to make.
func (l *loop) over() bool { return l.state.Step >= l.steps || l.state.Stopped }

// step makes one optimiser step. When it fails, nothing but gradients has
// changed.
func (l *loop) step(ctx context.Context) error {
	started := time.Now()
	i := l.state.Step
	work := l.o.Plan.Step(l.seqs, i)
	loss, accuracy, norm, err := l.gradients(ctx, work)
	if err != nil {
		return err
	}
	if err := l.watch(i+1, loss, norm); err != nil {
		return err
	}
	rate := l.o.LearningRate * l.schedule.Factor(i)
	l.adam.Step(l.params, rate, l.clip(norm))
	took := time.Since(started)
	l.pace.add(took)

	s := &l.state
	if i%l.perEpoch == 0 {
		s.LossSum, s.Counted = 0, 0
	}
	s.Step, s.Pending = i+1, l.due(i+1)
	s.LossSum += loss * float64(work.Counted)
	s.Counted += work.Counted
	s.Event = Event{
		Step: s.Step, Steps: l.steps, Epoch: float64(s.Step) / float64(l.perEpoch),
		TrainLoss: loss, TrainAccuracy: accuracy, LearningRate: rate, GradNorm: norm, Tokens: work.Tokens,
		TokensPerSecond: float64(work.Tokens) / took.Seconds(), ETASeconds: l.pace.left(l.steps - s.Step),
	}
	return nil
}

// gradients adds up the gradients of a step's batches. It returns the mean loss,
// the share of tokens that were the most likely one, and the gradients' norm.
func (l *loop) gradients(ctx context.Context, work data.Step) (loss, accuracy, norm float64, err error) {
	optim.Zero(l.graph.Gang(), l.params)
	right := 0
	for j, b := range work.Batches {
		sum, n, err := l.graph.Gradients(ctx, b, 1/float32(work.Counted), l.seed(l.state.Step, j))
		if err != nil {
			return 0, 0, 0, err
		}
		loss, right = loss+sum, right+n
	}
	counted := float64(work.Counted)
	return loss / counted, float64(right) / counted, optim.GradNorm(l.graph.Gang(), l.params), nil
}

// clip is the factor of gradients of a norm, as torch.nn.utils.clip_grad_norm_.
func (l *loop) clip(norm float64) float64 {
	if l.o.ClipNorm > 0 && norm > l.o.ClipNorm {
		return l.o.ClipNorm / (norm + 1e-6)
	}
	return 1
}

// seed is that of the dropout masks of a batch.
func (l *loop) seed(step, batch int) uint64 {
	return l.o.Seed*0x9e3779b97f4a7c15 + uint64(step)<<20 + uint64(batch)
}

// watch finds that the run has diverged, from the loss and the norm of a step's
// gradients. Nothing has been changed by them yet.
func (l *loop) watch(step int, loss, norm float64) error {
	s := &l.state
	switch {
	case !finite(loss):
		return &Diverged{Step: step, What: fmt.Sprintf("the loss is %v", loss)}
	case !finite(norm):
		return &Diverged{Step: step, What: fmt.Sprintf("the norm of the gradients is %v", norm)}
	}
	if step == 1 {
		s.FirstLoss = loss
	}
	if limit := blownFactor*s.FirstLoss + blownMargin; loss > limit {
		s.Blown++
		if s.Blown == blownSteps {
			return &Diverged{Step: step, What: fmt.Sprintf("the loss is %.4g and has been above %.4g for %d steps", loss, limit, blownSteps)}
		}
	} else {
		s.Blown = 0
	}
	return nil
}

// due reports whether the held-out loss is measured after the given step.
func (l *loop) due(step int) bool {
	if len(l.held) == 0 {
		return false
	}
	every := l.o.EvalEvery
	if every == 0 {
		every = l.perEpoch
	}
	return step == l.steps || step%every == 0
}

// evaluate returns the held-out mean loss, and the share of held-out tokens that
// were the most likely one.
func (l *loop) evaluate(ctx context.Context) (mean, accuracy float64, err error) {
	sum, right, counted := 0.0, 0, 0
	for _, b := range l.held {
		loss, n, err := l.graph.Loss(ctx, b)
		if err != nil {
			return 0, 0, err
		}
		sum, right, counted = sum+loss, right+n, counted+b.Counted
	}
	mean = sum / float64(max(counted, 1))
	if !finite(mean) {
		return 0, 0, &Diverged{Step: l.state.Step, What: fmt.Sprintf("the held-out loss is %v", mean)}
	}
	return mean, float64(right) / float64(max(counted, 1)), nil
}

// judge takes note of the held-out loss and accuracy of the step just made.
func (l *loop) judge(eval, accuracy float64) {
	s := &l.state
	s.Event.EvalLoss, s.Event.EvalAccuracy, s.Pending = &eval, &accuracy, false
	if !l.better(eval) {
		s.Waited++
		s.Stopped = l.o.Patience > 0 && s.Waited >= l.o.Patience
		return
	}
	s.BestEval, s.BestScore, s.BestStep, s.Waited = &eval, s.Event.Score, s.Step, 0
	l.best = l.room
	for i, p := range l.params {
		copy(l.best[i], p.Value)
	}
}

// finish gives the adapter the best values and says how the run ended.
func (l *loop) finish() Result {
	s := &l.state
	r := Result{
		Steps: s.Step, BestStep: s.Step, TrainLoss: s.LossSum / float64(max(s.Counted, 1)),
		FirstEval: s.FirstEval, EvalLoss: s.BestEval, Score: s.BestScore, Stopped: s.Stopped,
	}
	if s.BestStep > 0 {
		r.BestStep = s.BestStep
		for i, p := range l.params {
			copy(p.Value, l.best[i])
		}
	}
	return r
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// pace is how long a step takes: a mean in which the latest steps weigh most.
type pace struct{ mean time.Duration }

func (p *pace) add(took time.Duration) {
	if p.mean == 0 {
		p.mean = took
	}
	p.mean += (took - p.mean) / 5
}

// left is how many seconds the given number of steps will take.
func (p *pace) left(steps int) float64 { return p.mean.Seconds() * float64(steps) }
