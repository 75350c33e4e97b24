package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"afina/internal/catalog"
	"afina/internal/contract"
	"afina/internal/jobs"
)

// served runs Serve on a free port until the test ends it.
type served struct {
	*site
	stop  context.CancelFunc
	ended chan error
}

func (h *house) serve(t *testing.T) *served {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &served{&site{h, t, "http://" + ln.Addr().String(), &http.Client{Transport: contract.Transport(t, nil)}}, stop, make(chan error, 1)}
	go func() { s.ended <- h.Serve(ctx, ln) }()
	return s
}

func (s *served) wait() {
	s.t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Error(err)
		}
	case <-time.After(10 * time.Second):
		s.t.Fatal("does not end")
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// TestDrain: the answer being written is finished; everything else is refused at
// once, streams of job events end.
func TestDrain(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	release := make(chan struct{})
	h := newHouse()
	h.Assistant = held(release, make(chan error, 1))
	h.jobs.watch = func(_ context.Context, id string) (<-chan jobs.Event, error) {
		c := make(chan jobs.Event, 1)
		c <- jobs.Event{Job: aJob(id, jobs.Running)}
		return c, nil
	}
	s := h.serve(t)
	if r := s.send("GET", "/readyz", ""); r.status != http.StatusOK {
		t.Fatal(r.status, r.text)
	}
	resp, lines := s.begin(t.Context())
	defer resp.Body.Close()
	events, err := s.client.Get(s.base + "/jobs/job_1/events")
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	if _, err := io.ReadAll(events.Body); err != nil {
		t.Error("the events were cut off:", err)
	}
	events.Body.Close()
	r := s.send("GET", "/readyz", "")
	s.refused(r, http.StatusServiceUnavailable, "shutting_down", "", "shutting down")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if r := s.send("GET", "/healthz", ""); r.status != http.StatusOK {
		t.Error(r.status, r.text)
	}
	s.refused(s.send("POST", chatPath, asks("")), http.StatusServiceUnavailable, "shutting_down", "", "shutting down")
	close(release)
	last := ""
	for lines.Scan() {
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	if last != "data: [DONE]" {
		t.Errorf("the answer ends with %q", last)
	}
	s.wait()
	if _, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://")); err == nil {
		t.Error("still listens")
	}
}

// TestDrainTimeout: an answer that takes too long is cut off, and told so.
func TestDrainTimeout(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	h := newHouse()
	h.Config.HTTP.DrainTimeout = 20 * time.Millisecond
	left := make(chan error, 1)
	h.Assistant = held(nil, left)
	s := h.serve(t)
	resp, lines := s.begin(t.Context())
	defer resp.Body.Close()
	s.stop()
	if !lines.Scan() || !strings.Contains(lines.Text(), `"code":"shutting_down"`) {
		t.Errorf("%q", lines.Text())
	}
	<-left
	s.wait()
}

func TestNotReady(t *testing.T) {
	h := newHouse()
	var why error = errors.New("models are being opened")
	h.Ready = func() error { return why }
	s := h.open(t)
	s.refused(s.send("GET", "/readyz", ""), http.StatusServiceUnavailable, "not_ready", "", "models are being opened")
	why = nil
	if r := s.send("GET", "/readyz", ""); r.status != http.StatusOK {
		t.Error(r.status, r.text)
	}
}

// TestListenerGone: Serve ends when its listener does.
func TestListenerGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := newHouse().Serve(t.Context(), ln); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestHeadersTooLarge: a header beyond the limit is refused before any handler.
func TestHeadersTooLarge(t *testing.T) {
	s := newHouse().serve(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { // the server stops reading before the end
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 1<<20))
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(resp, err)
	}
	s.stop()
	s.wait()
}

// TestBodyCutOff: a client that leaves in the middle of its body costs nothing.
func TestBodyCutOff(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	read := make(chan error, 1)
	h := newHouse()
	h.catalog.add = func(_ string, r io.Reader) (catalog.Dataset, error) {
		_, err := io.ReadAll(r)
		read <- err
		return catalog.Dataset{}, err
	}
	s := h.serve(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[")
	conn.Close()
	if err := <-read; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Error(err)
	}
	s.stop()
	s.wait()
	if !h.meters.seen(counted{"POST", "/datasets", 499}) {
		t.Errorf("%v", h.meters.requests)
	}
}
