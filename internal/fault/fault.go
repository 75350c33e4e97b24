// Package fault names the kinds of failure a caller can act on.
//
// An error made here is safe to show to the caller. Any other error is the
// operator's business: it is logged whole and shown only as "internal error".
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what the caller can do about a failure.
type Kind string

// The kinds of failure.
const (
	Internal      Kind = "internal"      // nothing; the operator must look
	Invalid       Kind = "invalid"       // correct the request
	Unprocessable Kind = "unprocessable" // correct the content of the file or dataset
	NotFound      Kind = "not_found"     // name something that exists
	Conflict      Kind = "conflict"      // wait, or change the state first
	TooLarge      Kind = "too_large"     // send less
	Busy          Kind = "busy"          // try again later
	NoSpace       Kind = "no_space"      // free some disk or memory
	Canceled      Kind = "canceled"      // the caller left
)

// Error is a failure with a kind and a sentence meant for the caller.
type Error struct {
	Kind    Kind
	Message string
	Code    string        // a stable machine-readable word, e.g. "model_not_found"; may be empty
	Param   string        // the request field at fault, as the caller wrote it; may be empty
	Details any           // further findings, e.g. all errors of a dataset; may be nil
	Retry   time.Duration // of Busy: after what time trying again may help; 0: not known
	cause   error
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.cause }

// WithCode sets the machine-readable code and returns e.
func (e *Error) WithCode(code string) *Error { e.Code = code; return e }

// WithParam sets the field at fault and returns e.
func (e *Error) WithParam(param string) *Error { e.Param = param; return e }

// WithDetails attaches further findings and returns e.
func (e *Error) WithDetails(details any) *Error { e.Details = details; return e }

// WithRetry sets after what time trying again may help and returns e.
func (e *Error) WithRetry(d time.Duration) *Error { e.Retry = d; return e }

// New makes an error of the given kind. Wrap a cause with %w as in fmt.Errorf.
func New(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), cause: errors.Unwrap(err)}
}

// KindOf returns the kind of the outermost fault in err's chain, or Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
