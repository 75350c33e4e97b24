package request

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"afina/internal/assistant"
	"afina/internal/config"
	"afina/internal/door"
	"afina/internal/fault"
	"afina/internal/form"
)

// Text is the body of POST /v1/completions; Rest is read as a drawing.
type Text struct {
	Model  string          `json:"model" validate:"required,max=200"`
	Prompt json.RawMessage `json:"prompt"`

	Echo     *bool           `json:"echo"`
	Logprobs *int64          `json:"logprobs" validate:"omitempty,min=0,max=20"`
	BestOf   json.RawMessage `json:"best_of"`
	Suffix   json.RawMessage `json:"suffix"`

	Rest map[string]json.RawMessage `json:"*"`
}

// textTokens is how long a text is when nothing is said of it.
const textTokens = 16

// ReadText reads a request to go on with a text.
func ReadText(d *door.Door, r *http.Request, c config.Serve) (*Text, *Answers, error) {
	var ask Text
	if _, err := d.Decode(r, &ask); err != nil {
		return nil, nil, err
	}
	draw, err := readDrawing(d, ask.Rest)
	if err != nil {
		return nil, nil, err
	}
	all, err := ask.answers(draw, c)
	return &ask, all, err
}

// Echoed reports whether the prompt is to stand before the text.
func (q *Text) Echoed() bool { return or(q.Echo, false) }

// answers turns the request into questions.
func (q *Text) answers(draw *drawing, d config.Serve) (*Answers, error) {
	n := int(or(draw.N, 1))
	err := granted([]claim{
		{"best_of", q.BestOf, []string{strconv.Itoa(n)}, "all that are written are sent"},
		{"suffix", q.Suffix, []string{`""`}, "texts are gone on with at their end"},
	})
	if err != nil {
		return nil, err
	}
	d.MaxTokens = textTokens
	question, err := draw.question(d)
	if err != nil {
		return nil, err
	}
	question.Model = q.Model
	if q.Logprobs != nil {
		if or(q.Echo, false) {
			return nil, unsupported("logprobs", "logprobs is not supported with echo: the probabilities of a prompt are not told")
		}
		question.Logprobs, question.Top = true, int(*q.Logprobs)
	}
	prompts, err := prompts(q.Prompt)
	if err != nil {
		return nil, err
	}
	if len(prompts)*n > mostChoices {
		return nil, wrong("prompt", "%d prompts and n %d make more than %d choices", len(prompts), n, mostChoices)
	}
	all := draw.answers(n, question.Logprobs)
	for _, p := range prompts {
		for i := range n {
			choice := question
			choice.Raw = p
			choice.Sampling.Seed += uint64(i)
			all.Questions = append(all.Questions, choice)
		}
	}
	return all, nil
}

// mostChoices bounds the answers to one request.
const mostChoices = 128

// prompts reads a text, a list of texts, a list of tokens or a list of those.
func prompts(raw json.RawMessage) ([]*assistant.Raw, error) {
	raw = bytes.TrimSpace(raw)
	var text string
	var texts []string
	var tokens []int32
	var lists [][]int32
	switch inner := bytes.TrimLeft(raw, "[ \t\r\n"); {
	case harmless(raw, nil):
		return nil, fault.New(fault.Invalid, "prompt is missing; set it to a text").WithCode(form.CodeMissing).WithParam("prompt")
	case raw[0] == '"':
		if err := form.Decode(raw, "prompt", &text); err != nil {
			return nil, err
		}
		texts = []string{text}
	case len(inner) > 0 && inner[0] == '"':
		if err := form.Decode(raw, "prompt", &texts); err != nil {
			return nil, err
		}
	case bytes.HasPrefix(bytes.TrimLeft(raw[1:], " \t\r\n"), []byte("[")):
		if err := form.Decode(raw, "prompt", &lists); err != nil {
			return nil, err
		}
	default:
		if err := form.Decode(raw, "prompt", &tokens); err != nil {
			return nil, err
		}
		lists = [][]int32{tokens}
	}
	var all []*assistant.Raw
	for _, t := range texts {
		all = append(all, &assistant.Raw{Text: t})
	}
	for _, l := range lists {
		if len(l) == 0 {
			return nil, wrong("prompt", "prompt holds an empty list; send at least one token")
		}
		if least := slices.Min(l); least < 0 {
			return nil, wrong("prompt", "prompt holds the token %d: the ids of tokens begin at 0", least)
		}
		all = append(all, &assistant.Raw{Tokens: l})
	}
	return all, nil
}
