package chat

import (
	"crypto/rand"
	"encoding/json"
	"regexp"
	"strings"
)

// CallPiece is a piece of a tool call, in order. The first of a call has its ID
// and name and no arguments.
type CallPiece struct {
	Index     int // of the call in its answer
	ID, Name  string
	Arguments string // a piece of JSON text
}

// Gather adds pieces to the calls that they are of.
func Gather(calls []Call, pieces []CallPiece) []Call {
	for _, p := range pieces {
		if p.Index == len(calls) {
			calls = append(calls, Call{ID: p.ID, Name: p.Name})
		}
		calls[p.Index].Arguments += p.Arguments
	}
	return calls
}

// CallReader takes an answer apart while it is written: text, and pieces of
// calls. A call is one from where its arguments begin; what never gets so far
// stays text. How the answer is cut into pieces makes no difference to either.
type CallReader struct {
	form        CallForm
	open, close string         // the marks as they stand in what is read
	head        *regexp.Regexp // of a call, up to where its arguments begin
	at          place
	held        string // not decided yet
	calls       int    // begun
	text        bool   // something but blanks came outside of calls

	// Of the arguments being read.
	nesting         int
	quoted, escaped bool
}

// place is where in an answer a reader is.
type place int

const (
	outside   place = iota
	head            // a call has begun
	arguments       // of a call
	tail            // the arguments are over
)

// Reader returns the reader of one answer. spelled says how a mark stands in
// what is read; nil: as it is.
func (f CallForm) Reader(spelled func(mark string) string) *CallReader {
	if spelled == nil {
		spelled = func(mark string) string { return mark }
	}
	lead := ""
	if f.List {
		lead = `[\[,]\s*`
	}
	return &CallReader{
		form: f, open: spelled(f.Open), close: spelled(f.Close),
		head: regexp.MustCompile(`^\s*` + lead + `\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"` + regexp.QuoteMeta(f.Arguments) + `"\s*:\s*\{`),
	}
}

// Next takes the next piece of the answer and returns what is decided now.
func (r *CallReader) Next(piece string) (text string, calls []CallPiece) {
	r.held += piece
	for more := true; more; {
		switch r.at {
		case outside:
			var shown string
			shown, more = r.prose()
			text += shown
		case head:
			var first CallPiece
			if first, more = r.begin(); more {
				calls = append(calls, first)
			}
		case arguments:
			var part string
			if part, more = r.argument(); part != "" {
				calls = append(calls, CallPiece{Index: r.calls - 1, Arguments: part})
			}
		case tail:
			more = r.end()
		}
	}
	return text, calls
}

// End returns the text that was held back: what began like a call and was none.
func (r *CallReader) End() (text string) {
	switch r.at {
	case outside:
		text = r.held
		if r.calls > 0 {
			text = strings.TrimRight(text, blanks)
		}
	case head:
		text = r.form.Open + r.held
	}
	r.held = ""
	return text
}

// Called reports whether there were calls, the last of them whole.
func (r *CallReader) Called() bool { return r.calls > 0 && (r.at == outside || r.at == head) }

const blanks = " \t\r\n"

// prose returns the text that is no part of a call, whatever comes, and whether
// a call has begun.
func (r *CallReader) prose() (shown string, begun bool) {
	safe := 0
	switch start := strings.TrimLeft(r.held, blanks); {
	case r.open == "" && (r.text || r.calls > 0):
		safe = len(r.held)
	case r.open == "" && start == "":
	case r.open == "" && start[0] == '{': // the whole answer is a call
		r.at, r.held = head, start
		return "", true
	case r.open == "":
		safe = len(r.held)
	default:
		at := strings.Index(r.held, r.open)
		if at >= 0 {
			shown = strings.TrimRight(r.held[:at], blanks)
			r.at, r.held = head, r.held[at+len(r.open):]
			return shown, true
		}
		// Blanks before a call are not shown.
		safe = len(strings.TrimRight(strings.TrimSuffix(r.held, beginning(r.held, r.open)), blanks))
	}
	shown, r.held = r.held[:safe], r.held[safe:]
	r.text = r.text || strings.TrimSpace(shown) != ""
	return shown, false
}

// beginning is the longest end of text that begins mark.
func beginning(text, mark string) string {
	for n := min(len(mark)-1, len(text)); n > 0; n-- {
		if strings.HasSuffix(text, mark[:n]) {
			return mark[:n]
		}
	}
	return ""
}

// begin reads a call up to its arguments, if they are there.
func (r *CallReader) begin() (first CallPiece, ok bool) {
	at := r.head.FindStringSubmatchIndex(r.held)
	if at == nil || json.Unmarshal([]byte(r.held[at[2]:at[3]]), &first.Name) != nil || first.Name == "" {
		return CallPiece{}, false
	}
	first.Index, first.ID = r.calls, r.form.id()
	r.held = r.held[at[1]-1:]
	r.at, r.calls = arguments, r.calls+1
	return first, true
}

// id makes the name of a call. Mistral's templates insist on nine characters.
func (f CallForm) id() string {
	if f.List {
		return rand.Text()[:shortID]
	}
	return "call_" + rand.Text()
}

const shortID = 9

// argument returns what is held of the arguments, and whether they are over.
func (r *CallReader) argument() (part string, over bool) {
	for i := range len(r.held) {
		c := r.held[i]
		switch {
		case r.escaped:
			r.escaped = false
		case r.quoted:
			r.escaped, r.quoted = c == '\\', c != '"'
		case c == '"':
			r.quoted = true
		case c == '{' || c == '[':
			r.nesting++
		case c == '}' || c == ']':
			r.nesting--
		}
		if r.nesting == 0 {
			part, r.held, r.at = r.held[:i+1], r.held[i+1:], tail
			return part, true
		}
	}
	part, r.held = r.held, ""
	return part, false
}

// end reads what closes a call, if it is there.
func (r *CallReader) end() bool {
	rest, closed := strings.CutPrefix(strings.TrimLeft(r.held, blanks), "}")
	if !closed {
		return false
	}
	rest = strings.TrimLeft(rest, blanks)
	switch {
	case r.form.List && strings.HasPrefix(rest, ","):
		r.at, r.held = head, rest
		return true
	case r.form.List:
		rest, closed = strings.CutPrefix(rest, "]")
	default:
		rest, closed = strings.CutPrefix(rest, r.close)
	}
	if closed {
		r.at, r.held = outside, rest
	}
	return closed
}
