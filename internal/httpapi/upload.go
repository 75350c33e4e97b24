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

	"afina/internal/door"
	"afina/internal/fault"
	"afina/internal/form"
)

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
	door.Allow(r, s.Config.Dataset.MaxBytes+formBytes)
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
		f, err := s.receiveForm(multipart.NewReader(r.Body, params["boundary"]))
		if err != nil {
			return datasetObject{}, err
		}
		defer f.close()
		file = f.file
		if name == "" {
			name = f.name
		}
		strict = strict || f.strict
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

// parts is a form that has arrived: the name may come after the file, so the file
// waits on disk, without a name there.
type parts struct {
	name   string
	strict bool
	file   *os.File
}

func (p *parts) close() {
	if p.file != nil {
		_ = p.file.Close() // nothing was kept in it
		_ = os.Remove(p.file.Name())
	}
}

// receiveForm reads the fields "file", "name" and "strict" of a multipart form.
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
	case field == "strict":
		word, err := io.ReadAll(io.LimitReader(part, nameBytes))
		if err == nil && string(word) != "true" && string(word) != "false" {
			err = formFault(field, "strict is %.40q: it must be true or false", word)
		}
		p.strict = string(word) == "true"
		return err
	default:
		return formFault(field, `unknown form field %.40q%s; send file and, if you like, name and strict`, field, form.Meant(field, []string{"file", "name", "strict"}))
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

// formError tells broken forms from the failures of the disk. (Of a body that was
// too long, too slow or cut off, the door tells.)
func formError(err error) error {
	var f *fault.Error
	var disk *os.PathError
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return fault.New(fault.NoSpace, "the disk that receives the upload is full; free some space and try again").WithCode("storage_full")
	case errors.As(err, &disk):
		return fmt.Errorf("receive an upload: %w", err)
	}
	return formFault("", "the multipart form is broken: %v", err)
}
