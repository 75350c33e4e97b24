package door

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"os"
	"slices"
	"strings"
	"syscall"

	"afina/internal/fault"
	"afina/internal/form"
)

// A form has FormBytes for what surrounds its file.
const (
	FormBytes  = 64 << 10
	fieldBytes = 1 << 10
)

// Form is a multipart form with a file that has arrived. Fields may come after
// the file, so the file waits on disk, without a name there.
type Form struct {
	File   *os.File // at its beginning
	Name   string   // as the client calls it
	Fields map[string]string
}

// Close lets go of the file.
func (f *Form) Close() {
	if f.File != nil {
		_ = f.File.Close() // nothing was kept in it
		_ = os.Remove(f.File.Name())
	}
}

// ReceiveForm reads a multipart form with the field "file" and, each at most
// once, fields of these names. dir is where the file waits. Close the form.
func ReceiveForm(body io.Reader, boundary, dir string, fields ...string) (*Form, error) {
	f := &Form{Fields: map[string]string{}}
	reader := multipart.NewReader(body, boundary)
	for { // no field comes twice, so this ends
		part, err := reader.NextPart()
		if err == io.EOF {
			return f.whole()
		}
		if err == nil {
			err = f.receive(part, dir, fields)
		}
		if err != nil {
			f.Close()
			return nil, formError(err)
		}
	}
}

func (f *Form) whole() (*Form, error) {
	if f.File == nil {
		return nil, formFault("file", `the form has no field "file"; send the dataset in it`)
	}
	if _, err := f.File.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, fmt.Errorf("read an upload: %w", err)
	}
	return f, nil
}

func (f *Form) receive(part *multipart.Part, dir string, fields []string) error {
	switch name := part.FormName(); {
	case name == "file" && f.File != nil:
		return formFault("file", `the form has two fields "file"; upload one dataset at a time`)
	case name == "file":
		f.Name = part.FileName()
		return f.spool(part, dir)
	case slices.Contains(fields, name):
		text, err := io.ReadAll(io.LimitReader(part, fieldBytes))
		if _, twice := f.Fields[name]; twice && err == nil {
			err = formFault(name, "the form has two fields %q; leave one", name)
		}
		f.Fields[name] = string(text)
		return err
	default:
		return formFault(name, "unknown form field %.40q%s; send file and, if you like, %s", name,
			form.Meant(name, append([]string{"file"}, fields...)), strings.Join(fields, ", "))
	}
}

// spool writes the file to disk as it arrives. On Unix its name is gone at once,
// so that nothing stays behind however the process ends.
func (f *Form) spool(part io.Reader, dir string) error {
	file, err := os.CreateTemp(dir, ".upload-*")
	if err != nil {
		return err
	}
	f.File = file
	_ = os.Remove(file.Name()) // fails where open files cannot be removed; Close tries again
	_, err = io.Copy(file, part)
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
