// Package httpapi is the front door: routes, wire types, validation, errors
// and streaming. It decides nothing; it asks the rooms behind it.
//
// What a request and its answer look like from outside, whatever they are about,
// is package door's. A handler here reads its input, asks one room, and returns
// the answer or the error, for the door to write.
package httpapi

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/config"
	"afina/internal/dashboard"
	"afina/internal/door"
	"afina/internal/finetune"
	"afina/internal/jobs"
	"afina/internal/lint"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/openai"
	"afina/internal/tuning"
)

// Jobs is the job queue; *jobs.Queue is one.
type Jobs interface {
	Submit(ctx context.Context, s finetune.Spec, key string) (jobs.Job, error)
	List(ctx context.Context, after string, limit int) ([]jobs.Job, bool, error)
	Curve(ctx context.Context, id string) ([]jobs.Progress, error)
	Watch(ctx context.Context, id string) (<-chan jobs.Event, error)
	Delete(ctx context.Context, id string) error
	Using(ctx context.Context, dataset string) (bool, error)
	tuning.Jobs
}

// Catalog is the shelf; *catalog.Catalog is one.
type Catalog interface {
	Entries() ([]catalog.Entry, error)
	Resolve(name string) (*model.Model, *lora.Adapter, error)
	DeleteAdapter(name string) error
	AddDataset(ctx context.Context, name string, r io.Reader) (catalog.Dataset, error)
	AddStrict(ctx context.Context, name string, r io.Reader) (catalog.Dataset, error)
	Datasets(ctx context.Context, after string, limit int) ([]catalog.Dataset, bool, error)
	Dataset(ctx context.Context, id string) (catalog.Dataset, error)
	Conversations(ctx context.Context, id string) ([]chat.Conversation, error)
	DeleteDataset(ctx context.Context, id string) error
	tuning.Catalog
}

// Assistant answers; *assistant.Assistant is one.
type Assistant = openai.Assistant

// Meters count; *metrics.Meters are such.
type Meters interface {
	Handler() http.Handler
	Request(method, route string, status int, seconds float64)
	Forget(job string)
	Verdicts(model string, c lint.Counts)
}

// Server is the door and the rooms it asks. Fill the exported fields, then call
// Handler or Serve; they do not change afterwards.
type Server struct {
	Config    config.Config
	Jobs      Jobs
	Catalog   Catalog
	Assistant Assistant
	Exams     Exams
	Meters    Meters
	Log       *zap.Logger
	Build     string // version of the program

	// Ready says why the server cannot answer yet, in words fit for callers; nil
	// means it always can.
	Ready func() error
	// KeepAlive is how long a stream may be silent; 0 means 15 s.
	KeepAlive time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	once    sync.Once
	handler http.Handler
	door    *door.Door
	board   dashboard.Page
	// docsPage makes the page of the API when it is first asked for.
	docsPage func() ([]byte, error)
	retries  door.Retries
}

// Handler is the whole API.
func (s *Server) Handler() http.Handler {
	s.once.Do(s.prepare)
	return s.handler
}

func (s *Server) prepare() {
	s.KeepAlive = cmp.Or(s.KeepAlive, 15*time.Second)
	if s.Now == nil {
		s.Now = time.Now
	}
	s.board, s.docsPage = dashboard.New(), sync.OnceValues(writeDocs)
	s.door = door.New(door.Options{
		Listen: s.Config.Listen, HTTP: s.Config.HTTP, Log: s.Log, Count: s.Meters.Request, Page: s.show,
	})
	s.handler = s.routes()
}

// Serve answers on ln until ctx ends, then drains: /readyz fails and new
// requests are refused at once, streams of job events end, and answers being
// written go on for up to the drain timeout. The rooms behind must run until it
// returns. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	handler := s.Handler()
	return s.door.Serve(ctx, ln, handler)
}

// routes is the table of contents; api/openapi.yaml describes each line.
func (s *Server) routes() *chi.Mux {
	r, d := chi.NewRouter(), s.door
	r.Use(d.Receive, d.Guard)
	r.NotFound(d.NoRoute)
	r.MethodNotAllowed(d.WrongMethod(r))

	r.Get("/healthz", d.Answer(s.health))
	r.Get("/readyz", d.Answer(s.ready))
	r.Get("/", s.page)
	r.Get("/openapi.yaml", s.contract)
	r.Get("/docs", s.docs)
	r.Method(http.MethodGet, "/metrics", s.Meters.Handler())

	r.Post("/datasets", s.upload)
	r.Get("/datasets", d.Answer(s.listDatasets))
	r.Get("/datasets/{id}", d.Answer(s.findDataset))
	r.Delete("/datasets/{id}", d.Answer(s.deleteDataset))
	r.Get("/datasets/{id}/stats", d.Answer(s.datasetStats))
	r.Get("/datasets/{id}/preview", d.Answer(s.datasetPreview))
	r.Get("/datasets/{id}/lint", d.Answer(s.datasetLint))

	r.Post("/jobs", d.Answer(s.createJob))
	r.Get("/jobs", d.Answer(s.listJobs))
	r.Get("/jobs/{id}", d.Answer(s.findJob))
	r.Delete("/jobs/{id}", d.Answer(s.deleteJob))
	r.Get("/jobs/{id}/metrics", d.Answer(s.jobCurve))
	r.Get("/jobs/{id}/events", d.Streaming(s.jobEvents))
	r.Post("/jobs/{id}/cancel", d.Answer(s.cancelJob))
	r.Post("/jobs/{id}/pause", d.Answer(s.pauseJob))
	r.Post("/jobs/{id}/resume", d.Answer(s.resumeJob))

	(&tuning.Server{Door: d, Config: s.Config, Jobs: s.Jobs, Catalog: s.Catalog, Now: s.Now}).Route(r)
	r.Post("/evaluations", d.Answer(s.createEvaluation))
	r.Get("/evaluations", d.Answer(s.listEvaluations))
	r.Get("/evaluations/{id}", d.Answer(s.findEvaluation))
	r.Delete("/evaluations/{id}", d.Answer(s.deleteEvaluation))
	r.Get("/evaluations/{id}/report", d.Streaming(s.evaluationReport))
	r.Post("/evaluations/{id}/cancel", d.Answer(s.cancelEvaluation))

	r.Get("/v1/models", d.Answer(s.listModels))
	r.Get("/v1/models/{model}", d.Answer(s.findModel))
	r.Delete("/v1/models/{model}", d.Answer(s.deleteModel))
	(&openai.Server{Door: d, Config: s.Config, Assistant: s.Assistant, Meters: s.Meters, Log: s.Log, Build: s.Build,
		KeepAlive: s.KeepAlive, Now: s.Now}).Route(r)
	return r
}
