package httpapi_test

import (
	"context"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"afina/internal/assistant"
	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/config"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/finetune"
	"afina/internal/httpapi"
	"afina/internal/jobs"
	"afina/internal/lint"
	"afina/internal/lora"
	"afina/internal/model"
)

// The rooms behind the door, made of functions. What a test does not set must
// not be called.
type fakeJobs struct {
	submit func(s finetune.Spec, key string) (jobs.Job, error)
	find   func(id string) (jobs.Job, error)
	list   func(after string, limit int) ([]jobs.Job, bool, error)
	curve  func(id string) ([]jobs.Progress, error)
	watch  func(ctx context.Context, id string) (<-chan jobs.Event, error)
	cancel func(id string) (jobs.Job, error)
	remove func(id string) error
	using  func(dataset string) (bool, error)

	place      func(o jobs.Order) (jobs.Job, error)
	listLike   func(after string, limit int, pairs jobs.Metadata) ([]jobs.Job, bool, error)
	happenings func(id, after string, limit int) ([]jobs.Happening, bool, error)
	pause      func(id string) (jobs.Job, error)
	resume     func(id string) (jobs.Job, error)
}

func (f *fakeJobs) Place(_ context.Context, o jobs.Order) (jobs.Job, error) { return f.place(o) }
func (f *fakeJobs) ListLike(_ context.Context, after string, limit int, pairs jobs.Metadata) ([]jobs.Job, bool, error) {
	return f.listLike(after, limit, pairs)
}
func (f *fakeJobs) Happenings(_ context.Context, id, after string, limit int) ([]jobs.Happening, bool, error) {
	return f.happenings(id, after, limit)
}
func (f *fakeJobs) Pause(_ context.Context, id string) (jobs.Job, error)  { return f.pause(id) }
func (f *fakeJobs) Resume(_ context.Context, id string) (jobs.Job, error) { return f.resume(id) }

func (f *fakeJobs) Submit(_ context.Context, s finetune.Spec, key string) (jobs.Job, error) {
	return f.submit(s, key)
}
func (f *fakeJobs) Find(_ context.Context, id string) (jobs.Job, error) { return f.find(id) }
func (f *fakeJobs) List(_ context.Context, after string, limit int) ([]jobs.Job, bool, error) {
	return f.list(after, limit)
}
func (f *fakeJobs) Curve(_ context.Context, id string) ([]jobs.Progress, error) { return f.curve(id) }
func (f *fakeJobs) Watch(ctx context.Context, id string) (<-chan jobs.Event, error) {
	return f.watch(ctx, id)
}
func (f *fakeJobs) Cancel(_ context.Context, id string) (jobs.Job, error) { return f.cancel(id) }
func (f *fakeJobs) Delete(_ context.Context, id string) error             { return f.remove(id) }
func (f *fakeJobs) Using(_ context.Context, dataset string) (bool, error) { return f.using(dataset) }

type fakeCatalog struct {
	entries       func() ([]catalog.Entry, error)
	resolve       func(name string) (*model.Model, *lora.Adapter, error)
	deleteAdapter func(name string) error
	add           func(name string, r io.Reader) (catalog.Dataset, error)
	strict        func(name string, r io.Reader) (catalog.Dataset, error)
	datasets      func(after string, limit int) ([]catalog.Dataset, bool, error)
	dataset       func(id string) (catalog.Dataset, error)
	conversations func(id string) ([]chat.Conversation, error)
	deleteDataset func(id string) error

	addExpiring func(name string, r io.Reader, after time.Duration) (catalog.Dataset, error)
	files       func(purpose, after string, limit int, rising bool) ([]catalog.File, bool, error)
	file        func(id string) (catalog.File, error)
	content     func(id string) (io.ReadCloser, int64, error)
	deleteFile  func(id string) error
	steps       func(job string) ([]catalog.Step, error)
}

func (f *fakeCatalog) AddExpiring(_ context.Context, name string, r io.Reader, after time.Duration) (catalog.Dataset, error) {
	return f.addExpiring(name, r, after)
}
func (f *fakeCatalog) Files(_ context.Context, purpose, after string, limit int, rising bool) ([]catalog.File, bool, error) {
	return f.files(purpose, after, limit, rising)
}
func (f *fakeCatalog) File(_ context.Context, id string) (catalog.File, error) { return f.file(id) }
func (f *fakeCatalog) Content(_ context.Context, id string) (io.ReadCloser, int64, error) {
	return f.content(id)
}
func (f *fakeCatalog) DeleteFile(_ context.Context, id string) error { return f.deleteFile(id) }
func (f *fakeCatalog) Steps(job string) ([]catalog.Step, error)      { return f.steps(job) }

