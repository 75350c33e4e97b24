// Package data turns a dataset file into batches: read, check, split, count,
// lay out, pack.
//
// Everything here is a function of its arguments alone. The order of training
// comes from a seed and a spelled-out generator, so that a job that was killed
// goes on with the very batches it would have had.
package data

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"afina/internal/chat"
)

// Limits bound what Read accepts. Zero fields mean no limit.
type Limits struct {
	Bytes         int64 // of the whole file
	LineBytes     int   // of one JSONL line, or of one conversation in an array
	Conversations int
	Messages      int // per conversation
	Depth         int // of JSON nesting
}

// DefaultLimits are the limits of the service.
func DefaultLimits() Limits {
	return Limits{Bytes: 64 << 20, LineBytes: 1 << 20, Conversations: 1_000_000, Messages: 64, Depth: 32}
}

// Problem is one thing wrong with a dataset.
type Problem struct {
	Line         int    `json:"line"`         // 1-based line of the file
	Column       int    `json:"column"`       // 1-based byte in that line
	Conversation int    `json:"conversation"` // 0-based; -1 when the file itself is broken
	Path         string `json:"path"`         // JSON path, e.g. [3].messages[1].role
	Code         string `json:"code"`         // e.g. "unknown_role"
	Message      string `json:"message"`
}

func (p Problem) String() string {
	at := fmt.Sprintf("line %d, column %d", p.Line, p.Column)
	if p.Path != "" {
		at += ", " + p.Path
	}
	return at + ": " + p.Message
}

// Write stores conversations as JSONL.
func Write(w io.Writer, all iter.Seq[chat.Conversation]) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for c := range all {
		if err := e.Encode(c); err != nil {
			return fmt.Errorf("write conversations: %w", err)
		}
	}
	return nil
}
