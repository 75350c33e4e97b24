package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// stream writes server-sent events, each flushed at once. Headers go out with the
// first write, so that a failure before it can still be a status.
//
// Some clients in use fail on anything but "event:" and "data:" lines, and on
// blank lines without an event before them; hence no ids, no retry times, and a
// keep-alive that is one comment line alone.
type stream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, rc: http.NewResponseController(w)}
}

func (out *stream) begin() {
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

// event sends v under a name; "" for none.
func (out *stream) event(name string, v any) error {
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

// done sends the word with which OpenAI's streams end.
func (out *stream) done() error { return out.send([]byte("data: [DONE]\n\n")) }

// ping keeps the connection alive.
func (out *stream) ping() error { return out.send([]byte(": ping\n")) }

func (out *stream) send(text []byte) error {
	out.begin()
	if _, err := out.w.Write(text); err != nil {
		return fmt.Errorf("write to the client: %w", err)
	}
	// The write above may have stayed in a buffer: the flush needs the time too.
	_ = out.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := out.rc.Flush(); err != nil {
		return fmt.Errorf("write to the client: %w", err)
	}
	return nil
}
