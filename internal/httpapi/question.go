package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"afina/internal/assistant"
	"afina/internal/chat"
	"afina/internal/config"
	"afina/internal/fault"
	"afina/internal/form"
	"afina/internal/sampling"
)

// completionRequest is the body of POST /v1/chat/completions.
type completionRequest struct {
	Model    string        `json:"model" validate:"required,max=200"`
	Messages []messageBody `json:"messages" validate:"required,min=1,max=4096"`

	Temperature         *float64        `json:"temperature" validate:"omitempty,gte=0,lte=2"`
	TopP                *float64        `json:"top_p" validate:"omitempty,gt=0,lte=1"`
	TopK                *int64          `json:"top_k" validate:"omitempty,gte=0,lte=1000000"`
	MinP                *float64        `json:"min_p" validate:"omitempty,gte=0,lte=1"`
	RepetitionPenalty   *float64        `json:"repetition_penalty" validate:"omitempty,gt=0,lte=2"`
	MaxTokens           *int64          `json:"max_tokens" validate:"omitempty,min=1,max=2147483647"`
	MaxCompletionTokens *int64          `json:"max_completion_tokens" validate:"omitempty,min=1,max=2147483647"`
	Stop                json.RawMessage `json:"stop"`
	Seed                *int64          `json:"seed"`
	Stream              *bool           `json:"stream"`
	StreamOptions       *streamOptions  `json:"stream_options"`
	MathCheck           *bool           `json:"math_check"`
	MathVerify          *int64          `json:"math_verify" validate:"omitempty,min=1,max=16"`

	// Taken and without effect on the answer.
	User              *string            `json:"user"`
	Metadata          *map[string]string `json:"metadata"`
	Store             *bool              `json:"store"`
	ServiceTier       *string            `json:"service_tier"`
	SafetyIdentifier  *string            `json:"safety_identifier"`
	PromptCacheKey    *string            `json:"prompt_cache_key"`
	ParallelToolCalls *bool              `json:"parallel_tool_calls"`

	// Refused unless they say what happens anyway.
	N                json.RawMessage `json:"n"`
	BestOf           json.RawMessage `json:"best_of"`
	Tools            json.RawMessage `json:"tools"`
	ToolChoice       json.RawMessage `json:"tool_choice"`
	Functions        json.RawMessage `json:"functions"`
	FunctionCall     json.RawMessage `json:"function_call"`
	ResponseFormat   json.RawMessage `json:"response_format"`
	Logprobs         json.RawMessage `json:"logprobs"`
	TopLogprobs      json.RawMessage `json:"top_logprobs"`
	LogitBias        json.RawMessage `json:"logit_bias"`
	PresencePenalty  json.RawMessage `json:"presence_penalty"`
	FrequencyPenalty json.RawMessage `json:"frequency_penalty"`
	Modalities       json.RawMessage `json:"modalities"`
	Audio            json.RawMessage `json:"audio"`
	Prediction       json.RawMessage `json:"prediction"`
	ReasoningEffort  json.RawMessage `json:"reasoning_effort"`
	Verbosity        json.RawMessage `json:"verbosity"`
	WebSearch        json.RawMessage `json:"web_search_options"`
}

type streamOptions struct {
	IncludeUsage       *bool `json:"include_usage"`
	IncludeObfuscation *bool `json:"include_obfuscation"` // without effect: nothing is padded
}

