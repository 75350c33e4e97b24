package finetune

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"math"
	"strings"

	"afina/internal/catalog"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/model"
)

// Check finds everything that can be known to be wrong before the run: unknown
// model or dataset, unknown targets, a name that is taken, no token to learn,
// more memory than there is. It fills in Name when empty, and
// writes Model as the catalog does.
func (t *Tuner) Check(ctx context.Context, s Spec) (Spec, error) {
	if err := s.sane(); err != nil {
		return s, err
	}
	m, err := t.Catalog.Model(s.Model)
	if err != nil {
		return s, err
	}
	s.Model = m.Name // as it is listed, whatever the case or folder it was asked by
	set, err := t.Catalog.Dataset(ctx, s.Dataset)
	if err != nil {
		return s, err
	}
	if s.Validation != "" {
		if _, err := t.Catalog.Dataset(ctx, s.Validation); err != nil {
			return s, err
		}
	}
	if err := t.name(&s, m, set); err != nil {
		return s, err
	}
	if err := t.learnable(ctx, s, m); err != nil {
		return s, err
	}
	if _, err := t.policy(s, m, s.maxLength(m)); err != nil {
		return s, err
	}
	_, err = lora.New(m, s.LoRA.Rank, s.LoRA.Alpha, s.LoRA.Targets, uint64(s.Seed))
	return s, err
}

// sane refuses numbers with which training makes no sense. The doors check more,
// with better words; this holds for every caller.
func (s Spec) sane() error {
	if _, err := Precision(s.Precision); err != nil {
		return err
	}
	if err := s.checkMarks(); err != nil {
		return err
	}
	bad := func(param string, value any, want string) error {
		return fault.New(fault.Invalid, "%s is %v; it must be %s", param, value, want).WithParam(param)
	}
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	notNegative := func(x float64) bool { return x >= 0 && !math.IsInf(x, 0) }
	switch {
	case s.Epochs < 1:
		return bad("epochs", s.Epochs, "at least 1")
	case s.BatchSize < 1:
		return bad("batch_size", s.BatchSize, "at least 1")
	case s.GradientAccumulation < 1:
		return bad("gradient_accumulation", s.GradientAccumulation, "at least 1")
	case s.MaxLength < 2:
		return bad("max_length", s.MaxLength, "at least 2")
	case s.EvalEvery < 0 || s.SaveEvery < 0 || s.EarlyStopPatience < 0 || s.Seed < 0:
		return fault.New(fault.Invalid, "eval_every, save_every, early_stop_patience and seed must not be negative")
	case !positive(s.LearningRate):
		return bad("learning_rate", s.LearningRate, "a number above 0")
	case !notNegative(s.WeightDecay):
		return bad("weight_decay", s.WeightDecay, "a number not below 0")
	case !notNegative(s.MaxGradNorm):
		return bad("max_grad_norm", s.MaxGradNorm, "a number not below 0")
	case !(s.WarmupRatio >= 0 && s.WarmupRatio <= 1):
		return bad("warmup_ratio", s.WarmupRatio, "from 0 to 1")
	case !(s.TestSplit >= 0 && s.TestSplit < 1):
		return bad("test_split", s.TestSplit, "from 0 to below 1")
	case !(s.LoRA.Dropout >= 0 && s.LoRA.Dropout < 1):
		return bad("lora.dropout", s.LoRA.Dropout, "from 0 to below 1")
	case s.Schedule != "linear" && s.Schedule != "cosine" && s.Schedule != "constant":
		return bad("schedule", s.Schedule, "linear, cosine or constant")
	case s.Memory != "store" && s.Memory != "recompute" && s.Memory != "auto":
		return bad("memory", s.Memory, "store, recompute or auto")
	}
	return nil
}

// name checks the adapter's name, or makes one of the model's, the dataset's and
// four random digits: two runs alike are two adapters.
func (t *Tuner) name(s *Spec, m *model.Model, set catalog.Dataset) error {
	if s.Name != "" {
		if err := catalog.CheckName(s.Name); err != nil {
			return err
		}
		if t.Catalog.Taken(s.Name) {
			return taken(s.Name)
		}
		return nil
	}
	label, _, _ := strings.Cut(set.Name, ".")
	stem := plain(m.Name, 30) + "-" + plain(label, 24)
	for {
		var random [2]byte
		rand.Read(random[:]) // never fails
		s.Name = stem + "-" + hex.EncodeToString(random[:])
		if !t.Catalog.Taken(s.Name) {
			return nil
		}
	}
}

// plain keeps what a name may have of text, in lower case, at most limit bytes.
func plain(text string, limit int) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case b.Len() == limit:
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	if out := strings.Trim(b.String(), "-"); out != "" {
		return out
	}
	return "adapter"
}

// free refuses a name that is not this job's to publish.
func (t *Tuner) free(name, job string) error {
	if err := catalog.CheckName(name); err != nil {
		return err
	}
	if !t.Catalog.Taken(name) {
		return nil
	}
	entries, err := t.Catalog.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.EqualFold(e.Name, name) && e.Base != "" && e.Job == job && job != "" {
			return nil // published before the run was cut off
		}
	}
	return taken(name)
}

func taken(name string) error {
	return fault.New(fault.Conflict, "a model called %q exists already; choose another name", name).
		WithCode("name_taken").WithParam("name")
}

// learnable looks for a conversation to learn from, some at a time: the first is
// enough.
func (t *Tuner) learnable(ctx context.Context, s Spec, m *model.Model) error {
	all, err := t.Catalog.Conversations(ctx, s.Dataset)
	if err != nil {
		return err
	}
	index, _ := s.split(all)
	for len(index) > 0 {
		n := min(len(index), 64)
		laid, err := data.Lay(m, all, index[:n], s.maxLength(m))
		if err != nil {
			return err
		}
		if laid.Learned > 0 {
			return nil
		}
		index = index[n:]
	}
	return nothing(s, m)
}

func nothing(s Spec, m *model.Model) error {
	return fault.New(fault.Unprocessable, "dataset %s has nothing to learn: no answer begins within the first %d tokens of its conversation; raise max_length",
		s.Dataset, s.maxLength(m)).WithCode("no_trainable_tokens").WithParam("max_length")
}
