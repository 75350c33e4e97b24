package door_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"afina/internal/config"
	"afina/internal/door"
	"afina/internal/fault"
)

// open serves one handler behind a door, on a real connection.
func open(t *testing.T, o door.Options, handler func(d *door.Door) http.Handler) (address string, counts <-chan int) {
	t.Helper()
	counted := make(chan int, 16)
	o.Listen, o.HTTP = "127.0.0.1:0", config.Default().HTTP
	o.Log = zap.NewNop()
	o.Count = func(_, _ string, status int, _ float64) { counted <- status }
	d := door.New(o)
	server := httptest.NewServer(d.Receive(d.Guard(handler(d))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), counted
}

// TestSlowBody: who sends too slowly is told, and let go.
func TestSlowBody(t *testing.T) {
	address, counts := open(t, door.Options{Grace: 50 * time.Millisecond}, func(d *door.Door) http.Handler {
		return d.Answer(func(r *http.Request) (int, any, error) {
			var v struct{}
			_, err := d.Decode(r, &v)
			return http.StatusOK, v, fmt.Errorf("read it: %w", err)
		})
	})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	began := time.Now()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusRequestTimeout || !resp.Close || !bytes.Contains(text, []byte(`"request_timeout"`)) {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, text)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if status := <-counts; status != http.StatusRequestTimeout {
		t.Error(status)
	}
}

// TestSteadyBody: the deadline of a body does not outlive it.
func TestSteadyBody(t *testing.T) {
	address, _ := open(t, door.Options{Grace: 20 * time.Millisecond}, func(d *door.Door) http.Handler {
		return d.Answer(func(r *http.Request) (int, any, error) {
			var v struct{}
			if _, err := d.Decode(r, &v); err != nil {
				return 0, nil, err
			}
			select {
			case <-time.After(60 * time.Millisecond):
				return http.StatusOK, v, nil
			case <-r.Context().Done():
				return 0, nil, r.Context().Err()
			}
		})
	})
	for range 2 { // the second on the same connection
		resp, err := http.Post("http://"+address, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
}

// TestSlowReader: who does not read is dropped, so that the writer can go on.
func TestSlowReader(t *testing.T) {
	dropped := make(chan error, 1)
	address, _ := open(t, door.Options{Patience: 50 * time.Millisecond}, func(d *door.Door) http.Handler {
		return d.Streaming(func(w http.ResponseWriter, _ *http.Request) error {
			out := door.NewStream(w)
			for {
				if err := out.Event("", strings.Repeat("x", 1<<16)); err != nil {
					dropped <- err
					return nil
				}
			}
		})
	})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	select {
	case <-dropped:
	case <-time.After(10 * time.Second):
		t.Fatal("the writer still waits")
	}
}

// TestSlowHandler: a handler that outlasts its time is answered for.
func TestSlowHandler(t *testing.T) {
	handler := func(d *door.Door) http.Handler {
		return d.Streaming(func(_ http.ResponseWriter, r *http.Request) error {
			r, cancel := door.Within(r, time.Millisecond)
			defer cancel()
			<-r.Context().Done()
			return door.Ended(r, fmt.Errorf("look it up: %w", r.Context().Err()))
		})
	}
	address, _ := open(t, door.Options{}, handler)
	resp, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var e door.Envelope
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || resp.StatusCode != http.StatusServiceUnavailable || *e.Error.Code != "timeout" {
		t.Errorf("%d %+v %v", resp.StatusCode, e, err)
	}
}

// TestUnencodable: an answer that is no JSON is our fault, said in JSON.
func TestUnencodable(t *testing.T) {
	address, _ := open(t, door.Options{}, func(d *door.Door) http.Handler {
		return d.Answer(func(*http.Request) (int, any, error) { return http.StatusOK, func() {}, nil })
	})
	resp, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var e door.Envelope
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("%d %+v %v", resp.StatusCode, e, err)
	}
}

// TestPanicAfterStart: an answer cut short by a panic does not look whole.
func TestPanicAfterStart(t *testing.T) {
	address, counts := open(t, door.Options{}, func(*door.Door) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
			panic("x")
		})
	})
	resp, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("looks whole")
	}
	if status := <-counts; status != http.StatusOK {
		t.Error(status)
	}
}

// TestServeManyStreams: streams end together with the door, and leave nothing
// behind.
func TestServeManyStreams(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	o := door.Options{Listen: "127.0.0.1:0", HTTP: config.Default().HTTP, Log: zap.NewNop(), Count: func(string, string, int, float64) {}}
	d := door.New(o)
	handler := d.Receive(d.Guard(d.Streaming(func(w http.ResponseWriter, _ *http.Request) error {
		out := door.NewStream(w)
		if err := out.Ping(); err != nil {
			return err
		}
		<-d.Closing()
		return out.Done()
	})))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx, ln, handler) }()
	const streams = 200
	whole := make(chan string, streams)
	for range streams {
		go func() {
			resp, err := http.Get("http://" + ln.Addr().String())
			if err != nil {
				whole <- err.Error()
				return
			}
			defer resp.Body.Close()
			line := bufio.NewReader(resp.Body)
			first, _ := line.ReadString('\n')
			whole <- first
			rest, _ := io.ReadAll(line)
			whole <- string(rest)
		}()
	}
	for range streams {
		if text := <-whole; text != ": ping\n" {
			t.Fatalf("%q", text)
		}
	}
	stop()
	for range streams {
		if text := <-whole; text != "data: [DONE]\n\n" {
			t.Fatalf("%q", text)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// FuzzQuery: no query string brings the door down, and what is taken is within
// its bounds.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"limit=5", "limit=5&limit=6", "%zz", "limit=9999999999999999999", "x=1;y=2", "share=NaN", "pairs[a]=b&pairs[c]=", "pairs[]=x", "pairs[a][b]=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = raw
		q := door.Ask(r, "limit", "share", "pairs[*]")
		n, x := q.Integer("limit", 20, 1, 100), q.Number("share", 0.1, 0, 0.9)
		if q.Err == nil && (n < 1 || n > 100 || !(x >= 0 && x <= 0.9)) {
			t.Errorf("%q: %d, %g", raw, n, x)
		}
		if q.Err != nil && fault.KindOf(q.Err) != fault.Invalid {
			t.Errorf("%q: %v", raw, q.Err)
		}
		for key := range q.Group("pairs") {
			if q.Err == nil && (key == "" || strings.Contains(key, "][")) {
				t.Errorf("%q: a pair is called %q", raw, key)
			}
		}
	})
}
