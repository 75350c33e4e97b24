package train_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/graph"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/quant"
	"afina/internal/train"
)

func gang(t testing.TB, workers int) *kernel.Gang {
	t.Helper()
	pool := parallel.New(workers)
	t.Cleanup(pool.Close)
	g, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func open(t testing.TB, path string, g *kernel.Gang) *model.Model {
	t.Helper()
	m, err := model.Open(path, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// bench is a tiny model that is trained again and again.
type bench struct {
	t     *testing.T
	gang  *kernel.Gang
	model *model.Model
	seqs  []chat.Sequence
	held  []chat.Sequence
}

func newBench(t *testing.T) *bench {
	t.Helper()
	g := gang(t, 2)
	m := open(t, modeltest.Write(t, modeltest.Shape{Type: quant.Q8_0, Seed: 5}), g)
	return &bench{t: t, gang: g, model: m, seqs: sequences(11, 0), held: sequences(3, 100)}
}

// sequences count up from different numbers: there is something to learn.
func sequences(n, salt int) []chat.Sequence {
	all := make([]chat.Sequence, n)
	for i := range all {
		length := 8 + (i*5+salt)%9
		s := chat.Sequence{Tokens: make([]int32, length), Learn: make([]bool, length)}
		for j := range length {
			s.Tokens[j], s.Learn[j] = int32((40+i*17+salt+j*3)%256), j >= 3
		}
		all[i] = s
	}
	return all
}

// graph has a new adapter, the same every time.
func (b *bench) graph() *graph.Graph {
	b.t.Helper()
	a, err := lora.New(b.model, 4, 8, nil, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	g, err := graph.Build(b.model, a, b.gang, graph.Options{Memory: graph.Store, Dropout: 0.1})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { g.Close() })
	return g
}

func options() train.Options {
	return train.Options{
		Plan:         data.Plan{BatchSize: 2, Accumulate: 2, Epochs: 3, Seed: 3},
		LearningRate: 1e-2, Schedule: "cosine", WarmupRatio: 0.1, WeightDecay: 0.01, ClipNorm: 1,
		EvalEvery: 2, SaveEvery: 2, Seed: 9,
	}
}

// outcome is all of a run that must not depend on how often it was cut off.
type outcome struct {
	result train.Result
	values string
	events []train.Event
}

// values is the SHA-256 of the adapter.
func values(g *graph.Graph) string { return hashParams(g.Params()) }

// run trains to the end in dir.
func (b *bench) run(o train.Options, dir string) (outcome, error) {
	g := b.graph()
	var events []train.Event
	r, err := train.Run(context.Background(), g, b.seqs, b.held, o, dir, func(e train.Event) { events = append(events, e) })
	return outcome{r, values(g), events}, err
}

func (b *bench) mustRun(o train.Options, dir string) outcome {
	b.t.Helper()
	out, err := b.run(o, dir)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// cutOff runs until the given step has been told, then ends the context.
func (b *bench) cutOff(o train.Options, dir string, step int) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := train.Run(ctx, b.graph(), b.seqs, b.held, o, dir, func(e train.Event) {
		if e.Step == step {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		b.t.Fatalf("cut off at step %d: %v", step, err)
	}
}

// kill runs until the given step has been told, then leaves without a word, as
// kill -9 does.
func (b *bench) kill(o train.Options, dir string, step int) {
	b.t.Helper()
	defer func() {
		if recover() != "killed" {
			b.t.Fatalf("not killed at step %d", step)
		}
	}()
	_, err := train.Run(context.Background(), b.graph(), b.seqs, b.held, o, dir, func(e train.Event) {
		if e.Step == step {
			panic("killed")
		}
	})
	b.t.Fatalf("not killed: %v", err)
}

func (b *bench) same(got, want outcome) {
	b.t.Helper()
	if got.values != want.values {
		b.t.Error("the adapter's bits differ from those of an undisturbed run")
	}
	g, w := got.result, want.result
	if g.Steps != w.Steps || g.BestStep != w.BestStep || g.TrainLoss != w.TrainLoss || g.Stopped != w.Stopped ||
		*g.EvalLoss != *w.EvalLoss || *g.FirstEval != *w.FirstEval {
		b.t.Errorf("the result is %+v, want %+v", g, w)
	}
	steps := map[int]train.Event{}
	for _, e := range want.events {
		steps[e.Step] = e
	}
	for _, e := range got.events {
		w, told := steps[e.Step]
		if told && (e.TrainLoss != w.TrainLoss || e.TrainAccuracy != w.TrainAccuracy || !reflect.DeepEqual(e.EvalLoss, w.EvalLoss) || !reflect.DeepEqual(e.EvalAccuracy, w.EvalAccuracy)) {
			b.t.Errorf("step %d told %+v, want %+v", e.Step, e, w)
		}
	}
}

func TestLossFalls(t *testing.T) {
	b := newBench(t)
	o := options()
	o.Plan.Epochs = 12
	out := b.mustRun(o, t.TempDir())
	first, last := out.events[0], out.events[len(out.events)-1]
	if len(out.events) != out.result.Steps || first.Step != 1 || last.Step != last.Steps || last.Epoch != 12 {
		t.Errorf("%d events for %d steps, the last is %+v", len(out.events), out.result.Steps, last)
	}
	if !(out.result.TrainLoss < 0.7*first.TrainLoss) {
		t.Errorf("training loss from %v to %v", first.TrainLoss, out.result.TrainLoss)
	}
	if !(*out.result.EvalLoss < *out.result.FirstEval) {
		t.Errorf("held-out loss from %v to %v", *out.result.FirstEval, *out.result.EvalLoss)
	}
	if !(last.TrainAccuracy > first.TrainAccuracy && last.TrainAccuracy <= 1) {
		t.Errorf("training accuracy from %v to %v", first.TrainAccuracy, last.TrainAccuracy)
	}
	for _, e := range out.events {
		if !(e.TokensPerSecond > 0) || !(e.GradNorm > 0) || e.ETASeconds < 0 || e.Tokens <= 0 {
			t.Errorf("event %+v", e)
		}
		if wantEval := e.Step%2 == 0 || e.Step == e.Steps; (e.EvalLoss != nil) != wantEval || (e.EvalAccuracy != nil) != wantEval {
			t.Errorf("step %d: held-out loss measured: %v, accuracy: %v", e.Step, e.EvalLoss != nil, e.EvalAccuracy != nil)
		}
		if wantSaved := e.Step%2 == 0 || e.Step == e.Steps; e.Checkpoint != wantSaved {
			t.Errorf("step %d: checkpoint: %v", e.Step, e.Checkpoint)
		}
	}
}

func TestResumeAnywhere(t *testing.T) {
	b := newBench(t)
	want := b.mustRun(options(), t.TempDir())
	if want.result.Steps != 9 {
		t.Fatalf("%d steps, the test expects 9", want.result.Steps)
	}
	for step := 1; step < want.result.Steps; step++ {
		dir := t.TempDir()
		b.cutOff(options(), dir, step)
		got := b.mustRun(options(), dir)
		b.same(got, want)
		if got.events[0].Step != step {
			t.Errorf("cut off at %d, went on with %d", step, got.events[0].Step)
		}
		dir = t.TempDir()
		b.kill(options(), dir, step)
		b.same(b.mustRun(options(), dir), want)
	}
	dir := t.TempDir()
	b.cutOff(options(), dir, 3)
	b.kill(options(), dir, 5)
	b.cutOff(options(), dir, 7)
	b.same(b.mustRun(options(), dir), want)
	// A run that is over is over.
	again := b.mustRun(options(), dir)
	b.same(again, want)
	if len(again.events) != 1 || again.events[0].Step != 9 || !again.events[0].Checkpoint {
		t.Errorf("a run that is over told %+v", again.events)
	}
}

// asked is a context that ends when its state has been asked for a number of
// times: inside a step, inside the held-out loss.
type asked struct {
	context.Context
	left int
}

func (a *asked) Err() error {
	if a.left--; a.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestResumeInsideStep(t *testing.T) {
	b := newBench(t)
	o := options()
	o.Plan.Epochs = 1
	want := b.mustRun(o, t.TempDir())
	for left := 0; ; left += 7 {
		dir := t.TempDir()
		_, err := train.Run(&asked{context.Background(), left}, b.graph(), b.seqs, b.held, o, dir, nil)
		if err == nil && left > 40 {
			break // it was not asked that often
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("ended after %d questions: %v", left, err)
		}
		b.same(b.mustRun(o, dir), want)
	}
}

func TestDamagedCheckpoints(t *testing.T) {
	b := newBench(t)
	want := b.mustRun(options(), t.TempDir())
	flip := func(at float64) func([]byte) []byte {
		return func(raw []byte) []byte {
			raw[int(at*float64(len(raw)-1))] ^= 4
			return raw
		}
	}
	for name, damage := range map[string]func([]byte) []byte{
		"first byte": flip(0), "header": flip(0.01), "number": flip(0.7), "last byte": flip(1),
		"torn":   func(raw []byte) []byte { return raw[:len(raw)/2] },
		"empty":  func([]byte) []byte { return nil },
		"longer": func(raw []byte) []byte { return append(raw, 0) },
		"huge":   func(raw []byte) []byte { raw[6] = 0xff; return raw },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b.kill(options(), dir, 5) // checkpoints of 2 and 4
			spoil(t, filepath.Join(dir, "last.ckpt"), damage)
			got := b.mustRun(options(), dir)
			b.same(got, want)
			if got.events[0].Step != 2 {
				t.Errorf("went on with step %d, want 2", got.events[0].Step)
			}
		})
	}
	dir := t.TempDir()
	b.kill(options(), dir, 5)
	spoil(t, filepath.Join(dir, "last.ckpt"), flip(0.5))
	spoil(t, filepath.Join(dir, "previous.ckpt"), flip(0.5))
	_, err := b.run(options(), dir)
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != "checkpoint_corrupt" {
		t.Errorf("both damaged: %v", err)
	}
	// Between the two renames of a save there is no last checkpoint.
	dir = t.TempDir()
	b.kill(options(), dir, 5)
	if err := os.Remove(filepath.Join(dir, "last.ckpt")); err != nil {
		t.Fatal(err)
	}
	b.same(b.mustRun(options(), dir), want)
}

func spoil(t *testing.T, path string, damage func([]byte) []byte) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, damage(raw), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCheckpointIsSafetensors: other tools can look inside.
func TestCheckpointIsSafetensors(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	b.mustRun(options(), dir)
	f := readFile(t, filepath.Join(dir, "last.ckpt"))
	if len(f.Tensors) != 4*28 || !strings.Contains(f.Metadata["state"], `"step":9`) {
		t.Errorf("%d tensors, state %s", len(f.Tensors), f.Metadata["state"])
	}
	if len(floats(t, f, "blk.1.ffn_down.lora_b.m")) != 64*4 {
		t.Error("moments have another size than the parameter")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("files: %v, %v", left, err)
	}
}

func TestForeignCheckpoint(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	b.cutOff(options(), dir, 3)
	check := func(name, want string, run func() error) {
		t.Helper()
		var f *fault.Error
		if err := run(); !errors.As(err, &f) || f.Kind != fault.Conflict || !strings.Contains(f.Message, "its "+want+" differ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	check("rate", "options", func() error {
		o := options()
		o.LearningRate *= 2
		_, err := b.run(o, dir)
		return err
	})
	check("data", "data", func() error {
		other := *b
		other.seqs = slices.Clone(b.seqs)
		other.seqs[2] = sequences(1, 55)[0]
		_, err := other.run(options(), dir)
		return err
	})
	check("held", "held-out data", func() error {
		other := *b
		other.held = b.held[1:]
		_, err := other.run(options(), dir)
		return err
	})
	check("adapter", "model", func() error {
		a, err := lora.New(b.model, 2, 8, nil, 1)
		if err != nil {
			return err
		}
		g, err := graph.Build(b.model, a, b.gang, graph.Options{Memory: graph.Store, Dropout: 0.1})
		if err != nil {
			return err
		}
		defer g.Close()
		_, err = train.Run(context.Background(), g, b.seqs, b.held, options(), dir, nil)
		return err
	})
	b.mustRun(options(), dir)
}

func TestDiverged(t *testing.T) {
	b := newBench(t)
	o := options()
	o.LearningRate, o.WarmupRatio, o.ClipNorm = 1e9, 0, 0
	for _, held := range [][]chat.Sequence{nil, b.held} {
		other := *b
		other.held = held
		dir := t.TempDir()
		out, err := other.run(o, dir)
		var d *train.Diverged
		if !errors.As(err, &d) || d.Step < 2 || d.Step > 6 {
			t.Fatalf("got %v after %d steps", err, len(out.events))
		}
		for _, e := range out.events {
			if math.IsNaN(e.TrainLoss) || math.IsInf(e.TrainLoss, 0) {
				t.Errorf("an observer was told of the loss %v", e.TrainLoss)
			}
		}
	}
}

func TestNotANumber(t *testing.T) {
	b := newBench(t)
	g := b.graph()
	g.Params()[0].Value[3] = float32(math.NaN())
	g.Params()[1].Value[3] = 1
	_, err := train.Run(context.Background(), g, b.seqs, nil, options(), t.TempDir(), nil)
	var d *train.Diverged
	if !errors.As(err, &d) || d.Step != 1 {
		t.Errorf("got %v", err)
	}
}

func TestEarlyStop(t *testing.T) {
	b := newBench(t)
	b.held = sequences(3, 31) // what is learned does not hold here
	for i := range b.held {
		slices.Reverse(b.held[i].Tokens)
	}
	o := options()
	o.Plan.Epochs, o.Patience, o.LearningRate, o.Schedule = 40, 2, 3e-2, "constant"
	dir := t.TempDir()
	g := b.graph()
	var events []train.Event
	r, err := train.Run(context.Background(), g, b.seqs, b.held, o, dir, func(e train.Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	if !r.Stopped || r.Steps >= o.Plan.Steps(len(b.seqs)) || r.BestStep != r.Steps-4 {
		t.Fatalf("result %+v", r)
	}
	var best, share float64
	for _, e := range events {
		if e.Step == r.BestStep {
			best, share = *e.EvalLoss, *e.EvalAccuracy
		}
	}
	sum, right, counted := 0.0, 0, 0
	for _, batch := range data.Pack(b.held, 1024) {
		loss, n, err := g.Loss(context.Background(), batch)
		if err != nil {
			t.Fatal(err)
		}
		sum, right, counted = sum+loss, right+n, counted+batch.Counted
	}
	if *r.EvalLoss != best || sum/float64(counted) != best {
		t.Errorf("best held-out loss %v, result %v, adapter %v", best, *r.EvalLoss, sum/float64(counted))
	}
	if got := float64(right) / float64(counted); got != share {
		t.Errorf("held-out accuracy %v at the best step, the adapter has %v", share, got)
	}
	// cut off between the best step and the end
	dir = t.TempDir()
	b.kill(o, dir, r.BestStep+3)
	b.same(b.mustRun(o, dir), outcome{result: r, values: values(g)})
}

// TestByMarks: the step with the best score is kept, the earlier of two with the
// same unless the later has the lesser loss, and a run that was cut off agrees.
func TestByMarks(t *testing.T) {
	b := newBench(t)
	b.held = sequences(3, 31)
	o := options()
	o.EvalEvery, o.ByMarks, o.Marked = 1, true, 4
	steps := o.Plan.Steps(len(b.seqs))
	if steps < 5 {
		t.Fatalf("%d steps", steps)
	}
	scores := map[int]float64{2: 0.5, 3: 0.75, 4: 0.25}
	at := 0
	o.Marks = func(context.Context) (train.Marks, error) {
		return train.Marks{Score: scores[at+1], Report: json.RawMessage(`{"right":1}`)}, nil
	}
	r, err := train.Run(context.Background(), b.graph(), b.seqs, b.held, o, t.TempDir(), func(e train.Event) {
		at = e.Step
		if e.Score == nil || *e.Score != scores[e.Step] || string(e.Marks) != `{"right":1}` {
			t.Errorf("step %d: %v, %s", e.Step, e.Score, e.Marks)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.BestStep != 3 || r.Score == nil || *r.Score != 0.75 || r.Steps != steps {
		t.Errorf("result %+v", r)
	}
	scores, at = map[int]float64{}, 0 // all alike: the loss decides
	if r, err = train.Run(context.Background(), b.graph(), b.seqs, b.held, o, t.TempDir(), func(e train.Event) { at = e.Step }); err != nil {
		t.Fatal(err)
	}
	byMarks := r.BestStep
	o.Marks, o.ByMarks = nil, false
	if r, err = train.Run(context.Background(), b.graph(), b.seqs, b.held, o, t.TempDir(), nil); err != nil || r.BestStep != byMarks || r.Score != nil {
		t.Errorf("by loss %+v, %v; by equal marks step %d", r, err, byMarks)
	}
	broken := errors.New("broken")
	o.Marks = func(context.Context) (train.Marks, error) { return train.Marks{}, broken }
	if _, err := train.Run(context.Background(), b.graph(), b.seqs, b.held, o, t.TempDir(), nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestSchedule(t *testing.T) {
	b := newBench(t)
	for kind, want := range map[string]func(step float64) float64{
		"linear":   func(s float64) float64 { return (9 - s) / 7 },
		"cosine":   func(s float64) float64 { return 0.5 * (1 + math.Cos(math.Pi*(s-2)/7)) },
		"constant": func(float64) float64 { return 1 },
	} {
		o := options()
		o.Schedule, o.WarmupRatio = kind, 0.2 // of 9 steps: 2
		for _, e := range b.mustRun(o, t.TempDir()).events {
			s := float64(e.Step - 1)
			factor := want(s)
			if s < 2 {
				factor = s / 2
			}
			if math.Abs(e.LearningRate-factor*o.LearningRate) > 1e-12 {
				t.Errorf("%s: rate of step %d is %v, want %v", kind, e.Step, e.LearningRate, factor*o.LearningRate)
			}
		}
	}
}

func TestWithoutHeldOut(t *testing.T) {
	b := newBench(t)
	b.held = nil
	o := options()
	o.SaveEvery = 0
	dir := t.TempDir()
	out := b.mustRun(o, dir)
	if out.result.EvalLoss != nil || out.result.FirstEval != nil || out.result.BestStep != out.result.Steps {
		t.Errorf("result %+v", out.result)
	}
	other := t.TempDir()
	b.kill(o, other, 5) // nothing was saved: from the beginning
	got := b.mustRun(o, other)
	if got.values != out.values || got.events[0].Step != 1 {
		t.Error("another adapter, or not from the beginning")
	}
}

func TestNothingToTrainOn(t *testing.T) {
	b := newBench(t)
	b.seqs = nil
	if _, err := b.run(options(), t.TempDir()); fault.KindOf(err) != fault.Unprocessable {
		t.Errorf("got %v", err)
	}
}

func TestNoPlaceForCheckpoints(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := b.run(options(), filepath.Join(file, "dir"))
	if err == nil || !strings.Contains(err.Error(), "checkpoint") {
		t.Errorf("got %v", err)
	}
}
