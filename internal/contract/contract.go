// Package contract holds what goes over the wire against api/openapi.yaml: every
// request that is granted, every answer, every event of a stream. Only tests
// import it.
//
// A granted request (2xx) must be one that the contract describes; one that it
// does not describe must have been refused. An answer must have a status, headers
// and a body that the contract has. Events must be of the schema that the
// contract names for them, and the chunks of OpenAI's streams in an order that
// its clients can read.
package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"afina/api"
)

var document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Contract)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // any address will do
	return doc, doc.Validate(context.Background(), openapi3.EnableExamplesValidation())
})

// Document is api/openapi.yaml, read once and valid in itself, examples included.
func Document(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// Schema returns a schema of the contract by its name.
func Schema(t testing.TB, name string) *openapi3.Schema {
	t.Helper()
	ref := Document(t).Components.Schemas[name]
	if ref == nil {
		t.Fatalf("the contract has no schema %s", name)
	}
	return ref.Value
}

// Matches checks JSON text against a schema of the contract.
func Matches(t testing.TB, schema string, text []byte) {
	t.Helper()
	if err := visit(Schema(t, schema), text); err != nil {
		t.Errorf("%s is not a %s: %v", text, schema, err)
	}
}

func visit(s *openapi3.Schema, text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	return s.VisitJSON(v, openapi3.MultiErrors())
}

// Transport returns a transport over under, nil for http.DefaultTransport, that
// checks all that passes and fails t on any difference from the contract.
func Transport(t testing.TB, under http.RoundTripper) http.RoundTripper {
	t.Helper()
	router, err := gorillamux.NewRouter(Document(t))
	if err != nil {
		t.Fatal(err)
	}
	if under == nil {
		under = http.DefaultTransport
	}
	return &transport{t, router, under}
}

// Direct is a transport to a handler, without a network.
func Direct(h http.Handler) http.RoundTripper { return direct{h} }

type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	in := r.Clone(r.Context())
	in.RemoteAddr, in.RequestURI = "127.0.0.1:1", r.URL.RequestURI()
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	d.ServeHTTP(w, in)
	return w.Result(), nil
}

// Proxy serves what target, a base URL, serves, and checks all that passes, for
// clients that are other programs. It returns its own base URL. Where target does
// not answer, neither does the proxy: it hangs up.
func Proxy(t testing.TB, target string) string {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	connections := http.DefaultTransport.(*http.Transport).Clone()
	connections.DisableCompression = true // it would ask for what the client did not
	connections.DisableKeepAlives = true  // who has left has left
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			if host := r.In.Host; !strings.HasPrefix(host, "127.0.0.1:") {
				r.Out.Host = host // a name that a browser was fooled with goes on as it came
			}
		},
		Transport:     whole{Transport(t, connections)},
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		connections.CloseIdleConnections()
	})
	return server.URL
}

// whole reads bodies before it sends them: a proxy's body cannot be read any more
// once its own answer has begun.
type whole struct{ http.RoundTripper }

func (w whole) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return w.RoundTripper.RoundTrip(r)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return w.RoundTripper.RoundTrip(r)
}

type transport struct {
	t      testing.TB
	router routers.Router
	under  http.RoundTripper
}

// recorder keeps what is read through it. The transport below may still be
// reading when the answer is there.
type recorder struct {
	io.ReadCloser
	mu   sync.Mutex
	text bytes.Buffer
	over bool
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Write(p[:n])
	r.over = r.over || err == io.EOF
	return n, err
}

// whole is the body, unless it was not read to its end.
func (r *recorder) whole(length int64) (text []byte, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.text.Bytes()), r.over || int64(r.text.Len()) == length
}

