package httpapi

import (
	"context"
	"net/http"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/door"
	"afina/internal/lint"
)

// lintObject is what was found in the answers of a dataset.
type lintObject struct {
	Object  string `json:"object"` // "dataset.lint"
	Dataset string `json:"dataset"`
	lint.Report
}

func (s *Server) datasetLint(r *http.Request) (int, any, error) {
	q := door.Ask(r, "all", "limit")
	l := lint.Linter{Most: int(q.Integer("limit", lint.Most, 1, 100000))}
	l.All = truth(q, "all")
	if q.Err != nil {
		return 0, nil, q.Err
	}
	d, err := s.Catalog.Dataset(r.Context(), door.Param(r, "id"))
	if err != nil {
		return 0, nil, err
	}
	all, err := s.Catalog.Conversations(r.Context(), d.ID)
	if err != nil {
		return 0, nil, err
	}
	report, err := lint.Conversations(r.Context(), all, l)
	return http.StatusOK, lintObject{"dataset.lint", d.ID, report}, err
}

// truth is the parameter of that name: true, false, or absent, which is false.
func truth(q *door.Query, name string) bool {
	switch q.Text(name) {
	case "true":
		return true
	case "false":
	default:
		if q.Has(name) {
			q.Wrong(name, "%s is %.40q: it must be true or false", name, q.Text(name))
		}
	}
	return false
}

// claims counts what the answers of a dataset claim: it was done when the dataset
// was stored, unless that was long ago.
func claims(ctx context.Context, d catalog.Dataset, all []chat.Conversation) (lint.Counts, error) {
	if d.Math != nil {
		return *d.Math, nil
	}
	report, err := lint.Conversations(ctx, all, lint.Linter{})
	return report.Counts, err
}
