// Package sampling turns logits into a token.
package sampling

// Options are the caller's choices. The zero value is greedy.
type Options struct {
	Temperature   float32 // 0 is greedy
	TopK          int     // 0: no limit
	TopP          float32 // 0 or 1: no limit
	MinP          float32 // 0: no limit
	RepeatPenalty float32 // 0 or 1: none
	Seed          uint64
}

// Sampler draws tokens for one sequence. It is not safe for concurrent use.
type Sampler struct{ opts Options }

// New returns a sampler; equal options give equal draws.
func New(opts Options) *Sampler { return &Sampler{opts} }

// Next returns the chosen index. seen are the tokens so far, for the repetition
// penalty. It may reorder and overwrite logits. It fails when no logit is finite.
func (s *Sampler) Next(logits []float32, seen []int32) (int32, error) { panic("sketch") }
