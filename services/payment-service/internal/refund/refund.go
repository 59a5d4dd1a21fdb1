package refund

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

// Errors of this package. Compare them with errors.Is, which compares codes.
var (
	// ErrNotRefundable reports an order that cannot be refunded, now or ever. The message has the reason.
	ErrNotRefundable = problem.New(problem.Conflict, "NOT_REFUNDABLE", "This order cannot be refunded")
	// ErrExceedsPayment reports an amount larger than the rest of the payment.
	ErrExceedsPayment = problem.New(problem.Conflict, "REFUND_EXCEEDS_PAYMENT",
		"The amount is more than what is left of the payment")
	// ErrTicketUsed reports a ticket that was used to enter.
	ErrTicketUsed = problem.New(problem.Conflict, "TICKET_USED", "A ticket that was used to enter cannot be refunded")
	// ErrTicketNotFound reports a ticket that does not belong to the order.
	ErrTicketNotFound = problem.New(problem.NotFound, "TICKET_NOT_FOUND", "This order has no such ticket")
	// ErrDisputed reports an order whose payment is disputed at the bank. The card processor refuses to refund it.
	ErrDisputed = problem.New(problem.Conflict, "ORDER_DISPUTED",
		"The payment is disputed at the bank, which decides who gets the money; it can be refunded if the dispute is won")
	// ErrWindowClosed reports an order whose event was not postponed since the purchase, or too long ago.
	ErrWindowClosed = problem.New(problem.Conflict, "REFUND_WINDOW_CLOSED",
		"Tickets can be returned only for a limited time after their event was postponed")
)

func notRefundable(reason string) error {
	return problem.New(ErrNotRefundable.Kind, ErrNotRefundable.Code, "%s", reason)
}

// Status is the outcome of a refund.
type Status string

// The statuses. A Pending refund is in progress, or its outcome is unknown.
const (
	Pending   Status = "PENDING"
	Succeeded Status = "SUCCEEDED"
	Failed    Status = "FAILED"
)

// Step is what the saga does next. The package comment describes the steps.
type Step string

// The steps.
const (
	CancelTickets Step = "CANCEL_TICKETS"
	ReturnMoney   Step = "REFUND"
	Done          Step = "DONE"
)

// Reasons that this service itself sets. People must not, because other services act on them.
const (
	ReasonCancelled = calls.ReasonEventCancelled // the event does not take place
	ReasonPostponed = calls.ReasonEventPostponed // the event takes place later, and a holder returns the tickets
)

// Window is how long after a postponement holders may return their tickets.
const Window = 14 * 24 * time.Hour

// Failure is the reason why a refund failed.
type Failure struct {
	Code    string // TICKET_USED, EXPIRED_OR_CANCELED_CARD, ...
	Message string
}

// Refund is a refund of an order or of a part of it.
type Refund struct {
	ID          uuid.UUID
	OrderID     uuid.UUID
	RequestedBy uuid.UUID // uuid.Nil if a saga requested it and not a person
	// HolderID is the user who returns TicketIDs, which must be this user's until they are cancelled. The money goes to
	// the buyer of the order. uuid.Nil if the refund is not a return.
	HolderID uuid.UUID
	// Whole means that everything not yet refunded is, and that all tickets are cancelled.
	Whole     bool
	TicketIDs []uuid.UUID // the tickets that are cancelled
	// KeepUsed means that tickets which were used stay as they are. Otherwise one of them refuses the refund.
	KeepUsed  bool
	Amount    money.Amount
	Reason    string
	Status    Status
	Step      Step
	Failure   Failure
	Trace     telemetry.Trace // of the request that caused it
	CreatedAt time.Time
	// TransactionID is the charge at the gateway that is refunded.
	TransactionID string
}

// Key returns the key of the refund at ticket-service and at the gateway. It is derived from the refund's id, so that
// no crash can lose it.
func (r Refund) Key() string { return keyPrefix + r.ID.String() }

const keyPrefix = "refund-"

// IDOfKey returns the id of the refund with this key, and false if no refund of this service has such a key.
func IDOfKey(key string) (uuid.UUID, bool) {
	text, ours := strings.CutPrefix(key, keyPrefix)
	id, err := uuid.Parse(text)
	return id, ours && err == nil
}

// Limits of a refund.
const (
	MaxReason  = 500 // characters
	MaxTickets = order.MaxItems * order.MaxQuantity
)

