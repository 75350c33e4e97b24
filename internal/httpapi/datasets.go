package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"afina/internal/catalog"
	"afina/internal/data"
	"afina/internal/fault"
	"afina/internal/form"
	"afina/internal/model"
)

// datasetObject is a dataset on the wire.
type datasetObject struct {
	Object string `json:"object"` // "dataset"
	catalog.Dataset
}

func (d datasetObject) location() string { return "/datasets/" + d.ID }

func asDataset(d catalog.Dataset) datasetObject { return datasetObject{"dataset", d} }

// rawKinds are the media types of an upload that is the file itself.
var rawKinds = []string{"application/json", "application/jsonl", "application/x-ndjson", "text/plain", "application/octet-stream"}

// An upload has formBytes for what surrounds the file, and at most formParts parts.
const (
	formBytes = 64 << 10
	formParts = 8
	nameBytes = 1 << 10
)

// upload has no time limit of its own: its body must keep its pace.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	if b, ok := r.Body.(*body); ok {
		b.limit = s.Config.Dataset.MaxBytes + formBytes
	}
	d, err := s.addDataset(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Location", d.location())
	s.write(w, http.StatusCreated, d)
}

func (s *Server) addDataset(r *http.Request) (datasetObject, error) {
	q := ask(r, "name")
	if q.err != nil {
		return datasetObject{}, q.err
	}
	kind, params, err := accept(r, append([]string{"multipart/form-data"}, rawKinds...)...)
	if err != nil {
		return datasetObject{}, err
	}
	name, file := q.text("name"), io.Reader(r.Body)
	if kind == "multipart/form-data" {
		f, err := s.receiveForm(multipart.NewReader(r.Body, params["boundary"]))
		if err != nil {
			return datasetObject{}, err
		}
		defer f.close()
		file = f.file
		if name == "" {
			name = f.name
		}
	}
	if err := checkName(name); err != nil {
		return datasetObject{}, err
	}
	d, err := s.Catalog.AddDataset(r.Context(), name, file)
	return asDataset(d), err
}

func checkName(name string) error {
	if utf8.RuneCountInString(name) > 200 || !utf8.ValidString(name) {
		return fault.New(fault.Invalid, "name must be valid UTF-8 of at most 200 characters").WithCode(form.CodeValue).WithParam("name")
	}
	return nil
}

// parts is a form that has arrived: the name may come after the file, so the file
// waits on disk, without a name there.
type parts struct {
	name string
	file *os.File
}

func (p *parts) close() {
	if p.file != nil {
		_ = p.file.Close() // nothing was kept in it
		_ = os.Remove(p.file.Name())
	}
}

// receiveForm reads the fields "file" and "name" of a multipart form.
func (s *Server) receiveForm(form *multipart.Reader) (*parts, error) {
	p := &parts{}
	for range formParts {
		part, err := form.NextPart()
		if err == io.EOF {
			return p.whole()
		}
		if err == nil {
			err = s.receivePart(p, part)
		}
		if err != nil {
			p.close()
			return nil, formError(err)
		}
	}
	p.close()
	return nil, formFault("", "the form has more than %d fields; send file and, if you like, name", formParts)
}

func (p *parts) whole() (*parts, error) {
	if p.file == nil {
		return nil, formFault("file", `the form has no field "file"; send the dataset in it`)
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		p.close()
		return nil, fmt.Errorf("read an upload: %w", err)
	}
	return p, nil
}

func (s *Server) receivePart(p *parts, part *multipart.Part) error {
	switch field := part.FormName(); {
	case field == "file" && p.file != nil:
		return formFault("file", `the form has two fields "file"; upload one dataset at a time`)
	case field == "file":
		if p.name == "" {
			p.name = strings.TrimSuffix(part.FileName(), filepath.Ext(part.FileName()))
		}
		return s.spool(p, part)
	case field == "name":
		name, err := io.ReadAll(io.LimitReader(part, nameBytes))
		if len(name) > 0 {
			p.name = string(name)
		}
		return err
	default:
		return formFault(field, `unknown form field %.40q%s; send file and, if you like, name`, field, form.Meant(field, []string{"file", "name"}))
	}
}

// spool writes the file to disk as it arrives. On Unix its name is gone at once,
// so that nothing stays behind however the process ends.
func (s *Server) spool(p *parts, part io.Reader) error {
	f, err := os.CreateTemp(s.Config.Data, ".upload-*")
	if err != nil {
		return err
	}
	p.file = f
	_ = os.Remove(f.Name()) // fails where open files cannot be removed; close tries again
	_, err = io.Copy(f, part)
	return err
}

func formFault(param, format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).WithCode("invalid_form").WithParam(param)
}

// formError tells broken forms from all else that can end their reading.
func formError(err error) error {
	var f *fault.Error
	var door *refusal
	var disk *os.PathError
	switch {
	case errors.As(err, &f), errors.As(err, &door):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return fault.New(fault.NoSpace, "the disk that receives the upload is full; free some space and try again").WithCode("storage_full")
	case errors.As(err, &disk):
		return fmt.Errorf("receive an upload: %w", err)
	}
	return formFault("", "the multipart form is broken: %v", err)
}

func (s *Server) listDatasets(r *http.Request) (int, any, error) {
	after, limit, err := page(r)
	if err != nil {
		return 0, nil, err
	}
	all, more, err := s.Catalog.Datasets(r.Context(), after, limit)
	return http.StatusOK, of(all, more, asDataset), err
}

func (s *Server) findDataset(r *http.Request) (int, any, error) {
	d, err := s.Catalog.Dataset(r.Context(), param(r, "id"))
	return http.StatusOK, asDataset(d), err
}

func (s *Server) deleteDataset(r *http.Request) (int, any, error) {
	d, err := s.Catalog.Dataset(r.Context(), param(r, "id"))
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
}

func (s *Server) datasetStats(r *http.Request) (int, any, error) {
	q := ask(r, "model", "max_length", "test_split", "seed")
	train := s.Config.Train
	maxLength := q.integer("max_length", int64(train.MaxLength), 8, 131072)
	held := q.number("test_split", train.TestSplit, 0, 0.9)
	seed := q.integer("seed", train.Seed, 0, 1<<63-1)
	if q.err != nil {
		return 0, nil, q.err
	}
	d, err := s.Catalog.Dataset(r.Context(), param(r, "id"))
	if err != nil {
		return 0, nil, err
	}
	all, err := s.Catalog.Conversations(r.Context(), d.ID)
	if err != nil {
		return 0, nil, err
	}
	m, err := s.optionalModel(q.text("model"))
	if err != nil {
		return 0, nil, err
	}
	stats, err := data.Describe(all, m, int(maxLength), held, uint64(seed))
	return http.StatusOK, statsObject{"dataset.stats", d.ID, stats}, err
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
	q := ask(r, "model", "conversation")
	i := q.integer("conversation", 0, 0, 1<<31-1)
	name := q.text("model")
	if name == "" {
		q.wrong("model", "model is missing; name the model whose tokens to show")
	}
	if q.err != nil {
		return 0, nil, q.err
	}
	d, err := s.Catalog.Dataset(r.Context(), param(r, "id"))
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
