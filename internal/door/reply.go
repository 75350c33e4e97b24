package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"afina/internal/fault"
)

// Envelope is the body of every answer outside 2xx.
type Envelope struct {
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

// Refuse makes a failure that no room knows, only a door: a status, its type, a
// code and a sentence.
func Refuse(status int, kind, code, message string) error {
	return &refusal{status, kind, code, message}
}

// Stopping is what is said while the server drains.
func Stopping() error {
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

// Explain turns an error into a status and its envelope.
func (d *Door) Explain(w http.ResponseWriter, r *http.Request, err error) (int, Envelope) {
	err = Ended(r, err)
	var door *refusal
	var f *fault.Error
	switch {
	case errors.As(err, &door):
		return door.status, Envelope{failure{Message: door.message, Type: door.kind, Code: &door.code}}
	case errors.As(err, &f) && f.Kind != fault.Internal:
		k, known := kinds[f.Kind]
		if !known {
			panic(fmt.Sprintf("door: no status for the kind %q", f.Kind))
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
		return k.status, Envelope{e}
	}
	id := w.Header().Get("X-Request-Id")
	d.Log.Error("request failed", zap.String("request", id), zap.String("route", pattern(r)), zap.Error(err))
	return http.StatusInternalServerError, Envelope{internal(id)}
}

// internal tells the caller nothing but where the operator may look.
func internal(id string) failure {
	code := "internal_error"
	return failure{Message: "internal error; the server's log has more under the request id " + id, Type: "internal_error", Code: &code}
}

// Ended replaces what a cut-off request says about itself by who cut it off.
func Ended(r *http.Request, err error) error {
	if b, ok := r.Body.(*body); ok && b.err != nil {
		return b.err
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
		return Stopping()
	}
	return fault.New(fault.Canceled, "the client left: %w", err)
}

// Answer adapts a handler that returns its answer. Nothing else writes JSON.
func (d *Door) Answer(f func(r *http.Request) (int, any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r, cancel := Within(r, d.HTTP.Timeout)
		defer cancel()
		status, value, err := f(r)
		if err != nil {
			d.Fail(w, r, err)
			return
		}
		if at, ok := value.(located); ok {
			w.Header().Set("Location", at.Location())
		}
		d.Write(w, status, value)
	}
}

// Within gives r a time limit; call cancel when r is answered.
func Within(r *http.Request, limit time.Duration) (_ *http.Request, cancel context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(r.Context(), limit, errTimeout)
	return r.WithContext(ctx), cancel
}

// located is a thing just made that has an address.
type located interface{ Location() string }

// Streaming adapts a handler that writes by itself unless it returns an error.
func (d *Door) Streaming(f func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			d.Fail(w, r, err)
		}
	}
}

// Fail writes the envelope of err, with the headers that tell a client whether to
// try again.
func (d *Door) Fail(w http.ResponseWriter, r *http.Request, err error) {
	status, e := d.Explain(w, r, err)
	h := w.Header()
	switch status {
	case http.StatusConflict, http.StatusInsufficientStorage:
		h.Set("X-Should-Retry", "false") // OpenAI's clients would
	case http.StatusTooManyRequests:
		h.Set("Retry-After", pause(Ended(r, err), 5))
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", pause(Ended(r, err), 10))
		if *e.Error.Code == "timeout" {
			h.Set("X-Should-Retry", "false") // it would take as long again
		}
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close") // the rest of the body is not read
	}
	d.Write(w, status, e)
}

// pause is after how many seconds trying again may help: what the room that had
// no room says, or else a guess.
func pause(err error, guess int) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Retry > 0 {
		guess = max(1, int(math.Ceil(f.Retry.Seconds())))
	}
	return strconv.Itoa(guess)
}

// Write sends value as JSON.
func (d *Door) Write(w http.ResponseWriter, status int, value any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		d.Log.Error("encode an answer", zap.String("request", w.Header().Get("X-Request-Id")), zap.Error(err))
		status = http.StatusInternalServerError
		buf.Reset()
		_ = enc.Encode(Envelope{internal(w.Header().Get("X-Request-Id"))}) // texts only: cannot fail
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the client may be gone; there is nobody to tell
}

// NoRoute is the 404 of the router.
func (d *Door) NoRoute(w http.ResponseWriter, r *http.Request) { d.Fail(w, r, noRoute()) }

func noRoute() error {
	return fault.New(fault.NotFound, "there is nothing at this address; GET /openapi.yaml lists what there is").
		WithCode("route_not_found")
}

// WrongMethod is the 405 of the router.
func (d *Door) WrongMethod(mux *chi.Mux) http.HandlerFunc {
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
			d.Fail(w, r, noRoute())
			return
		}
		methods := strings.Join(allowed, ", ")
		w.Header().Set("Allow", methods)
		d.Fail(w, r, Refuse(http.StatusMethodNotAllowed, "invalid_request_error", "method_not_allowed",
			"this address takes "+methods))
	}
}

// writer notes what is written, and gives every write its deadline.
type writer struct {
	http.ResponseWriter
	rc       *http.ResponseController
	patience time.Duration
	id       string
	status   int
	bytes    int64
	broken   bool // cut off after its start
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
	w.hurry()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// FlushError is what http.ResponseController calls.
func (w *writer) FlushError() error {
	w.hurry()
	return w.rc.Flush()
}

// hurry gives the write at hand its deadline. Where the connection has no
// deadlines (a test's recorder) there is no slow reader either.
func (w *writer) hurry() { _ = w.rc.SetWriteDeadline(time.Now().Add(w.patience)) }
