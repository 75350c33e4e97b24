package tuning

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"afina/internal/catalog"
	"afina/internal/door"
	"afina/internal/fault"
	"afina/internal/form"
	"afina/internal/store"
)

// fileObject is a file on the wire.
type fileObject struct {
	ID       string `json:"id"`
	Object   string `json:"object"` // "file"
	Bytes    int64  `json:"bytes"`
	Created  int64  `json:"created_at"`
	Expires  *int64 `json:"expires_at,omitempty"`
	Filename string `json:"filename"`
	Purpose  string `json:"purpose"`
	Status   string `json:"status"` // "processed": a file that is here has been checked
}

func asFile(f catalog.File) fileObject {
	o := fileObject{ID: swap(f.ID, ourDataset, filePrefix), Object: "file", Bytes: f.Bytes, Created: f.Created.Unix(),
		Filename: f.Name, Purpose: f.Purpose, Status: "processed"}
	if f.Purpose == store.OfResults {
		o.ID = swap(f.ID, ourJob, resultPrefix)
	}
	if filepath.Ext(f.Name) == "" { // a dataset that was given a name of its own
		o.Filename += ".jsonl"
	}
	if f.Expires != nil {
		at := f.Expires.Unix()
		o.Expires = &at
	}
	return o
}

// purposes are what OpenAI's API knows; only the first two mean something here.
var purposes = []string{store.ForTraining, store.OfResults, "assistants", "assistants_output", "batch", "batch_output", "vision", "user_data", "evals"}

// The fields of an upload beside the file.
const (
	fieldPurpose = "purpose"
	fieldAnchor  = "expires_after[anchor]"
	fieldSeconds = "expires_after[seconds]"
)

// upload has no time limit of its own: its body must keep its pace.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	door.Allow(r, s.Config.Dataset.MaxBytes+door.FormBytes)
	f, err := s.addFile(r)
	if err != nil {
		s.Door.Fail(w, r, soften(err))
		return
	}
	s.Door.Write(w, http.StatusOK, f)
}

func (s *Server) addFile(r *http.Request) (fileObject, error) {
	var none fileObject
	if q := door.Ask(r); q.Err != nil {
		return none, q.Err
	}
	_, params, err := door.Accept(r, "multipart/form-data")
	if err != nil {
		return none, err
	}
	f, err := door.ReceiveForm(r.Body, params["boundary"], s.Config.Data, fieldPurpose, fieldAnchor, fieldSeconds)
	if err != nil {
		return none, err
	}
	defer f.Close()
	if err := checkPurpose(f.Fields); err != nil {
		return none, err
	}
	after, err := expiry(f.Fields)
	if err != nil {
		return none, err
	}
	if utf8.RuneCountInString(f.Name) > 200 || !utf8.ValidString(f.Name) {
		return none, wrong("file", "the name of the file must be valid UTF-8 of at most 200 characters")
	}
	d, err := s.Catalog.AddExpiring(r.Context(), f.Name, f.File, after)
	if err != nil {
		return none, err
	}
	kept, err := s.Catalog.File(r.Context(), d.ID)
	return asFile(kept), err
}

func wrong(param, format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).WithCode(form.CodeValue).WithParam(param)
}

func checkPurpose(fields map[string]string) error {
	switch p, given := fields[fieldPurpose]; {
	case !given:
		return fault.New(fault.Invalid, "the form has no field purpose; set it to fine-tune").WithCode(form.CodeMissing).WithParam(fieldPurpose)
	case p == store.ForTraining:
		return nil
	case slices.Contains(purposes, p):
		return fault.New(fault.Invalid, "purpose %s is not supported: files are kept to train on; set it to fine-tune", p).
			WithCode("unsupported_value").WithParam(fieldPurpose)
	default:
		return wrong(fieldPurpose, "purpose is %.40q: it must be fine-tune", p)
	}
}

// The bounds of a file's life, in seconds.
const (
	shortestLife = 3600
	longestLife  = 2_592_000
)

// expiry reads for how long a file is to be kept; 0 is for good.
func expiry(fields map[string]string) (time.Duration, error) {
	anchor, anchored := fields[fieldAnchor]
	text, given := fields[fieldSeconds]
	switch {
	case !anchored && !given:
		return 0, nil
	case anchor != "created_at":
		return 0, wrong(fieldAnchor, "%s is %.40q: it must be created_at", fieldAnchor, anchor)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < shortestLife || n > longestLife {
		return 0, wrong(fieldSeconds, "%s is %.40q: it must be a whole number from %d to %d", fieldSeconds, text, shortestLife, longestLife)
	}
	return time.Duration(n) * time.Second, nil
}

func (s *Server) listFiles(r *http.Request) (int, any, error) {
	q := door.Ask(r, "after", "limit", "order", "purpose")
	after, limit := page(q, 10_000, 10_000)
	order, purpose := q.Text("order"), q.Text("purpose")
	if q.Has("order") && order != "asc" && order != "desc" {
		q.Wrong("order", "order is %.40q: it must be asc or desc", order)
	}
	if q.Has("purpose") && !slices.Contains(purposes, purpose) {
		q.Wrong("purpose", "purpose is %.40q: it must be fine-tune or fine-tune-results", purpose)
	}
	if q.Err != nil {
		return 0, nil, q.Err
	}
	all, more, err := s.Catalog.Files(r.Context(), purpose, fileOf(after), limit, order == "asc")
	return http.StatusOK, of(all, more, asFile, func(f fileObject) string { return f.ID }), err
}

func (s *Server) findFile(r *http.Request) (int, any, error) {
	f, err := s.Catalog.File(r.Context(), fileOf(door.Param(r, "id")))
	return http.StatusOK, asFile(f), err
}

// deleted says what was deleted.
type deleted struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}

func (s *Server) deleteFile(r *http.Request) (int, any, error) {
	id := door.Param(r, "id")
	if err := s.Catalog.DeleteFile(r.Context(), fileOf(id)); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, deleted{id, "file", true}, nil
}

// content sends what a file holds, byte for byte.
func (s *Server) content(w http.ResponseWriter, r *http.Request) error {
	id := fileOf(door.Param(r, "id"))
	f, err := s.Catalog.File(r.Context(), id)
	if err != nil {
		return err
	}
	body, size, err := s.Catalog.Content(r.Context(), id)
	if err != nil {
		return err
	}
	defer body.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": asFile(f).Filename}))
	w.WriteHeader(http.StatusOK)
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler) // the client must not take it for the whole; it may be gone
	}
	return nil
}

// fileParam is the dataset that a field of a job names.
func fileParam(id, param string) (string, error) {
	if ours := fileOf(id); len(ours) > len(ourDataset) && ours[:len(ourDataset)] == ourDataset {
		return ours, nil
	}
	return "", noFile(id, param)
}

func noFile(id, param string) error {
	return fault.New(fault.Invalid, "%s names %s, and there is no such file of purpose fine-tune; upload one to /v1/files", param, fmt.Sprintf("%.100q", id)).
		WithCode("file_not_found").WithParam(param)
}
