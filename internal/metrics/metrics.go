// Package metrics turns the events of the rooms below into Prometheus series.
//
// The number of series is bounded whatever is asked of the server: routes are
// patterns, models are those that answered, and only the newest jobs have
// curves.
package metrics

import (
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"afina/internal/assistant"
	"afina/internal/engine"
	"afina/internal/jobs"
	"afina/internal/lint"
)

// maxLabels bounds the values of a label; what comes after them is "other".
const maxLabels = 64

// Meters are the series of one process.
type Meters struct {
	registry *prometheus.Registry
	curves   *curves
	routes   labels
	models   labels

	jobs     *prometheus.GaugeVec
	requests *prometheus.HistogramVec

	firstToken   *prometheus.HistogramVec
	nextToken    *prometheus.HistogramVec
	answerTokens *prometheus.HistogramVec
	prompt       *prometheus.CounterVec
	generated    *prometheus.CounterVec
	answers      *prometheus.CounterVec
	verdicts     *prometheus.CounterVec

	running *prometheus.GaugeVec
	waiting *prometheus.GaugeVec
	pages   *prometheus.GaugeVec
	cache   *prometheus.GaugeVec
	batch   *prometheus.HistogramVec
	pass    *prometheus.HistogramVec
}

// New registers the series on a registry of its own.
func New(version string) *Meters {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Meters{
		registry: prometheus.NewRegistry(),
		curves:   newCurves(),

		jobs: gauge("afina_jobs", "Jobs in each state.", "state"),
		requests: histogram("afina_http_request_duration_seconds", "Time from a request's header to the end of its answer.",
			prometheus.ExponentialBuckets(0.001, 4, 9), "method", "route", "status"), // 1 ms … 65 s

		firstToken: histogram("afina_time_to_first_token_seconds", "Time from a question to the first token of its answer.",
			prometheus.ExponentialBuckets(0.01, 2, 14), "model"), // 10 ms … 82 s
		nextToken: histogram("afina_time_between_tokens_seconds", "Time from one token of an answer to the next.",
			prometheus.ExponentialBuckets(0.001, 2, 13), "model"), // 1 ms … 4 s
		answerTokens: histogram("afina_answer_tokens", "Tokens of an answer.",
			prometheus.ExponentialBuckets(1, 2, 13), "model"), // 1 … 4096
		prompt:    counter("afina_prompt_tokens_total", "Tokens of the conversations asked.", "model"),
		generated: counter("afina_generated_tokens_total", "Tokens written in answers.", "model"),
		answers:   counter("afina_answers_total", "Answers, by how they ended: stop, length, canceled, error.", "model", "reason"),

		verdicts: counter("afina_math_verdicts_total", "Claims of mathematics in the answers that were checked, by verdict: true, false, unknown, malformed.",
			"model", "verdict"),
		running: gauge("afina_engine_running", "Requests that the engine runs.", "model"),
		waiting: gauge("afina_engine_waiting", "Requests that wait for a slot of the engine.", "model"),
		pages:   gauge("afina_engine_pages", "Pages of keys and values: held by running requests alone, or remembered for those that begin alike.", "model", "kind"),
		cache:   gauge("afina_engine_cache_bytes", "Memory of keys and values.", "model"),
		batch: histogram("afina_engine_batch_tokens", "Tokens computed together in a pass.",
			prometheus.ExponentialBuckets(1, 2, 11), "model"), // 1 … 1024
		pass: histogram("afina_engine_pass_seconds", "Time of a pass.",
			prometheus.ExponentialBuckets(0.001, 2, 13), "model"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "afina_build_info", Help: "1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version(), "arch": runtime.GOARCH}})
	build.Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build, m.curves, m.jobs, m.requests, m.firstToken, m.nextToken, m.answerTokens, m.prompt, m.generated, m.answers, m.verdicts,
		m.running, m.waiting, m.pages, m.cache, m.batch, m.pass)
	m.Queue(nil)
	return m
}

// Handler serves /metrics.
func (m *Meters) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Gatherer is the registry, for those that read the series in the process.
func (m *Meters) Gatherer() prometheus.Gatherer { return m.registry }

// Job takes the news of a job. The series of the newest jobs are kept.
func (m *Meters) Job(e jobs.Event) { m.curves.put(e.Job) }

// Forget removes the series of a deleted job.
func (m *Meters) Forget(job string) { m.curves.drop(job) }

// Queue sets how many jobs are in each state.
func (m *Meters) Queue(counts map[jobs.State]int) {
	for _, s := range []jobs.State{jobs.Queued, jobs.Paused, jobs.Running, jobs.Succeeded, jobs.Failed, jobs.Cancelled} {
		m.jobs.WithLabelValues(string(s)).Set(float64(counts[s]))
	}
}

// Answer takes the timing of a finished answer.
func (m *Meters) Answer(t assistant.Timing) {
	model := "unknown" // it was refused before a model was found
	if t.Usage.Prompt > 0 {
		model = m.models.of(strings.ToLower(t.Model))
	}
	m.answers.WithLabelValues(model, reason(t.Reason)).Inc()
	if t.Usage.Prompt == 0 {
		return
	}
	m.prompt.WithLabelValues(model).Add(float64(t.Usage.Prompt))
	m.generated.WithLabelValues(model).Add(float64(t.Usage.Completion))
	if t.Usage.Completion == 0 {
		return
	}
	m.answerTokens.WithLabelValues(model).Observe(float64(t.Usage.Completion))
	m.firstToken.WithLabelValues(model).Observe(t.FirstToken)
	between := m.nextToken.WithLabelValues(model)
	for _, s := range t.BetweenTokens {
		between.Observe(s)
	}
}

// Verdicts takes what was found in the mathematics of an answer.
func (m *Meters) Verdicts(model string, c lint.Counts) {
	model = m.models.of(strings.ToLower(model))
	for verdict, n := range map[string]int{"true": c.True, "false": c.False, "unknown": c.Unknown, "malformed": c.Malformed} {
		m.verdicts.WithLabelValues(model, verdict).Add(float64(n))
	}
}

// reason is one of a fixed set of words.
func reason(r string) string {
	switch r {
	case "stop", "length", "canceled", "error":
		return r
	}
	return "other"
}

// Pass takes the news of an engine's pass.
func (m *Meters) Pass(model string, e engine.Event) {
	model = m.models.of(strings.ToLower(model))
	m.running.WithLabelValues(model).Set(float64(e.Running))
	m.waiting.WithLabelValues(model).Set(float64(e.Waiting))
	m.pages.WithLabelValues(model, "held").Set(float64(e.Held))
	m.pages.WithLabelValues(model, "remembered").Set(float64(e.Remembered))
	m.cache.WithLabelValues(model).Set(float64(e.Bytes))
	if n := e.Prompt + e.Generated; n > 0 {
		m.batch.WithLabelValues(model).Observe(float64(n))
		m.pass.WithLabelValues(model).Observe(e.Seconds)
	}
}

// Request takes one HTTP request; route is the pattern, never the URL.
func (m *Meters) Request(method, route string, status int, seconds float64) {
	class := "other"
	if status >= 100 && status < 600 {
		class = string(rune('0'+status/100)) + "xx"
	}
	m.requests.WithLabelValues(verb(method), m.routes.of(route), class).Observe(seconds)
}

// verb is one of a fixed set of words.
func verb(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// labels are the values of a label so far.
type labels struct {
	mu   sync.Mutex
	seen map[string]bool
}

// of is value, or "other" when there are too many already.
func (l *labels) of(value string) string {
	value = strings.ToValidUTF8(value, "\uFFFD")
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.seen[value] {
		if len(l.seen) >= maxLabels {
			return "other"
		}
		if l.seen == nil {
			l.seen = map[string]bool{}
		}
		l.seen[strings.Clone(value)] = true
	}
	return value
}
