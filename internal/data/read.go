package data

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"afina/internal/chat"
	"afina/internal/fault"
)

// maxProblems is how many problems are told of one file.
const maxProblems = 1000

// Read decodes and checks a dataset: a JSON array of conversations, or JSONL.
// It collects every problem rather than stopping at the first (up to 1000);
// when there is any, the error is a fault.Unprocessable whose Details are the
// []Problem. Each good conversation is handed to keep as it is read, so a large
// file streams. Inside an array nothing can be told behind broken JSON; in
// JSONL the next line is read as if nothing had been.
func Read(r io.Reader, limits Limits, keep func(chat.Conversation) error) error {
	f := &file{keep: keep, message: none}
	f.scanner = scanner{in: bufio.NewReaderSize(r, 1<<16), at: place{1, 1}, limits: limits, report: f.problem, onLong: f.long}
	f.conversation = none
	if err := f.read(); err != nil && !errors.Is(err, errBroken) {
		return err
	}
	if f.failure != nil {
		return f.failure
	}
	switch n := len(f.problems); {
	case n == 0:
		return nil
	case n == 1:
		return f.refusal("the dataset has a problem: %s", f.problems[0])
	case n == maxProblems:
		return f.refusal("the dataset has %d problems or more; the first: %s", n, f.problems[0])
	default:
		return f.refusal("the dataset has %d problems; the first: %s", n, f.problems[0])
	}
}

