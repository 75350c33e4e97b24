package request

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"afina/internal/assistant"
	"afina/internal/config"
	"afina/internal/door"
	"afina/internal/fault"
	"afina/internal/form"
	"afina/internal/sampling"
)

// Answers are the answers that are asked for, and how to send them.
type Answers struct {
	Questions []assistant.Question // one for each choice
	Each      int                  // how many of them in a row have the same prompt
	Stream    bool
	WithUsage bool // in the stream
	Scores    bool // the probabilities of tokens are told
}

// drawing is what requests for chat and for text have in common: how tokens are
// drawn, and how the answer is sent.
type drawing struct {
	Temperature         *float64            `json:"temperature" validate:"omitempty,gte=0,lte=2"`
	TopP                *float64            `json:"top_p" validate:"omitempty,gt=0,lte=1"`
	TopK                *int64              `json:"top_k" validate:"omitempty,gte=0,lte=1000000"`
	MinP                *float64            `json:"min_p" validate:"omitempty,gte=0,lte=1"`
	RepetitionPenalty   *float64            `json:"repetition_penalty" validate:"omitempty,gt=0,lte=2"`
	FrequencyPenalty    *float64            `json:"frequency_penalty" validate:"omitempty,gte=-2,lte=2"`
	PresencePenalty     *float64            `json:"presence_penalty" validate:"omitempty,gte=-2,lte=2"`
	LogitBias           *map[string]float64 `json:"logit_bias"`
	MaxTokens           *int64              `json:"max_tokens" validate:"omitempty,min=1,max=2147483647"`
	MaxCompletionTokens *int64              `json:"max_completion_tokens" validate:"omitempty,min=1,max=2147483647"`
	Stop                json.RawMessage     `json:"stop"`
	Seed                *int64              `json:"seed"`
	N                   *int64              `json:"n" validate:"omitempty,min=1,max=128"`
	Stream              *bool               `json:"stream"`
	StreamOptions       *streamOptions      `json:"stream_options"`

	// Taken and without effect on the answer.
	User             *string            `json:"user"`
	Metadata         *map[string]string `json:"metadata"`
	Store            *bool              `json:"store"`
	ServiceTier      *string            `json:"service_tier"`
	SafetyIdentifier *string            `json:"safety_identifier"`
	PromptCacheKey   *string            `json:"prompt_cache_key"`
}

type streamOptions struct {
	IncludeUsage       *bool `json:"include_usage"`
	IncludeObfuscation *bool `json:"include_obfuscation"` // without effect: nothing is padded
}

// readDrawing reads the fields that a request has not taken for itself.
func readDrawing(d *door.Door, rest map[string]json.RawMessage) (*drawing, error) {
	q := &drawing{}
	text, err := json.Marshal(rest)
	if err != nil {
		return nil, fmt.Errorf("read a request: %w", err)
	}
	if rest == nil {
		return q, nil
	}
	if err := form.Decode(text, "", q); err != nil {
		return nil, err
	}
	return q, d.Check(q, "")
}

// question is what the assistant is asked, but for what about, with the defaults
// of the configuration.
func (q *drawing) question(d config.Serve) (assistant.Question, error) {
	var none assistant.Question
	stop, err := stops(q.Stop)
	if err != nil {
		return none, err
	}
	limit, err := q.limit(d.MaxTokens)
	if err != nil {
		return none, err
	}
	bias, err := biases(q.LogitBias)
	if err != nil {
		return none, err
	}
	if q.StreamOptions != nil && !or(q.Stream, false) {
		return none, wrong("stream_options", "stream_options goes with stream; set stream to true or leave stream_options out")
	}
	seed := rand.Uint64()
	if q.Seed != nil {
		seed = uint64(*q.Seed)
	}
	return assistant.Question{
		Limit: limit, Stop: stop,
		Sampling: sampling.Options{
			Temperature:      float32(or(q.Temperature, float64(d.Temperature))),
			TopP:             float32(or(q.TopP, float64(d.TopP))),
			TopK:             int(or(q.TopK, int64(d.TopK))),
			MinP:             float32(or(q.MinP, float64(d.MinP))),
			RepeatPenalty:    float32(or(q.RepetitionPenalty, float64(d.RepeatPenalty))),
			FrequencyPenalty: float32(or(q.FrequencyPenalty, 0)),
			PresencePenalty:  float32(or(q.PresencePenalty, 0)),
			Bias:             bias,
			Seed:             seed,
		},
	}, nil
}

