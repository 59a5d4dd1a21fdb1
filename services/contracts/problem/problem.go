// Package problem is the contract's error form: {"error": CODE, "message": ..., "field": ...}.
//
// Every error that may be shown to a caller is an *Error: a kind, which the HTTP edge maps to a
// status; a code in the contract's words, which callers branch on; and a message that is safe to
// show. Its cause is for logs only. Any other error is an internal one and is shown as nothing but
// INTERNAL_ERROR.
package problem

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong in a way that every transport can map to its own status.
type Kind uint8

// The kinds, each with the HTTP status it is rendered as.
const (
	Internal         Kind = iota // 500
	Invalid                      // 400
	Unauthenticated              // 401
	PaymentRequired              // 402
	Forbidden                    // 403
	NotFound                     // 404
	MethodNotAllowed             // 405
	Conflict                     // 409
	TooLarge                     // 413
	Unprocessable                // 422
	Throttled                    // 429
	Unavailable                  // 503
)

// Error is an error that its receiver may see.
type Error struct {
	Kind    Kind
	Code    string // the contract's word, such as INSUFFICIENT_INVENTORY
	Message string // one sentence, safe to show
	Field   string // the JSON field or parameter at fault, if there is one
	// RetryAfter tells an Unavailable or Throttled caller how long to wait; zero says nothing.
	RetryAfter time.Duration

	cause error
}

// New makes an Error with a formatted message.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Field makes the Error of a bad value in a request: Invalid, VALIDATION_ERROR, with the field named.
func Field(field, format string, args ...any) *Error {
	e := New(Invalid, "VALIDATION_ERROR", format, args...)
	e.Field = field
	return e
}

// Because returns a copy of e that wraps cause, which reaches logs and errors.Is but no caller.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Error gives the code, the message and the cause, for logs.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is an *Error with the same code, so that errors.Is compares what a
// caller would branch on and not the wording.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// KindOf gives the kind of the first *Error in err's chain, Internal when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
