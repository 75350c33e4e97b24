package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"afina/internal/contract"
)

// TestDocs: the page holds every operation and asks no other address for
// anything; it needs no key.
func TestDocs(t *testing.T) {
	h := newHouse()
	h.Config.HTTP.APIKeys = []string{key}
	r := h.open(t).send("GET", "/docs", "")
	if r.status != http.StatusOK || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Fatal(r.status, r.text)
	}
	for path, item := range contract.Document(t).Paths.Map() {
		for method, op := range item.Operations() {
			if !strings.Contains(r.text, `id="`+op.OperationID+`"`) {
				t.Errorf("%s %s is not on the page", method, path)
			}
		}
	}
	for name := range contract.Document(t).Components.Schemas {
		if !strings.Contains(r.text, `id="type-`+name+`"`) {
			t.Errorf("type %s is not on the page", name)
		}
	}
	for _, bad := range []string{"<script", "http://cdn", "https://cdn", "src=", "@import", "ZgotmplZ"} {
		if strings.Contains(r.text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if p := r.header.Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") {
		t.Errorf("policy %q", p)
	}
}
