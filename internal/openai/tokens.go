package openai

import (
	"net/http"

	"afina/internal/request"
)

// The routes here are llama.cpp's server's: for programs that count tokens.

type tokenizeRequest struct {
	Model   string `json:"model" validate:"required,max=200"`
	Content string `json:"content"`
	Special *bool  `json:"parse_special"` // control tokens are read by name; true by default
}

type tokensObject struct {
	Tokens []int32 `json:"tokens"`
}

func (s *Server) tokenize(r *http.Request) (int, any, error) {
	var ask tokenizeRequest
	if _, err := s.Door.Decode(r, &ask); err != nil {
		return 0, nil, err
	}
	tokens, err := s.Assistant.Encode(r.Context(), ask.Model, ask.Content, ask.Special == nil || *ask.Special)
	return http.StatusOK, tokensObject{tokens}, err
}

type detokenizeRequest struct {
	Model  string  `json:"model" validate:"required,max=200"`
	Tokens []int32 `json:"tokens" validate:"dive,gte=0"`
}

type contentObject struct {
	Content string `json:"content"`
}

func (s *Server) detokenize(r *http.Request) (int, any, error) {
	var ask detokenizeRequest
	if _, err := s.Door.Decode(r, &ask); err != nil {
		return 0, nil, err
	}
	text, err := s.Assistant.Decode(r.Context(), ask.Model, ask.Tokens)
	return http.StatusOK, contentObject{text}, err
}

type promptObject struct {
	Prompt string `json:"prompt"`
}

// applyTemplate shows a conversation as the model is given it.
func (s *Server) applyTemplate(r *http.Request) (int, any, error) {
	model, c, err := request.ReadTemplate(s.Door, r)
	if err != nil {
		return 0, nil, err
	}
	text, err := s.Assistant.Render(r.Context(), model, c)
	return http.StatusOK, promptObject{text}, err
}
