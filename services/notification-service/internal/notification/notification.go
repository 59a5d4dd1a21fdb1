// Package notification says who is told what, in which words, and when telling them has succeeded.
package notification

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Kind is what a notification tells.
type Kind string

// The kinds. OrderConfirmation is the contract's notificationType.
const (
	OrderConfirmation Kind = "ORDER_CONFIRMATION"
	PaymentFailed     Kind = "PAYMENT_FAILED"
	RefundProcessed   Kind = "REFUND_PROCESSED"
	TicketTransferred Kind = "TICKET_TRANSFERRED" // to who gave it
	TicketReceived    Kind = "TICKET_RECEIVED"    // to who got it
	TicketCancelled   Kind = "TICKET_CANCELLED"
	EventCancelled    Kind = "EVENT_CANCELLED" // to each holder of an order's tickets, once
	EventPostponed    Kind = "EVENT_POSTPONED" // to each holder of tickets, once
	EmailVerification Kind = "EMAIL_VERIFICATION"
	PasswordReset     Kind = "PASSWORD_RESET"

	// To operations.
	CompensationFailed Kind = "COMPENSATION_FAILED"
	DeadLetterArchived Kind = "DEAD_LETTER_ARCHIVED"
)

// Operations is who is told what somebody has to look after: nobody in particular.
var Operations = uuid.Nil

// Status is how far a notification got.
type Status string

// The statuses. Sent and Failed are final.
const (
	Pending Status = "PENDING"
	Sent    Status = "SENT"
	Failed  Status = "FAILED"
)

// Limits of sending again.
const (
	// MaxResends is how often one fact may be sent again.
	MaxResends = 3
	// MaxResendAttempts is how often one such sending is attempted, and MaxQueuedAttempts how often a first
	// sending that does not hang on the delivery of one event; any other is attempted as often as the queue
	// delivers its event. With the pauses between, the one is minutes, the other most of a day.
	MaxResendAttempts = 5
	MaxQueuedAttempts = 60
)

// Notification is one fact told to one person, once. Telling it again is another one.
type Notification struct {
	ID        uuid.UUID
	MessageID uuid.UUID // the e-mail's own id, the same at every attempt
	EventID   uuid.UUID // the event that it tells of
	UserID    uuid.UUID
	OrderID   uuid.UUID // uuid.Nil when it is not about an order
	Kind      Kind
	Facts     json.RawMessage // the event's payload
	Resend    bool            // it was told before, and its person asked for it again
	Queued    bool            // it waits in the store for its turn, as all resends do
	Status    Status
	Attempts  int
	ErrorCode string // why the last attempt did not succeed
}

// Announcement is a fact for everybody who holds tickets of an event.
type Announcement struct {
	ID     uuid.UUID // of the event that it tells of
	About  uuid.UUID // the event that people go to
	Kind   Kind
	Facts  json.RawMessage // the event's payload
	Cursor string          // where to go on in ticket-service's list of holders
}

// Holder is somebody with tickets of an order.
type Holder struct{ UserID, OrderID uuid.UUID }

// Summary is what a notification's person sees of it.
type Summary struct {
	ID        uuid.UUID
	Kind      Kind
	Status    Status
	OrderID   *uuid.UUID
	CreatedAt time.Time
	SentAt    *time.Time
}

// What the others say where there is nothing more to attempt.
var (
	// ErrRejected is email-service's answer to a message that the mail server will never take.
	ErrRejected = problem.New(problem.Unprocessable, "EMAIL_REJECTED", "The mail server refuses the message")
	// ErrAccountMailGone is auth-service's answer when nobody needs an account mail any more: its token
	// was used or has expired.
	ErrAccountMailGone = problem.New(problem.NotFound, "ACCOUNT_MAIL_NOT_FOUND", "The token was used or has expired")
)

// What can be in the way of sending a notification again.
var (
	ErrNotFound       = problem.New(problem.NotFound, "NOTIFICATION_NOT_FOUND", "No such notification")
	ErrNotResendable  = problem.New(problem.Conflict, "NOT_RESENDABLE", "This notification cannot be sent again")
	ErrTooManyResends = problem.New(problem.Throttled, "TOO_MANY_RESENDS", "A notification can be sent again %d times", MaxResends)
)

// After gives n after an attempt that ended in err: sent if err is nil; given up if no further one can
// do better, or if it was the last of one that is queued; and otherwise still to be sent.
func (n Notification) After(err error) Notification {
	n.Status, n.ErrorCode = Pending, "INTERNAL_ERROR"
	if p, ok := errors.AsType[*problem.Error](err); ok {
		n.ErrorCode = p.Code
	}
	switch {
	case err == nil:
		n.Status, n.ErrorCode = Sent, ""
	case errors.Is(err, ErrRejected), errors.Is(err, ErrAccountMailGone),
		n.Resend && n.Attempts >= MaxResendAttempts, n.Queued && n.Attempts >= MaxQueuedAttempts:
		n.Status = Failed
	}
	return n
}

// Settled reports whether there is nothing more to attempt.
func (n Notification) Settled() bool { return n.Status == Sent || n.Status == Failed }
