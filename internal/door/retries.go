package door

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Retries recognises the second sending of a request that makes something, by a
// client that lost the answer to the first. OpenAI's clients send no
// Idempotency-Key; they count their tries in a header. The zero value is ready.
type Retries struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]attempt
}

type attempt struct {
	id string
	at time.Time
}

// A retry comes within retryWindow.
const retryWindow = 10 * time.Minute

// Once calls create, which makes a thing and returns its id, unless r is the
// retry of a request to the same address with the same key and body that made
// one: then the id of that is returned, and again is true.
func (t *Retries) Once(r *http.Request, text []byte, now time.Time, create func() (id string, err error)) (id string, again bool, err error) {
	count, err := strconv.Atoi(r.Header.Get("X-Stainless-Retry-Count"))
	if err != nil {
		id, err = create()
		return id, false, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", r.Header.Get("Authorization"), r.URL.Path, text))
	t.mu.Lock()
	defer t.mu.Unlock() // a retry waits for the first try to end
	if first, ok := t.seen[sum]; ok && count > 0 && now.Sub(first.at) < retryWindow {
		return first.id, true, nil
	}
	if id, err = create(); err != nil {
		delete(t.seen, sum) // what is tried again now was refused, whatever equal words made before
		return id, false, err
	}
	for k, a := range t.seen {
		if now.Sub(a.at) >= retryWindow {
			delete(t.seen, k)
		}
	}
	if t.seen == nil {
		t.seen = map[[sha256.Size]byte]attempt{}
	}
	t.seen[sum] = attempt{id, now}
	return id, false, nil
}
