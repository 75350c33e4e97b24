package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkHealth is the cost of a request that asks nobody.
func BenchmarkHealth(b *testing.B) {
	handler := newHouse().Handler()
	r := httptest.NewRequest("GET", "/healthz", nil)
	r.Host = "localhost"
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(discard{http.Header{}}, r)
	}
}

// BenchmarkCompletion is what the door costs beside the model: one answer of 100
// deltas, streamed.
func BenchmarkCompletion(b *testing.B) {
	h := newHouse()
	h.Assistant = says(strings.Split(strings.Repeat("a ", 99)+"b", " ")...)
	handler := h.Handler()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", chatPath, strings.NewReader(asks(`"stream":true`)))
		r.Header.Set("Content-Type", "application/json")
		r.Host = "localhost"
		handler.ServeHTTP(discard{http.Header{}}, r)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
func (d discard) Flush()                      {}
