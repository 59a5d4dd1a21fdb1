// Package notification defines which notifications users and operations receive, the mails that they become, and when a
// notification is sent, retried or fails permanently.
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

// Kind is the kind of a notification. It decides the text of the mail.
type Kind string

// The kinds. OrderConfirmation is the contract's notificationType.
const (
	OrderConfirmation Kind = "ORDER_CONFIRMATION"
	PaymentFailed     Kind = "PAYMENT_FAILED"
	RefundProcessed   Kind = "REFUND_PROCESSED"
	RefundFailed      Kind = "REFUND_FAILED"
	TicketTransferred Kind = "TICKET_TRANSFERRED" // to the previous owner
	TicketReceived    Kind = "TICKET_RECEIVED"    // to the new owner
	TicketCancelled   Kind = "TICKET_CANCELLED"   // once for each owner of tickets that a refund cancelled
	EventCancelled    Kind = "EVENT_CANCELLED"    // once for each holder of an order's tickets
	EventPostponed    Kind = "EVENT_POSTPONED"    // once for each holder of the event's tickets
	EventChanged      Kind = "EVENT_CHANGED"      // likewise, for changes in quick succession together
	TicketsDisputed   Kind = "TICKETS_DISPUTED"   // to a holder of tickets of a disputed order
	OrderDisputed     Kind = "ORDER_DISPUTED"     // to the organizer
	EmailVerification Kind = "EMAIL_VERIFICATION"
	PasswordReset     Kind = "PASSWORD_RESET"

	// To operations.
	CompensationFailed Kind = "COMPENSATION_FAILED"
	DeadLetterArchived Kind = "DEAD_LETTER_ARCHIVED"
	PaymentDisputed    Kind = "PAYMENT_DISPUTED"
)

// Operations is the UserID of notifications to operations, which is not a user.
var Operations = uuid.Nil

// Status is the state of a notification.
type Status string

// The statuses. All but Pending are final.
const (
	Pending Status = "PENDING"
	Sent    Status = "SENT"
	Failed  Status = "FAILED"
	// Superseded is a notification that was not sent, because what it would say no longer applies. If an earlier attempt
	// was interrupted, it may have been sent.
	Superseded Status = "SUPERSEDED"
)

const (
	// MaxResends is how many times a user can have one notification sent again.
	MaxResends = 3
	// MaxAttempts is the number of attempts to send a notification. With the pauses between them, they last a day.
	MaxAttempts = 170
	// maxPause is the longest pause between two attempts.
	maxPause = 10 * time.Minute
)

// Notification is one mail to one user about one event. A resend is a Notification of its own.
type Notification struct {
	ID        uuid.UUID
	MessageID uuid.UUID // the id of the mail, the same at every attempt
	EventID   uuid.UUID // the event that caused the notification
	UserID    uuid.UUID
	OrderID   uuid.UUID // uuid.Nil if it is not about an order
	Kind      Kind
	Class     Class           // which workers send it; Kind.Class() if it is stored without one
	Facts     json.RawMessage // the payload of the event
	Status    Status
	Attempts  int    // the attempts that have begun
	ErrorCode string // why the last attempt failed

	telemetry.Trace // of the request or event that caused the notification
}

// Announcement is an event that concerns every holder of tickets for a booked event.
type Announcement struct {
	ID     uuid.UUID // the id of the event (the message)
	About  uuid.UUID // the id of the booked event
	Kind   Kind
	Facts  json.RawMessage // the payload of the event
	Cursor string          // the next page of ticket-service's list of holders

	telemetry.Trace // of the request that caused the event
}

// Holder is a user who holds tickets of an order.
type Holder struct{ UserID, OrderID uuid.UUID }

// Summary is the part of a notification that its user can see.
type Summary struct {
	ID        uuid.UUID
	Kind      Kind
	Status    Status
	OrderID   *uuid.UUID
	CreatedAt time.Time
	SentAt    *time.Time
}

// Errors of an attempt after which no further attempt can succeed.
var (
	// ErrRefused wraps a refusal by a service, which would refuse the same call again: by email-service of the message, or
	// by another one of a lookup, for example of a user who was deleted. It also wraps ErrNotComposable.
	ErrRefused = errors.New("the message is permanently refused")
	// ErrNotComposable reports that the mail cannot be composed from the event and the answers of the services.
	ErrNotComposable = problem.New(problem.Unprocessable, "MAIL_NOT_COMPOSABLE", "The mail cannot be composed")
	// ErrAccountMailGone is auth-service's answer if the token of an account mail was used or has expired.
	ErrAccountMailGone = problem.New(problem.NotFound, "ACCOUNT_MAIL_NOT_FOUND", "The token was used or has expired")
)

// ErrSuperseded reports that what a notification would say no longer applies.
var ErrSuperseded = problem.New(problem.Conflict, "SUPERSEDED", "The notification no longer applies")

// ErrInProgress is email-service's answer while the mail server has not answered yet. The next attempt asks for the
// outcome.
var ErrInProgress = problem.New(problem.Conflict, "EMAIL_IN_PROGRESS", "The mail server has not answered yet")

// Errors of a resend.
var (
	ErrNotFound      = problem.New(problem.NotFound, "NOTIFICATION_NOT_FOUND", "No such notification")
	ErrNotResendable = problem.New(problem.Conflict, "NOT_RESENDABLE", "This notification cannot be sent again")
	// ErrTooManyResends reports that the notification was resent MaxResends times.
	ErrTooManyResends = problem.New(
		problem.Throttled, "TOO_MANY_RESENDS", "A notification can be sent again %d times", MaxResends,
	)
)

// After returns n with the status after an attempt that ended with err. It is Sent if err is nil, Superseded if err is
// ErrSuperseded, Failed if err is permanent or the attempt was the last one, and Pending otherwise.
func (n Notification) After(err error) Notification {
	n.Status, n.ErrorCode = Pending, "INTERNAL_ERROR"
	if p, ok := errors.AsType[*problem.Error](err); ok {
		n.ErrorCode = p.Code
	}
	switch {
	case err == nil:
		n.Status, n.ErrorCode = Sent, ""
	case errors.Is(err, ErrSuperseded):
		n.Status = Superseded
	case errors.Is(err, ErrRefused), errors.Is(err, ErrAccountMailGone), n.Attempts >= MaxAttempts:
		n.Status = Failed
	}
	return n
}

// Pause returns the time between the last attempt and the next one: 2 s after the first attempt, a fifth longer after
// each further one, and 10 minutes at most. It is then about a sixth of the time since the first attempt, so the delay
// after an outage is proportional to the outage.
func (n Notification) Pause() time.Duration {
	return time.Duration(min(math.Pow(1.2, float64(n.Attempts-1))*float64(2*time.Second), float64(maxPause)))
}
