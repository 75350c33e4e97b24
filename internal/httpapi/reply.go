package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"afina/internal/fault"
)

// envelope is the body of every answer outside 2xx.
type envelope struct {
	Error failure `json:"error"`
}

type failure struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
	Errors  any     `json:"errors,omitempty"` // all findings in a dataset
}

// refusal is a failure that only a door knows: it has a status but no kind.
type refusal struct {
	status              int
	kind, code, message string
}

func (e *refusal) Error() string { return e.message }

func refuse(status int, kind, code, message string) error {
	return &refusal{status, kind, code, message}
}

func stopping() error {
	return fault.New(fault.Busy, "the server is shutting down; try again later").WithCode("shutting_down")
}

// The causes with which a request's context is ended from inside.
var (
	errTimeout  = errors.New("the time for this request is over")
	errStopping = errors.New("the server is shutting down")
)

// statusGone is logged when the client left before its answer.
const statusGone = 499

// kinds is the one place where a kind of failure becomes a status and a type.
var kinds = map[fault.Kind]struct {
	status int
	word   string
}{
	fault.Invalid:       {http.StatusBadRequest, "invalid_request_error"},
	fault.Unprocessable: {http.StatusUnprocessableEntity, "unprocessable_error"},
	fault.NotFound:      {http.StatusNotFound, "not_found_error"},
	fault.Conflict:      {http.StatusConflict, "conflict_error"},
	fault.TooLarge:      {http.StatusRequestEntityTooLarge, "payload_too_large"},
	fault.Busy:          {http.StatusTooManyRequests, "rate_limit_exceeded"},
	fault.NoSpace:       {http.StatusInsufficientStorage, "insufficient_storage"},
	fault.Canceled:      {statusGone, "canceled"},
}

// unavailable are the codes of fault.Busy that more patience of one caller does
// not mend: they are 503, the others 429.
var unavailable = map[string]bool{
	"shutting_down": true, "not_ready": true, "timeout": true, "overloaded": true, "insufficient_memory": true,
}

// explain turns an error into a status and its envelope.
func (s *Server) explain(w http.ResponseWriter, r *http.Request, err error) (int, envelope) {
	err = ended(r, err)
	var door *refusal
	var f *fault.Error
	switch {
	case errors.As(err, &door):
		return door.status, envelope{failure{Message: door.message, Type: door.kind, Code: &door.code}}
	case errors.As(err, &f) && f.Kind != fault.Internal:
		k, known := kinds[f.Kind]
		if !known {
			panic(fmt.Sprintf("httpapi: no status for the kind %q", f.Kind))
		}
		if unavailable[f.Code] {
			k.status, k.word = http.StatusServiceUnavailable, "overloaded_error"
		}
		e := failure{Message: f.Message, Type: k.word, Errors: f.Details}
		if f.Param != "" {
			e.Param = &f.Param
		}
		if f.Code != "" {
			e.Code = &f.Code
		}
		return k.status, envelope{e}
	}
	id := w.Header().Get("X-Request-Id")
	s.Log.Error("request failed", zap.String("request", id), zap.String("route", pattern(r)), zap.Error(err))
	return http.StatusInternalServerError, envelope{internal(id)}
}

// internal tells the caller nothing but where the operator may look.
func internal(id string) failure {
	code := "internal_error"
	return failure{Message: "internal error; the server's log has more under the request id " + id, Type: "internal_error", Code: &code}
}

// ended replaces what a cut-off request says about itself by who cut it off.
func ended(r *http.Request, err error) error {
	if b, ok := r.Body.(*body); ok && b.err != nil {
		return b.err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlow
	}
	cut := fault.KindOf(err) == fault.Canceled || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if !cut {
		return err
	}
	switch context.Cause(r.Context()) {
	case nil:
		return err
	case errTimeout:
		return fault.New(fault.Busy, "the time for this request was over before its answer was ready; ask for less, or try again when there is less to do").WithCode("timeout")
	case errStopping:
		return stopping()
	}
	return fault.New(fault.Canceled, "the client left: %w", err)
}

// answer adapts a handler that returns its answer. Nothing else writes JSON.
func (s *Server) answer(f func(r *http.Request) (int, any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeoutCause(r.Context(), s.Config.HTTP.Timeout, errTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		status, value, err := f(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if at, ok := value.(located); ok {
			w.Header().Set("Location", at.location())
		}
		s.write(w, status, value)
	}
}

// located is a thing just made that has an address.
type located interface{ location() string }

// streaming adapts a handler that writes by itself unless it returns an error.
func (s *Server) streaming(f func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

// fail writes the envelope of err, with the headers that tell a client whether to
// try again.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, e := s.explain(w, r, err)
	h := w.Header()
	switch status {
	case http.StatusConflict, http.StatusInsufficientStorage:
		h.Set("X-Should-Retry", "false") // OpenAI's clients would
	case http.StatusTooManyRequests:
		h.Set("Retry-After", "5")
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "10")
		if *e.Error.Code == "timeout" {
			h.Set("X-Should-Retry", "false") // it would take as long again
		}
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close") // the rest of the body is not read
	}
	s.write(w, status, e)
}

// write sends value as JSON.
func (s *Server) write(w http.ResponseWriter, status int, value any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		s.Log.Error("encode an answer", zap.String("request", w.Header().Get("X-Request-Id")), zap.Error(err))
		status = http.StatusInternalServerError
		buf.Reset()
		_ = enc.Encode(envelope{internal(w.Header().Get("X-Request-Id"))}) // texts only: cannot fail
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the client may be gone; there is nobody to tell
}

// noRoute is the 404 of the router.
func noRoute() error {
	return fault.New(fault.NotFound, "there is nothing at this address; GET /openapi.yaml lists what there is").
		WithCode("route_not_found")
}

// wrongMethod is the 405 of the router.
func (s *Server) wrongMethod(mux *chi.Mux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if r.URL.RawPath != "" {
			path = r.URL.RawPath
		}
		var allowed []string
		for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if mux.Match(chi.NewRouteContext(), m, path) {
				allowed = append(allowed, m)
			}
		}
		if len(allowed) == 0 { // a method that nobody knows, at an address that nobody has
			s.fail(w, r, noRoute())
			return
		}
		methods := strings.Join(allowed, ", ")
		w.Header().Set("Allow", methods)
		s.fail(w, r, refuse(http.StatusMethodNotAllowed, "invalid_request_error", "method_not_allowed",
			"this address takes "+methods))
	}
}

// writer notes what is written, and gives every write its deadline.
type writer struct {
	http.ResponseWriter
	rc     *http.ResponseController
	id     string
	status int
	bytes  int64
	broken bool // cut off after its start
}

func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	// Where the connection has no deadlines (a test's recorder) there is no
	// slow reader either.
	_ = w.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}
