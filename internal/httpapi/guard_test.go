package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"afina/internal/catalog"
)

// TestKeys: every route but the probes refuses all that is not a known key, with
// one and the same answer.
func TestKeys(t *testing.T) {
	h := newHouse()
	h.Config.HTTP.APIKeys = []string{"another-key-0123456789", key}
	s := h.open(t)
	wrong := [][]string{
		nil, {"Authorization", ""}, {"Authorization", "Bearer"}, {"Authorization", "Bearer "},
		{"Authorization", "Bearer " + key[:15]}, {"Authorization", "Bearer " + key + "x"}, {"Authorization", "Bearer  " + key},
		{"Authorization", "Basic " + key}, {"Authorization", key}, {"Api-Key", key}, {"X-Api-Key", key},
		{"Authorization", "Bearer " + strings.Repeat("k", 10000)},
	}
	first := ""
	probed := 0
	err := chi.Walk(h.Handler().(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		path := strings.NewReplacer("{id}", "x", "{model}", "x").Replace(route)
		for i, headers := range wrong {
			if i > 0 && route != "/jobs" {
				continue
			}
			r := s.send(method, path+"?key="+key, "", headers...)
			if route == "/healthz" || route == "/readyz" || route == "/docs" {
				probed++
				if r.status != http.StatusOK {
					t.Errorf("%s: %d %s", route, r.status, r.text)
				}
				continue
			}
			if first == "" {
				first = r.text
			}
			if r.status != http.StatusUnauthorized || r.text != first || r.header.Get("WWW-Authenticate") != `Bearer realm="afina"` {
				t.Errorf("%s %s with %v: %d %s", method, path, headers, r.status, r.text)
			}
		}
		return nil
	})
	if err != nil || probed != 3 {
		t.Error(err, probed)
	}
	for _, path := range []string{"/nothing", "/debug/pprof/", "/healthz/x"} {
		if r := s.send("GET", path, ""); r.status != http.StatusUnauthorized || r.text != first {
			t.Errorf("%s: %d %s", path, r.status, r.text)
		}
	}
	if r := s.send("OPTIONS", "/jobs", ""); r.status != http.StatusUnauthorized {
		t.Error(r.status)
	}
	h.catalog.entries = func() ([]catalog.Entry, error) { return nil, nil }
	for _, k := range []string{"Bearer " + key, "bearer another-key-0123456789"} {
		if r := s.send("GET", "/v1/models", "", "Authorization", k); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", k, r.status, r.text)
		}
	}
	s.sendsTwoKeys()
	h.keepsKeys(t)
}

// sendsTwoKeys: of two keys not even two right ones are taken.
func (s *site) sendsTwoKeys() {
	req, err := http.NewRequest("GET", s.base+"/v1/models", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header["Authorization"] = []string{"Bearer " + key, "Bearer " + key}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		s.t.Error("two headers:", resp.StatusCode)
	}
}

// keepsKeys: the log does not tell a key.
func (h *house) keepsKeys(t *testing.T) {
	for _, e := range h.log.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, key) {
			t.Errorf("the log tells the key: %s", text)
		}
	}
}

// TestPageAsksForKey: a browser without a key gets the page, still as 401.
func TestPageAsksForKey(t *testing.T) {
	h := newHouse()
	s := h.open(t)
	page := s.send("GET", "/", "", "Accept", "text/html")
	if page.status != http.StatusOK || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") ||
		!strings.Contains(page.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error(page.status, page.header)
	}
	h = newHouse()
	h.Config.HTTP.APIKeys = []string{key}
	s = h.open(t)
	asked := s.send("GET", "/", "", "Accept", "text/html,*/*")
	if asked.status != http.StatusUnauthorized || asked.text != page.text || asked.header.Get("WWW-Authenticate") == "" {
		t.Error(asked.status, asked.header)
	}
	s.refused(s.send("GET", "/", "", "Accept", "*/*"), http.StatusUnauthorized, "invalid_api_key", "", "Bearer")
	s.refused(s.send("GET", "/jobs", "", "Accept", "text/html"), http.StatusUnauthorized, "invalid_api_key", "", "Bearer")
}

// TestHosts: under a foreign name nothing is told, as long as only this machine
// is meant to ask.
func TestHosts(t *testing.T) {
	h := newHouse()
	h.Config.HTTP.Hosts = []string{"afina.example"}
	s := h.open(t)
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:80": 200, "127.0.0.1:8080": 200, "127.9.9.9": 200, "[::1]:80": 200, "[::1]": 200,
		"afina.example": 200, "Afina.Example:443": 200,
		"evil.example": 403, "evil.example:8080": 403, "localhost.evil.example": 403, "10.0.0.1": 403, "127.0.0.1.evil.example": 403,
	} {
		if r := s.send("GET", "/healthz", "", "Host", host); r.status != want {
			t.Errorf("%s: %d, want %d", host, r.status, want)
		}
	}
	s.refused(s.send("GET", "/jobs", "", "Host", "evil.example"), http.StatusForbidden, "host_not_allowed", "", "http.hosts")
	h = newHouse()
	h.Config.Listen = "0.0.0.0:8080"
	h.Config.HTTP.APIKeys = []string{key}
	if r := h.open(t).send("GET", "/healthz", "", "Host", "anything.example"); r.status != http.StatusOK {
		t.Error(r.status, r.text)
	}
}