// RoundTrip sends r (http.RoundTripper).
func (c *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body := &recorder{ReadCloser: http.NoBody, over: true}
	out := r
	if r.Body != nil && r.ContentLength != 0 {
		body = &recorder{ReadCloser: r.Body}
		out = r.Clone(r.Context())
		out.Body = body
	}
	resp, err := c.under.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	asked, read := body.whole(r.ContentLength)
	x := &exchange{c: c, r: r, resp: resp, asked: asked}
	x.route, x.path, x.lost = c.router.FindRoute(r)
	if id := resp.Header.Get("X-Request-Id"); !requestID.MatchString(id) {
		x.fail("x-request-id is %q", id)
	}
	if resp.StatusCode/100 == 2 && x.lost == nil && read {
		if err := x.request(); err != nil {
			x.fail("granted, but the contract has no such request: %v", err)
		}
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "text/event-stream" {
		resp.Body = newStream(x, resp.Body)
		return resp, nil
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	if r.Method != http.MethodHead {
		x.answer(text)
	}
	return resp, nil
}

var requestID = regexp.MustCompile(`^req_[a-z0-9]{26}$`)

// exchange is a request and its answer.
type exchange struct {
	c     *transport
	r     *http.Request
	resp  *http.Response
	asked []byte // the request's body
	route *routers.Route
	path  map[string]string
	lost  error // the contract has no such route
}

func (x *exchange) fail(format string, args ...any) {
	x.c.t.Errorf("%s %s: %d: %s\nasked: %.2000q", x.r.Method, x.r.URL, x.resp.StatusCode, fmt.Sprintf(format, args...), x.asked)
}

// input is the exchange's request as the validator wants it.
func (x *exchange) input(o *openapi3filter.Options) *openapi3filter.RequestValidationInput {
	r := x.r.Clone(x.r.Context())
	r.Body = io.NopCloser(bytes.NewReader(x.asked))
	o.AuthenticationFunc = openapi3filter.NoopAuthenticationFunc // the guard's own tests look at keys
	return &openapi3filter.RequestValidationInput{Request: r, PathParams: x.path, Route: x.route, Options: o}
}

// request checks the request.
func (x *exchange) request() error {
	kind, params, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	form := kind == "multipart/form-data"
	own := x.route.Operation.RequestBody
	plain := own != nil && len(x.asked) > 0 && own.Value.Content.Get(kind) != nil && kind != "application/json"
	err := openapi3filter.ValidateRequest(x.r.Context(), x.input(&openapi3filter.Options{
		// Forms are looked at below; of other text the contract says only that it is.
		ExcludeRequestBody: form || plain,
		MultiError:         true,
	}))
	if err != nil || !form {
		return err
	}
	if own == nil || own.Value.Content.Get(kind) == nil {
		return fmt.Errorf("it has a form")
	}
	return fits(own.Value.Content.Get(kind).Schema.Value, x.asked, params["boundary"])
}

// answer checks the answer.
func (x *exchange) answer(text []byte) {
	kind := x.resp.Header.Get("Content-Type")
	if x.resp.StatusCode/100 != 2 && !strings.HasPrefix(kind, "text/html") {
		if kind != "application/json" {
			x.fail("an error has Content-Type %q", kind)
		}
		Matches(x.c.t, "Error", text)
	}
	if x.lost != nil { // a 404 or 405 of the router, or the guard's
		switch x.resp.StatusCode {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest:
		default:
			x.fail("the contract has no such route")
		}
		return
	}
	of := x.route.Operation.Responses.Status(x.resp.StatusCode)
	if of == nil {
		of = x.route.Operation.Responses.Default()
	}
	if of != nil && len(text) > 0 && of.Value.Content.Get(kind) == nil {
		x.fail("the contract has no answer with Content-Type %q here", kind)
	}
	err := openapi3filter.ValidateResponse(x.r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: x.input(&openapi3filter.Options{}),
		Status:                 x.resp.StatusCode,
		Header:                 x.resp.Header,
		Body:                   io.NopCloser(bytes.NewReader(text)),
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true,
			ExcludeResponseBody:   kind != "application/json",
			MultiError:            true,
		},
	})
	if err != nil {
		x.fail("%v\nanswered: %.2000s", err, text)
	}
}
