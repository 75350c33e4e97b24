package metrics

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"afina/internal/jobs"
)

// maxJobs is how many jobs have series: those that were started last.
const maxJobs = 20

// curves are the series of jobs. Each scrape reads the jobs as they stand, so
// that a job's figures are of one step and vanish together.
type curves struct {
	mu   sync.Mutex
	jobs map[string]jobs.Job

	figures []figure
	state   *prometheus.Desc
}

// figure is one gauge of a job's progress; of returns nil where a job has none.
type figure struct {
	desc *prometheus.Desc
	of   func(p jobs.Progress) *float64
}

func newCurves() *curves {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("afina_job_"+name, help, append([]string{"job", "name"}, labels...), nil)
	}
	count := func(n int) *float64 { x := float64(n); return &x }
	return &curves{
		jobs: map[string]jobs.Job{},
		figures: []figure{
			{desc("train_loss", "Mean loss of the latest step, in nats per token."), func(p jobs.Progress) *float64 { return &p.TrainLoss }},
			{desc("eval_loss", "Latest held-out mean loss, in nats per token."), func(p jobs.Progress) *float64 { return p.EvalLoss }},
			{desc("train_accuracy", "Share of the tokens of the latest step that were the most likely one."), func(p jobs.Progress) *float64 { return p.TrainAccuracy }},
			{desc("eval_accuracy", "Latest share of the held-out tokens that were the most likely one."), func(p jobs.Progress) *float64 { return p.EvalAccuracy }},
			{desc("learning_rate", "Learning rate of the latest step."), func(p jobs.Progress) *float64 { return &p.LearningRate }},
			{desc("grad_norm", "Global norm of the gradients before clipping."), func(p jobs.Progress) *float64 { return &p.GradNorm }},
			{desc("tokens_per_second", "Training speed."), func(p jobs.Progress) *float64 { return &p.TokensPerSecond }},
			{desc("step", "Optimiser steps made."), func(p jobs.Progress) *float64 { return count(p.Step) }},
			{desc("steps", "Optimiser steps of the whole job."), func(p jobs.Progress) *float64 { return count(p.Steps) }},
			{desc("eta_seconds", "Estimated time to the end."), func(p jobs.Progress) *float64 { return &p.ETASeconds }},
		},
		state: desc("state", "1 for the state the job is in.", "state"),
	}
}

// put takes a job as it stands. One that never started has nothing to show.
func (c *curves) put(j jobs.Job) {
	if j.Started == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs[j.ID] = j
	if len(c.jobs) <= maxJobs {
		return
	}
	oldest := j
	for _, other := range c.jobs {
		if other.Started.Before(*oldest.Started) {
			oldest = other
		}
	}
	delete(c.jobs, oldest.ID)
}

func (c *curves) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.jobs, id)
}

// Describe tells of the series (prometheus.Collector).
func (c *curves) Describe(out chan<- *prometheus.Desc) {
	for _, f := range c.figures {
		out <- f.desc
	}
	out <- c.state
}

// Collect gives the series (prometheus.Collector).
func (c *curves) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		name := strings.ToValidUTF8(j.Spec.Name, "\uFFFD")
		out <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, 1, j.ID, name, string(j.Status))
		if j.Progress.Steps == 0 {
			continue
		}
		for _, f := range c.figures {
			if x := f.of(j.Progress); x != nil {
				out <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, *x, j.ID, name)
			}
		}
	}
}
