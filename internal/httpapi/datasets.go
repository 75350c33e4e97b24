package httpapi

import (
	"net/http"

	"afina/internal/catalog"
	"afina/internal/data"
	"afina/internal/door"
	"afina/internal/fault"
	"afina/internal/form"
	"afina/internal/lint"
	"afina/internal/model"
)

// datasetObject is a dataset on the wire.
type datasetObject struct {
	Object string `json:"object"` // "dataset"
	catalog.Dataset
}

func (d datasetObject) Location() string { return "/datasets/" + d.ID }

func asDataset(d catalog.Dataset) datasetObject { return datasetObject{"dataset", d} }

func (s *Server) listDatasets(r *http.Request) (int, any, error) {
	after, limit, err := page(r)
	if err != nil {
		return 0, nil, err
	}
	all, more, err := s.Catalog.Datasets(r.Context(), after, limit)
	return http.StatusOK, of(all, more, asDataset), err
}

func (s *Server) findDataset(r *http.Request) (int, any, error) {
	d, err := s.Catalog.Dataset(r.Context(), door.Param(r, "id"))
	return http.StatusOK, asDataset(d), err
}

func (s *Server) deleteDataset(r *http.Request) (int, any, error) {
	d, err := s.Catalog.Dataset(r.Context(), door.Param(r, "id"))
	if err != nil {
		return 0, nil, err
	}
	used, err := s.Jobs.Using(r.Context(), d.ID)
	if err != nil {
		return 0, nil, err
	}
	if used {
		return 0, nil, fault.New(fault.Conflict, "a job that is not over needs dataset %s; wait for it, or cancel it first", d.ID).
			WithCode("dataset_in_use")
	}
	if err := s.Catalog.DeleteDataset(r.Context(), d.ID); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, deleted{d.ID, "dataset", true}, nil
}

// statsObject describes a dataset in numbers.
type statsObject struct {
	Object  string `json:"object"` // "dataset.stats"
	Dataset string `json:"dataset"`
	data.Stats
	Math lint.Counts `json:"math"`
}

func (s *Server) datasetStats(r *http.Request) (int, any, error) {
	q := door.Ask(r, "model", "max_length", "test_split", "seed")
	train := s.Config.Train
	maxLength := q.Integer("max_length", int64(train.MaxLength), 8, 131072)
	held := q.Number("test_split", train.TestSplit, 0, 0.9)
	seed := q.Integer("seed", train.Seed, 0, 1<<63-1)
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
	m, err := s.optionalModel(q.Text("model"))
	if err != nil {
		return 0, nil, err
	}
	stats, err := data.Describe(all, m, int(maxLength), held, uint64(seed))
	if err != nil {
		return 0, nil, err
	}
	math, err := claims(r.Context(), d, all)
	return http.StatusOK, statsObject{"dataset.stats", d.ID, stats, math}, err
}

// optionalModel is the model of that name, or of an adapter's base; nil for "".
func (s *Server) optionalModel(name string) (*model.Model, error) {
	if name == "" {
		return nil, nil
	}
	m, _, err := s.Catalog.Resolve(name)
	return m, err
}

// previewToken is one token of a conversation as the model is taught it.
type previewToken struct {
	ID      int32  `json:"id"`
	Text    string `json:"text"`
	Learned bool   `json:"learned"`
}

// previewObject is a conversation laid out for a model.
type previewObject struct {
	Object        string         `json:"object"` // "dataset.preview"
	Dataset       string         `json:"dataset"`
	Model         string         `json:"model"`
	Conversation  int            `json:"conversation"` // 0-based
	Conversations int            `json:"conversations"`
	Learned       int            `json:"learned"`
	Tokens        []previewToken `json:"tokens"`
}

func (s *Server) datasetPreview(r *http.Request) (int, any, error) {
	q := door.Ask(r, "model", "conversation")
	i := q.Integer("conversation", 0, 0, 1<<31-1)
	name := q.Text("model")
	if name == "" {
		q.Wrong("model", "model is missing; name the model whose tokens to show")
	}
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
	if i >= int64(len(all)) {
		return 0, nil, fault.New(fault.Invalid, "conversation is %d: the dataset has %d, counted from 0", i, len(all)).
			WithCode(form.CodeValue).WithParam("conversation")
	}
	m, _, err := s.Catalog.Resolve(name)
	if err != nil {
		return 0, nil, err
	}
	seq, err := m.Template.Lay(m.Tokens, all[i], false)
	if err != nil {
		return 0, nil, err
	}
	p := previewObject{Object: "dataset.preview", Dataset: d.ID, Model: name, Conversation: int(i),
		Conversations: len(all), Tokens: make([]previewToken, len(seq.Tokens))}
	for j, id := range seq.Tokens {
		p.Tokens[j] = previewToken{id, m.Tokens.Text(id), seq.Learn[j]}
		if seq.Learn[j] {
			p.Learned++
		}
	}
	return http.StatusOK, p, nil
}
