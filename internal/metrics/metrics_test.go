package metrics_test

import (
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"afina/internal/assistant"
	"afina/internal/engine"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/lint"
	"afina/internal/metrics"
)

// compare checks series against their text form.
func compare(t *testing.T, m *metrics.Meters, want string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func count(t *testing.T, m *metrics.Meters, names ...string) int {
	t.Helper()
	n, err := testutil.GatherAndCount(m.Gatherer(), names...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// job is the i-th job, at a step.
func job(i int, state jobs.State, step int) jobs.Job {
	started := time.Unix(int64(1000+i), 0)
	j := jobs.Job{ID: fmt.Sprintf("job_%d", i), Status: state, Spec: finetune.Spec{Name: fmt.Sprintf("mates%d", i)}, Started: &started}
	if step > 0 {
		j.Progress = jobs.Progress{Step: step, Steps: 10, TrainLoss: 2.5, LearningRate: 0.01, GradNorm: 3, TokensPerSecond: 400, ETASeconds: 60}
	}
	return j
}

func TestJobSeries(t *testing.T) {
	m := metrics.New("v1")
	m.Job(jobs.Event{Job: jobs.Job{ID: "job_waiting", Status: jobs.Queued}})
	m.Job(jobs.Event{Job: job(1, jobs.Running, 0)})
	if n := count(t, m, "afina_job_train_loss", "afina_job_step"); n != 0 {
		t.Errorf("%d figures of a job that has made no step", n)
	}
	m.Job(jobs.Event{Job: job(1, jobs.Running, 4)})
	compare(t, m, `
# HELP afina_job_eta_seconds Estimated time to the end.
# TYPE afina_job_eta_seconds gauge
afina_job_eta_seconds{job="job_1",name="mates1"} 60
# HELP afina_job_grad_norm Global norm of the gradients before clipping.
# TYPE afina_job_grad_norm gauge
afina_job_grad_norm{job="job_1",name="mates1"} 3
# HELP afina_job_learning_rate Learning rate of the latest step.
# TYPE afina_job_learning_rate gauge
afina_job_learning_rate{job="job_1",name="mates1"} 0.01
# HELP afina_job_state 1 for the state the job is in.
# TYPE afina_job_state gauge
afina_job_state{job="job_1",name="mates1",state="running"} 1
# HELP afina_job_step Optimiser steps made.
# TYPE afina_job_step gauge
afina_job_step{job="job_1",name="mates1"} 4
# HELP afina_job_steps Optimiser steps of the whole job.
# TYPE afina_job_steps gauge
afina_job_steps{job="job_1",name="mates1"} 10
# HELP afina_job_tokens_per_second Training speed.
# TYPE afina_job_tokens_per_second gauge
afina_job_tokens_per_second{job="job_1",name="mates1"} 400
# HELP afina_job_train_loss Mean loss of the latest step, in nats per token.
# TYPE afina_job_train_loss gauge
afina_job_train_loss{job="job_1",name="mates1"} 2.5
`, "afina_job_eta_seconds", "afina_job_grad_norm", "afina_job_learning_rate", "afina_job_state", "afina_job_step",
		"afina_job_steps", "afina_job_tokens_per_second", "afina_job_train_loss", "afina_job_eval_loss", "afina_job_eval_accuracy", "afina_job_train_accuracy")

	done, loss, train, eval := job(1, jobs.Succeeded, 10), 1.5, 0.5, 0.25
	done.Progress.EvalLoss, done.Progress.TrainAccuracy, done.Progress.EvalAccuracy = &loss, &train, &eval
	m.Job(jobs.Event{Job: done})
	compare(t, m, `
# HELP afina_job_eval_accuracy Latest share of the held-out tokens that were the most likely one.
# TYPE afina_job_eval_accuracy gauge
afina_job_eval_accuracy{job="job_1",name="mates1"} 0.25
# HELP afina_job_eval_loss Latest held-out mean loss, in nats per token.
# TYPE afina_job_eval_loss gauge
afina_job_eval_loss{job="job_1",name="mates1"} 1.5
# HELP afina_job_state 1 for the state the job is in.
# TYPE afina_job_state gauge
afina_job_state{job="job_1",name="mates1",state="succeeded"} 1
# HELP afina_job_train_accuracy Share of the tokens of the latest step that were the most likely one.
# TYPE afina_job_train_accuracy gauge
afina_job_train_accuracy{job="job_1",name="mates1"} 0.5
`, "afina_job_eval_loss", "afina_job_eval_accuracy", "afina_job_train_accuracy", "afina_job_state")

	m.Forget("job_1")
	if n := count(t, m, "afina_job_state", "afina_job_step"); n != 0 {
		t.Errorf("%d series of a deleted job", n)
	}
}

func TestOnlyTheNewestJobs(t *testing.T) {
	m := metrics.New("v1")
	for i := range 100 {
		m.Job(jobs.Event{Job: job(i, jobs.Running, 1)})
		m.Job(jobs.Event{Job: job(i, jobs.Succeeded, 10)})
	}
	m.Job(jobs.Event{Job: job(3, jobs.Succeeded, 10)}) // old news
	if n := count(t, m, "afina_job_step"); n != 20 {
		t.Errorf("%d jobs have series, want 20", n)
	}
	text := scrape(t, m)
	for i, want := range map[int]bool{3: false, 79: false, 80: true, 99: true} {
		if got := strings.Contains(text, fmt.Sprintf(`afina_job_step{job="job_%d",`, i)); got != want {
			t.Errorf("job %d has series: %v, want %v", i, got, want)
		}
	}
}

func TestQueue(t *testing.T) {
	m := metrics.New("v1")
	if n := count(t, m, "afina_jobs"); n != 6 {
		t.Errorf("%d states before the first news, want 6", n)
	}
	m.Queue(map[jobs.State]int{jobs.Running: 2, jobs.Failed: 1})
	m.Queue(map[jobs.State]int{jobs.Running: 1, jobs.Queued: 7})
	compare(t, m, `
# HELP afina_jobs Jobs in each state.
# TYPE afina_jobs gauge
afina_jobs{state="cancelled"} 0
afina_jobs{state="failed"} 0
afina_jobs{state="paused"} 0
afina_jobs{state="queued"} 7
afina_jobs{state="running"} 1
afina_jobs{state="succeeded"} 0
`, "afina_jobs")
}

func TestAnswers(t *testing.T) {
	m := metrics.New("v1")
	m.Answer(assistant.Timing{Model: "Mates", Usage: assistant.Usage{Prompt: 30, Completion: 3}, FirstToken: 0.5, BetweenTokens: []float64{0.1, 0.2}, Reason: "stop"})
	m.Answer(assistant.Timing{Model: "mates", Usage: assistant.Usage{Prompt: 5}, Reason: "canceled"})
	m.Answer(assistant.Timing{Model: "../../etc", Reason: "error"})
	compare(t, m, `
# HELP afina_answers_total Answers, by how they ended: stop, length, canceled, error.
# TYPE afina_answers_total counter
afina_answers_total{model="mates",reason="canceled"} 1
afina_answers_total{model="mates",reason="stop"} 1
afina_answers_total{model="unknown",reason="error"} 1
# HELP afina_generated_tokens_total Tokens written in answers.
# TYPE afina_generated_tokens_total counter
afina_generated_tokens_total{model="mates"} 3
# HELP afina_prompt_tokens_total Tokens of the conversations asked.
# TYPE afina_prompt_tokens_total counter
afina_prompt_tokens_total{model="mates"} 35
`, "afina_answers_total", "afina_generated_tokens_total", "afina_prompt_tokens_total")
	text := scrape(t, m)
	for _, line := range []string{
		`afina_time_to_first_token_seconds_count{model="mates"} 1`,
		`afina_time_to_first_token_seconds_sum{model="mates"} 0.5`,
		`afina_time_between_tokens_seconds_count{model="mates"} 2`,
		`afina_answer_tokens_sum{model="mates"} 3`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestVerdicts(t *testing.T) {
	m := metrics.New("v1")
	m.Verdicts("Mates", lint.Counts{Claims: 6, True: 3, False: 2, Malformed: 1})
	m.Verdicts("mates", lint.Counts{Claims: 1, True: 1})
	compare(t, m, `
# HELP afina_math_verdicts_total Claims of mathematics in the answers that were checked, by verdict: true, false, unknown, malformed.
# TYPE afina_math_verdicts_total counter
afina_math_verdicts_total{model="mates",verdict="false"} 2
afina_math_verdicts_total{model="mates",verdict="malformed"} 1
afina_math_verdicts_total{model="mates",verdict="true"} 4
afina_math_verdicts_total{model="mates",verdict="unknown"} 0
`, "afina_math_verdicts_total")
}

func TestEngineAndRequests(t *testing.T) {
	m := metrics.New("v1")
	m.Pass("m", engine.Event{Prompt: 20, Generated: 4, Running: 4, Waiting: 2, Seconds: 0.25})
	m.Pass("m", engine.Event{Running: 3, Held: 5, Remembered: 7, Bytes: 4096})
	m.Request("GET", "/jobs/{id}", 200, 0.5)
	m.Request("GET", "/jobs/{id}", 204, 0.5)
	m.Request("PURGE", "unmatched", 404, 0.1)
	text := scrape(t, m)
	for _, line := range []string{
		`afina_engine_pages{kind="held",model="m"} 5`, `afina_engine_pages{kind="remembered",model="m"} 7`,
		`afina_engine_cache_bytes{model="m"} 4096`,
		`afina_engine_running{model="m"} 3`, `afina_engine_waiting{model="m"} 0`,
		`afina_engine_batch_tokens_sum{model="m"} 24`, `afina_engine_batch_tokens_count{model="m"} 1`,
		`afina_engine_pass_seconds_sum{model="m"} 0.25`,
		`afina_http_request_duration_seconds_count{method="GET",route="/jobs/{id}",status="2xx"} 2`,
		`afina_http_request_duration_seconds_count{method="other",route="unmatched",status="4xx"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, part := range []string{`afina_build_info{arch=`, `version="v1"`, "process_resident_memory_bytes ", "go_goroutines "} {
		if !strings.Contains(text, part) {
			t.Errorf("no %s", part)
		}
	}
}

// Whatever is asked of the server, the number of series is bounded.
func TestCardinality(t *testing.T) {
	m := metrics.New("v1")
	for i := range 20000 {
		name := fmt.Sprintf("x\xff%d", i)
		m.Answer(assistant.Timing{Model: name, Reason: name})
		m.Request(name, "unmatched", i, 0)
		if i < 1000 {
			m.Answer(assistant.Timing{Model: name, Usage: assistant.Usage{Prompt: 1, Completion: 1}, Reason: "stop"})
			m.Pass(name, engine.Event{Running: 1, Prompt: 1})
			m.Request("GET", name, 200, 0)
		}
	}
	if n := count(t, m); n > 1000 {
		t.Errorf("%d series", n)
	}
	scrape(t, m)
}

func TestAtOnce(t *testing.T) {
	m := metrics.New("v1")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 50 {
				m.Job(jobs.Event{Job: job(i*50+k, jobs.Running, k)})
				m.Forget(fmt.Sprintf("job_%d", k))
				m.Answer(assistant.Timing{Model: fmt.Sprint(k), Usage: assistant.Usage{Prompt: 1, Completion: 1}})
				if k%25 == 0 {
					scrape(t, m)
				}
			}
		})
	}
	wg.Wait()
}

func scrape(t *testing.T, m *metrics.Meters) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, _ := io.ReadAll(w.Body)
	if w.Code != 200 {
		t.Errorf("GET /metrics: %d %s", w.Code, text)
	}
	return string(text)
}

// The names and texts follow the conventions of Prometheus.
func TestLint(t *testing.T) {
	m := metrics.New("v1")
	m.Job(jobs.Event{Job: job(1, jobs.Running, 4)})
	m.Answer(assistant.Timing{Model: "m", Usage: assistant.Usage{Prompt: 1, Completion: 1}, BetweenTokens: []float64{1}})
	m.Pass("m", engine.Event{Prompt: 1})
	m.Request("GET", "/", 200, 1)
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
