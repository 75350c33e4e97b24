// Package chat holds conversations and the templates that lay them out as
// tokens. Training and serving use the same Lay, so what the adapter learned
// is what it is asked.
//
// A template is a program that comes with the model file, so it is trusted with
// nothing: it never sees a content, only a mark that stands for it and the
// blanks at the content's edges (which templates trim or keep). It can
// therefore place contents, but neither read nor change them, and its running
// time is bounded.
package chat

import (
	"slices"
	"strings"

	"afina/internal/fault"
	"afina/internal/gguf"
	"afina/internal/tokenizer"
)

// Role says who speaks.
type Role string

// The roles.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
)

// Message is one turn.
type Message struct {
	Role    Role   `json:"role"`
	Content string `json:"content"`
}

// Conversation is a list of turns, oldest first.
type Conversation struct {
	Messages []Message `json:"messages"`
}

// Sequence is a conversation laid out as tokens.
type Sequence struct {
	Tokens []int32
	Learn  []bool // Learn[i]: token i was written by the assistant, or ends its turn
}

// Template lays out conversations for one model. It is safe for concurrent use.
type Template struct {
	// Source says where it came from: "file", or the name of the default used,
	// with the reason where the file has a template that does not work.
	Source string

	program  *program
	bos, eos string // names of the tokens, as templates write them
	turn     string // what stands between a question and its answer, the answer's lead excepted
	lead     string // blanks that the model is to write before an answer's content

	form  CallForm
	tools bool // the template teaches form
}

// The defaults, for files without a template.
const (
	chatML = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}` +
		`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

	// Phi-2's form for questions and answers, from its model card, with an end
	// after each answer so that the model learns to stop.
	phi2 = `{% for message in messages %}` +
		`{% if message['role'] == 'user' %}{{ 'Instruct: ' + message['content'] + '\nOutput:' }}` +
		`{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token + '\n' }}` +
		`{% else %}{{ message['content'] + '\n' }}{% endif %}{% endfor %}`
)

// FromGGUF returns the template of a model file; a file without one gets the
// default of its architecture (Phi-2: "Instruct: …\nOutput:"), else ChatML when
// the vocabulary has it, else an error.
func FromGGUF(md gguf.Metadata, tok *tokenizer.Tokenizer) (*Template, error) {
	t := &Template{bos: tok.Text(tok.BOS), eos: tok.Text(tok.EOS)}
	source, ok := md.String("tokenizer.chat_template")
	why := ""
	if ok {
		err := t.load(source)
		if err == nil {
			t.Source = "file"
			return t, nil
		}
		why = ": the model file's own template cannot be used: " + err.Error()
	}

	arch, _ := md.String("general.architecture")
	_, start := tok.Special("<|im_start|>")
	_, end := tok.Special("<|im_end|>")
	name := ""
	switch {
	case arch == "phi2" && t.eos != "":
		name, source = "Phi-2", phi2
	case start && end:
		name, source = "ChatML", chatML
	default:
		return nil, fault.New(fault.Unprocessable,
			"the model file has no usable tokenizer.chat_template and its vocabulary has no ChatML tokens%s; convert an instruction-tuned model with its template", why).
			WithCode("no_chat_template")
	}
	if err := t.load(source); err != nil {
		return nil, err
	}
	t.Source = name + why
	return t, nil
}

// load compiles source and tries it on the simplest conversation.
func (t *Template) load(source string) error {
	program, err := compile(source)
	if err != nil {
		return err
	}
	t.program = program
	t.form, t.tools = callForm(source)
	trial, err := t.skeleton([]Message{{User, "x"}}, true)
	if err != nil {
		return err
	}
	t.turn, t.lead = trial[len(trial)-1].text, ""
	// A template without a place for answers can still be asked.
	if answered, err := t.skeleton([]Message{{User, "x"}, {Assistant, "y"}}, false); err == nil {
		before, _, _ := around(answered, 1)
		if lead, ok := strings.CutPrefix(before, t.turn); ok && strings.TrimSpace(lead) == "" {
			t.lead = lead
		}
	}
	return nil
}

// Render returns c as the template writes it, with special tokens by name. With
// open true it ends where the assistant's next turn begins.
func (t *Template) Render(c Conversation, open bool) (string, error) {
	parts, err := t.skeleton(c.Messages, open)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
	}
	return b.String(), nil
}

// part is a stretch of a rendered conversation: the template's own text, or a
// content without the blanks at its edges.
type part struct {
	text    string
	message int // whose content this is, or own
}

// own marks the template's own text.
const own = -1

// firstMark stands for the content of message 0 while a template is rendered,
// the next rune for message 1, and so on: private-use runes of plane 15.
const (
	firstMark = '\U000F0000'
	lastMark  = '\U000FFFFD'
)

// skeleton renders messages and returns the parts in order. The first and the
// last part are the template's own, and so is every second one.
func (t *Template) skeleton(messages []Message, open bool) ([]part, error) {
	if len(messages) > lastMark-firstMark+1 {
		return nil, fault.New(fault.Invalid, "the conversation has %d messages; at most %d can be laid out", len(messages), lastMark-firstMark+1)
	}
	marked := make([]Message, len(messages))
	cores := make([]string, len(messages))
	for i, m := range messages {
		cores[i] = strings.TrimSpace(m.Content)
		marked[i] = m
		if cores[i] != "" {
			before, after, _ := strings.Cut(m.Content, cores[i])
			marked[i].Content = before + string(firstMark+rune(i)) + after
		}
	}
	text, err := t.program.render(marked, open, t.bos, t.eos)
	if err != nil {
		return nil, err
	}

	parts := []part{{message: own}}
	placed := make([]bool, len(messages))
	start := 0
	for at, r := range text {
		i := int(r - firstMark)
		if i < 0 || i >= len(messages) {
			continue
		}
		placed[i] = true
		parts[len(parts)-1].text = text[start:at]
		parts = append(parts, part{cores[i], i}, part{message: own})
		start = at + len(string(r))
	}
	parts[len(parts)-1].text = text[start:]
	if i := slices.Index(placed, false); i >= 0 && cores[i] != "" {
		return nil, fault.New(fault.Invalid, "the model's chat template has no place for message %d, of role %q", i, messages[i].Role).
			WithCode("template_refused")
	}
	return parts, nil
}
