// Package request reads what is asked through OpenAI's API: bodies of requests
// for answers become questions to the assistant, with what the answers have to
// look like. It knows nothing of how they are computed or sent.
//
// It is strict: a parameter that would change the answer in a way that is not
// supported is refused, with its name.
package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/door"
	"afina/internal/fault"
)

// Embedding is the body of POST /v1/embeddings.
type Embedding struct {
	Model      string          `json:"model" validate:"required,max=200"`
	Input      json.RawMessage `json:"input"`
	Encoding   *string         `json:"encoding_format" validate:"omitempty,oneof=float base64"`
	Dimensions json.RawMessage `json:"dimensions"`
	User       *string         `json:"user"`
}

// ReadEmbedding reads a request for vectors and returns the texts, at least one.
func ReadEmbedding(d *door.Door, r *http.Request) (*Embedding, []assistant.Raw, error) {
	var ask Embedding
	if _, err := d.Decode(r, &ask); err != nil {
		return nil, nil, err
	}
	if err := granted([]claim{{"dimensions", ask.Dimensions, nil, "a model's states have one width"}}); err != nil {
		return nil, nil, err
	}
	texts, err := prompts(ask.Input)
	if err != nil {
		return nil, nil, Named(err, "input")
	}
	if len(texts) > mostChoices {
		return nil, nil, wrong("input", "input has %d texts: it must have at most %d", len(texts), mostChoices)
	}
	raws := make([]assistant.Raw, len(texts))
	for i, t := range texts {
		raws[i] = *t
	}
	return &ask, raws, nil
}

// Packed reports whether vectors are to be sent as their bytes.
func (q *Embedding) Packed() bool { return or(q.Encoding, "float") == "base64" }

// Named makes a fault of a prompt one of the parameter that it is called here.
func Named(err error, param string) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Param != "prompt" {
		return err
	}
	g := *f
	g.Param, g.Message = param, string(bytes.ReplaceAll([]byte(f.Message), []byte("prompt"), []byte(param)))
	return &g
}

// template is the body of POST /apply-template.
type template struct {
	Model    string        `json:"model" validate:"required,max=200"`
	Messages []messageBody `json:"messages" validate:"required,min=1,max=4096"`
	Tools    []toolBody    `json:"tools" validate:"max=128"`
}

// ReadTemplate reads a request to lay out a conversation for a model.
func ReadTemplate(d *door.Door, r *http.Request) (model string, c chat.Conversation, err error) {
	var ask template
	if _, err := d.Decode(r, &ask); err != nil {
		return "", c, err
	}
	if c, err = conversation(ask.Messages); err != nil {
		return "", c, err
	}
	c.Tools, _, err = tools(ask.Tools)
	return ask.Model, c, err
}