// TestOrigins: pages of other sites change nothing.
func TestOrigins(t *testing.T) {
	s := newHouse().open(t)
	own := strings.TrimPrefix(s.base, "http://")
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{"Origin", "http://evil.example"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 400},
		{[]string{"Origin", "http://" + own}, 400},
		{nil, 400},
	} {
		if r := s.send("POST", "/jobs", "{}", c.headers...); r.status != c.status {
			t.Errorf("%v: %d %s", c.headers, r.status, r.text)
		}
		if r := s.send("GET", "/healthz", "", c.headers...); r.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%v: lets others read", c.headers)
		}
	}
}

func TestRouter(t *testing.T) {
	s := newHouse().open(t)
	for _, path := range []string{"/nothing", "/v1", "/v1/responses", "/jobs/", "/jobs/x/y", "/datasets/a/b", "/v1/models/a/b", "//", "/../etc/passwd", "/%00"} {
		s.refused(s.send("GET", path, ""), http.StatusNotFound, "route_not_found", "", "openapi.yaml")
	}
	for _, c := range []struct{ method, path, allow string }{
		{"PUT", "/jobs", "GET, POST"}, {"PATCH", "/jobs/x", "GET, DELETE"}, {"GET", "/v1/chat/completions", "POST"},
		{"DELETE", "/v1/models", "GET"}, {"POST", "/v1/models/a%2Fb", "GET, DELETE"}, {"OPTIONS", "/", "GET"}, {"BREW", "/jobs", "GET, POST"},
	} {
		r := s.send(c.method, c.path, "")
		s.refused(r, http.StatusMethodNotAllowed, "method_not_allowed", "", c.allow)
		if r.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: Allow %q", c.method, c.path, r.header.Get("Allow"))
		}
	}
	if r := s.send("HEAD", "/jobs", ""); r.status != http.StatusMethodNotAllowed || r.text != "" {
		t.Error(r.status, r.text)
	}
}

func TestMediaTypes(t *testing.T) {
	s := newHouse().open(t)
	for _, c := range [][]string{
		{"Content-Type", "text/plain"}, {"Content-Type", "application/x-www-form-urlencoded"}, {"Content-Type", ""},
		{"Content-Type", "application/json; charset"}, {"Content-Encoding", "gzip"}, {"Content-Encoding", "br"},
	} {
		for _, path := range []string{"/jobs", chatPath} {
			s.refused(s.send("POST", path, "{}", c...), http.StatusUnsupportedMediaType, "unsupported_media_type", "", "Content-")
		}
	}
	for _, c := range [][]string{{"Content-Type", "application/json; charset=utf-8"}, {"Content-Type", "Application/JSON"}, {"Content-Encoding", "identity"}} {
		s.refused(s.send("POST", "/jobs", "{}", c...), http.StatusBadRequest, "missing_required_parameter", "model", "")
	}
}

func TestBodyTooLarge(t *testing.T) {
	h := newHouse()
	h.Config.HTTP.MaxBody = 1024
	s := h.open(t)
	r := s.send("POST", chatPath, strings.Repeat(" ", 1025))
	s.refused(r, http.StatusRequestEntityTooLarge, "payload_too_large", "", "1024 bytes")
	if r := s.send("POST", chatPath, asks("")+strings.Repeat(" ", 1024-len(asks("")))); r.status != http.StatusOK {
		t.Error("at the limit:", r.status, r.text)
	}
}

// TestAccounts: meters and log hold patterns and shapes, nothing of what was
// sent.
func TestAccounts(t *testing.T) {
	h := newHouse()
	h.Assistant = says("the secret answer")
	h.jobs.find = noJob
	s := h.open(t)
	s.send("POST", chatPath, `{"model":"tiny","messages":[{"role":"user","content":"the secret question"}]}`)
	s.send("GET", "/jobs/secret", "")
	s.send("GET", "/secret%0D%0Ax", "", "User-Agent", "secret")
	s.send("BREW", "/secret", "")
	s.send("GET", "/healthz", "")
	s.send("GET", "/metrics", "")
	for _, want := range []counted{
		{"POST", chatPath, 200}, {"GET", "/jobs/{id}", 404}, {"GET", "unmatched", 404}, {"other", "unmatched", 404}, {"GET", "/healthz", 200},
		{"GET", "/metrics", 200},
	} {
		if !h.meters.seen(want) {
			t.Errorf("%v is not counted: %v", want, h.meters.requests)
		}
	}
	for _, e := range h.log.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, "secret") {
			t.Errorf("the log tells: %s", text)
		}
	}
	if n := h.log.FilterMessage("request").Len(); n != 4 { // not the probe, not the scrape
		t.Errorf("%d lines", n)
	}
}