// ReadAll is Read into memory.
func ReadAll(r io.Reader, limits Limits) ([]chat.Conversation, error) {
	var all []chat.Conversation
	err := Read(r, limits, func(c chat.Conversation) error {
		all = append(all, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// none stands for no conversation, no message.
const none = -1

// file is a dataset while it is read.
type file struct {
	scanner
	keep     func(chat.Conversation) error
	problems []Problem

	conversation int // the current one, or none
	message      int // the current one, or none
	begins       place
	wrong        bool // the current conversation has a problem
}

func (f *file) refusal(format string, args ...any) error {
	return fault.New(fault.Unprocessable, format, args...).WithCode("invalid_dataset").WithDetails(f.problems)
}

// full reports whether enough problems were told.
func (f *file) full() bool { return len(f.problems) >= maxProblems }

// field notes what is wrong with a field of the current object, or with all of
// it when name is empty. Of a conversation that is too long, and therefore not
// kept, nothing more can be said.
func (f *file) field(at place, name, code, format string, args ...any) {
	if !f.tooLong {
		f.note(at, name, code, fmt.Sprintf(format, args...))
	}
}

// problem notes what is wrong with the JSON, or with the file.
func (f *file) problem(at place, code, format string, args ...any) {
	f.note(at, "", code, fmt.Sprintf(format, args...))
}

func (f *file) note(at place, name, code, message string) {
	f.wrong = true
	if f.full() {
		return
	}
	path := ""
	if f.conversation != none {
		path = fmt.Sprintf("[%d]", f.conversation)
	}
	if f.message != none {
		path += fmt.Sprintf(".messages[%d]", f.message)
	}
	if name != "" {
		path += "." + clip(name)
	}
	f.problems = append(f.problems, Problem{at.line, at.column, f.conversation, path, code, message})
}

// clip shortens a field's name for a message.
func clip(name string) string {
	if r := []rune(name); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return name
}

// long is called once when the current conversation outgrows its limit.
func (f *file) long() {
	message := f.message
	f.message = none
	what := "the conversation"
	if f.lines {
		what = "the line"
	}
	f.problem(f.begins, "line_too_long", "%s has more than %d bytes", what, f.limits.LineBytes)
	f.message = message
}

// read tells an array from JSON Lines by the first character.
func (f *file) read() error {
	head, _ := f.in.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")):
		f.in.Discard(3)
		f.count(3)
		f.size = 0
	case bytes.HasPrefix(head, []byte("\xFF\xFE")), bytes.HasPrefix(head, []byte("\xFE\xFF")),
		len(head) >= 2 && (head[0] == 0 || head[1] == 0):
		f.problem(f.at, "unsupported_encoding", "the file is not UTF-8 but looks like UTF-16 or UTF-32; save it as UTF-8")
		return nil
	}
	f.between()
	f.blanks()
	c, ok := f.peek()
	switch {
	case f.failure != nil:
		return f.failure
	case !ok:
		f.problem(f.at, "empty_dataset", "the file holds no conversation")
	case c == '[':
		return f.readArray()
	case c == '{':
		return f.readLines()
	default:
		f.problem(f.at, "invalid_json", "a dataset begins with '[' (an array of conversations) or '{' (JSON Lines), not with %q", c)
	}
	return nil
}

// between says that what comes belongs to no conversation: only the limit of
// the whole file holds.
func (f *file) between() { f.size, f.tooLong = 0, true }

// begin makes ready for a conversation that starts here.
func (f *file) begin() error {
	f.conversation++
	f.begins, f.size, f.tooLong, f.wrong, f.message = f.at, 0, false, false, none
	if limit := f.limits.Conversations; limit > 0 && f.conversation >= limit {
		f.problem(f.at, "too_many_conversations", "the dataset has more than %d conversations", limit)
		return errBroken
	}
	return nil
}

func (f *file) readArray() error {
	err := f.array(func(int) error {
		if f.full() {
			return errBroken
		}
		if err := f.begin(); err != nil {
			return err
		}
		defer f.between()
		return f.readConversation()
	})
	if err != nil {
		return err
	}
	if f.conversation == none {
		f.problem(f.at, "empty_dataset", "the array holds no conversation")
	}
	f.conversation = none
	f.blanks()
	if c, ok := f.peek(); ok {
		f.problem(f.at, "trailing_data", "%q follows the end of the array; a dataset is one array", c)
	}
	return nil
}

func (f *file) readLines() error {
	f.lines = true
	for !f.full() {
		f.between()
		f.blanks()
		if _, ok := f.peek(); ok {
			if err := f.begin(); err != nil {
				return err
			}
			f.depth = 0
			if err := f.readLine(); err != nil {
				return err
			}
		}
		if f.finished {
			return f.failure
		}
		f.between()
		f.skipLine()
	}
	return nil
}

// readLine reads one conversation and sees that nothing follows it.
func (f *file) readLine() error {
	first := f.conversation == 0
	err := f.readConversation()
	if errors.Is(err, errBroken) {
		if _, more := f.peek(); first && !more && !f.finished {
			// A conversation printed over several lines: one word about it is enough.
			f.problems[len(f.problems)-1].Message += ". Put each conversation on one line, or all of them into one array"
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	f.blanks()
	if c, ok := f.peek(); ok {
		f.message = none
		f.problem(f.at, "trailing_data", "%q follows the conversation; put each conversation on a line of its own", c)
	}
	return nil
}

// said is a message as it was read.
type said struct {
	chat.Message
	at, role, content place // of the object and of its two values
	known             bool  // the role is one of the three
}

// readConversation reads, checks and hands over one conversation.
func (f *file) readConversation() error {
	at := f.at
	if c, _ := f.peek(); c != '{' {
		kind, err := f.skip()
		if err == nil {
			f.field(at, "", "wrong_type", "a conversation is an object such as {\"messages\": […]}, not %s", kind)
		}
		return err
	}
	var all []said
	seen := map[string]bool{}
	err := f.object(func(name string, at place) error {
		f.once(seen, name, at)
		if name != "messages" {
			return f.unknown(name, at, `"messages"`, map[string]string{"conversations": "messages", "conversation": "messages"})
		}
		var err error
		all, err = f.readMessages()
		return err
	})
	f.message = none
	if err != nil {
		return err
	}
	if !seen["messages"] {
		f.field(at, "messages", "missing_field", "the conversation has no field \"messages\"")
	}
	f.checkOrder(all)
	if f.wrong || f.failure != nil {
		return f.failure
	}
	conv := chat.Conversation{Messages: make([]chat.Message, len(all))}
	for i, m := range all {
		conv.Messages[i] = m.Message
	}
	return f.keep(conv)
}

// once reports a field that comes twice.
func (f *file) once(seen map[string]bool, name string, at place) {
	if seen[name] {
		f.field(at, name, "duplicate_key", "the field %q comes twice in one object", clip(name))
	}
	seen[name] = true
}

// unknown reports a field that has no meaning here, and skips its value.
func (f *file) unknown(name string, at place, allowed string, meant map[string]string) error {
	hint := ""
	if to, ok := meant[name]; ok {
		hint = fmt.Sprintf("; rename it to %q", to)
	}
	f.field(at, name, "unknown_field", "the field %q is not known; allowed here: %s%s", clip(name), allowed, hint)
	_, err := f.skip()
	return err
}

func (f *file) readMessages() ([]said, error) {
	at := f.at
	if c, _ := f.peek(); c != '[' {
		kind, err := f.skip()
		if err == nil {
			f.field(at, "messages", "wrong_type", "\"messages\" must be an array, not %s", kind)
		}
		return nil, err
	}
	var all []said
	empty := true
	err := f.array(func(i int) error {
		empty = false
		f.message = i
		if limit := f.limits.Messages; limit > 0 && i == limit {
			f.field(f.at, "", "too_many_messages", "the conversation has more than %d messages", limit)
		}
		m, err := f.readMessage()
		if f.limits.Messages <= 0 || i < f.limits.Messages {
			all = append(all, m)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	f.message = none
	if empty {
		f.field(at, "messages", "empty_conversation", "the conversation has no messages; it needs a user's and an assistant's at least")
	}
	return all, nil
}

func (f *file) readMessage() (m said, err error) {
	m.at, m.role, m.content = f.at, f.at, f.at
	if c, _ := f.peek(); c != '{' {
		kind, err := f.skip()
		if err == nil {
			f.field(m.at, "", "wrong_type", "a message is an object such as {\"role\": \"user\", \"content\": \"…\"}, not %s", kind)
		}
		return m, err
	}
	seen := map[string]bool{}
	var role string
	var isText [2]bool
	err = f.object(func(name string, at place) (err error) {
		f.once(seen, name, at)
		switch name {
		case "role":
			m.role = f.at
			role, isText[0], err = f.readText(name)
		case "content":
			m.content = f.at
			m.Content, isText[1], err = f.readText(name)
		default:
			return f.unknown(name, at, `"role" and "content"`, map[string]string{"from": "role", "value": "content", "text": "content"})
		}
		return err
	})
	if err != nil {
		return m, err
	}
	for _, name := range []string{"role", "content"} {
		if !seen[name] {
			f.field(m.at, name, "missing_field", "the message has no field %q", name)
		}
	}
	switch m.Role = chat.Role(role); m.Role {
	case chat.System, chat.User, chat.Assistant:
		m.known = true
	default:
		if isText[0] {
			f.field(m.role, "role", "unknown_role", "the role %q is not known; the roles are system, user and assistant", clip(role))
		}
	}
	if isText[1] && strings.TrimSpace(m.Content) == "" {
		f.field(m.content, "content", "empty_content", "the content is empty")
	}
	return m, nil
}

// readText reads the value of a field that must be a string.
func (f *file) readText(name string) (text string, ok bool, err error) {
	at := f.at
	if c, _ := f.peek(); c == '"' {
		text, err = f.text()
		return text, err == nil, err
	}
	kind, err := f.skip()
	if err == nil {
		f.field(at, name, "wrong_type", "%q must be a string, not %s", name, kind)
	}
	return "", false, err
}

// checkOrder wants a system message first or not at all, then user and
// assistant in turn, the assistant last. A message of unknown role, reported
// already, may stand for any.
func (f *file) checkOrder(all []said) {
	const order, any = "role_order", chat.Role("any")
	var before chat.Role // of the turn before, empty at the beginning
	for i, m := range all {
		f.message = i
		role := m.Role
		if !m.known {
			role = any
		}
		switch {
		case role == chat.System && i > 0:
			f.field(m.role, "role", order, "a system message comes first and once; this is message %d", i)
		case role == before && role != any:
			f.field(m.role, "role", order, "two turns of the %s follow each other; user and assistant take turns", role)
		case role == chat.Assistant && before == "":
			f.field(m.role, "role", order, "the assistant speaks before the user has")
		}
		if role != chat.System {
			before = role
		}
	}
	if n := len(all); n > 0 && all[n-1].known && all[n-1].Role != chat.Assistant {
		f.message = n - 1
		f.field(all[n-1].role, "role", order, "the conversation must end with the assistant's answer; this is the %s's turn", all[n-1].Role)
	}
	f.message = none
}
