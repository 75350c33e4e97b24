package openai

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"unicode/utf8"

	"afina/internal/assistant"
	"afina/internal/config"
	"afina/internal/engine"
	"afina/internal/fault"
	"afina/internal/form"
)

// textRequest is the body of POST /v1/completions; Rest is read as a drawing.
type textRequest struct {
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

// goOn answers POST /v1/completions: a text, gone on with.
func (s *Server) goOn(w http.ResponseWriter, r *http.Request) error {
	var ask textRequest
	if _, err := s.Door.Decode(r, &ask); err != nil {
		return err
	}
	draw, err := readDrawing(s.Door, ask.Rest)
	if err != nil {
		return err
	}
	q, err := ask.script(draw, s.Config.Serve)
	if err != nil {
		return err
	}
	q.head = s.head("cmpl-", "text_completion", ask.Model)
	if or(ask.Echo, false) {
		for i := range q.questions {
			raw := q.questions[i].Raw
			if raw.Tokens != nil {
				if raw.Text, err = s.Assistant.Decode(r.Context(), ask.Model, raw.Tokens); err != nil {
					return err
				}
			}
			q.echo = append(q.echo, raw.Text)
		}
	}
	return s.ask(w, r, q)
}

// script turns the request into questions.
func (q *textRequest) script(draw *drawing, d config.Serve) (*script, error) {
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
	all := &script{each: n, stream: or(draw.Stream, false), withUsage: draw.wantsUsage(), form: prose{question.Logprobs}}
	for _, p := range prompts {
		for i := range n {
			choice := question
			choice.Raw = p
			choice.Sampling.Seed += uint64(i)
			all.questions = append(all.questions, choice)
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
		all = append(all, &assistant.Raw{Tokens: l})
	}
	return all, nil
}

// prose writes choices as text.
type prose struct{ scores bool }

type textChoice struct {
	Text     string         `json:"text"`
	Index    int            `json:"index"`
	Logprobs *textScores    `json:"logprobs"` // null unless asked for
	Reason   *engine.Reason `json:"finish_reason"`
}

// textScores are probabilities in the older form: lists side by side.
type textScores struct {
	Tokens   []string             `json:"tokens"`
	Logprobs []float64            `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"` // characters from the beginning of this text
}

func (p prose) scoresOf(tokens []assistant.Logprob) *textScores {
	if !p.scores {
		return nil
	}
	t := &textScores{Tokens: []string{}, Logprobs: []float64{}, Top: []map[string]float64{}, Offsets: []int{}}
	at := 0
	for _, l := range tokens {
		top := map[string]float64{}
		for _, other := range l.Top {
			top[other.Text] = other.Logprob
		}
		t.Tokens, t.Logprobs = append(t.Tokens, l.Text), append(t.Logprobs, l.Logprob)
		t.Top, t.Offsets = append(t.Top, top), append(t.Offsets, at)
		at += utf8.RuneCountInString(l.Text)
	}
	return t
}

func (p prose) choice(i int, g *gathered) any {
	return textChoice{g.text.String(), i, p.scoresOf(g.tokens), &g.reason}
}

func (p prose) opening(int) any { return nil }

func (p prose) pieces(i int, d assistant.Delta) []any {
	c := textChoice{Text: d.Text, Index: i}
	if len(d.Tokens) > 0 {
		c.Logprobs = p.scoresOf(d.Tokens)
	}
	if d.Reason != "" {
		c.Reason = &d.Reason
	}
	return []any{c}
}
