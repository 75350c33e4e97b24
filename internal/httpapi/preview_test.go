package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"afina/internal/catalog"
	"afina/internal/chat"
	"afina/internal/kernel"
	"afina/internal/lora"
	"afina/internal/model"
	"afina/internal/modeltest"
	"afina/internal/parallel"
)

// TestStatsAndPreview: with a real tokenizer and template behind the door.
func TestStatsAndPreview(t *testing.T) {
	pool := parallel.New(1)
	defer pool.Close()
	gang, err := kernel.NewGang(pool, "")
	if err != nil {
		t.Fatal(err)
	}
	tiny, err := model.Open(modeltest.Write(t, modeltest.Shape{}), gang)
	if err != nil {
		t.Fatal(err)
	}
	defer tiny.Close()
	h := newHouse()
	h.catalog.dataset = func(string) (catalog.Dataset, error) { return aDataset, nil }
	h.catalog.conversations = func(string) ([]chat.Conversation, error) {
		return []chat.Conversation{
			{Messages: []chat.Message{{Role: chat.User, Content: "uno"}, {Role: chat.Assistant, Content: "dos"}}},
			{Messages: []chat.Message{{Role: chat.User, Content: "¿tres?"}, {Role: chat.Assistant, Content: "ñ <|im_end|>"}}},
		}, nil
	}
	h.catalog.resolve = func(string) (*model.Model, *lora.Adapter, error) { return tiny, nil, nil }
	s := h.open(t)

	for query, has := range map[string]bool{"": false, "?model=tiny&max_length=8&test_split=0.5&seed=1": true} {
		r := s.send("GET", "/datasets/mates/stats"+query, "")
		if r.status != http.StatusOK || strings.Contains(r.text, `"answer_tokens":{`) != has || !strings.Contains(r.text, `"train_conversations":1`) {
			t.Errorf("%q: %d %s", query, r.status, r.text)
		}
	}

	r := s.send("GET", "/datasets/mates/preview?model=tiny&conversation=1", "")
	var p struct {
		Learned int
		Tokens  []struct {
			Text    string
			Learned bool
		}
	}
	if err := json.Unmarshal([]byte(r.text), &p); err != nil || r.status != http.StatusOK {
		t.Fatal(r.status, r.text, err)
	}
	all, learned, n := "", "", 0
	for _, token := range p.Tokens {
		all += token.Text
		if token.Learned {
			learned += token.Text
			n++
		}
	}
	if n != p.Learned || n == 0 || !strings.HasSuffix(strings.TrimSuffix(learned, "\n"), "<|im_end|>") || strings.Contains(learned, "tres") || !strings.Contains(all, "tres") {
		t.Errorf("learned %q (%d, said %d) of %q", learned, n, p.Learned, all)
	}
}
