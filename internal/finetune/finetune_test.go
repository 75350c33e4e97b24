package finetune_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/quant"
	"afina/internal/store"
	"afina/internal/train"
)

// shelf is a catalog of one model and one dataset.
type shelf struct {
	model         *model.Model
	conversations []chat.Conversation
	entries       []catalog.Entry
	steps         []catalog.Step // kept
	keep          error          // what KeepStep returns
	publish       func(a *lora.Adapter, m *model.Model, job string) (string, error)
}

func (s *shelf) Entries() ([]catalog.Entry, error) { return s.entries, nil }

func (s *shelf) Model(name string) (*model.Model, error) {
	if name != "tiny" {
		return nil, fault.New(fault.NotFound, "there is no model %q", name)
	}
	return s.model, nil
}

func (s *shelf) Dataset(_ context.Context, id string) (catalog.Dataset, error) {
	if id != "ds_1" {
		return catalog.Dataset{}, fault.New(fault.NotFound, "there is no dataset %q", id)
	}
	return catalog.Dataset{ID: id, Name: "Álgebra básica.json"}, nil
}

func (s *shelf) Conversations(context.Context, string) ([]chat.Conversation, error) {
	return s.conversations, nil
}

func (s *shelf) KeepStep(_ *lora.Adapter, _ *model.Model, _ string, step catalog.Step) error {
	s.steps = append(s.steps, step)
	return s.keep
}

func (s *shelf) Taken(name string) bool {
	for _, e := range s.entries {
		if strings.EqualFold(e.Name, name) {
			return true
		}
	}
	return false
}

func (s *shelf) Publish(a *lora.Adapter, m *model.Model, job string) (string, error) {
	return s.publish(a, m, job)
}

func gang(t *testing.T) *kernel.Gang {
	t.Helper()
	pool := parallel.New(2)
	t.Cleanup(pool.Close)
	g, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func conversations(n int) []chat.Conversation {
	var all []chat.Conversation
	for i := range n {
		all = append(all, chat.Conversation{Messages: []chat.Message{
			{Role: chat.User, Content: strings.Repeat("a", i%5) + "?"},
			{Role: chat.Assistant, Content: strings.Repeat("b", i%7+1) + "."},
		}})
	}
	return all
}

// newTuner has a tiny model and a shelf that saves adapters to a folder.
func newTuner(t *testing.T) (*finetune.Tuner, *shelf) {
	t.Helper()
	g := gang(t)
	m, err := model.Open(modeltest.Write(t, modeltest.Shape{Type: quant.Q4_1, Seed: 2}), g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	m.Name = "tiny"
	s := &shelf{model: m, conversations: conversations(12), entries: []catalog.Entry{{Name: "tiny"}, {Name: "Old", Base: "tiny", Job: "job_0"}}}
	folder := t.TempDir()
	s.publish = func(a *lora.Adapter, m *model.Model, job string) (string, error) {
		dir := filepath.Join(folder, a.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		if !s.Taken(a.Name) {
			s.entries = append(s.entries, catalog.Entry{Name: a.Name, Base: m.Name, Job: job})
		}
		return dir, a.SavePEFT(dir, m, m.Name)
	}
	return &finetune.Tuner{Catalog: s, Gang: g}, s
}

// order is a small run.
func order() finetune.Spec {
	s := finetune.Defaults()
	s.Model, s.Dataset, s.Name = "tiny", "ds_1", "new"
	s.Epochs, s.BatchSize, s.MaxLength, s.TestSplit, s.LoRA.Rank, s.SaveEvery = 2, 4, 64, 0.2, 4, 1
	return s
}

func TestCheckRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*finetune.Spec, *finetune.Tuner, *shelf)
		kind   fault.Kind
		param  string
		words  string
	}{
		"model":      {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Model = "huge" }, fault.NotFound, "", "huge"},
		"dataset":    {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Dataset = "ds_2" }, fault.NotFound, "", "ds_2"},
		"name":       {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Name = "../x" }, fault.Invalid, "name", "letters"},
		"name taken": {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Name = "OLD" }, fault.Conflict, "name", "choose another"},
		"name of a base": {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Name = "tiny" }, fault.Conflict, "name",
			"choose another"},
		"target":           {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.LoRA.Targets = []string{"q", "fc1"} }, fault.Invalid, "lora.targets", "gate_proj"},
		"rank":             {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.LoRA.Rank = 65 }, fault.Invalid, "lora.rank", "65"},
		"rank 0":           {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.LoRA.Rank = 0 }, fault.Invalid, "lora.rank", "0"},
		"alpha":            {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.LoRA.Alpha = float32(math.NaN()) }, fault.Invalid, "lora.alpha", "NaN"},
		"dropout":          {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.LoRA.Dropout = 1 }, fault.Invalid, "lora.dropout", "below 1"},
		"rate":             {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.LearningRate = math.NaN() }, fault.Invalid, "learning_rate", "above 0"},
		"infinite rate":    {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.LearningRate = math.Inf(1) }, fault.Invalid, "learning_rate", "above 0"},
		"decay":            {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.WeightDecay = -1 }, fault.Invalid, "weight_decay", "not below 0"},
		"clip":             {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.MaxGradNorm = -1 }, fault.Invalid, "max_grad_norm", "not below 0"},
		"warmup":           {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.WarmupRatio = 2 }, fault.Invalid, "warmup_ratio", "0 to 1"},
		"split":            {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.TestSplit = 1 }, fault.Invalid, "test_split", "below 1"},
		"epochs":           {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Epochs = 0 }, fault.Invalid, "epochs", "at least 1"},
		"batch":            {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.BatchSize = 0 }, fault.Invalid, "batch_size", "at least 1"},
		"accumulation":     {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.GradientAccumulation = 0 }, fault.Invalid, "gradient_accumulation", "at least 1"},
		"length":           {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.MaxLength = 1 }, fault.Invalid, "max_length", "at least 2"},
		"seed":             {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Seed = -1 }, fault.Invalid, "", "seed"},
		"schedule":         {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Schedule = "cubic" }, fault.Invalid, "schedule", "cosine"},
		"precision":        {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Precision = "half" }, fault.Invalid, "precision", "fast or exact"},
		"memory":           {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.Memory = "disk" }, fault.Invalid, "memory", "recompute"},
		"select":           {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.SelectBy = "luck" }, fault.Invalid, "select_by", "loss or marks"},
		"marks of nothing": {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.SelectBy = finetune.ByMarks }, fault.Invalid, "eval_questions", "set it"},
		"questions":        {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.EvalQuestions = -1 }, fault.Invalid, "eval_questions", "negative"},
		"nothing to learn": {func(s *finetune.Spec, _ *finetune.Tuner, _ *shelf) { s.MaxLength = 3 }, fault.Unprocessable, "max_length",
			"nothing to learn"},
		"no space": {func(_ *finetune.Spec, tuner *finetune.Tuner, _ *shelf) { tuner.MemoryLimit = 1 << 20 }, fault.NoSpace, "",
			"there is room for 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			tuner, shelf := newTuner(t)
			s := order()
			c.change(&s, tuner, shelf)
			_, err := tuner.Check(context.Background(), s)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != c.kind || f.Param != c.param || !strings.Contains(f.Message, c.words) {
				t.Errorf("got %#v (%v), want %s of %q with %q", f, err, c.kind, c.param, c.words)
			}
		})
	}
}

