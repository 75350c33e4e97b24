package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"afina/internal/chat"
	"afina/internal/gguf"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
	"afina/internal/quant"
	"afina/internal/tokenizer"
)

// A crowd asks each × clients questions, every one another, and counts what came.
func TestCrowd(t *testing.T) {
	var lock sync.Mutex
	asked := map[string]int{}
	tokens := 3
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Model    string
			Messages []struct{ Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		lock.Lock()
		asked[q.Model+q.Messages[0].Content+q.Messages[1].Content]++
		lock.Unlock()
		fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n")
		w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond)
		fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n")
		fmt.Fprintf(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n", tokens)
	}))
	defer server.Close()
	c := &crowd{clients: 3, each: 2, limit: 3, texts: &texts{words: strings.Fields("a b c d e f g h i j k l"), own: 40, length: 9},
		ask: func(i int, body map[string]any) { body["model"] = fmt.Sprint(i) }}
	s, err := c.run(context.Background(), server.URL, 1)
	if err != nil {
		t.Fatal(err)
	}
	if s.Tokens != 18 || s.Figures["ttft_p95"] < 0.02 || s.Seconds < 0.04 {
		t.Errorf("got %+v, want 18 tokens, the first after 20 ms, in two turns", s)
	}
	if len(asked) != 6 {
		t.Errorf("%d different questions, want 6", len(asked))
	}
	tokens = 2
	if _, err := c.run(context.Background(), server.URL, 2); err == nil {
		t.Error("short answers were counted")
	}
}

func TestStreamsThatFail(t *testing.T) {
	for name, stream := range map[string]string{
		"no text": "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n",
		"error":   "data: {\"error\":{\"message\":\"out of memory\"}}\n\n",
		"no JSON": "data: {\n\n",
	} {
		if err := new(answered).read(strings.NewReader(stream), time.Now()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Questions have the tokens that were asked for, whatever words they are of.
func TestQuestionsHaveTheirLength(t *testing.T) {
	path := modeltest.Real(t)
	texts, err := newTexts(path, questionTokens)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := tokenizer.FromGGUF(f.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	template, err := chat.FromGGUF(f.Metadata, tok)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(50) {
		var c chat.Conversation
		for _, m := range texts.question(seed) {
			c.Messages = append(c.Messages, chat.Message{Role: chat.Role(m["role"]), Content: m["content"]})
		}
		laid, err := template.Lay(tok, c, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(laid.Tokens) != questionTokens {
			t.Fatalf("question %d has %d tokens, want %d", seed, len(laid.Tokens), questionTokens)
		}
	}
}

// The adapters that the peer reads are ours, in the type that is asked for.
func TestRetype(t *testing.T) {
	pool := parallel.New(1)
	defer pool.Close()
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(modeltest.Write(t, modeltest.Shape{}), gang)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := randomAdapter(m, 3)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a.gguf"), filepath.Join(dir, "half", "a.gguf")
	if err := a.SaveGGUF(from, m); err != nil {
		t.Fatal(err)
	}
	if err := retype(from, to, quant.F16); err != nil {
		t.Fatal(err)
	}
	if x, _ := openFile(t, to).Tensor("blk.0.attn_q.weight.lora_b"); x.Type != quant.F16 {
		t.Errorf("numbers are %s, want F16", x.Type)
	}
	b, err := lora.LoadGGUF(to, m)
	if err != nil {
		t.Fatal(err)
	}
	if a.Scale() != b.Scale() || a.Rank != b.Rank {
		t.Errorf("rank %d, scale %g; want %d, %g", b.Rank, b.Scale(), a.Rank, a.Scale())
	}
	for i, want := range a.Pairs[0]["attn_q"].B {
		if got := b.Pairs[0]["attn_q"].B[i]; max(got-want, want-got) > 2e-5 || want == 0 {
			t.Fatalf("number %d is %g, want %g", i, got, want)
		}
	}
}
