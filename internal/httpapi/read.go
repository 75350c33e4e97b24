package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"afina/internal/fault"
	"afina/internal/form"
)

// A body must arrive at bodyRate bytes per second, after a grace.
const (
	bodyRate  = 1 << 10
	bodyGrace = 10 * time.Second
)

var errSlow = refuse(http.StatusRequestTimeout, "invalid_request_error", "request_timeout",
	fmt.Sprintf("the body arrived at less than %d bytes per second; send it again over a better connection", bodyRate))

// body reads a request's body: not more than limit, not slower than bodyRate. It
// keeps the error that ended it, because rooms that read from it wrap theirs.
type body struct {
	r     io.ReadCloser
	rc    *http.ResponseController
	began time.Time
	limit int64
	read  int64
	err   error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	// Where the connection has no deadlines there is no slow sender either.
	_ = b.rc.SetReadDeadline(b.began.Add(bodyGrace + time.Duration(b.read)*time.Second/bodyRate))
	n, err := b.r.Read(p[:min(int64(len(p)), b.limit-b.read+1)])
	b.read += int64(n)
	switch {
	case b.read > b.limit:
		b.err = tooLarge(b.limit)
	case err == io.EOF:
		_ = b.rc.SetReadDeadline(time.Time{})
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.err = errSlow
	case err != nil:
		b.err = fault.New(fault.Canceled, "the body was cut off: %w", err)
	}
	return n, b.err
}

func (b *body) Close() error { return b.r.Close() }

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "the body is larger than %d bytes; send less", limit).WithCode("payload_too_large")
}

// accept checks a body's outside before a byte of it is read, and returns its
// media type.
func accept(r *http.Request, kinds ...string) (kind string, params map[string]string, err error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return "", nil, refuse(http.StatusUnsupportedMediaType, "invalid_request_error", "unsupported_media_type",
			"compressed bodies are not read; send it without Content-Encoding")
	}
	kind, params, err = mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(kinds, kind) {
		return "", nil, refuse(http.StatusUnsupportedMediaType, "invalid_request_error", "unsupported_media_type",
			"the Content-Type must be "+strings.Join(kinds, " or "))
	}
	if b, ok := r.Body.(*body); ok && r.ContentLength > b.limit {
		return "", nil, tooLarge(b.limit)
	}
	return kind, params, nil
}

// decode reads the JSON body over v, checks v's rules, and returns the body.
func (s *Server) decode(r *http.Request, v any) ([]byte, error) {
	if _, _, err := accept(r, "application/json"); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if err := form.Decode(text, "", v); err != nil {
		return nil, err
	}
	return text, s.rules.Check(v, "")
}

// param is a part of the path, unescaped.
func param(r *http.Request, name string) string {
	raw := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return raw // chi matched the unescaped path
	}
	text, err := url.PathUnescape(raw)
	if err != nil {
		return raw
	}
	return text
}

// query is the query string, read strictly: the first thing wrong stays.
type query struct {
	values url.Values
	err    error
}

func ask(r *http.Request, names ...string) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.wrong("", "the query string cannot be read: %v", err)
	}
	for name, given := range values {
		switch {
		case !slices.Contains(names, name):
			q.err = fault.New(fault.Invalid, "unknown query parameter %q%s; remove it or correct its name", name, form.Meant(name, names)).
				WithCode(form.CodeUnknown).WithParam(name)
		case len(given) > 1:
			q.wrong(name, "%s is given twice; leave one", name)
		}
	}
	return q
}

func (q *query) wrong(name, format string, args ...any) {
	if q.err == nil {
		q.err = fault.New(fault.Invalid, format, args...).WithCode(form.CodeValue).WithParam(name)
	}
}

func (q *query) text(name string) string { return q.values.Get(name) }

// integer is the whole number of that name, or fallback when it is absent.
func (q *query) integer(name string, fallback, least, most int64) int64 {
	if !q.values.Has(name) {
		return fallback
	}
	n, err := strconv.ParseInt(q.values.Get(name), 10, 64)
	if err != nil || n < least || n > most {
		q.wrong(name, "%s is %.40q: it must be a whole number from %d to %d", name, q.values.Get(name), least, most)
	}
	return n
}

func (q *query) number(name string, fallback, least, most float64) float64 {
	if !q.values.Has(name) {
		return fallback
	}
	x, err := strconv.ParseFloat(q.values.Get(name), 64)
	if err != nil || !(x >= least && x <= most) {
		q.wrong(name, "%s is %.40q: it must be a number from %g to %g", name, q.values.Get(name), least, most)
	}
	return x
}

// The pages of lists.
const (
	pageSize = 20
	pageMost = 100
)

// page reads where a page begins and how long it may be.
func page(r *http.Request) (after string, limit int, err error) {
	q := ask(r, "after", "limit")
	limit = int(q.integer("limit", pageSize, 1, pageMost))
	if q.values.Has("after") && q.text("after") == "" {
		q.wrong("after", "after is empty; leave it out to begin with the newest")
	}
	return q.text("after"), limit, q.err
}

// list is a page of a list.
type list[T any] struct {
	Object string `json:"object"` // "list"
	Data   []T    `json:"data"`
	More   bool   `json:"has_more"`
}

// of makes a list of things, each dressed for the wire.
func of[S, T any](things []S, more bool, dress func(S) T) list[T] {
	l := list[T]{Object: "list", Data: make([]T, len(things)), More: more}
	for i, t := range things {
		l.Data[i] = dress(t)
	}
	return l
}

// deleted says what was deleted.
type deleted struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}