func TestCheckNames(t *testing.T) {
	tuner, _ := newTuner(t)
	s := order()
	s.Name = ""
	first, err := tuner.Check(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	second, err := tuner.Check(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first.Name, "tiny-lgebra-b-sica-") || first.Name == second.Name || catalog.CheckName(first.Name) != nil {
		t.Errorf("names %q and %q", first.Name, second.Name)
	}
	s.Name, s.LoRA.Targets = "mine", []string{"q_proj", "attn_v", "down"}
	checked, err := tuner.Check(context.Background(), s)
	if err != nil || !reflect.DeepEqual(checked, s) {
		t.Errorf("got %+v, %v", checked, err)
	}
}

func TestRun(t *testing.T) {
	tuner, _ := newTuner(t)
	var events []train.Event
	r, err := tuner.Run(context.Background(), order(), t.TempDir(), "job_1", func(e train.Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Adapter != "new" || len(r.SHA256) != 64 || r.Steps != len(events) || r.Steps != 6 || r.EvalLoss == nil || r.FirstEval == nil ||
		r.TrainedTokens < 40 || r.PeakBytes < 1<<20 || r.LeftOut != 0 || r.Truncated != 0 {
		t.Errorf("result %+v after %d events", r, len(events))
	}
	a, err := lora.LoadPEFT(r.Folder, tuner.Catalog.(*shelf).model)
	if err != nil || a.Rank != 4 || a.Dropout != 0.05 {
		t.Errorf("adapter %+v, %v", a, err)
	}
	// The same order to another folder is the same adapter.
	other, _ := newTuner(t)
	again, err := other.Run(context.Background(), order(), t.TempDir(), "job_2", nil)
	if err != nil || again.SHA256 != r.SHA256 {
		t.Errorf("a second run made %s, %v; want %s", again.SHA256, err, r.SHA256)
	}
	if _, err := tuner.Run(context.Background(), order(), t.TempDir(), "job_3", nil); fault.KindOf(err) != fault.Conflict {
		t.Errorf("another job took the name: %v", err)
	}
}

// TestMarks: the adapter answers held-out questions on the way, and is the same
// as without.
func TestMarks(t *testing.T) {
	tuner, _ := newTuner(t)
	plain, err := tuner.Run(context.Background(), order(), t.TempDir(), "job_1", nil)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := newTuner(t)
	s := order()
	s.EvalQuestions = 2
	marked := 0
	r, err := other.Run(context.Background(), s, t.TempDir(), "job_2", func(e train.Event) {
		if (e.EvalLoss == nil) != (e.Marks == nil) {
			t.Errorf("step %d: held-out loss %v, marks %s", e.Step, e.EvalLoss, e.Marks)
		}
		if e.Marks == nil {
			return
		}
		marked++
		var m finetune.Marks
		if err := json.Unmarshal(e.Marks, &m); err != nil || m.Questions != 2 || len(m.Samples) != 2 || m.Samples[0].Question == "" {
			t.Errorf("step %d: %s, %v", e.Step, e.Marks, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if marked != 2 || r.SHA256 != plain.SHA256 || r.Right == nil {
		t.Errorf("marked %d times, %+v; without marks %s", marked, r, plain.SHA256)
	}
	s.TestSplit, s.Name = 0, "again"
	if _, err := other.Run(context.Background(), s, t.TempDir(), "job_3", nil); fault.KindOf(err) != fault.Unprocessable {
		t.Errorf("nothing held out: %v", err)
	}
}

// TestCutOffAfterPublishing: kill -9 between the adapter's publication and the
// note that the job is done.
func TestCutOffAfterPublishing(t *testing.T) {
	tuner, _ := newTuner(t)
	dir := t.TempDir()
	first, err := tuner.Run(context.Background(), order(), dir, "job_1", nil)
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	second, err := tuner.Run(context.Background(), order(), dir, "job_1", func(train.Event) { steps++ })
	if err != nil {
		t.Fatal(err)
	}
	first.PeakBytes, second.PeakBytes = 0, 0
	if !reflect.DeepEqual(first, second) || steps != 1 {
		t.Errorf("first %+v, then %+v with %d events", first, second, steps)
	}
}

func TestCancelAndGoOn(t *testing.T) {
	tuner, _ := newTuner(t)
	want, err := tuner.Run(context.Background(), order(), t.TempDir(), "job_1", nil)
	if err != nil {
		t.Fatal(err)
	}
	tuner, shelf := newTuner(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	_, err = tuner.Run(ctx, order(), dir, "job_1", func(e train.Event) {
		if e.Step == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || shelf.Taken("new") {
		t.Fatalf("cancelled: %v, published: %v", err, shelf.Taken("new"))
	}
	s := order()
	s.Memory = "recompute" // may change on the way
	got, err := tuner.Run(context.Background(), s, dir, "job_1", nil)
	if err != nil || got.SHA256 != want.SHA256 {
		t.Errorf("got %s, %v; want %s", got.SHA256, err, want.SHA256)
	}
}

// TestWithCatalog trains from a real models folder and finds the adapter there.
func TestWithCatalog(t *testing.T) {
	models, folder := t.TempDir(), t.TempDir()
	raw, err := os.ReadFile(modeltest.Write(t, modeltest.Shape{Arch: "phi2", Type: quant.Q8_0, Seed: 2}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(models, "tiny.gguf"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	db, err := store.Open(ctx, folder)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	g := gang(t)
	c, err := catalog.New(catalog.Options{Models: models, Data: folder, Limits: data.DefaultLimits()}, db, g)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := data.Write(&text, func(yield func(chat.Conversation) bool) {
		for i, conversation := range conversations(10) {
			conversation.Messages[0].Content += strings.Repeat("c", i)
			if !yield(conversation) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	set, err := c.AddDataset(ctx, "tests.jsonl", strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	tuner := &finetune.Tuner{Catalog: c, Gang: g}
	s := order()
	s.Dataset, s.Name = set.ID, ""
	if s, err = tuner.Check(ctx, s); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r, err := tuner.Run(ctx, s, dir, "job_1", nil)
	if err != nil {
		t.Fatal(err)
	}
	m, a, err := c.Resolve(r.Adapter)
	if err != nil || a == nil || m.Name != "tiny" {
		t.Fatalf("resolve %s: %v, %v", r.Adapter, a, err)
	}
	again, err := tuner.Run(ctx, s, dir, "job_1", nil)
	if err != nil || again.SHA256 != r.SHA256 || again.Folder != r.Folder {
		t.Errorf("once more: %+v, %v", again, err)
	}
}
