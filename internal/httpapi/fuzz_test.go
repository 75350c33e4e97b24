package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"testing"

	"afina/internal/assistant"
	"afina/internal/contract"
)

// FuzzCompletion: whatever is sent, the answer is one the contract has, and what
// reaches the assistant is within its bounds.
func FuzzCompletion(f *testing.F) {
	for _, b := range []string{asks(""), asks(`"stop":["a"],"n":1`), asks(`"stream":true`), `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`, `[`, `{"model":"\ud800"}`} {
		f.Add([]byte(b))
	}
	h := newHouse()
	h.Assistant = fakeAssistant(func(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error] {
		o := q.Sampling
		if q.Model == "" || len(q.Conversation.Messages) == 0 || q.Limit < 1 || len(q.Stop) > 4 ||
			!(o.Temperature >= 0 && o.Temperature <= 2) || !(o.TopP > 0 && o.TopP <= 1) || o.TopK < 0 ||
			!(o.MinP >= 0 && o.MinP <= 1) || !(o.RepeatPenalty > 0 && o.RepeatPenalty <= 2) {
			panic(fmt.Sprintf("out of bounds: %+v", q))
		}
		return says("x")(ctx, q)
	})
	handler := h.Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzzed(t, handler, body)
	})
}

// fuzzed sends a body to the chat without a network: what is granted, and what is
// answered, is in the contract.
func fuzzed(t *testing.T, handler http.Handler, body []byte) {
	client := &http.Client{Transport: contract.Transport(t, contract.Direct(handler))}
	w, err := client.Post("http://localhost"+chatPath, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body) // a stream is checked while it is read
	if err != nil {
		t.Fatal(err)
	}
	switch w.StatusCode {
	case http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
	default:
		t.Fatalf("%q: %d %s", body, w.StatusCode, text)
	}
}
