package httpapi

import (
	"cmp"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"afina/internal/door"
	"afina/internal/fault"
	"afina/internal/form"
)

// rawKinds are the media types of an upload that is the file itself.
var rawKinds = []string{"application/json", "application/jsonl", "application/x-ndjson", "text/plain", "application/octet-stream"}

// upload has no time limit of its own: its body must keep its pace.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	door.Allow(r, s.Config.Dataset.MaxBytes+door.FormBytes)
	d, err := s.addDataset(r)
	if err != nil {
		s.door.Fail(w, r, err)
		return
	}
	w.Header().Set("Location", d.Location())
	s.door.Write(w, http.StatusCreated, d)
}

func (s *Server) addDataset(r *http.Request) (datasetObject, error) {
	q := door.Ask(r, "name", "strict")
	strict := truth(q, "strict")
	if q.Err != nil {
		return datasetObject{}, q.Err
	}
	kind, params, err := door.Accept(r, append([]string{"multipart/form-data"}, rawKinds...)...)
	if err != nil {
		return datasetObject{}, err
	}
	name, file := q.Text("name"), io.Reader(r.Body)
	if kind == "multipart/form-data" {
		f, err := door.ReceiveForm(r.Body, params["boundary"], s.Config.Data, "name", "strict")
		if err != nil {
			return datasetObject{}, err
		}
		defer f.Close()
		file = f.File
		name = cmp.Or(name, f.Fields["name"], strings.TrimSuffix(f.Name, filepath.Ext(f.Name)))
		word, given := f.Fields["strict"]
		if given && word != "true" && word != "false" {
			return datasetObject{}, fault.New(fault.Invalid, "strict is %.40q: it must be true or false", word).WithCode("invalid_form").WithParam("strict")
		}
		strict = strict || word == "true"
	}
	if err := checkName(name); err != nil {
		return datasetObject{}, err
	}
	add := s.Catalog.AddDataset
	if strict {
		add = s.Catalog.AddStrict
	}
	d, err := add(r.Context(), name, file)
	return asDataset(d), err
}

func checkName(name string) error {
	if utf8.RuneCountInString(name) > 200 || !utf8.ValidString(name) {
		return fault.New(fault.Invalid, "name must be valid UTF-8 of at most 200 characters").WithCode(form.CodeValue).WithParam("name")
	}
	return nil
}
