package data

import (
	"slices"

	"afina/internal/chat"
)

// Batch is some sequences put end to end, without padding. Attention stays
// inside each: the token at place i sees the places First[i] … i. What follows
// the last token that foretells a learned one is left out: no loss depends on it.
//
// Sequences that begin alike may share their first tokens, which are then in
// Tokens once and at a place in each sequence.
type Batch struct {
	Tokens  []int32 // (n)
	Targets []int32 // (n): the next token of the same sequence where it is learned, else -1
	Pos     []int32 // (n): position inside the sequence, from 0
	First   []int32 // (places): the place where the sequence begins
	Shared  []int32 // (places): which token is there; nil when token i is at place i
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

// target is what the token t of seq foretells, -1 when that is not learned.
func target(seq chat.Sequence, t int) int32 {
	if seq.Learn[t+1] {
		return seq.Tokens[t+1]
	}
	return -1
}

// token appends the token t of seq and returns its index.
func (b *Batch) token(seq chat.Sequence, t int) int32 {
	b.Tokens = append(b.Tokens, seq.Tokens[t])
	b.Targets = append(b.Targets, target(seq, t))
	b.Pos = append(b.Pos, int32(t))
	if b.Targets[len(b.Targets)-1] >= 0 {
		b.Counted++
	}
	return int32(len(b.Tokens) - 1)
}

// add appends a sequence.
func (b *Batch) add(seq chat.Sequence) {
	first := int32(len(b.Tokens))
	for t := range useful(seq) {
		b.token(seq, t)
		b.First = append(b.First, first)
	}
}

// tree is a batch whose sequences share their beginnings.
type tree struct {
	batch Batch
	next  map[edge]int32
}

// edge leads from a token of the batch, -1 before the first, to one that follows
// it in some sequence.
type edge struct{ from, token int32 }

// known is how many tokens at the beginning of seq are in the tree. A token that
// foretells a learned one is its sequence's own.
func (n *tree) known(seq chat.Sequence) int {
	at, ok := int32(-1), false
	for t := range useful(seq) {
		if target(seq, t) >= 0 {
			return t
		}
		if at, ok = n.next[edge{at, seq.Tokens[t]}]; !ok {
			return t
		}
	}
	return useful(seq)
}

// add puts seq into the tree.
func (n *tree) add(seq chat.Sequence) {
	if n.next == nil {
		n.next = map[edge]int32{}
	}
	b := &n.batch
	first, known, at, open := int32(len(b.First)), n.known(seq), int32(-1), true
	for t := range useful(seq) {
		key := edge{at, seq.Tokens[t]}
		open = open && target(seq, t) < 0
		if t < known {
			at = n.next[key]
		} else if at = b.token(seq, t); open {
			n.next[key] = at
		}
		b.First, b.Shared = append(b.First, first), append(b.Shared, at)
	}
}

// Sharing costs attention a copy of what it reads and writes. It pays from the
// share of tokens that it saves on, and not beyond so many places a token.
const (
	leastShared = 1.0 / 16
	mostPlaces  = 2
)

// saves is how many tokens there would be more without sharing.
func (n *tree) saves() int { return len(n.batch.First) - len(n.batch.Tokens) }

// pays reports whether sharing is worth it.
func (n *tree) pays() bool {
	return n.saves() > 0 && float64(n.saves()) >= leastShared*float64(len(n.batch.First))
}

// Pack puts sequences end to end in batches of at most maxTokens, in order: for
// the held-out loss. A longer sequence is a batch of its own. Sequences share what
// they begin with where that pays.
func Pack(seqs []chat.Sequence, maxTokens int) []Batch {
	return packShared(seqs, maxTokens)
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

// packShared is pack for sequences that may share their beginnings. Tokens that
// are shared count once, and a batch has at most mostPlaces·maxTokens places.
func packShared(seqs []chat.Sequence, maxTokens int) []Batch {
	var batches []Batch
	var n tree
	from := 0
	flush := func(to int) {
		if n.pays() || maxTokens > 0 && n.saves() > 0 && len(n.batch.First) > maxTokens {
			batches = append(batches, n.batch)
		} else {
			batches = pack(batches, seqs[from:to], 0)
		}
		n, from = tree{}, to
	}
	for i, seq := range seqs {
		own, places := useful(seq)-n.known(seq), len(n.batch.First)+useful(seq)
		if maxTokens > 0 && (len(n.batch.Tokens)+own > maxTokens || places > mostPlaces*maxTokens) && i > from {
			flush(i)
		}
		n.add(seq)
	}
	if from < len(seqs) {
		flush(len(seqs))
	}
	return batches
}

// Step is the batches whose gradients one optimiser step adds up.
type Step struct {
	Epoch   int
	Batches []Batch
	Counted int // over all batches
	Tokens  int // of the sequences, those that are shared as often as they are there
}

// Plan says how sequences are dealt into steps.
type Plan struct {
	BatchSize  int // sequences per batch
	Accumulate int // batches per step
	Epochs     int
	MaxTokens  int  // batches are laid together and cut again into such that are no longer; 0: never
	Share      bool // lay tokens that sequences of a batch begin with alike once
	Seed       uint64
}

// perStep is the number of sequences of a step, the last of an epoch excepted.
func (p Plan) perStep() int { return max(p.BatchSize, 1) * max(p.Accumulate, 1) }

// perEpoch is the number of steps of an epoch over n sequences.
func (p Plan) perEpoch(n int) int { return (n + p.perStep() - 1) / p.perStep() }

// Places bounds the places of a batch whose sequences share tokens; 0 when none
// do, or when nothing is known before the batch is laid.
func (p Plan) Places() int {
	if !p.Share {
		return 0
	}
	return mostPlaces * p.MaxTokens
}

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
	size := max(p.BatchSize, 1)
	if p.MaxTokens > 0 {
		size = len(order) // their gradients add up in any case
	}
	for part := range slices.Chunk(order, size) {
		some := make([]chat.Sequence, len(part))
		for i, k := range part {
			some[i] = seqs[k]
		}
		if p.Share {
			s.Batches = append(s.Batches, packShared(some, p.MaxTokens)...)
		} else {
			s.Batches = pack(s.Batches, some, p.MaxTokens)
		}
	}
	for _, b := range s.Batches {
		s.Counted += b.Counted
		s.Tokens += len(b.First)
	}
	return s
}

// shuffle is the source of an epoch's order.
func (p Plan) shuffle(epoch int) random {
	r := random(p.Seed)
	return random(r.next() ^ uint64(epoch)*0x9e3779b97f4a7c15)
}