func (f *fakeCatalog) Entries() ([]catalog.Entry, error) { return f.entries() }
func (f *fakeCatalog) Resolve(name string) (*model.Model, *lora.Adapter, error) {
	return f.resolve(name)
}
func (f *fakeCatalog) DeleteAdapter(name string) error { return f.deleteAdapter(name) }
func (f *fakeCatalog) AddDataset(_ context.Context, name string, r io.Reader) (catalog.Dataset, error) {
	return f.add(name, r)
}
func (f *fakeCatalog) AddStrict(_ context.Context, name string, r io.Reader) (catalog.Dataset, error) {
	return f.strict(name, r)
}
func (f *fakeCatalog) Datasets(_ context.Context, after string, limit int) ([]catalog.Dataset, bool, error) {
	return f.datasets(after, limit)
}
func (f *fakeCatalog) Dataset(_ context.Context, id string) (catalog.Dataset, error) {
	return f.dataset(id)
}
func (f *fakeCatalog) Conversations(_ context.Context, id string) ([]chat.Conversation, error) {
	return f.conversations(id)
}
func (f *fakeCatalog) DeleteDataset(_ context.Context, id string) error { return f.deleteDataset(id) }

type fakeAssistant func(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error]

func (f fakeAssistant) Ask(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
	return f(ctx, q)
}

func (f fakeAssistant) Encode(_ context.Context, _, text string, _ bool) ([]int32, error) {
	tokens := []int32{}
	for _, b := range []byte(text) {
		tokens = append(tokens, int32(b))
	}
	return tokens, nil
}

func (f fakeAssistant) Decode(_ context.Context, _ string, tokens []int32) (string, error) {
	var b []byte
	for _, id := range tokens {
		b = append(b, byte(id))
	}
	return string(b), nil
}

func (f fakeAssistant) Embed(_ context.Context, _ string, texts []assistant.Raw) ([][]float32, int, error) {
	var all [][]float32
	for _, t := range texts {
		all = append(all, []float32{float32(len(t.Text)), 0.5})
	}
	return all, len(texts), nil
}

func (f fakeAssistant) Render(_ context.Context, _ string, c chat.Conversation) (string, error) {
	return c.Messages[0].Content, nil
}

type counted struct {
	method, route string
	status        int
}

type fakeMeters struct {
	mu        sync.Mutex
	requests  []counted
	forgotten []string
	verdicts  map[string]lint.Counts
}

func (f *fakeMeters) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, "afina_up 1\n")
	})
}

func (f *fakeMeters) Request(method, route string, status int, _ float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, counted{method, route, status})
}

func (f *fakeMeters) Forget(job string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgotten = append(f.forgotten, job)
}

func (f *fakeMeters) Verdicts(model string, c lint.Counts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.verdicts == nil {
		f.verdicts = map[string]lint.Counts{}
	}
	f.verdicts[model] = c
}

func (f *fakeMeters) seen(c counted) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.requests, c)
}

// house is a server and the fakes behind it.
type house struct {
	*httpapi.Server
	jobs    *fakeJobs
	catalog *fakeCatalog
	meters  *fakeMeters
	log     *observer.ObservedLogs
}

const key = "0123456789abcdef"

func newHouse() *house {
	core, logs := observer.New(zapcore.InfoLevel)
	h := &house{jobs: &fakeJobs{}, catalog: &fakeCatalog{}, meters: &fakeMeters{}, log: logs}
	h.Server = &httpapi.Server{
		Config: config.Default(), Jobs: h.jobs, Catalog: h.catalog, Meters: h.meters,
		Assistant: says(), Log: zap.New(core), Build: "test",
		Now: func() time.Time { return time.Unix(1795419000, 0) },
	}
	h.Config.HTTP.APIKeys = nil
	return h
}

// says answers with the given texts, counting one token for each.
func says(texts ...string) fakeAssistant {
	return func(_ context.Context, _ assistant.Question) iter.Seq2[assistant.Delta, error] {
		return func(yield func(assistant.Delta, error) bool) {
			u := assistant.Usage{Prompt: 7}
			for _, t := range texts {
				u.Completion++
				if !yield(assistant.Delta{Text: t, Usage: u}, nil) {
					return
				}
			}
			yield(assistant.Delta{Usage: u, Reason: engine.Stop}, nil)
		}
	}
}

// breaks yields the texts, then err.
func breaks(err error, texts ...string) fakeAssistant {
	return func(_ context.Context, _ assistant.Question) iter.Seq2[assistant.Delta, error] {
		return func(yield func(assistant.Delta, error) bool) {
			for _, t := range texts {
				if !yield(assistant.Delta{Text: t}, nil) {
					return
				}
			}
			yield(assistant.Delta{}, err)
		}
	}
}

func aJob(id string, state jobs.State) jobs.Job {
	spec := finetune.Defaults()
	spec.Model, spec.Dataset, spec.Name = "tiny", aDataset.ID, "tuned"
	return jobs.Job{ID: id, Object: "job", Status: state, Spec: spec, Created: time.Unix(1795419000, 0).UTC()}
}

var aDataset = catalog.Dataset{
	ID: "ds_0123456789abcdef", Name: "mates", Conversations: 2, Bytes: 100,
	SHA256: strings.Repeat("ab", 32), Created: time.Unix(1795419000, 0).UTC(),
	Math: &lint.Counts{Answers: 2, Claims: 3, True: 2, False: 1},
}

func noJob(id string) (jobs.Job, error) {
	return jobs.Job{}, fault.New(fault.NotFound, "there is no job %q", id).WithCode("job_not_found")
}
