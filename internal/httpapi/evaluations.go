package httpapi

import (
	"bytes"
	"context"
	"net/http"
	"slices"

	"afina/internal/door"
	"afina/internal/exams"
	"afina/internal/fault"
	"afina/internal/form"
)

// Exams is the queue of evaluations; *exams.Queue is one.
type Exams interface {
	Submit(ctx context.Context, s exams.Spec) (exams.Evaluation, error)
	Find(ctx context.Context, id string) (exams.Evaluation, error)
	List(ctx context.Context, after string, limit int) ([]exams.Evaluation, bool, error)
	Cancel(ctx context.Context, id string) (exams.Evaluation, error)
	Delete(ctx context.Context, id string) error
}

func (s *Server) createEvaluation(r *http.Request) (int, any, error) {
	spec := exams.Defaults(s.Config.Train)
	if _, err := s.door.Decode(r, &spec); err != nil {
		return 0, nil, err
	}
	e, err := s.Exams.Submit(r.Context(), spec)
	return http.StatusAccepted, e, err
}

func (s *Server) listEvaluations(r *http.Request) (int, any, error) {
	after, limit, err := page(r)
	if err != nil {
		return 0, nil, err
	}
	all, more, err := s.Exams.List(r.Context(), after, limit)
	return http.StatusOK, of(all, more, func(e exams.Evaluation) exams.Evaluation { return e }), err
}

func (s *Server) findEvaluation(r *http.Request) (int, any, error) {
	e, err := s.Exams.Find(r.Context(), door.Param(r, "id"))
	return http.StatusOK, e, err
}

func (s *Server) cancelEvaluation(r *http.Request) (int, any, error) {
	if r.ContentLength != 0 {
		var nothing struct{}
		if _, err := s.door.Decode(r, &nothing); err != nil {
			return 0, nil, err
		}
	}
	e, err := s.Exams.Cancel(r.Context(), door.Param(r, "id"))
	return http.StatusAccepted, e, err
}

func (s *Server) deleteEvaluation(r *http.Request) (int, any, error) {
	id := door.Param(r, "id")
	if err := s.Exams.Delete(r.Context(), id); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, deleted{id, "evaluation", true}, nil
}

// reportFormats are those of a report, the first by default.
var reportFormats = []string{"json", "markdown", "csv"}

// evaluationReport sends the report alone.
func (s *Server) evaluationReport(w http.ResponseWriter, r *http.Request) error {
	q := door.Ask(r, "format")
	format := q.Text("format")
	if !q.Has("format") {
		format = reportFormats[0]
	}
	if q.Err != nil {
		return q.Err
	}
	if !slices.Contains(reportFormats, format) {
		return fault.New(fault.Invalid, "format is %.40q: it must be one of json, markdown, csv", format).WithCode(form.CodeValue).WithParam("format")
	}
	e, err := s.Exams.Find(r.Context(), door.Param(r, "id"))
	if err != nil {
		return err
	}
	if e.Report == nil {
		return fault.New(fault.Conflict, "%s is %s and has no report; wait until it has succeeded", e.ID, e.Status).WithCode("no_report")
	}
	var text bytes.Buffer
	switch format {
	case "markdown":
		if err := e.Report.Markdown(&text); err != nil {
			return err
		}
		send(w, http.StatusOK, "text/markdown; charset=utf-8", text.Bytes())
	case "csv":
		if err := e.Report.CSV(&text); err != nil {
			return err
		}
		send(w, http.StatusOK, "text/csv; charset=utf-8", text.Bytes())
	default:
		s.door.Write(w, http.StatusOK, e.Report)
	}
	return nil
}
