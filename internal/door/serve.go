package door

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// The limits of a connection.
const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 32 << 10
	abortTimeout  = 2 * time.Second // for handlers to notice that they were cut off
)

// Serve lets handler answer on ln until ctx ends, then drains: Closing is closed,
// new requests are refused, and answers being written go on for up to the drain
// timeout. It closes ln.
func (d *Door) Serve(ctx context.Context, ln net.Listener, handler http.Handler) error {
	base, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	errorLog, err := zap.NewStdLogAt(d.Log, zap.WarnLevel)
	if err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          errorLog,
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	select {
	case <-d.gate.close():
	case <-time.After(d.HTTP.DrainTimeout):
	}
	stop(errStopping)
	late, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	err = srv.Shutdown(late)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("stop serving %s: %w", ln.Addr(), err)
	}
	return nil
}

// gate counts the requests inside and closes behind the last.
type gate struct {
	mu      sync.Mutex
	inside  int
	closed  bool
	closing chan struct{} // closed when the gate is
	empty   chan struct{} // closed when, after that, nobody is inside
}

// enter reports whether the gate is still open; who entered must leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.closed && g.inside == 0 {
		close(g.empty)
	}
}

// close shuts the gate and returns a channel that is closed when nobody is
// inside any more.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.empty = true, make(chan struct{})
	close(g.closing)
	if g.inside == 0 {
		close(g.empty)
	}
	return g.empty
}
