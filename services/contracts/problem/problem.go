// Package problem defines the contract's error form: {"error": CODE, "message": ..., "field": ...}.
//
// Each error that a caller may see is an *Error. It has a kind, which package web maps to an HTTP status; a code, by
// which callers decide what to do; and a message that is safe to show. Its cause is only logged. Package web renders
// every other error as INTERNAL_ERROR.
package problem

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the kind of an error, independent of the transport.
type Kind uint8

// The kinds with their HTTP statuses.
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

// Error is an error that the caller of an API may see.
type Error struct {
	Kind    Kind
	Code    string // a code of the contract, such as INSUFFICIENT_INVENTORY
	Message string // one sentence, safe to show
	Field   string // the invalid JSON field or parameter, if there is one
	// RetryAfter is the time after which a caller may retry an Unavailable or Throttled request. It is zero if unknown.
	RetryAfter time.Duration
	// Body is the JSON body of an error that another service returned. It may have fields that Error lacks. Package web
	// does not pass it on.
	Body string

	cause error
}

// New returns an Error with a formatted message.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Field returns the Error of an invalid field of a request, with the kind Invalid and the code VALIDATION_ERROR.
func Field(field, format string, args ...any) *Error {
	e := New(Invalid, "VALIDATION_ERROR", format, args...)
	e.Field = field
	return e
}

// Because returns a copy of e that wraps cause. Logs and errors.Is see the cause, callers of the API do not.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Error returns the code, the message and the cause, for logs.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is an *Error with the same code. So errors.Is compares codes and ignores messages.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// KindOf returns the kind of the first *Error in err's chain, or Internal if there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
