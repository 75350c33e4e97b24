package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// stream checks the events of a body as they are read.
type stream struct {
	io.ReadCloser
	x       *exchange
	schemas map[string]*openapi3.Schema // by the name of the event
	chunks  *chunks                     // nil: they are not OpenAI's

	line  []byte // not ended yet
	name  string
	data  bool // an event has begun
	ended bool // checked at the end
}

// usual is the name of events that have none.
const usual = "message"

// newStream finds the schemas of a stream's events: the contract names them under
// x-events, beside the schema of the whole text.
func newStream(x *exchange, body io.ReadCloser) *stream {
	s := &stream{ReadCloser: body, x: x, schemas: map[string]*openapi3.Schema{}}
	if x.lost != nil {
		x.fail("a stream where the contract has no route")
		return s
	}
	answers := x.route.Operation.Responses.Status(x.resp.StatusCode)
	if answers == nil || answers.Value.Content["text/event-stream"] == nil {
		x.fail("the contract has no stream here")
		return s
	}
	named, _ := answers.Value.Content["text/event-stream"].Extensions["x-events"].(map[string]any)
	for event, schema := range named {
		s.schemas[event] = Schema(x.c.t, fmt.Sprint(schema))
		if event == usual {
			s.chunks = newChunks(x, strings.HasSuffix(x.route.Path, "/chat/completions"))
		}
	}
	if len(named) == 0 {
		x.fail("the contract does not say what the events are")
	}
	for name, want := range map[string]string{"Cache-Control": "no-cache", "X-Accel-Buffering": "no"} {
		if got := x.resp.Header.Get(name); got != want {
			x.fail("%s is %q", name, got)
		}
	}
	return s
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	for _, b := range p[:n] {
		if b != '\n' {
			s.line = append(s.line, b)
			continue
		}
		s.take(string(s.line))
		s.line = s.line[:0]
	}
	if err == io.EOF && !s.ended {
		s.ended = true
		if len(s.line) > 0 || s.data {
			s.x.fail("the stream ends inside an event: %q", s.line)
		}
		if s.chunks != nil {
			s.chunks.end()
		}
	}
	return n, err
}

// take reads one line. There are no others than these: some clients in use fail
// on ids, on retry times and on blank lines without an event.
func (s *stream) take(line string) {
	field, text, _ := strings.Cut(line, ": ")
	switch {
	case line == "" && s.data:
		s.name, s.data = "", false
	case line == ": ping":
	case field == "event" && !s.data:
		s.name = text
	case field == "data" && !s.data:
		s.data = true
		s.event(text)
	default:
		s.x.fail("a stream has the line %q", line)
	}
}

func (s *stream) event(text string) {
	name := s.name
	if name == "" {
		name = usual
	}
	if s.chunks != nil && s.chunks.word(text) {
		return
	}
	schema := s.schemas[name]
	if schema == nil {
		s.x.fail("the contract has no event %q here", name)
		return
	}
	if err := visit(schema, []byte(text)); err != nil {
		s.x.fail("an event %q: %v\n%s", name, err, text)
	}
	if s.chunks != nil {
		s.chunks.take(text)
	}
}

// chunks are those of OpenAI's streams, whose order matters: what each check
// prevents was seen to break one of its clients.
type chunks struct {
	x     *exchange
	chat  bool
	usage bool // was asked for

	head    string       // id, created, model of the first
	opened  map[int]bool // choices
	reasons map[int]bool // that have ended
	counted bool         // the usage was told
	done    bool
	failed  bool // an error was told
}

func newChunks(x *exchange, chat bool) *chunks {
	var ask struct {
		Options *struct {
			Usage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	_ = json.Unmarshal(x.asked, &ask) // the server has granted it
	return &chunks{x: x, chat: chat, usage: ask.Options != nil && ask.Options.Usage, opened: map[int]bool{}, reasons: map[int]bool{}}
}

// word takes what is no chunk: the end of the stream, and a failure.
func (c *chunks) word(text string) bool {
	if c.done || c.failed {
		c.x.fail("after the end comes %s", text)
	}
	if text == "[DONE]" {
		c.done = true
		return true
	}
	var failure struct{ Error json.RawMessage }
	if json.Unmarshal([]byte(text), &failure) == nil && failure.Error != nil {
		c.failed = true // a null would be one too, for OpenAI's client
		Matches(c.x.c.t, "Error", []byte(text))
		return true
	}
	return false
}

func (c *chunks) take(text string) {
	var chunk struct {
		ID      string
		Created int64
		Model   string
		Usage   json.RawMessage
		Choices []struct {
			Index int
			Delta struct {
				Role string
			}
			Reason *string `json:"finish_reason"`
		}
	}
	if err := json.Unmarshal([]byte(text), &chunk); err != nil {
		c.x.fail("a chunk: %v", err)
		return
	}
	head := fmt.Sprint(chunk.ID, " ", chunk.Created, " ", chunk.Model)
	if c.head == "" {
		c.head = head
	}
	counts := chunk.Usage != nil && !bytes.Equal(chunk.Usage, []byte("null"))
	switch {
	case head != c.head:
		c.x.fail("a chunk is of %s, not of %s", head, c.head)
	case c.counted:
		c.x.fail("a chunk comes after the usage: %s", text)
	case (chunk.Usage != nil) != c.usage:
		c.x.fail("usage was asked for: %t; a chunk has it: %t", c.usage, chunk.Usage != nil)
	case counts && len(chunk.Choices) > 0:
		c.x.fail("usage is told beside choices: %s", text)
	}
	c.counted = counts
	for _, choice := range chunk.Choices {
		i := choice.Index
		switch {
		case !c.opened[i]:
			if c.chat && i != len(c.opened) { // clients build their lists by place
				c.x.fail("choice %d comes before %d", i, len(c.opened))
			}
			c.opened[i] = true
			if c.chat != (choice.Delta.Role == "assistant") {
				c.x.fail("choice %d begins with %s", i, text)
			}
		case choice.Delta.Role != "":
			c.x.fail("choice %d has its role twice", i)
		}
		if c.reasons[i] {
			c.x.fail("choice %d goes on after its end: %s", i, text)
		}
		c.reasons[i] = choice.Reason != nil
	}
}

// end checks a stream that has ended by itself.
func (c *chunks) end() {
	switch {
	case c.failed && c.done:
		c.x.fail("a stream that failed says that it is done")
	case c.failed:
	case !c.done:
		c.x.fail("the stream ends without [DONE]")
	case c.usage && !c.counted:
		c.x.fail("the usage was not told")
	default:
		for i := range c.opened {
			if !c.reasons[i] {
				c.x.fail("choice %d has no finish_reason", i)
			}
		}
	}
}