// Validate checks a new refund. It returns a *problem.Error that names the first invalid field.
func (r Refund) Validate() error {
	switch n := utf8.RuneCountInString(r.Reason); {
	case n == 0 || n > MaxReason:
		return problem.Field("reason", "reason must have 1 to %d characters", MaxReason)
	case strings.ContainsFunc(r.Reason, unicode.IsControl): // the reason is printed in e-mails
		return problem.Field("reason", "reason must not contain control characters")
	case r.Reason == ReasonCancelled || r.Reason == ReasonPostponed: // other services act on these
		return problem.Field("reason", "reason must not be a reason of the system")
	}
	return ValidateTickets(r.TicketIDs)
}

// ValidateTickets returns a *problem.Error if a ticket occurs twice.
func ValidateTickets(ids []uuid.UUID) error {
	seen := map[uuid.UUID]bool{}
	for _, id := range ids {
		if seen[id] {
			return problem.Field("ticketIds", "a refund must not have the same ticket twice")
		}
		seen[id] = true
	}
	return nil
}

// Ticket is a ticket of an order.
type Ticket struct {
	ID       uuid.UUID
	Price    money.Amount
	Refunded bool // or being refunded
}

// Ledger is what Admit decides on: an order and the refunds that it has.
type Ledger struct {
	Order     order.Order
	Refunding money.Amount // sum of all refunds that have not failed
	HasRefund bool         // one of them is whole or has an amount above zero
	Tickets   []Ticket
}

// Admit returns the refund that was requested, with its amount, tickets and first step. The request is Whole, or has
// TicketIDs, or has an Amount. Admit returns ErrNotRefundable, ErrDisputed, ErrExceedsPayment or ErrTicketNotFound.
//
// An Amount leaves the tickets valid, except for the one that completes the price of the order: that cancels all
// tickets that were not used. TicketIDs whose prices exceed what is left are refunded with that. Of the TicketIDs that
// a holder returns, those that are being refunded already are left out.
func (l Ledger) Admit(r Refund) (Refund, error) {
	switch o := l.Order; {
	case o.Status == order.Refunded:
		return r, notRefundable("Everything has been refunded already")
	case o.Status != order.Completed:
		return r, notRefundable("The order is not paid")
	case o.Step == order.Refund:
		return r, notRefundable("Everything is being refunded already")
	case o.Step != order.Done:
		return r, notRefundable("The tickets are still being issued; try again in a moment")
	case o.Dispute == calls.DisputeOpen:
		return r, ErrDisputed
	}
	// What the bank has returned to the buyer cannot be refunded as well.
	rest := money.Of(max(0, l.Order.Total.Minor-l.Refunding.Minor-l.Order.Disputed.Minor), l.Order.Total.Currency)
	if rest.Minor == 0 && l.Order.Disputed.Minor > 0 {
		return r, notRefundable("The bank has returned the payment to the buyer")
	}
	switch {
	case r.Whole:
		if rest.Minor == 0 && l.HasRefund {
			return r, notRefundable("Everything is being refunded already")
		}
		r.Amount, r.TicketIDs = rest, l.unrefunded()
	case len(r.TicketIDs) > 0:
		if r.HolderID != uuid.Nil {
			if r.TicketIDs = l.without(r.TicketIDs); len(r.TicketIDs) == 0 {
				return r, notRefundable("These tickets are being refunded already")
			}
		}
		r.Amount = money.Of(0, rest.Currency)
		for _, id := range r.TicketIDs {
			i := slices.IndexFunc(l.Tickets, func(t Ticket) bool { return t.ID == id })
			if i < 0 {
				return r, ErrTicketNotFound
			}
			if l.Tickets[i].Refunded {
				return r, notRefundable("One of these tickets was refunded before")
			}
			r.Amount = r.Amount.Plus(l.Tickets[i].Price)
		}
		r.Amount.Minor = min(r.Amount.Minor, rest.Minor)
	case r.Amount.Minor > rest.Minor:
		return r, ErrExceedsPayment
	case r.Amount == rest:
		r.TicketIDs, r.KeepUsed = l.unrefunded(), true
	}
	r.Status, r.Step = Pending, ReturnMoney
	// An order that failed after the payment never had tickets, except when the outcome of their generation is unknown.
	code := l.Order.Failure.Code
	if (r.Whole || len(r.TicketIDs) > 0) && (code == "" || code == order.CodeNotGenerated) {
		r.Step = CancelTickets
	}
	return r, nil
}

// without returns the ids without those of tickets that are refunded or being refunded.
func (l Ledger) without(ids []uuid.UUID) []uuid.UUID {
	return slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool {
		return slices.ContainsFunc(l.Tickets, func(t Ticket) bool { return t.ID == id && t.Refunded })
	})
}

// unrefunded returns the tickets that are neither refunded nor being refunded.
func (l Ledger) unrefunded() []uuid.UUID {
	var ids []uuid.UUID
	for _, t := range l.Tickets {
		if !t.Refunded {
			ids = append(ids, t.ID)
		}
	}
	return ids
}
