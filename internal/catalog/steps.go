package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/model"
)

// Step is a moment of a job at which its held-out loss was measured and its
// adapter kept.
type Step struct {
	Number    int       `json:"number"`
	TrainLoss float64   `json:"train_loss"` // of the step
	EvalLoss  float64   `json:"eval_loss"`
	Model     string    `json:"-"` // the name to ask for; set by Steps
	Created   time.Time `json:"-"` // set by Steps

	// The shares of tokens that were the most likely one; nil where they were not
	// counted yet.
	TrainAccuracy *float64 `json:"train_accuracy,omitempty"`
	EvalAccuracy  *float64 `json:"eval_accuracy,omitempty"`
}

// keepSteps is how many adapters are kept of a job: those of the latest steps.
const keepSteps = 5

// steps is where the adapters of a job's steps lie: in the job's own folder, and
// gone with it.
func (c *Catalog) steps(job string) string { return filepath.Join(c.options.Jobs, job, "steps") }

// KeepStep stores the adapter of a job as it is after a step, whole or not at
// all, and lets go of the oldest when there are too many. A step that is there
// already is left as it is.
func (c *Catalog) KeepStep(a *lora.Adapter, m *model.Model, job string, s Step) error {
	if c.options.Jobs == "" {
		return nil
	}
	what := fmt.Sprintf("keep step %d of %s", s.Number, job)
	dir := filepath.Join(c.steps(job), strconv.Itoa(s.Number))
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	temp := filepath.Join(c.steps(job), unfinished+random(16))
	if err := os.MkdirAll(temp, 0o750); err != nil {
		return onDisk(err, what)
	}
	defer os.RemoveAll(temp)
	if _, err := c.write(temp, a, m, note{Name: a.Name, Job: job, Step: &s}); err != nil {
		return onDisk(err, what)
	}
	if err := os.Rename(temp, dir); err != nil {
		return onDisk(err, what)
	}
	return onDisk(errors.Join(syncPath(c.steps(job)), c.thin(job)), what)
}

// thin removes what is too much of a job's steps, and what a killed process left.
func (c *Catalog) thin(job string) error {
	if err := tidy(c.steps(job)); err != nil {
		return err
	}
	all, err := c.Steps(job)
	if err != nil || len(all) <= keepSteps {
		return err
	}
	for _, s := range all[keepSteps:] {
		dir := filepath.Join(c.steps(job), strconv.Itoa(s.Number))
		if err := discard(dir); err != nil {
			return err
		}
		c.forget(dir)
	}
	return nil
}

// Steps returns what is kept of a job, the latest step first.
func (c *Catalog) Steps(job string) ([]Step, error) {
	if c.options.Jobs == "" || !jobName.MatchString(job) {
		return nil, nil
	}
	entries, err := os.ReadDir(c.steps(job))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the steps of %s: %w", job, err)
	}
	var all []Step
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		n, ok := c.read(filepath.Join(c.steps(job), e.Name()))
		if !ok || n.problem != "" || n.Step == nil {
			continue
		}
		s := *n.Step
		s.Created, s.Model = n.Created, AtStep(FineTuned(n.Base, n.note.Name, job), s.Number)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Step) int { return cmp.Compare(b.Number, a.Number) })
	return all, nil
}

// Sweep removes the datasets whose time is over, but for those a job still needs.
func (c *Catalog) Sweep(ctx context.Context) error {
	ids, err := c.store.Expired(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := c.DeleteDataset(ctx, id)
		if kind := fault.KindOf(err); err != nil && kind != fault.Conflict && kind != fault.NotFound {
			return err
		}
	}
	return nil
}
