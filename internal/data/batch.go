package data

import "afina/internal/chat"

// Batch is some sequences put end to end, without padding. Attention stays
// inside each: token t sees First[t] … t. What follows the last token that
// foretells a learned one is left out: no loss depends on it.
type Batch struct {
	Tokens  []int32 // (n)
	Targets []int32 // (n): the next token of the same sequence where it is learned, else -1
	First   []int32 // (n): index of the first token of the sequence t belongs to
	Pos     []int32 // (n): position inside the sequence, from 0
	Counted int     // targets that are not -1
}

// useful is how many tokens of seq go into a batch: those before the last
// learned one.
func useful(seq chat.Sequence) int {
	for t := len(seq.Learn) - 1; t > 0; t-- {
		if seq.Learn[t] {
			return t
		}
	}
	return 0
}

// add appends a sequence.
func (b *Batch) add(seq chat.Sequence) {
	first := int32(len(b.Tokens))
	for t := range useful(seq) {
		target := int32(-1)
		if seq.Learn[t+1] {
			target = seq.Tokens[t+1]
			b.Counted++
		}
		b.Tokens = append(b.Tokens, seq.Tokens[t])
		b.Targets = append(b.Targets, target)
		b.First = append(b.First, first)
		b.Pos = append(b.Pos, int32(t))
	}
}

// Pack puts sequences end to end in batches of at most maxTokens, in order: for
// the held-out loss. A longer sequence is a batch of its own.
func Pack(seqs []chat.Sequence, maxTokens int) []Batch {
	return pack(nil, seqs, maxTokens)
}

// pack appends the batches of seqs to batches; maxTokens 0 makes one of them.
func pack(batches []Batch, seqs []chat.Sequence, maxTokens int) []Batch {
	var b Batch
	flush := func() {
		if len(b.Tokens) > 0 {
			batches = append(batches, b)
		}
		b = Batch{}
	}
	for _, seq := range seqs {
		if maxTokens > 0 && len(b.Tokens)+useful(seq) > maxTokens {
			flush()
		}
		b.add(seq)
	}
	flush()
	return batches
}

// Step is the batches whose gradients one optimiser step adds up.
type Step struct {
	Epoch   int
	Batches []Batch
	Counted int // over all batches
	Tokens  int
}

// Plan says how sequences are dealt into steps.
type Plan struct {
	BatchSize  int // sequences per batch
	Accumulate int // batches per step
	Epochs     int
	MaxTokens  int // a batch longer than this is cut into several that add up; 0: never
	Seed       uint64
}

// perStep is the number of sequences of a step, the last of an epoch excepted.
func (p Plan) perStep() int { return max(p.BatchSize, 1) * max(p.Accumulate, 1) }

// perEpoch is the number of steps of an epoch over n sequences.
func (p Plan) perEpoch(n int) int { return (n + p.perStep() - 1) / p.perStep() }

// Steps is the number of optimiser steps of p over n sequences. Every epoch
// ends with a step of its own, a smaller one when n does not divide.
func (p Plan) Steps(n int) int { return p.perEpoch(n) * max(p.Epochs, 0) }

// Step returns the step number i, 0-based. It depends only on p, the sequences
// and i, so training resumes anywhere.
func (p Plan) Step(seqs []chat.Sequence, i int) Step {
	per := p.perEpoch(len(seqs))
	if per == 0 {
		return Step{}
	}
	s := Step{Epoch: i / per}
	order := permutation(len(seqs), p.shuffle(s.Epoch))
	from := i % per * p.perStep()
	order = order[from:min(from+p.perStep(), len(order))]
	for size := max(p.BatchSize, 1); len(order) > 0; {
		var some []chat.Sequence
		for _, k := range order[:min(size, len(order))] {
			some = append(some, seqs[k])
		}
		order = order[len(some):]
		s.Batches = pack(s.Batches, some, p.MaxTokens)
	}
	for _, b := range s.Batches {
		s.Counted += b.Counted
		s.Tokens += len(b.Tokens)
	}
	return s
}

// shuffle is the source of an epoch's order.
func (p Plan) shuffle(epoch int) random {
	r := random(p.Seed)
	return random(r.next() ^ uint64(epoch)*0x9e3779b97f4a7c15)
}
