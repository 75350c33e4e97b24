package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"net/http"

	"afina/internal/assistant"
	"afina/internal/fault"
)

// embeddingRequest is the body of POST /v1/embeddings.
type embeddingRequest struct {
	Model      string          `json:"model" validate:"required,max=200"`
	Input      json.RawMessage `json:"input"`
	Encoding   *string         `json:"encoding_format" validate:"omitempty,oneof=float base64"`
	Dimensions json.RawMessage `json:"dimensions"`
	User       *string         `json:"user"`
}

type embeddingObject struct {
	Object    string `json:"object"` // "embedding"
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // numbers, or their bytes in base64
}

type embeddingList struct {
	Object string            `json:"object"` // "list"
	Data   []embeddingObject `json:"data"`
	Model  string            `json:"model"`
	Usage  embeddingUsage    `json:"usage"`
}

type embeddingUsage struct {
	Prompt int `json:"prompt_tokens"`
	Total  int `json:"total_tokens"`
}

// embed answers POST /v1/embeddings: means of final states. The models here were
// trained to write, not for this.
func (s *Server) embed(r *http.Request) (int, any, error) {
	var ask embeddingRequest
	if _, err := s.Door.Decode(r, &ask); err != nil {
		return 0, nil, err
	}
	if err := granted([]claim{{"dimensions", ask.Dimensions, nil, "a model's states have one width"}}); err != nil {
		return 0, nil, err
	}
	texts, err := prompts(ask.Input)
	if err != nil {
		return 0, nil, named(err, "input")
	}
	if len(texts) > mostChoices {
		return 0, nil, wrong("input", "input has %d texts: it must have at most %d", len(texts), mostChoices)
	}
	raws := make([]assistant.Raw, len(texts))
	for i, t := range texts {
		raws[i] = *t
	}
	vectors, n, err := s.Assistant.Embed(r.Context(), ask.Model, raws)
	if err != nil {
		return 0, nil, named(err, "input")
	}
	l := embeddingList{Object: "list", Model: ask.Model, Usage: embeddingUsage{n, n}}
	for i, v := range vectors {
		e := embeddingObject{Object: "embedding", Index: i, Embedding: v}
		if or(ask.Encoding, "float") == "base64" {
			e.Embedding = packed(v)
		}
		l.Data = append(l.Data, e)
	}
	return http.StatusOK, l, nil
}

// named makes a fault of a prompt one of the parameter that it is called here.
func named(err error, param string) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Param != "prompt" {
		return err
	}
	g := *f
	g.Param, g.Message = param, string(bytes.ReplaceAll([]byte(f.Message), []byte("prompt"), []byte(param)))
	return &g
}

// packed is v as little-endian float32 in base64.
func packed(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}
