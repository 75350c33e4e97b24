package request

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"afina/internal/chat"
	"afina/internal/config"
	"afina/internal/door"
	"afina/internal/fault"
	"afina/internal/form"
)

// Chat is the body of POST /v1/chat/completions; Rest is read as a drawing.
type Chat struct {
	Model    string        `json:"model" validate:"required,max=200"`
	Messages []messageBody `json:"messages" validate:"required,min=1,max=4096"`

	Logprobs       *bool           `json:"logprobs"`
	TopLogprobs    *int64          `json:"top_logprobs" validate:"omitempty,min=0,max=20"`
	ResponseFormat *responseFormat `json:"response_format"`
	Tools          *[]toolBody     `json:"tools"`
	ToolChoice     json.RawMessage `json:"tool_choice"`
	Parallel       *bool           `json:"parallel_tool_calls"`
	MathCheck      *bool           `json:"math_check"`
	MathVerify     *int64          `json:"math_verify" validate:"omitempty,min=1,max=16"`

	// Taken and without effect: models here do not reason in hiding, and answers are
	// written as fast as they can be.
	ReasoningEffort *string         `json:"reasoning_effort" validate:"omitempty,oneof=none minimal low medium high xhigh"`
	Prediction      json.RawMessage `json:"prediction"`

	// Refused unless they say what happens anyway.
	BestOf       json.RawMessage `json:"best_of"`
	Functions    json.RawMessage `json:"functions"`
	FunctionCall json.RawMessage `json:"function_call"`
	Modalities   json.RawMessage `json:"modalities"`
	Audio        json.RawMessage `json:"audio"`
	Verbosity    json.RawMessage `json:"verbosity"`
	WebSearch    json.RawMessage `json:"web_search_options"`

	Rest map[string]json.RawMessage `json:"*"`
}

// messageBody is a message; the fields after CallID are what clients send back
// of earlier answers.
type messageBody struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	Calls   *[]callMessage  `json:"tool_calls"`
	CallID  *string         `json:"tool_call_id"`

	Name         json.RawMessage `json:"name"`
	Refusal      json.RawMessage `json:"refusal"`
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

// claims are the parameters that would change the answer in ways we cannot.
func (q *Chat) claims() []claim {
	const tools = "use tools"
	return []claim{
		{"best_of", q.BestOf, []string{"1"}, "all that are written are sent; use n"},
		{"functions", q.Functions, []string{"[]"}, tools},
		{"function_call", q.FunctionCall, []string{`"none"`, `"auto"`}, tools},
		{"modalities", q.Modalities, []string{`["text"]`}, "answers are text"},
		{"audio", q.Audio, nil, "answers are text"},
		{"verbosity", q.Verbosity, nil, "ask for the length in a message, or limit it by max_tokens"},
		{"web_search_options", q.WebSearch, nil, "nothing is searched: the server speaks to nobody"},
	}
}

func (m *messageBody) claims(path string) []claim {
	all := []claim{
		{path + ".refusal", m.Refusal, nil, "write the text into content"},
		{path + ".function_call", m.FunctionCall, nil, "use tool_calls"},
		{path + ".audio", m.Audio, nil, "messages are text"},
		{path + ".annotations", m.Annotations, []string{"[]"}, "annotations are not read"},
	}
	if m.Role != "tool" { // there it is the tool's, which the call names as well
		all = append(all, claim{path + ".name", m.Name, nil, "speakers have no names; write the name into the content"})
	}
	return all
}

// ReadChat reads a request for chat, with the defaults of the configuration.
func ReadChat(d *door.Door, r *http.Request, c config.Serve) (*Chat, *Answers, error) {
	var ask Chat
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

// Checked reports whether the mathematics of the answer is to be looked at.
func (q *Chat) Checked() bool { return or(q.MathCheck, false) || q.Candidates() > 1 }

// Candidates is how many answers are to be written for the best of them.
func (q *Chat) Candidates() int { return int(or(q.MathVerify, 1)) }

// answers turns the request into questions.
func (q *Chat) answers(draw *drawing, d config.Serve) (*Answers, error) {
	if err := granted(q.claims()); err != nil {
		return nil, err
	}
	question, err := draw.question(d)
	if err != nil {
		return nil, err
	}
	question.Model = q.Model
	if question.Conversation, err = conversation(q.Messages); err != nil {
		return nil, err
	}
	if question.Form, err = q.form(&question.Conversation); err != nil {
		return nil, err
	}
	question.Logprobs, question.Top = or(q.Logprobs, false), int(or(q.TopLogprobs, 0))
	if question.Top > 0 && !question.Logprobs {
		return nil, wrong("top_logprobs", "top_logprobs goes with logprobs; set logprobs to true")
	}
	n := int(or(draw.N, 1))
	if n > 1 && q.Checked() {
		return nil, unsupported("n", "n is not supported together with math_check and math_verify, which speak of one answer")
	}
	all := draw.answers(n, question.Logprobs)
	for i := range n {
		choice := question
		choice.Sampling.Seed += uint64(i)
		all.Questions = append(all.Questions, choice)
	}
	return all, nil
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
		calls, err := m.calls(role, path)
		if err != nil {
			return c, err
		}
		text := ""
		if len(calls) == 0 || !harmless(m.Content, nil) { // beside calls there may be none
			if text, err = content(m.Content, path+".content"); err != nil {
				return c, err
			}
		}
		c.Messages[i] = chat.Message{Role: role, Content: text}
		if m.CallID != nil {
			if c.Answered == nil {
				c.Answered = map[int]string{}
			}
			c.Answered[i] = *m.CallID
		}
		if len(calls) > 0 {
			if c.Calls == nil {
				c.Calls = map[int][]chat.Call{}
			}
			c.Calls[i] = calls
		}
	}
	if last := len(messages) - 1; c.Messages[last].Role == chat.Assistant {
		at := fmt.Sprintf("messages[%d]", last)
		return c, wrong(at+".role", "%s is the assistant's: end with a message of the user, or of a tool", at)
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
	case "tool":
		return chat.Tool, nil
	case "function":
		return "", unsupported(path+".role", "%s.role %q is not supported: use tool", path, m.Role)
	case "":
		return "", fault.New(fault.Invalid, "%s.role is missing; set it to system, user or assistant", path).
			WithCode(form.CodeMissing).WithParam(path + ".role")
	}
	return "", wrong(path+".role", "%s.role is %.40q: it must be one of system, developer, user, assistant, tool", path, m.Role)
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
