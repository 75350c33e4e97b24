package door

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// Stream writes server-sent events, each flushed at once. Headers go out with the
// first write, so that a failure before it can still be a status.
//
// Some clients in use fail on anything but "event:" and "data:" lines, and on
// blank lines without an event before them; hence no ids, no retry times, and a
// keep-alive that is one comment line alone.
type Stream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

// NewStream returns a stream that has not begun.
func NewStream(w http.ResponseWriter) *Stream {
	return &Stream{w: w, rc: http.NewResponseController(w)}
}

// Begun reports whether the headers are out: a failure can no longer be a status.
func (out *Stream) Begun() bool { return out.begun }

func (out *Stream) begin() {
	if out.begun {
		return
	}
	out.begun = true
	h := out.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	out.w.WriteHeader(http.StatusOK)
}

// Event sends v under a name; "" for none.
func (out *Stream) Event(name string, v any) error {
	var buf bytes.Buffer
	if name != "" {
		fmt.Fprintf(&buf, "event: %s\n", name)
	}
	buf.WriteString("data: ")
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	buf.WriteByte('\n')
	return out.send(buf.Bytes())
}

// Done sends the word with which OpenAI's streams end.
func (out *Stream) Done() error { return out.send([]byte("data: [DONE]\n\n")) }

// Ping keeps the connection alive.
func (out *Stream) Ping() error { return out.send([]byte(": ping\n")) }

func (out *Stream) send(text []byte) error {
	out.begin()
	if _, err := out.w.Write(text); err != nil {
		return fmt.Errorf("write to the client: %w", err)
	}
	if err := out.rc.Flush(); err != nil {
		return fmt.Errorf("write to the client: %w", err)
	}
	return nil
}
