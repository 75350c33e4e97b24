package httpapi

import (
	"context"
	"net/http"
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
	var job jobs.Job
	submit := func() (string, error) {
		job, err = s.Jobs.Submit(r.Context(), spec, key)
		return job.ID, err
	}
	if key != "" {
		_, err = submit()
		return http.StatusAccepted, made{job}, err
	}
	id, again, err := s.retries.Once(r, text, s.Now(), submit)
	if again {
		job, err = s.Jobs.Find(r.Context(), id)
	}
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

func (s *Server) cancelJob(r *http.Request) (int, any, error) { return s.steer(r, s.Jobs.Cancel) }
func (s *Server) pauseJob(r *http.Request) (int, any, error)  { return s.steer(r, s.Jobs.Pause) }
func (s *Server) resumeJob(r *http.Request) (int, any, error) { return s.steer(r, s.Jobs.Resume) }

// steer does something to a job that needs no words.
func (s *Server) steer(r *http.Request, do func(context.Context, string) (jobs.Job, error)) (int, any, error) {
	if err := s.door.NoBody(r); err != nil {
		return 0, nil, err
	}
	job, err := do(r.Context(), door.Param(r, "id"))
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
