package engine

import (
	"context"
	"sync"
	"sync/atomic"

	"afina/internal/fault"
	"afina/internal/lora"
	"afina/internal/sampling"
)

// request is a Request on its way. The loop writes it, its reader sees only out
// and gone.
type request struct {
	ctx     context.Context
	number  uint64 // in the order of coming
	adapter *lora.Adapter
	ends    []int32
	never   []int32
	sampler *sampling.Sampler
	limit   int // tokens to draw at most, at least 1

	client     string
	logprobs   bool
	top        int
	constraint Constraint
	allowed    []uint64 // what the constraint allows
	cached     int      // tokens of the prompt that the cache held when it was first admitted
	admitted   bool

	tokens []int32 // the prompt and what was drawn
	prompt int     // how many of them are the prompt
	lookup lookup

	fresh  []Token // drawn in the running pass
	failed error   // what went wrong in it

	gone atomic.Bool
	out  stream
}

// over reports whether nobody waits for the answer any more.
func (q *request) over() bool { return q.gone.Load() || q.ctx.Err() != nil || q.out.full() }

// drawn is how many tokens have been generated.
func (q *request) drawn() int { return len(q.tokens) - q.prompt }

// stream carries tokens from the loop to one reader. The loop never waits for
// the reader: what is not yet read is kept, up to a limit.
type stream struct {
	ready chan struct{} // holds a token when there is something new
	limit int           // tokens that may be unread

	mu     sync.Mutex
	tokens []Token // unread from read on
	read   int
	err    error
}

// put hands over a token. A reader who leaves too many unread loses the rest.
func (s *stream) put(t Token) {
	s.mu.Lock()
	switch {
	case s.err != nil:
	case len(s.tokens)-s.read >= s.limit:
		s.err = fault.New(fault.Canceled, "%d tokens of the answer were not read; it was given up", s.limit).WithCode("slow_reader")
	default:
		if s.read == len(s.tokens) {
			s.tokens, s.read = s.tokens[:0], 0
		}
		s.tokens = append(s.tokens, t)
	}
	s.mu.Unlock()
	s.signal()
}

// full reports whether the reader has lost the rest.
func (s *stream) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// fail ends the stream, after the tokens already put, with err.
func (s *stream) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.signal()
}

func (s *stream) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// next waits for the next token.
func (s *stream) next(ctx context.Context) (Token, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Token{}, canceled(err)
		}
		s.mu.Lock()
		if s.read < len(s.tokens) {
			t := s.tokens[s.read]
			s.tokens[s.read] = Token{}
			s.read++
			s.mu.Unlock()
			return t, nil
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return Token{}, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
		}
	}
}
