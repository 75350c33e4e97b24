// Package metrics turns the events of the rooms below into Prometheus series.
package metrics

import (
	"net/http"

	"afina/internal/assistant"
	"afina/internal/engine"
	"afina/internal/jobs"
)

// Meters are the series of one process.
type Meters struct{}

// New registers the series on a registry of its own.
func New(version string) *Meters { panic("sketch") }

// Handler serves /metrics.
func (m *Meters) Handler() http.Handler { panic("sketch") }

// Job takes the news of a job. The series of the 20 newest jobs are kept.
func (m *Meters) Job(e jobs.Event) { panic("sketch") }

// Forget removes the series of a deleted job.
func (m *Meters) Forget(job string) { panic("sketch") }

// Queue sets how many jobs are in each state.
func (m *Meters) Queue(counts map[jobs.State]int) { panic("sketch") }

// Answer takes the timing of a finished answer.
func (m *Meters) Answer(t assistant.Timing) { panic("sketch") }

// Pass takes the news of an engine's pass.
func (m *Meters) Pass(model string, e engine.Event) { panic("sketch") }

// Request takes one HTTP request; route is the pattern, never the URL.
func (m *Meters) Request(method, route string, status int, seconds float64) { panic("sketch") }
