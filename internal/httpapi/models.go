package httpapi

import (
	"net/http"
	"strings"

	"afina/internal/catalog"
	"afina/internal/door"
	"afina/internal/fault"
)

// modelObject is a model as OpenAI's clients know it, and what we add.
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"` // "model"
	Created int64  `json:"created"`
	Owner   string `json:"owned_by"`
	Base    string `json:"base,omitempty"`    // of an adapter
	Job     string `json:"job,omitempty"`     // that made the adapter
	Bytes   int64  `json:"bytes"`             // of its file
	Problem string `json:"problem,omitempty"` // why it cannot be opened
}

// asModel calls an adapter that was made over OpenAI's API as that does.
func asModel(e catalog.Entry) modelObject {
	name := e.Name
	if id, ok := strings.CutPrefix(e.Job, "job_"); ok && strings.HasSuffix(name, "-"+id) {
		name = e.Alias
	}
	return modelObject{name, "model", e.Created.Unix(), "afina", e.Base, e.Job, e.Bytes, e.Problem}
}

func (s *Server) listModels(*http.Request) (int, any, error) {
	entries, err := s.Catalog.Entries()
	return http.StatusOK, of(entries, false, asModel), err
}

func (s *Server) findModel(r *http.Request) (int, any, error) {
	name := door.Param(r, "model")
	entries, err := s.Catalog.Entries()
	if err != nil {
		return 0, nil, err
	}
	for _, e := range entries {
		if strings.EqualFold(e.Name, name) || e.Alias != "" && strings.EqualFold(e.Alias, name) {
			return http.StatusOK, asModel(e), nil
		}
	}
	return 0, nil, fault.New(fault.NotFound, "there is no model %.200q; GET /v1/models lists those there are", name).
		WithCode("model_not_found").WithParam("model")
}

func (s *Server) deleteModel(r *http.Request) (int, any, error) {
	name := door.Param(r, "model")
	if err := s.Catalog.DeleteAdapter(name); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, deleted{name, "model", true}, nil
}
