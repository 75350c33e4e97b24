package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	openai2 "github.com/openai/openai-go/v2"
	option2 "github.com/openai/openai-go/v2/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"afina/internal/jobs"
	"afina/internal/modeltest"
)

// TestLimits: what OpenAI's clients are told, as their own kinds of error, by a
// service that fails (500), whose places for jobs (429) or for answers (503) are
// taken, and that is stopping (503); and that they come back when they are told.
func TestLimits(t *testing.T) {
	s := newService(t, "AFINA_JOBS__WORKERS=1", "AFINA_JOBS__MAX_QUEUED=1", "AFINA_SERVE__SLOTS=1", "AFINA_SERVE__QUEUE=1",
		"AFINA_SERVE__CONTEXT=131072", "AFINA_HTTP__GENERATE_TIMEOUT=1h", "AFINA_HTTP__DRAIN_TIMEOUT=1h")
	if err := os.Rename(modeltest.Write(t, modeltest.Shape{Context: 1 << 17, Seed: 7}), filepath.Join(s.models, "endless.gguf")); err != nil {
		t.Fatal(err)
	}
	s.start()

	lost := s.upload(20)
	if err := os.Remove(filepath.Join(s.data, "datasets", lost+".jsonl")); err != nil {
		t.Fatal(err)
	}
	s.limits(t, "fails", fileOf(lost))

	dataset := s.upload(400)
	long := s.submit(map[string]any{"model": "tiny", "dataset": dataset, "epochs": 1000, "batch_size": 1})
	s.until(t, "a step of the job that runs", func() bool {
		j, err := s.job(long.ID)
		return err == nil && j.Progress.Step > 0
	})
	s.submit(map[string]any{"model": "tiny", "dataset": dataset})
	s.limits(t, "jobs", fileOf(dataset))
	s.cancelNext(t, jobs.Queued)
	s.cancelNext(t, jobs.Running)

	leave := s.fill(t)
	s.limits(t, "answers", "")

	ended := make(chan error, 1)
	go func() { ended <- s.stop() }()
	s.until(t, "the service stops", func() bool {
		resp, err := http.Get(s.Base + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	s.limits(t, "stops", "")
	leave()
	if err := <-ended; err != nil {
		t.Errorf("after SIGTERM: %v, want exit 0", err)
	}
}

// fileOf is the name of a dataset among OpenAI's files.
func fileOf(dataset string) string { return "file-" + strings.TrimPrefix(dataset, "ds_") }

// until waits until something is so.
func (s *service) until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// fill takes the one slot and the one place in the queue of the model "endless",
// with answers that do not end until leave is called.
func (s *service) fill(t *testing.T) (leave func()) {
	t.Helper()
	var ends struct{ Tokens []int }
	if err := s.Post(t.Context(), "/tokenize", map[string]any{"model": "endless", "content": "<|im_end|><|endoftext|>"}, &ends); err != nil {
		t.Fatal(err)
	}
	never := map[string]int{}
	for _, id := range ends.Tokens {
		never[strconv.Itoa(id)] = -100
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 2)
	for range cap(left) {
		go func() {
			left <- s.Post(ctx, "/v1/completions", map[string]any{
				"model": "endless", "prompt": "hola", "max_tokens": 130_000, "temperature": 0, "logit_bias": never,
			}, nil)
		}()
	}
	s.until(t, "one answer is written and one waits", func() bool {
		m := s.get("/metrics")
		return strings.Contains(m, `afina_engine_running{model="endless"} 1`) && strings.Contains(m, `afina_engine_waiting{model="endless"} 1`)
	})
	return func() {
		cancel()
		for range cap(left) {
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("an answer ended by itself: %v", err)
			}
		}
	}
}

// limits has each of OpenAI's clients see what the service says now.
func (s *service) limits(t *testing.T, act, file string) {
	t.Helper()
	t.Run(act+"/python", func(t *testing.T) {
		python := sdk(t, filepath.Join("venv", "bin", "python"))
		script(t, exec.Command(python, filepath.Join("testdata", "limits.py"), s.Base+"/v1", act, file))
	})
	t.Run(act+"/node", func(t *testing.T) { script(t, node(t, "limits.cjs", s.Base+"/v1", act, file)) })
	for name, dial := range map[string]func(base string, h *http.Client, retries int) caller{"go2": dial2, "go3": dial3} {
		t.Run(act+"/"+name, func(t *testing.T) {
			h := &heard{room: func() { s.cancelNext(t, jobs.Queued) }}
			once, twice := dial(s.Base+"/v1", &http.Client{Transport: h}, 0), dial(s.Base+"/v1", &http.Client{Transport: h}, 1)
			switch act {
			case "fails":
				h.fails(t, once.content(file), once, 500, "internal_error", "internal_error")
			case "jobs":
				h.fails(t, once.job(file), once, 429, "rate_limit_exceeded", "quota_exceeded")
				h.making = true
				if err := twice.job(file); err != nil {
					t.Error(err)
				}
				h.waited(t, 429, 200)
			case "answers":
				h.fails(t, once.chat(), once, 503, "overloaded_error", "overloaded")
				h.fails(t, twice.chat(), once, 503, "overloaded_error", "overloaded")
				h.waited(t, 503, 503)
			case "stops":
				h.fails(t, once.chat(), once, 503, "overloaded_error", "shutting_down")
				h.fails(t, once.models(), once, 503, "overloaded_error", "shutting_down")
			}
		})
	}
}

// cancelNext cancels the newest job that is in a state.
func (s *service) cancelNext(t *testing.T, state jobs.State) {
	t.Helper()
	var all struct{ Data []jobs.Job }
	if err := s.Call(t.Context(), http.MethodGet, "/jobs", "", nil, &all); err != nil {
		t.Error(err)
	}
	i := slices.IndexFunc(all.Data, func(j jobs.Job) bool { return j.Status == state })
	if i < 0 {
		t.Errorf("no job is %s: %+v", state, all.Data)
		return
	}
	if err := s.Post(t.Context(), "/jobs/"+all.Data[i].ID+"/cancel", struct{}{}, nil); err != nil {
		t.Error(err)
	}
}

// caller is one of OpenAI's for Go, which differ in their types alone.
type caller struct {
	chat, models func() error
	job, content func(file string) error
	told         func(err error) (status int, word, code string)
}

func dial3(base string, h *http.Client, retries int) caller {
	ctx := context.Background()
	c := openai.NewClient(option.WithBaseURL(base), option.WithAPIKey(sdkKey), option.WithHTTPClient(h), option.WithMaxRetries(retries))
	return caller{
		chat: func() error {
			_, err := c.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{Model: "endless", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hola")}})
			return err
		},
		models: func() error { _, err := c.Models.List(ctx); return err },
		job: func(file string) error {
			_, err := c.FineTuning.Jobs.New(ctx, openai.FineTuningJobNewParams{Model: "tiny", TrainingFile: file})
			return err
		},
		content: func(file string) error { _, err := c.Files.Content(ctx, file); return err },
		told: func(err error) (int, string, string) {
			var e *openai.Error
			if !errors.As(err, &e) {
				return 0, "", ""
			}
			return e.StatusCode, e.Type, e.Code
		},
	}
}

func dial2(base string, h *http.Client, retries int) caller {
	ctx := context.Background()
	c := openai2.NewClient(option2.WithBaseURL(base), option2.WithAPIKey(sdkKey), option2.WithHTTPClient(h), option2.WithMaxRetries(retries))
	return caller{
		chat: func() error {
			_, err := c.Chat.Completions.New(ctx, openai2.ChatCompletionNewParams{Model: "endless", Messages: []openai2.ChatCompletionMessageParamUnion{openai2.UserMessage("hola")}})
			return err
		},
		models: func() error { _, err := c.Models.List(ctx); return err },
		job: func(file string) error {
			_, err := c.FineTuning.Jobs.New(ctx, openai2.FineTuningJobNewParams{Model: "tiny", TrainingFile: file})
			return err
		},
		content: func(file string) error { _, err := c.Files.Content(ctx, file); return err },
		told: func(err error) (int, string, string) {
			var e *openai2.Error
			if !errors.As(err, &e) {
				return 0, "", ""
			}
			return e.StatusCode, e.Type, e.Code
		},
	}
}

// heard is a transport that notes the answers.
type heard struct {
	answers []heardAnswer
	making  bool // room, at each 429
	room    func()
}

type heardAnswer struct {
	status int
	pause  int // seconds after which to come back, 0 when none were named
	at     time.Time
}

func (h *heard) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	pause, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	h.answers = append(h.answers, heardAnswer{resp.StatusCode, pause, time.Now()})
	if h.making && resp.StatusCode == http.StatusTooManyRequests {
		h.room()
	}
	return resp, nil
}

// fails checks the error of a client, and that the answer said when to come back
// unless it was the server's fault.
func (h *heard) fails(t *testing.T, err error, c caller, status int, word, code string) {
	t.Helper()
	s, w, x := c.told(err)
	last := h.answers[len(h.answers)-1]
	if s != status || w != word || x != code || (last.pause > 0) != (status != http.StatusInternalServerError) {
		t.Errorf("got %d, %s, %s, to come back after %d s: %v; want %d, %s, %s", s, w, x, last.pause, err, status, word, code)
	}
}

// waited checks that the last two answers had these statuses, and that the client
// came back no sooner than it was told.
func (h *heard) waited(t *testing.T, first, second int) {
	t.Helper()
	if len(h.answers) < 2 {
		t.Fatalf("heard %+v", h.answers)
	}
	a, b := h.answers[len(h.answers)-2], h.answers[len(h.answers)-1]
	if a.status != first || b.status != second || a.pause < 1 || b.at.Sub(a.at) < time.Duration(a.pause)*time.Second {
		t.Errorf("heard %+v", h.answers)
	}
}
