package openai

import (
	"net/http"
	"unicode/utf8"

	"afina/internal/assistant"
	"afina/internal/engine"
	"afina/internal/request"
)

// goOn answers POST /v1/completions: a text, gone on with.
func (s *Server) goOn(w http.ResponseWriter, r *http.Request) error {
	ask, all, err := request.ReadText(s.Door, r, s.Config.Serve)
	if err != nil {
		return err
	}
	q := &script{Answers: all, head: s.head("cmpl-", "text_completion", ask.Model), form: prose{all.Scores}}
	if ask.Echoed() {
		for i := range q.Questions {
			raw := q.Questions[i].Raw
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
