// Package tuning is fine-tuning as OpenAI's API has it: /v1/files and
// /v1/fine_tuning/jobs. It is a second door to the same rooms that /datasets and
// /jobs lead to: a file of purpose fine-tune is a dataset, a fine-tuning job a
// job. It translates, and decides nothing.
//
//	file-<x>          ds_<x>        a dataset
//	file-results-<x>  job_<x>       the curve of a job that succeeded
//	ftjob-<x>         job_<x>       a job
//
// OpenAI's clients take a 409 for something to try again. Here what is in the
// wrong state for a request is therefore a 400.
package tuning

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"afina/internal/catalog"
	"afina/internal/config"
	"afina/internal/door"
	"afina/internal/fault"
	"afina/internal/jobs"
)

// Jobs is the job queue; *jobs.Queue is one.
type Jobs interface {
	Place(ctx context.Context, o jobs.Order) (jobs.Job, error)
	Find(ctx context.Context, id string) (jobs.Job, error)
	ListLike(ctx context.Context, after string, limit int, pairs jobs.Metadata) ([]jobs.Job, bool, error)
	Happenings(ctx context.Context, id, after string, limit int) ([]jobs.Happening, bool, error)
	Cancel(ctx context.Context, id string) (jobs.Job, error)
	Pause(ctx context.Context, id string) (jobs.Job, error)
	Resume(ctx context.Context, id string) (jobs.Job, error)
}

// Catalog is the shelf; *catalog.Catalog is one.
type Catalog interface {
	AddExpiring(ctx context.Context, name string, r io.Reader, after time.Duration) (catalog.Dataset, error)
	Files(ctx context.Context, purpose, after string, limit int, rising bool) ([]catalog.File, bool, error)
	File(ctx context.Context, id string) (catalog.File, error)
	Content(ctx context.Context, id string) (io.ReadCloser, int64, error)
	DeleteFile(ctx context.Context, id string) error
	Steps(job string) ([]catalog.Step, error)
}

// Server answers. Fill all fields; they do not change afterwards.
type Server struct {
	Door    *door.Door
	Config  config.Config
	Jobs    Jobs
	Catalog Catalog
	Now     func() time.Time

	retries door.Retries
}

// Route adds the routes.
func (s *Server) Route(r chi.Router) {
	answer := func(f func(r *http.Request) (int, any, error)) http.HandlerFunc {
		return s.Door.Answer(func(r *http.Request) (int, any, error) {
			status, value, err := f(r)
			return status, value, soften(err)
		})
	}
	r.Post("/v1/files", s.upload)
	r.Get("/v1/files", answer(s.listFiles))
	r.Get("/v1/files/{id}", answer(s.findFile))
	r.Delete("/v1/files/{id}", answer(s.deleteFile))
	r.Get("/v1/files/{id}/content", s.Door.Streaming(s.content))

	r.Post("/v1/fine_tuning/jobs", answer(s.createJob))
	r.Get("/v1/fine_tuning/jobs", answer(s.listJobs))
	r.Get("/v1/fine_tuning/jobs/{id}", answer(s.findJob))
	r.Post("/v1/fine_tuning/jobs/{id}/cancel", answer(s.steer(s.Jobs.Cancel)))
	r.Post("/v1/fine_tuning/jobs/{id}/pause", answer(s.steer(s.Jobs.Pause)))
	r.Post("/v1/fine_tuning/jobs/{id}/resume", answer(s.steer(s.Jobs.Resume)))
	r.Get("/v1/fine_tuning/jobs/{id}/events", answer(s.listEvents))
	r.Get("/v1/fine_tuning/jobs/{id}/checkpoints", answer(s.listCheckpoints))
}

// soften makes a conflict a mistake of the request.
func soften(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.Conflict {
		g := *f
		g.Kind = fault.Invalid
		return &g
	}
	return err
}

// The prefixes of ids, here and in the rooms behind.
const (
	filePrefix   = "file-"
	resultPrefix = "file-results-"
	jobPrefix    = "ftjob-"
	eventPrefix  = "ftevent-"
	stepPrefix   = "ftckpt_"

	ourDataset = "ds_"
	ourJob     = "job_"
)

// swap exchanges the prefix of an id; one without it, which nobody has, stays.
func swap(id, from, to string) string {
	if x, ok := strings.CutPrefix(id, from); ok {
		return to + x
	}
	return id
}

// jobOf is our id of a job; ours is taken as well.
func jobOf(id string) string { return swap(id, jobPrefix, ourJob) }

// fileOf is our id of a file; that of a dataset is taken as well.
func fileOf(id string) string {
	if strings.HasPrefix(id, resultPrefix) {
		return swap(id, resultPrefix, ourJob)
	}
	return swap(id, filePrefix, ourDataset)
}

// list is a page of a list. First and Last name its ends.
type list[T any] struct {
	Object string  `json:"object"` // "list"
	Data   []T     `json:"data"`
	More   bool    `json:"has_more"`
	First  *string `json:"first_id"`
	Last   *string `json:"last_id"`
}

// of makes a page of things, each dressed for the wire and known by id.
func of[S, T any](things []S, more bool, dress func(S) T, id func(T) string) list[T] {
	l := list[T]{Object: "list", Data: make([]T, len(things)), More: more}
	for i, t := range things {
		l.Data[i] = dress(t)
	}
	if n := len(things); n > 0 {
		first, last := id(l.Data[0]), id(l.Data[n-1])
		l.First, l.Last = &first, &last
	}
	return l
}

// page reads where a page begins.
func page(q *door.Query, fallback, most int64) (after string, limit int) {
	limit = int(q.Integer("limit", fallback, 1, most))
	if q.Has("after") && q.Text("after") == "" {
		q.Wrong("after", "after is empty; leave it out to begin with the newest")
	}
	return q.Text("after"), limit
}