// messageBody is a message; the fields after Content are what clients send back
// of earlier answers.
type messageBody struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`

	Name         json.RawMessage `json:"name"`
	Refusal      json.RawMessage `json:"refusal"`
	ToolCalls    json.RawMessage `json:"tool_calls"`
	ToolCallID   json.RawMessage `json:"tool_call_id"`
	FunctionCall json.RawMessage `json:"function_call"`
	Audio        json.RawMessage `json:"audio"`
	Annotations  json.RawMessage `json:"annotations"`
}

// partBody is one part of a content that is an array.
type partBody struct {
	Type string  `json:"type"`
	Text *string `json:"text"`

	ImageURL   json.RawMessage `json:"image_url"`
	InputAudio json.RawMessage `json:"input_audio"`
	File       json.RawMessage `json:"file"`
	Refusal    json.RawMessage `json:"refusal"`
}

// claim is a field of the request that only some values may have.
type claim struct {
	path    string
	value   json.RawMessage
	neutral []string // values, as JSON, that ask for what happens anyway
	reason  string
}

// claims are the parameters that would change the answer in ways we cannot.
func (q *completionRequest) claims() []claim {
	const tools = "the models here call no tools; describe what you need in a message"
	const penalty = "it punishes repeated digits, which harms arithmetic; use repetition_penalty"
	return []claim{
		{"n", q.N, []string{"1"}, "one answer is written per request; send the request again for another"},
		{"best_of", q.BestOf, []string{"1"}, "one answer is written per request"},
		{"tools", q.Tools, []string{"[]"}, tools},
		{"tool_choice", q.ToolChoice, []string{`"none"`, `"auto"`}, tools},
		{"functions", q.Functions, []string{"[]"}, tools},
		{"function_call", q.FunctionCall, []string{`"none"`, `"auto"`}, tools},
		{"response_format", q.ResponseFormat, []string{`{"type":"text"}`}, "answers are free text; ask for the format in a message"},
		{"logprobs", q.Logprobs, []string{"false"}, "probabilities of tokens are not reported"},
		{"top_logprobs", q.TopLogprobs, []string{"0"}, "probabilities of tokens are not reported"},
		{"logit_bias", q.LogitBias, []string{"{}"}, "the scores of single tokens cannot be changed"},
		{"presence_penalty", q.PresencePenalty, []string{"0"}, penalty},
		{"frequency_penalty", q.FrequencyPenalty, []string{"0"}, penalty},
		{"modalities", q.Modalities, []string{`["text"]`}, "answers are text"},
		{"audio", q.Audio, nil, "answers are text"},
		{"prediction", q.Prediction, nil, "answers are not predicted"},
		{"reasoning_effort", q.ReasoningEffort, nil, "the models here do not reason in hiding"},
		{"verbosity", q.Verbosity, nil, "ask for the length in a message, or limit it by max_tokens"},
		{"web_search_options", q.WebSearch, nil, "nothing is searched: the server speaks to nobody"},
	}
}

func (m *messageBody) claims(path string) []claim {
	const tools = "the models here call no tools"
	return []claim{
		{path + ".name", m.Name, nil, "speakers have no names; write the name into the content"},
		{path + ".refusal", m.Refusal, nil, "write the text into content"},
		{path + ".tool_calls", m.ToolCalls, []string{"[]"}, tools},
		{path + ".tool_call_id", m.ToolCallID, nil, tools},
		{path + ".function_call", m.FunctionCall, nil, tools},
		{path + ".audio", m.Audio, nil, "messages are text"},
		{path + ".annotations", m.Annotations, []string{"[]"}, "annotations are not read"},
	}
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

func unsupported(param, format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).WithCode("unsupported_parameter").WithParam(param)
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

// question turns the request into what the assistant is asked, with the
// defaults of the configuration.
func (q *completionRequest) question(d config.Serve) (assistant.Question, error) {
	var none assistant.Question
	if err := granted(q.claims()); err != nil {
		return none, err
	}
	conversation, err := conversation(q.Messages)
	if err != nil {
		return none, err
	}
	stop, err := stops(q.Stop)
	if err != nil {
		return none, err
	}
	limit, err := q.limit(d.MaxTokens)
	if err != nil {
		return none, err
	}
	if q.StreamOptions != nil && !or(q.Stream, false) {
		return none, fault.New(fault.Invalid, "stream_options goes with stream; set stream to true or leave stream_options out").
			WithCode(form.CodeValue).WithParam("stream_options")
	}
	seed := rand.Uint64()
	if q.Seed != nil {
		seed = uint64(*q.Seed)
	}
	return assistant.Question{
		Model: q.Model, Conversation: conversation, Limit: limit, Stop: stop,
		Sampling: sampling.Options{
			Temperature:   float32(or(q.Temperature, float64(d.Temperature))),
			TopP:          float32(or(q.TopP, float64(d.TopP))),
			TopK:          int(or(q.TopK, int64(d.TopK))),
			MinP:          float32(or(q.MinP, float64(d.MinP))),
			RepeatPenalty: float32(or(q.RepetitionPenalty, float64(d.RepeatPenalty))),
			Seed:          seed,
		},
	}, nil
}

func or[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}

// limit is the most tokens to write; both names of it mean the same.
func (q *completionRequest) limit(fallback int) (int, error) {
	a, b := q.MaxTokens, q.MaxCompletionTokens
	if a != nil && b != nil && *a != *b {
		return 0, fault.New(fault.Invalid, "max_tokens is %d but max_completion_tokens is %d; send one of them", *a, *b).
			WithCode(form.CodeValue).WithParam("max_tokens")
	}
	return int(or(b, or(a, int64(fallback)))), nil
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
	wrong := func(path, rule string) error {
		return fault.New(fault.Invalid, "%s %s", path, rule).WithCode(form.CodeValue).WithParam(path)
	}
	if n := len(list); n == 0 || n > stopsMost {
		return nil, wrong("stop", fmt.Sprintf("has %d entries: it must have 1 to %d", n, stopsMost))
	}
	for i, s := range list {
		if n := len(s); n == 0 || n > stopBytes {
			return nil, wrong(fmt.Sprintf("stop[%d]", i), fmt.Sprintf("has %d bytes: it must have 1 to %d", n, stopBytes))
		}
	}
	return list, nil
}

// conversation reads the messages. Their order is the template's business, but
// the last must leave the word to the assistant.
func conversation(messages []messageBody) (chat.Conversation, error) {
	c := chat.Conversation{Messages: make([]chat.Message, len(messages))}
	for i := range messages {
		m, path := &messages[i], fmt.Sprintf("messages[%d]", i)
		role, err := m.role(path)
		if err != nil {
			return c, err
		}
		if err := granted(m.claims(path)); err != nil {
			return c, err
		}
		text, err := content(m.Content, path+".content")
		if err != nil {
			return c, err
		}
		c.Messages[i] = chat.Message{Role: role, Content: text}
	}
	if last := len(messages) - 1; c.Messages[last].Role == chat.Assistant {
		return c, fault.New(fault.Invalid, "messages[%d] is the assistant's: end with a message of the user", last).
			WithCode(form.CodeValue).WithParam(fmt.Sprintf("messages[%d].role", last))
	}
	return c, nil
}

func (m *messageBody) role(path string) (chat.Role, error) {
	switch m.Role {
	case "system", "developer":
		return chat.System, nil
	case "user":
		return chat.User, nil
	case "assistant":
		return chat.Assistant, nil
	case "tool", "function":
		return "", unsupported(path+".role", "%s.role %q is not supported: the models here call no tools", path, m.Role)
	case "":
		return "", fault.New(fault.Invalid, "%s.role is missing; set it to system, user or assistant", path).
			WithCode(form.CodeMissing).WithParam(path + ".role")
	}
	return "", fault.New(fault.Invalid, "%s.role is %.40q: it must be one of system, developer, user, assistant", path, m.Role).
		WithCode(form.CodeValue).WithParam(path + ".role")
}

// content is a text, or a list of parts that are texts, which are joined by line
// breaks.
func content(raw json.RawMessage, path string) (string, error) {
	if len(raw) == 0 {
		return "", fault.New(fault.Invalid, "%s is missing; set it to a text", path).WithCode(form.CodeMissing).WithParam(path)
	}
	if raw[0] != '[' {
		var text string
		return text, form.Decode(raw, path, &text)
	}
	var parts []partBody
	if err := form.Decode(raw, path, &parts); err != nil {
		return "", err
	}
	texts := make([]string, len(parts))
	for i, p := range parts {
		at := fmt.Sprintf("%s[%d]", path, i)
		if p.Type != "text" {
			return "", unsupported(at+".type", "%s.type %.40q is not supported: the models here read text; send parts of type text", at, p.Type)
		}
		if p.Text == nil {
			return "", fault.New(fault.Invalid, "%s.text is missing; set it", at).WithCode(form.CodeMissing).WithParam(at + ".text")
		}
		texts[i] = *p.Text
	}
	return strings.Join(texts, "\n"), nil
}
