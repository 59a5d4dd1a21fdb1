// Package notification says who is told what, in which words, and when telling them has succeeded.
package notification

import (
	"errors"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Kind is what a notification tells.
type Kind string

// The kinds. OrderConfirmation is the contract's notificationType.
const (
	OrderConfirmation Kind = "ORDER_CONFIRMATION"
	PaymentFailed     Kind = "PAYMENT_FAILED"
)

// Status is how far a notification got.
type Status string

// The statuses. Sent and Failed are final.
const (
	Pending Status = "PENDING"
	Sent    Status = "SENT"
	Failed  Status = "FAILED"
)

// Notification is one fact told to one person.
type Notification struct {
	ID        uuid.UUID
	MessageID uuid.UUID // the event that it tells of, and the e-mail's own id: the same at every attempt
	UserID    uuid.UUID
	OrderID   uuid.UUID // uuid.Nil when it is not about an order
	Kind      Kind
	Status    Status
	Attempts  int
	ErrorCode string // why the last attempt did not succeed
}

// ErrRejected is email-service's answer to a message that the mail server will never take.
var ErrRejected = problem.New(problem.Unprocessable, "EMAIL_REJECTED", "The mail server refuses the message")

// After gives n after an attempt that ended in err: sent if err is nil, given up if it is
// ErrRejected, and otherwise still to be sent.
func (n Notification) After(err error) Notification {
	n.Status, n.ErrorCode = Pending, "INTERNAL_ERROR"
	if p, ok := errors.AsType[*problem.Error](err); ok {
		n.ErrorCode = p.Code
	}
	switch {
	case err == nil:
		n.Status, n.ErrorCode = Sent, ""
	case errors.Is(err, ErrRejected):
		n.Status = Failed
	}
	return n
}

// Settled reports whether there is nothing more to attempt.
func (n Notification) Settled() bool { return n.Status == Sent || n.Status == Failed }
