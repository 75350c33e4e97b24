package httpapi

import (
	"net/http"

	"afina/internal/door"
)

// The pages of lists.
const (
	pageSize = 20
	pageMost = 100
)

// page reads where a page begins and how long it may be.
func page(r *http.Request) (after string, limit int, err error) {
	q := door.Ask(r, "after", "limit")
	limit = int(q.Integer("limit", pageSize, 1, pageMost))
	if q.Has("after") && q.Text("after") == "" {
		q.Wrong("after", "after is empty; leave it out to begin with the newest")
	}
	return q.Text("after"), limit, q.Err
}

// list is a page of a list.
type list[T any] struct {
	Object string `json:"object"` // "list"
	Data   []T    `json:"data"`
	More   bool   `json:"has_more"`
}

// of makes a list of things, each dressed for the wire.
func of[S, T any](things []S, more bool, dress func(S) T) list[T] {
	l := list[T]{Object: "list", Data: make([]T, len(things)), More: more}
	for i, t := range things {
		l.Data[i] = dress(t)
	}
	return l
}

// deleted says what was deleted.
type deleted struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}
