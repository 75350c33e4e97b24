// Package door is the frame that every request and every answer passes,
// whatever they are about: who may come in, how much and how fast a body may
// come, how JSON is read, how a value, an error or a stream goes out, and how
// the house is closed.
//
// It knows no route and no room. Every answer carries an x-request-id, every
// answer outside 2xx has the same envelope, and every write has a deadline.
package door

import (
	"cmp"
	"crypto/sha256"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"afina/internal/config"
	"afina/internal/form"
)

// Options are what a door needs to know.
type Options struct {
	Listen string // the address it is bound to
	HTTP   config.HTTP
	Log    *zap.Logger
	// Count is told of every request: its method, one of a fixed set, and its
	// route's pattern, never its URL.
	Count func(method, route string, status int, seconds float64)
	// Page writes the page that asks a browser for the key.
	Page func(w http.ResponseWriter, status int)

	Grace    time.Duration // before a body must keep its pace; 0: 10 s
	Patience time.Duration // with a reader, at each write; 0: 30 s
}

// Door is safe for concurrent use.
type Door struct {
	Options
	rules  *form.Rules
	keys   [][sha256.Size]byte
	local  bool // bound to a loopback address
	origin *http.CrossOriginProtection
	gate   gate
}

// New returns an open door.
func New(o Options) *Door {
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	o.Patience = cmp.Or(o.Patience, 30*time.Second)
	d := &Door{
		Options: o, rules: form.NewRules("json"), origin: http.NewCrossOriginProtection(),
		gate: gate{closing: make(chan struct{})},
	}
	for _, key := range o.HTTP.APIKeys {
		d.keys = append(d.keys, sha256.Sum256([]byte(key)))
	}
	host, _, err := net.SplitHostPort(o.Listen)
	d.local = err == nil && config.Loopback(host)
	return d
}

// Closing is closed when the door drains: who streams without end should end.
func (d *Door) Closing() <-chan struct{} { return d.gate.closing }
