package engine

import (
	"context"
	"sync"
	"sync/atomic"

	"afina/internal/lora"
	"afina/internal/sampling"
)

// request is a Request on its way. The loop writes it, its reader sees only out
// and gone.
type request struct {
	ctx     context.Context
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
	cached     int      // tokens of the prompt that the cache held

	tokens []int32 // the prompt and what was drawn
	prompt int     // how many of them are the prompt
	gone   atomic.Bool
	out    stream
}

// over reports whether nobody waits for the answer any more.
func (q *request) over() bool { return q.gone.Load() || q.ctx.Err() != nil }

// drawn is how many tokens have been generated.
func (q *request) drawn() int { return len(q.tokens) - q.prompt }

// stream carries tokens from the loop to one reader. The loop never waits for
// the reader: what is not yet read is kept, at most one answer's worth.
type stream struct {
	ready chan struct{} // holds a token when there is something new

	mu     sync.Mutex
	tokens []Token
	read   int
	err    error
}

// put hands over a token.
func (s *stream) put(t Token) {
	s.mu.Lock()
	s.tokens = append(s.tokens, t)
	s.mu.Unlock()
	s.signal()
}

// fail ends the stream, after the tokens already put, with err.
func (s *stream) fail(err error) {
	s.mu.Lock()
	s.err = err
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
