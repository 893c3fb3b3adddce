package api

import (
	"fmt"
	"strings"
	"time"
)

// Kind sorts errors by what a caller can do about them. The server turns it
// into a status in one file.
type Kind string

const (
	Invalid         Kind = "invalid"         // mend the request
	Unauthenticated Kind = "unauthenticated" // sign in
	Forbidden       Kind = "forbidden"       // ask the owner
	NotFound        Kind = "not found"       // there is no such thing
	Conflict        Kind = "conflict"        // not in this state
	Gone            Kind = "gone"            // it ended, for good
	NotYet          Kind = "not yet"         // ask again soon
	TooMany         Kind = "too many"        // a limit; ask again later
	NoRoom          Kind = "no room"         // the host lacks room
	Unsupported     Kind = "unsupported"     // this labd cannot
	Unreachable     Kind = "unreachable"     // the machine refused or is silent
	Internal        Kind = "internal"        // labd's own fault
)

// Error is a refusal a person can read. It is also the JSON body of every
// non-2xx reply to clients that accept JSON.
type Error struct {
	Message  string    `json:"error"`
	Kind     Kind      `json:"kind"`
	Problems []Problem `json:"problems,omitempty"`
	// Request names the request in labd's log, as X-Request-Id does.
	Request string `json:"request,omitempty"`
	// RetryAfter tells when to ask again; 0 means that it would not help. It
	// travels as a header.
	RetryAfter time.Duration `json:"-"`
}

// Errorf makes an Error.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Error is the message with one line per problem.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, p := range e.Problems {
		b.WriteString("\n" + p.String())
	}
	return b.String()
}

// Problem is one finding about a manifest: where, what is wrong, and what
// would be right. Line and Column count from 1; 0 means unknown.
type Problem struct {
	// Severity is "error" (or empty) or "warning".
	Severity string `json:"severity,omitempty"`
	Path     string `json:"path"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Message  string `json:"message"`
	Fix      string `json:"fix,omitempty"`
}

// String is "line:column: path: message (fix)", leaving out what is unknown.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", p.Line, p.Column)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Fix != "" {
		b.WriteString(" (" + p.Fix + ")")
	}
	return b.String()
}
