package openai

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"

	"afina/internal/request"
)

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
	ask, raws, err := request.ReadEmbedding(s.Door, r)
	if err != nil {
		return 0, nil, err
	}
	vectors, n, err := s.Assistant.Embed(r.Context(), ask.Model, raws)
	if err != nil {
		return 0, nil, request.Named(err, "input")
	}
	l := embeddingList{Object: "list", Model: ask.Model, Usage: embeddingUsage{n, n}}
	for i, v := range vectors {
		e := embeddingObject{Object: "embedding", Index: i, Embedding: v}
		if ask.Packed() {
			e.Embedding = packed(v)
		}
		l.Data = append(l.Data, e)
	}
	return http.StatusOK, l, nil
}

// packed is v as little-endian float32 in base64.
func packed(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}
