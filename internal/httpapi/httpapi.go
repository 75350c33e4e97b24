// Package httpapi is the front door: routes, wire types, validation, errors
// and streaming. It decides nothing; it asks the rooms behind it.
//
// A request passes the guard (name, host, origin, key, drain), then its
// handler, which returns a value or an error; one adapter writes either. Every
// answer carries an x-request-id, every answer outside 2xx the same envelope.
package httpapi

import (
	"context"
	"crypto/sha256"
	"io"
	"iter"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"afina/internal/assistant"
	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/config"
	"afina/internal/dashboard"
	"afina/internal/finetune"
	"afina/internal/form"
	"afina/internal/jobs"
	"afina/internal/lora"
	"afina/internal/model"
)

// Jobs is the job queue; *jobs.Queue is one.
type Jobs interface {
	Submit(ctx context.Context, s finetune.Spec, key string) (jobs.Job, error)
	Find(ctx context.Context, id string) (jobs.Job, error)
	List(ctx context.Context, after string, limit int) ([]jobs.Job, bool, error)
	Curve(ctx context.Context, id string) ([]jobs.Progress, error)
	Watch(ctx context.Context, id string) (<-chan jobs.Event, error)
	Cancel(ctx context.Context, id string) (jobs.Job, error)
	Delete(ctx context.Context, id string) error
	Using(ctx context.Context, dataset string) (bool, error)
}

// Catalog is the shelf; *catalog.Catalog is one.
type Catalog interface {
	Entries() ([]catalog.Entry, error)
	Resolve(name string) (*model.Model, *lora.Adapter, error)
	DeleteAdapter(name string) error
	AddDataset(ctx context.Context, name string, r io.Reader) (catalog.Dataset, error)
	Datasets(ctx context.Context, after string, limit int) ([]catalog.Dataset, bool, error)
	Dataset(ctx context.Context, id string) (catalog.Dataset, error)
	Conversations(ctx context.Context, id string) ([]chat.Conversation, error)
	DeleteDataset(ctx context.Context, id string) error
}

// Assistant answers; *assistant.Assistant is one.
type Assistant interface {
	Ask(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error]
}

// Meters count; *metrics.Meters are such.
type Meters interface {
	Handler() http.Handler
	Request(method, route string, status int, seconds float64)
	Forget(job string)
}

// Server is the door and the rooms it asks. Fill the exported fields, then call
// Handler or Serve; they do not change afterwards.
type Server struct {
	Config    config.Config
	Jobs      Jobs
	Catalog   Catalog
	Assistant Assistant
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
	rules   *form.Rules
	keys    [][sha256.Size]byte
	local   bool // bound to a loopback address
	origin  *http.CrossOriginProtection
	board   dashboard.Page
	gate    gate
	retries retries
}

// Handler is the whole API.
func (s *Server) Handler() http.Handler {
	s.once.Do(s.prepare)
	return s.handler
}

func (s *Server) prepare() {
	if s.KeepAlive == 0 {
		s.KeepAlive = 15 * time.Second
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.board = dashboard.New()
	s.rules = form.NewRules("json")
	s.origin = http.NewCrossOriginProtection()
	s.gate.closing = make(chan struct{})
	for _, key := range s.Config.HTTP.APIKeys {
		s.keys = append(s.keys, sha256.Sum256([]byte(key)))
	}
	host, _, err := net.SplitHostPort(s.Config.Listen)
	s.local = err == nil && config.Loopback(host)
	s.handler = s.routes()
}

// routes is the table of contents; api/openapi.yaml describes each line.
func (s *Server) routes() *chi.Mux {
	r := chi.NewRouter()
	r.Use(s.receive, s.guard)
	r.NotFound(s.streaming(func(http.ResponseWriter, *http.Request) error { return noRoute() }))
	r.MethodNotAllowed(s.wrongMethod(r))

	r.Get("/healthz", s.answer(s.health))
	r.Get("/readyz", s.answer(s.ready))
	r.Get("/", s.page)
	r.Get("/openapi.yaml", s.contract)
	r.Method(http.MethodGet, "/metrics", s.Meters.Handler())

	r.Post("/datasets", s.upload)
	r.Get("/datasets", s.answer(s.listDatasets))
	r.Get("/datasets/{id}", s.answer(s.findDataset))
	r.Delete("/datasets/{id}", s.answer(s.deleteDataset))
	r.Get("/datasets/{id}/stats", s.answer(s.datasetStats))
	r.Get("/datasets/{id}/preview", s.answer(s.datasetPreview))

	r.Post("/jobs", s.answer(s.createJob))
	r.Get("/jobs", s.answer(s.listJobs))
	r.Get("/jobs/{id}", s.answer(s.findJob))
	r.Delete("/jobs/{id}", s.answer(s.deleteJob))
	r.Get("/jobs/{id}/metrics", s.answer(s.jobCurve))
	r.Get("/jobs/{id}/events", s.streaming(s.jobEvents))
	r.Post("/jobs/{id}/cancel", s.answer(s.cancelJob))

	r.Get("/v1/models", s.answer(s.listModels))
	r.Get("/v1/models/{model}", s.answer(s.findModel))
	r.Delete("/v1/models/{model}", s.answer(s.deleteModel))
	r.Post("/v1/chat/completions", s.streaming(s.complete))
	return r
}
