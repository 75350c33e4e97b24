package openai

import (
	"net/http"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/engine"
	"afina/internal/request"
)

// complete answers POST /v1/chat/completions.
func (s *Server) complete(w http.ResponseWriter, r *http.Request) error {
	ask, all, err := request.ReadChat(s.Door, r, s.Config.Serve)
	if err != nil {
		return err
	}
	object := "chat.completion"
	if all.Stream {
		object += ".chunk"
	}
	return s.ask(w, r, &script{Answers: all, head: s.head("chatcmpl-", object, ask.Model), form: talk{all.Scores}, math: s.mathematics(ask)})
}

// talk writes choices as chat.
type talk struct{ scores bool }

type choice struct {
	Index    int           `json:"index"`
	Message  answerMessage `json:"message"`
	Logprobs *logprobs     `json:"logprobs"` // null unless asked for
	Reason   engine.Reason `json:"finish_reason"`
}

type answerMessage struct {
	Role    string     `json:"role"`
	Content *string    `json:"content"` // null when there is nothing but calls
	Refusal *string    `json:"refusal"` // null
	Calls   []toolCall `json:"tool_calls,omitempty"`
}

// toolCall is a call on the wire.
type toolCall struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"` // "function"
	Function callBody `json:"function"`
}

type callBody struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

func callsOf(calls []chat.Call) []toolCall {
	var all []toolCall
	for _, c := range calls {
		all = append(all, toolCall{ID: c.ID, Type: "function", Function: callBody{c.Name, c.Arguments}})
	}
	return all
}

// callChunk is a piece of a call on the wire. ID, type and name are in a call's
// first piece only.
type callChunk struct {
	Index    int           `json:"index"`
	ID       string        `json:"id,omitempty"`
	Type     string        `json:"type,omitempty"` // "function"
	Function callChunkBody `json:"function"`
}

type callChunkBody struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"` // a piece of JSON text
}

func chunkOf(p chat.CallPiece) callChunk {
	c := callChunk{Index: p.Index, ID: p.ID, Function: callChunkBody{p.Name, p.Arguments}}
	if p.ID != "" {
		c.Type = "function"
	}
	return c
}

// logprobs are the probabilities of the tokens of a choice.
type logprobs struct {
	Content []tokenScore `json:"content"`
	Refusal *struct{}    `json:"refusal"` // null
}

type tokenScore struct {
	score
	Top []score `json:"top_logprobs"`
}

type score struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"` // null for what stands for no bytes
}

func scoreOf(l assistant.Logprob) score {
	s := score{Token: l.Text, Logprob: l.Logprob}
	for _, b := range l.Bytes {
		s.Bytes = append(s.Bytes, int(b))
	}
	return s
}

// scoresOf are the probabilities, nil unless they were asked for.
func (t talk) scoresOf(tokens []assistant.Logprob) *logprobs {
	if !t.scores {
		return nil
	}
	all := &logprobs{Content: make([]tokenScore, len(tokens))}
	for i, l := range tokens {
		s := tokenScore{score: scoreOf(l), Top: make([]score, len(l.Top))}
		for j, other := range l.Top {
			s.Top[j] = scoreOf(other)
		}
		all.Content[i] = s
	}
	return all
}

func (t talk) choice(i int, g *gathered) any {
	m := answerMessage{Role: "assistant", Calls: callsOf(g.calls)}
	if text := g.text.String(); text != "" || len(g.calls) == 0 {
		m.Content = &text
	}
	return choice{i, m, t.scoresOf(g.tokens), g.reason}
}

type chunkChoice struct {
	Index    int            `json:"index"`
	Delta    chunkDelta     `json:"delta"`
	Logprobs *logprobs      `json:"logprobs"` // null unless asked for
	Reason   *engine.Reason `json:"finish_reason"`
}

type chunkDelta struct {
	Role    string      `json:"role,omitempty"`
	Content *string     `json:"content,omitempty"`
	Calls   []callChunk `json:"tool_calls,omitempty"`
}

func (t talk) opening(i int) any {
	empty := ""
	return chunkChoice{Index: i, Delta: chunkDelta{Role: "assistant", Content: &empty}}
}

func (t talk) pieces(i int, d assistant.Delta) (all []any) {
	var scores *logprobs
	if len(d.Tokens) > 0 {
		scores = t.scoresOf(d.Tokens)
	}
	if d.Text != "" {
		all = append(all, chunkChoice{Index: i, Delta: chunkDelta{Content: &d.Text}, Logprobs: scores})
		scores = nil
	}
	for _, p := range d.Calls {
		all = append(all, chunkChoice{Index: i, Delta: chunkDelta{Calls: []callChunk{chunkOf(p)}}, Logprobs: scores})
		scores = nil
	}
	if d.Reason != "" {
		all = append(all, chunkChoice{Index: i, Logprobs: scores, Reason: &d.Reason})
	}
	return all
}