// answers are n to each prompt, yet without questions.
func (q *drawing) answers(n int, scores bool) *Answers {
	return &Answers{
		Each: n, Stream: or(q.Stream, false), Scores: scores,
		WithUsage: q.StreamOptions != nil && or(q.StreamOptions.IncludeUsage, false),
	}
}

func or[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}

func wrong(param, format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).WithCode(form.CodeValue).WithParam(param)
}

func unsupported(param, format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).WithCode("unsupported_parameter").WithParam(param)
}

// limit is the most tokens to write; both names of it mean the same.
func (q *drawing) limit(fallback int) (int, error) {
	a, b := q.MaxTokens, q.MaxCompletionTokens
	if a != nil && b != nil && *a != *b {
		return 0, wrong("max_tokens", "max_tokens is %d but max_completion_tokens is %d; send one of them", *a, *b)
	}
	return int(or(b, or(a, int64(fallback)))), nil
}

// The bounds of logit_bias.
const (
	mostBiases = 1024
	mostBias   = 100
)

// biases reads the change to the scores of single tokens, by their ids.
func biases(given *map[string]float64) (map[int32]float32, error) {
	if given == nil || len(*given) == 0 {
		return nil, nil
	}
	if n := len(*given); n > mostBiases {
		return nil, wrong("logit_bias", "logit_bias has %d tokens: it must have at most %d", n, mostBiases)
	}
	all := make(map[int32]float32, len(*given))
	for name, x := range *given {
		id, err := strconv.ParseInt(name, 10, 32)
		if err != nil || id < 0 {
			return nil, wrong("logit_bias", "logit_bias names %.40q: it must name tokens by their ids; POST /tokenize tells them", name)
		}
		if x < -mostBias || x > mostBias {
			return nil, wrong(form.Join("logit_bias", name), "logit_bias.%s is %g: it must be from %d to %d", name, x, -mostBias, mostBias)
		}
		all[int32(id)] = float32(x)
	}
	return all, nil
}

// The bounds of stop.
const (
	stopsMost = 4
	stopBytes = 256
)

// stops reads one text or a list of them.
func stops(raw json.RawMessage) ([]string, error) {
	if harmless(raw, nil) {
		return nil, nil
	}
	var list []string
	if raw[0] == '"' {
		list = []string{""}
		if err := form.Decode(raw, "stop", &list[0]); err != nil {
			return nil, err
		}
	} else if err := form.Decode(raw, "stop", &list); err != nil {
		return nil, err
	}
	if n := len(list); n == 0 || n > stopsMost {
		return nil, wrong("stop", "stop has %d entries: it must have 1 to %d", n, stopsMost)
	}
	for i, s := range list {
		if n := len(s); n == 0 || n > stopBytes {
			at := fmt.Sprintf("stop[%d]", i)
			return nil, wrong(at, "%s has %d bytes: it must have 1 to %d", at, n, stopBytes)
		}
	}
	return list, nil
}

// claim is a field of the request that only some values may have.
type claim struct {
	path    string
	value   json.RawMessage
	neutral []string // values, as JSON, that ask for what happens anyway
	reason  string
}

// granted returns an error for the first claim that asks for more than there is.
func granted(all []claim) error {
	for _, c := range all {
		if !harmless(c.value, c.neutral) {
			return unsupported(c.path, "%s is not supported: %s", c.path, c.reason)
		}
	}
	return nil
}

// harmless reports whether value is absent, null or one of neutral.
func harmless(value json.RawMessage, neutral []string) bool {
	var compact bytes.Buffer
	if len(value) == 0 || json.Compact(&compact, value) != nil {
		return true // absent; the decoder lets nothing else through
	}
	text := compact.String()
	if text == "null" || slices.Contains(neutral, text) {
		return true
	}
	number, err := strconv.ParseFloat(text, 64)
	return err == nil && slices.ContainsFunc(neutral, func(n string) bool {
		want, err := strconv.ParseFloat(n, 64)
		return err == nil && want == number
	})
}
