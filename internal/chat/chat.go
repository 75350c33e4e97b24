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
	Tool      Role = "tool" // what a tool that was called gave back
)

// Message is one turn.
type Message struct {
	Role    Role   `json:"role"`
	Content string `json:"content"`
}

// Conversation is a list of turns, oldest first.
type Conversation struct {
	Messages []Message `json:"messages"`

	// Tools are what the assistant may call, each a JSON object as OpenAI's API has
	// it, and Calls what it called, by the place of its message. They are laid out
	// by templates that know tools (see CallForm) and refused by others.
	Tools [][]byte       `json:"-"`
	Calls map[int][]Call `json:"-"`
	// Answered are the ids of the calls that messages of tools answer, by the
	// message's place.
	Answered map[int]string `json:"-"`
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

	form     CallForm
	tools    bool // the template teaches form
	indented bool // it writes tools over several lines
	apart    bool // it looks into tools, so that it must be shown their fields
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
	t.indented = indentedTools.MatchString(source)
	trial, err := t.skeleton(Conversation{Messages: []Message{{User, "x"}}}, true)
	if err != nil {
		return err
	}
	t.form, t.tools = callForm(source)
	if t.tools && t.tryTools() != nil {
		t.apart = true
		t.tools = t.tryTools() == nil
	}
	t.turn, t.lead = trial[len(trial)-1].text, ""
	// A template without a place for answers can still be asked.
	if answered, err := t.skeleton(Conversation{Messages: []Message{{User, "x"}, {Assistant, "y"}}}, false); err == nil {
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
	parts, err := t.skeleton(c, open)
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
	message int // whose content this is, or own, or given
}

const (
	own   = -1 // marks the template's own text
	given = -2 // marks content of no message: a tool
)

// firstMark stands for the first content while a template is rendered, the next
// rune for the second, and so on: private-use runes of plane 15.
const (
	firstMark = '\U000F0000'
	lastMark  = '\U000FFFFD'
)

// mark is a content that a rune stands for. The template sees JSON as a string
// that it writes as JSON, so the rune stands in quotes, which go with it.
type mark struct {
	part
	json   bool
	quoted string // unless empty, the text where the rune stands in quotes
}

// marks are the contents of one rendering.
type marks []mark

// add returns the rune for a content.
func (m *marks) add(text string, message int, json bool) string {
	*m = append(*m, mark{part: part{text, message}, json: json})
	return string(firstMark + rune(len(*m)-1))
}

// addString is add for a string within a tool: it stands as JSON where the
// template puts it in quotes, else as it is.
func (m *marks) addString(text string) string {
	r := m.add(text, given, true)
	(*m)[len(*m)-1].quoted = quoted(text)
	return r
}

// skeleton renders c and returns the parts in order. The first and the last part
// are the template's own, and so is every second one.
func (t *Template) skeleton(c Conversation, open bool) ([]part, error) {
	size := len(c.Messages) + len(toolFields)*len(c.Tools)
	for _, calls := range c.Calls {
		size += 2 * len(calls)
	}
	if size > lastMark-firstMark+1 {
		return nil, fault.New(fault.Invalid, "the conversation has %d messages, tools and calls; at most %d can be laid out", size, lastMark-firstMark+1)
	}
	var m marks
	seen := view{open: open, bos: t.bos, eos: t.eos, messages: make([]shown, len(c.Messages))}
	for i, message := range c.Messages {
		seen.messages[i] = shown{Message: message}
		if core := strings.TrimSpace(message.Content); core != "" {
			before, after, _ := strings.Cut(message.Content, core)
			seen.messages[i].Content = before + m.add(core, i, false) + after
		}
		for _, call := range c.Calls[i] {
			seen.messages[i].calls = append(seen.messages[i].calls,
				shownCall{shortened(call.ID), m.add(call.Name, i, false), m.add(written(call.Arguments, false), i, true)})
		}
		if message.Role == Tool {
			seen.messages[i].answers = shortened(c.Answered[i])
		}
	}
	for _, tool := range c.Tools {
		shown, err := t.tool(&m, tool)
		if err != nil {
			return nil, err
		}
		seen.tools = append(seen.tools, shown)
	}
	text, err := t.program.render(seen)
	if err != nil {
		return nil, err
	}
	return m.cut(text, c)
}

// cut takes a rendered text apart at its marks.
func (m marks) cut(text string, c Conversation) ([]part, error) {
	parts := []part{{message: own}}
	placed := make([]bool, len(m))
	start := 0
	for at, r := range text {
		i := int(r - firstMark)
		if i < 0 || i >= len(m) {
			continue
		}
		placed[i] = true
		before, next := text[start:at], at+len(string(r))
		content := m[i].part
		if m[i].json && strings.HasSuffix(before, `"`) && strings.HasPrefix(text[next:], `"`) {
			before, next = before[:len(before)-1], next+1
			if m[i].quoted != "" {
				content.text = m[i].quoted
			}
		}
		parts[len(parts)-1].text = before
		parts = append(parts, content, part{message: own})
		start = next
	}
	parts[len(parts)-1].text = text[start:]
	if i := slices.Index(placed, false); i >= 0 {
		if m[i].message == given {
			return nil, fault.New(fault.Invalid, "the model's chat template has no place for tools").WithCode("template_refused").WithParam("tools")
		}
		return nil, fault.New(fault.Invalid, "the model's chat template has no place for message %d, of role %q", m[i].message, c.Messages[m[i].message].Role).
			WithCode("template_refused")
	}
	return parts, nil
}
