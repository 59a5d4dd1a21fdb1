// Package notification says who is told what, in which words, and when telling them has succeeded.
package notification

import (
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
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

const (
	// MaxResends is how often one fact may be sent again.
	MaxResends = 3
	// MaxAttempts is how often one sending is attempted. With the pauses between, that is a day.
	MaxAttempts = 170
	// maxPause is how long a notification waits at most before it is attempted again.
	maxPause = 10 * time.Minute
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
	Status    Status
	Attempts  int    // that were begun
	ErrorCode string // why the last attempt did not succeed

	telemetry.Trace // of what had it written down
}

// Announcement is a fact for everybody who holds tickets of an event.
type Announcement struct {
	ID     uuid.UUID // of the event that it tells of
	About  uuid.UUID // the event that people go to
	Kind   Kind
	Facts  json.RawMessage // the event's payload
	Cursor string          // where to go on in ticket-service's list of holders

	telemetry.Trace // of what had it written down
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
	// ErrRefused is what email-service's refusals are wrapped in: the same message would be refused again.
	ErrRefused = errors.New("the message is refused for good")
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
// do better, or if it was the last; and otherwise still to be sent.
func (n Notification) After(err error) Notification {
	n.Status, n.ErrorCode = Pending, "INTERNAL_ERROR"
	if p, ok := errors.AsType[*problem.Error](err); ok {
		n.ErrorCode = p.Code
	}
	switch {
	case err == nil:
		n.Status, n.ErrorCode = Sent, ""
	case errors.Is(err, ErrRefused), errors.Is(err, ErrAccountMailGone), n.Attempts >= MaxAttempts:
		n.Status = Failed
	}
	return n
}

// Pause is for how long n waits after its last attempt: two seconds after the first, and a fifth longer each time. That is
// about a sixth of the time waited so far, so that it goes out soon after an outage in proportion to its length.
func (n Notification) Pause() time.Duration {
	return time.Duration(min(math.Pow(1.2, float64(n.Attempts-1))*float64(2*time.Second), float64(maxPause)))
}
