package door

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
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

// A body must arrive at bodyRate bytes per second, after a grace, and never stop
// for longer than bodyPause.
const (
	bodyRate  = 1 << 10
	bodyPause = 30 * time.Second
)

var errSlow = Refuse(http.StatusRequestTimeout, "invalid_request_error", "request_timeout",
	fmt.Sprintf("the body arrived at less than %d bytes per second; send it again over a better connection", bodyRate))

// body reads a request's body: not more than limit, not slower than bodyRate. It
// keeps the error that ended it, because rooms that read from it wrap theirs.
type body struct {
	r     io.ReadCloser
	rc    *http.ResponseController
	began time.Time
	grace time.Duration
	limit int64
	read  int64
	err   error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	late, pause := b.began.Add(b.grace+time.Duration(b.read/bodyRate)*time.Second), time.Now().Add(bodyPause)
	if pause.Before(late) {
		late = pause
	}
	// Where the connection has no deadlines there is no slow sender either.
	_ = b.rc.SetReadDeadline(late)
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

// Allow changes how many bytes the body of r may have.
func Allow(r *http.Request, limit int64) {
	if b, ok := r.Body.(*body); ok {
		b.limit = limit
	}
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "the body is larger than %d bytes; send less", limit).WithCode("payload_too_large")
}

// Accept checks a body's outside before a byte of it is read, and returns its
// media type.
func Accept(r *http.Request, kinds ...string) (kind string, params map[string]string, err error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return "", nil, Refuse(http.StatusUnsupportedMediaType, "invalid_request_error", "unsupported_media_type",
			"compressed bodies are not read; send it without Content-Encoding")
	}
	kind, params, err = mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(kinds, kind) {
		return "", nil, Refuse(http.StatusUnsupportedMediaType, "invalid_request_error", "unsupported_media_type",
			"the Content-Type must be "+strings.Join(kinds, " or "))
	}
	if b, ok := r.Body.(*body); ok && r.ContentLength > b.limit {
		return "", nil, tooLarge(b.limit)
	}
	return kind, params, nil
}

// Decode reads the JSON body over v, checks v's rules, and returns the body.
func (d *Door) Decode(r *http.Request, v any) ([]byte, error) {
	if _, _, err := Accept(r, "application/json"); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if err := form.Decode(text, "", v); err != nil {
		return nil, err
	}
	return text, d.rules.Check(v, "")
}

// Client says who asks, for those who deal out shares: the key that was sent, by
// its hash, or else the address of the connection.
func Client(r *http.Request) string {
	if key := r.Header.Get("Authorization"); key != "" {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:8])
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Check checks the rules of a struct that was not decoded as a whole; at is its
// path.
func (d *Door) Check(v any, at string) error { return d.rules.Check(v, at) }

// NoBody checks a request that needs no words: it may bring an empty JSON object.
func (d *Door) NoBody(r *http.Request) error {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	var nothing struct{}
	_, err := d.Decode(r, &nothing)
	return err
}

// Param is a part of the path, unescaped.
func Param(r *http.Request, name string) string {
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

// Query is the query string, read strictly: the first thing wrong stays.
type Query struct {
	Err    error
	values url.Values
}

// Ask reads the query of r, which may hold these names; "x[*]" stands for x with
// any word in brackets, once: x is an object of texts.
func Ask(r *http.Request, names ...string) *Query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &Query{values: values}
	if err != nil {
		q.Wrong("", "the query string cannot be read: %v", err)
	}
	for name, given := range values {
		switch {
		case !slices.Contains(names, name) && !slices.Contains(names, group(name)):
			q.Err = fault.New(fault.Invalid, "unknown query parameter %q%s; remove it or correct its name", name, form.Meant(name, names)).
				WithCode(form.CodeUnknown).WithParam(name)
		case strings.HasSuffix(name, "[]") || strings.Contains(name, "]["):
			head, _, _ := strings.Cut(name, "[")
			q.Wrong(head, "%.40q makes an array, or an object in another, of %s: it must be an object of texts; write %s[key]=value", name, head, head)
		case len(given) > 1:
			q.Wrong(name, "%s is given twice; leave one", name)
		}
	}
	return q
}

// group is the pattern "x[*]" of a name "x[y]"; "" of any other.
func group(name string) string {
	head, rest, ok := strings.Cut(name, "[")
	if !ok || !strings.HasSuffix(rest, "]") {
		return ""
	}
	return head + "[*]"
}

// Group are the parameters "name[key]", by key; nil when there are none.
func (q *Query) Group(name string) map[string]string {
	var pairs map[string]string
	for full, given := range q.values {
		if key, ok := strings.CutPrefix(full, name+"["); ok && group(full) != "" {
			if pairs == nil {
				pairs = map[string]string{}
			}
			pairs[strings.TrimSuffix(key, "]")] = given[0]
		}
	}
	return pairs
}

// Wrong notes what is wrong with a parameter, unless something was before.
func (q *Query) Wrong(name, format string, args ...any) {
	if q.Err == nil {
		q.Err = fault.New(fault.Invalid, format, args...).WithCode(form.CodeValue).WithParam(name)
	}
}

// Text is the parameter of that name, "" when it is absent.
func (q *Query) Text(name string) string { return q.values.Get(name) }

// Has reports whether the parameter was given, if only as "".
func (q *Query) Has(name string) bool { return q.values.Has(name) }

// Integer is the whole number of that name, or fallback when it is absent.
func (q *Query) Integer(name string, fallback, least, most int64) int64 {
	if !q.values.Has(name) {
		return fallback
	}
	n, err := strconv.ParseInt(q.values.Get(name), 10, 64)
	if err != nil || n < least || n > most {
		q.Wrong(name, "%s is %.40q: it must be a whole number from %d to %d", name, q.values.Get(name), least, most)
	}
	return n
}

// Number is the number of that name, or fallback when it is absent.
func (q *Query) Number(name string, fallback, least, most float64) float64 {
	if !q.values.Has(name) {
		return fallback
	}
	x, err := strconv.ParseFloat(q.values.Get(name), 64)
	if err != nil || !(x >= least && x <= most) {
		q.Wrong(name, "%s is %.40q: it must be a number from %g to %g", name, q.values.Get(name), least, most)
	}
	return x
}
