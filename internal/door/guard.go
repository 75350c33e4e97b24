package door

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"
)

// probes are the routes open to all, also while the server drains. The page of
// the API holds nothing but what is in the program.
var probes = []string{"/healthz", "/readyz", "/docs"}

// quiet are the routes that would fill the log.
var quiet = []string{"/healthz", "/readyz", "/metrics"}

// Receive is the middleware that gives a request its id, bounds its body, counts and logs it, and turns
// a panic into a 500.
func (d *Door) Receive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := "req_" + strings.ToLower(rand.Text())
		reply := &writer{ResponseWriter: w, rc: http.NewResponseController(w), patience: d.Patience, id: id}
		reply.Header().Set("X-Request-Id", id)
		reply.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &body{r: r.Body, rc: reply.rc, began: began, grace: d.Grace, limit: d.HTTP.MaxBody}
		}
		defer func() {
			if p := recover(); p != nil {
				d.caught(reply, r, p)
			}
			d.account(reply, r, time.Since(began))
			if reply.broken {
				panic(http.ErrAbortHandler) // ends the connection: the client must not take the answer as whole
			}
		}()
		next.ServeHTTP(reply, r)
	})
}

func (d *Door) caught(w *writer, r *http.Request, p any) {
	w.broken = w.status != 0 || p == http.ErrAbortHandler
	if p == http.ErrAbortHandler {
		return
	}
	d.Log.Error("panic", zap.String("request", w.id), zap.String("route", pattern(r)),
		zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
	if !w.broken {
		d.Write(w, http.StatusInternalServerError, Envelope{internal(w.id)})
	}
}

// account tells the meters and the log of a finished request: never what it
// held, only its shape.
func (d *Door) account(w *writer, r *http.Request, took time.Duration) {
	route := pattern(r)
	if w.status == 0 { // cut off before its start
		w.status = statusGone
	}
	d.Count(method(r), route, w.status, took.Seconds())
	level := zap.InfoLevel
	if slices.Contains(quiet, route) && w.status < 400 {
		level = zap.DebugLevel
	}
	d.Log.Log(level, "request", zap.String("request", w.id), zap.String("method", method(r)),
		zap.String("route", route), zap.Int("status", w.status), zap.Int64("bytes", w.bytes),
		zap.Float64("seconds", took.Seconds()))
}

// pattern is the route that r matched, never its URL.
func pattern(r *http.Request) string {
	if c := chi.RouteContext(r.Context()); c != nil && c.RoutePattern() != "" {
		return c.RoutePattern()
	}
	return "unmatched"
}

// method is one of a fixed set of words.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// Guard is the middleware that lets through whom it may: right host, own origin, a known key, and not
// while the server drains. Only the probes need no key.
func (d *Door) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		probe := slices.Contains(probes, r.URL.Path)
		switch {
		case !d.hostAllowed(r.Host):
			d.Fail(w, r, Refuse(http.StatusForbidden, "permission_error", "host_not_allowed",
				"the host name of this request is not one of this server; call it by localhost or its address, or list the name under http.hosts in the configuration"))
		case d.origin.Check(r) != nil:
			d.Fail(w, r, Refuse(http.StatusForbidden, "permission_error", "cross_origin",
				"a web page of another origin may not change anything here"))
		case probe:
			next.ServeHTTP(w, r)
		case !d.keyKnown(r):
			d.unauthorized(w, r)
		case !d.gate.enter():
			w.Header().Set("Connection", "close")
			d.Fail(w, r, Stopping())
		default:
			defer d.gate.leave()
			next.ServeHTTP(w, r)
		}
	})
}

// hostAllowed keeps web pages from reaching a local server under a name of
// their own (DNS rebinding).
func (d *Door) hostAllowed(host string) bool {
	if !d.local {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback() ||
		slices.ContainsFunc(d.HTTP.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// keyKnown compares the hash of the key sent with all hashes, in the same time
// whatever was sent.
func (d *Door) keyKnown(r *http.Request) bool {
	if len(d.keys) == 0 {
		return true
	}
	sent := r.Header.Values("Authorization")
	scheme, key := "", ""
	if len(sent) == 1 {
		scheme, key, _ = strings.Cut(sent[0], " ")
	}
	sum := sha256.Sum256([]byte(key))
	known := 0
	for _, k := range d.keys {
		known |= subtle.ConstantTimeCompare(sum[:], k[:])
	}
	return known == 1 && strings.EqualFold(scheme, "Bearer")
}

// unauthorized answers every failure of the key alike. A browser that asks for
// the dashboard gets, still with 401, the page: it holds no data, and asks its
// reader for the key.
func (d *Door) unauthorized(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="afina"`)
	if r.Method == http.MethodGet && r.URL.Path == "/" && strings.Contains(r.Header.Get("Accept"), "text/html") {
		d.Page(w, http.StatusUnauthorized)
		return
	}
	d.Fail(w, r, Refuse(http.StatusUnauthorized, "authentication_error", "invalid_api_key",
		"no valid API key was sent; send one as \"Authorization: Bearer KEY\""))
}
