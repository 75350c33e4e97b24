// Package openai answers as OpenAI's API does: /v1/chat/completions,
// /v1/completions and /v1/embeddings, and what llama.cpp's server adds to them:
// /tokenize, /detokenize and /apply-template. It has request read what is asked,
// and turns what the assistant says into answers and streams of chunks.
package openai

import (
	"context"
	"crypto/rand"
	"iter"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/config"
	"afina/internal/door"
)

// Assistant answers; *assistant.Assistant is one.
type Assistant interface {
	Ask(ctx context.Context, q assistant.Question) iter.Seq2[assistant.Delta, error]
	Encode(ctx context.Context, model, text string, special bool) ([]int32, error)
	Decode(ctx context.Context, model string, tokens []int32) (string, error)
	Embed(ctx context.Context, model string, texts []assistant.Raw) (vectors [][]float32, tokens int, err error)
	Render(ctx context.Context, model string, c chat.Conversation) (string, error)
}

// Server answers. Fill all fields; they do not change afterwards.
type Server struct {
	Door      *door.Door
	Config    config.Config
	Assistant Assistant
	Meters    Meters
	Log       *zap.Logger
	Build     string        // version of the program
	KeepAlive time.Duration // how long a stream may be silent
	Now       func() time.Time
}

// Route adds the routes.
func (s *Server) Route(r chi.Router) {
	d := s.Door
	r.Post("/v1/chat/completions", d.Streaming(s.complete))
	r.Post("/v1/completions", d.Streaming(s.goOn))
	r.Post("/v1/embeddings", d.Answer(s.embed))
	r.Post("/tokenize", d.Answer(s.tokenize))
	r.Post("/detokenize", d.Answer(s.detokenize))
	r.Post("/apply-template", d.Answer(s.applyTemplate))
}

// head is what an answer and each of its chunks begin with.
type head struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"`
}

func (s *Server) head(prefix, object, model string) head {
	return head{ID: prefix + rand.Text(), Object: object, Created: s.Now().Unix(), Model: model, Fingerprint: "afina-" + s.Build}
}

// usage counts tokens on the wire.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`

	PromptDetails     promptDetails     `json:"prompt_tokens_details"`
	CompletionDetails completionDetails `json:"completion_tokens_details"`
}

type promptDetails struct {
	Cached int `json:"cached_tokens"`
	Audio  int `json:"audio_tokens"`
}

type completionDetails struct {
	Reasoning int `json:"reasoning_tokens"`
	Audio     int `json:"audio_tokens"`
	Accepted  int `json:"accepted_prediction_tokens"`
	Rejected  int `json:"rejected_prediction_tokens"`
}

func usageOf(u assistant.Usage) usage {
	return usage{Prompt: u.Prompt, Completion: u.Completion, Total: u.Prompt + u.Completion, PromptDetails: promptDetails{Cached: u.Cached}}
}

// ask answers with a whole, or with a stream, as was asked for.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, q *script) error {
	r, cancel := door.Within(r, s.Config.HTTP.GenerateTimeout)
	defer cancel()
	for i := range q.Questions {
		q.Questions[i].Client = door.Client(r)
	}
	if q.Stream {
		return door.Ended(r, s.stream(w, r, q))
	}
	return door.Ended(r, s.whole(w, r, q))
}
