package httpapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"afina/internal/door"
	"afina/internal/jobs"
)

// made is a job just submitted: it has an address.
type made struct{ jobs.Job }

func (m made) Location() string { return "/jobs/" + m.ID }

func (s *Server) createJob(r *http.Request) (int, any, error) {
	key := r.Header.Get("Idempotency-Key")
	spec := s.Config.Train
	text, err := s.door.Decode(r, &spec)
	if err != nil {
		return 0, nil, err
	}
	submit := func() (jobs.Job, error) { return s.Jobs.Submit(r.Context(), spec, key) }
	if key != "" {
		job, err := submit()
		return http.StatusAccepted, made{job}, err
	}
	job, err := s.retries.once(r, text, s.Now(), s.Jobs.Find, submit)
	return http.StatusAccepted, made{job}, err
}

func (s *Server) listJobs(r *http.Request) (int, any, error) {
	after, limit, err := page(r)
	if err != nil {
		return 0, nil, err
	}
	all, more, err := s.Jobs.List(r.Context(), after, limit)
	return http.StatusOK, of(all, more, func(j jobs.Job) jobs.Job { return j }), err
}

func (s *Server) findJob(r *http.Request) (int, any, error) {
	job, err := s.Jobs.Find(r.Context(), door.Param(r, "id"))
	return http.StatusOK, job, err
}

func (s *Server) cancelJob(r *http.Request) (int, any, error) {
	if r.ContentLength != 0 {
		var nothing struct{}
		if _, err := s.door.Decode(r, &nothing); err != nil {
			return 0, nil, err
		}
	}
	job, err := s.Jobs.Cancel(r.Context(), door.Param(r, "id"))
	return http.StatusAccepted, job, err
}

func (s *Server) deleteJob(r *http.Request) (int, any, error) {
	id := door.Param(r, "id")
	if err := s.Jobs.Delete(r.Context(), id); err != nil {
		return 0, nil, err
	}
	s.Meters.Forget(id)
	return http.StatusOK, deleted{id, "job", true}, nil
}

func (s *Server) jobCurve(r *http.Request) (int, any, error) {
	points, err := s.Jobs.Curve(r.Context(), door.Param(r, "id"))
	return http.StatusOK, of(points, false, func(p jobs.Progress) jobs.Progress { return p }), err
}

// jobEvents streams a job: its state as it stands, each new point and each new
// state; the stream ends with the job.
func (s *Server) jobEvents(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	events, err := s.Jobs.Watch(ctx, door.Param(r, "id"))
	if err != nil {
		return err
	}
	out := door.NewStream(w)
	tick := time.NewTicker(s.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case e, more := <-events:
			if !more {
				return nil
			}
			err = news(out, e)
		case <-tick.C:
			err = out.Ping()
		case <-s.door.Closing():
			return nil // the watcher comes back to the next process
		}
		if err != nil {
			return nil // the watcher left
		}
		tick.Reset(s.KeepAlive)
	}
}

func news(out *door.Stream, e jobs.Event) error {
	if e.Point != nil {
		return out.Event("progress", e.Point)
	}
	return out.Event("state", e.Job)
}

// retries recognises the second sending of a job by a client that lost the
// answer to the first. OpenAI's clients send no Idempotency-Key; they count their
// tries in a header.
type retries struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]attempt
}

type attempt struct {
	job string
	at  time.Time
}

// A retry comes within retryWindow.
const retryWindow = 10 * time.Minute

// once calls submit, unless r is the retry of a request with the same key and body
// that made a job: then that one is found.
func (t *retries) once(r *http.Request, text []byte, now time.Time,
	find func(context.Context, string) (jobs.Job, error), submit func() (jobs.Job, error)) (jobs.Job, error) {
	count, err := strconv.Atoi(r.Header.Get("X-Stainless-Retry-Count"))
	if err != nil {
		return submit()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s", r.Header.Get("Authorization"), text))
	t.mu.Lock()
	defer t.mu.Unlock() // a retry waits for the first try to end
	if first, ok := t.seen[sum]; ok && count > 0 && now.Sub(first.at) < retryWindow {
		return find(r.Context(), first.job)
	}
	job, err := submit()
	if err != nil {
		return job, err
	}
	for k, a := range t.seen {
		if now.Sub(a.at) >= retryWindow {
			delete(t.seen, k)
		}
	}
	if t.seen == nil {
		t.seen = map[[sha256.Size]byte]attempt{}
	}
	t.seen[sum] = attempt{job.ID, now}
	return job, nil
}
