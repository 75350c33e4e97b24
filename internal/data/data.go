// Package data turns a dataset file into batches: read, check, split, count,
// lay out, pack.
package data

import (
	"io"
	"iter"

	"afina/internal/chat"
	"afina/internal/model"
)

// Limits bound what Read accepts. Zero fields mean no limit.
type Limits struct {
	Bytes         int64 // of the whole file
	LineBytes     int   // of one JSONL line
	Conversations int
	Messages      int // per conversation
	Depth         int // of JSON nesting
}

// DefaultLimits are the limits of the service.
func DefaultLimits() Limits { panic("sketch") }

// Problem is one thing wrong with a dataset.
type Problem struct {
	Line         int    `json:"line"`         // 1-based line of the file
	Column       int    `json:"column"`       // 1-based byte in that line
	Conversation int    `json:"conversation"` // 0-based; -1 when the file itself is broken
	Path         string `json:"path"`         // JSON path, e.g. [3].messages[1].role
	Code         string `json:"code"`         // e.g. "unknown_role"
	Message      string `json:"message"`
}

// Read decodes and checks a dataset: a JSON array of conversations, or JSONL.
// It collects every problem rather than stopping at the first (up to 1000);
// when there is any, the error is a fault.Unprocessable whose Details are the
// []Problem. Each good conversation is handed to keep as it is read, so a large
// file streams.
func Read(r io.Reader, limits Limits, keep func(chat.Conversation) error) error { panic("sketch") }

// ReadAll is Read into memory.
func ReadAll(r io.Reader, limits Limits) ([]chat.Conversation, error) { panic("sketch") }

// Write stores conversations as JSONL.
func Write(w io.Writer, all iter.Seq[chat.Conversation]) error { panic("sketch") }

// Split deals conversations into a training and a held-out part: equal seeds
// give equal splits, and duplicates of one conversation fall on one side. With
// held > 0 and at least two distinct conversations both parts are non-empty.
// The results are indexes into all, ascending.
func Split(all []chat.Conversation, held float64, seed uint64) (train, test []int) { panic("sketch") }

// Laid is a set of conversations laid out for one model.
type Laid struct {
	Sequences []chat.Sequence
	Index     []int // conversation each came from
	Truncated []int // conversations that were cut to the maximum length
	Empty     []int // conversations left out: no token to learn remains
	Learned   int   // tokens that carry a loss
	Tokens    int   // tokens in all
}

// Lay lays out the conversations at index for m, cutting each to maxLength tokens.
func Lay(m *model.Model, all []chat.Conversation, index []int, maxLength int) (*Laid, error) {
	panic("sketch")
}

// Batch is some sequences put end to end, without padding. Attention stays
// inside each: token t sees First[t] … t.
type Batch struct {
	Tokens  []int32 // (n)
	Targets []int32 // (n): the next token of the same sequence where it is learned, else -1
	First   []int32 // (n): index of the first token of the sequence t belongs to
	Pos     []int32 // (n): position inside the sequence, from 0
	Counted int     // targets that are not -1
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

// Steps is the number of optimiser steps of p over n sequences.
func (p Plan) Steps(n int) int { panic("sketch") }

// Step returns the step number i, 0-based. It depends only on p, the sequences
// and i, so training resumes anywhere.
func (p Plan) Step(seqs []chat.Sequence, i int) Step { panic("sketch") }

// Pack puts sequences end to end in batches of at most maxTokens, in order: for
// the held-out loss.
func Pack(seqs []chat.Sequence, maxTokens int) []Batch { panic("sketch") }

// Distribution summarises a list of counts.
type Distribution struct {
	Mean   float64 `json:"mean"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Max    int     `json:"max"`
	// Histogram counts values in buckets [Edges[i], Edges[i+1]).
	Edges  []int `json:"edges"`
	Counts []int `json:"counts"`
}

// Stats describe a dataset; the token figures are there when a model was given.
type Stats struct {
	Conversations int `json:"conversations"`
	Turns         int `json:"turns"` // assistant answers
	WithSystem    int `json:"with_system"`
	Duplicates    int `json:"duplicates"`   // conversations equal to an earlier one
	SpecialText   int `json:"special_text"` // contents in which a control token is spelled out

	QuestionChars  Distribution  `json:"question_characters"`
	AnswerChars    Distribution  `json:"answer_characters"`
	Model          string        `json:"model,omitempty"`
	QuestionTokens *Distribution `json:"question_tokens,omitempty"`
	AnswerTokens   *Distribution `json:"answer_tokens,omitempty"`
	TotalTokens    *Distribution `json:"conversation_tokens,omitempty"`
	MaxLength      int           `json:"max_length,omitempty"`
	TooLong        int           `json:"longer_than_max_length"`
	LearnedShare   float64       `json:"trained_token_share,omitempty"`
	Train          int           `json:"train_conversations"`
	Test           int           `json:"test_conversations"`
}

// Describe counts. m may be nil: then there are no token figures.
func Describe(all []chat.Conversation, m *model.Model, maxLength int, held float64, seed uint64) (Stats, error) {
	panic("sketch")
}
