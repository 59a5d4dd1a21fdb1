// Package refund holds the rules of refunds and the steps of the saga that makes one.
//
// # The refund saga
//
// A refund is an intent, written before anything is done. Its Step says what is to be done next, and
// every deed can be repeated: tickets are cancelled, and money goes back, once per refund Key.
//
//	CANCEL_TICKETS --cancelled--> REFUND --the money went back--> DONE  (SUCCEEDED)
//	      |                         |
//	      | one was used (*)        | refused for good
//	      v                         v
//	     DONE (FAILED)             DONE (FAILED)
//
// (*) That does not matter of an event that was cancelled, before it began or while it went on: everybody gets
// the money back, and no ticket is left.
//
// A refund of a mere amount cancels no ticket, and an order whose tickets could not be made has none:
// such refunds begin at REFUND. Tickets go first, since a ticket can be used while its money is on its
// way, and money cannot be called back.
//
// What all refunds of an order that did not fail add up to is never more than what was charged. The
// order's row is locked while a refund is admitted, so that two cannot both have the last cent, and a
// constraint of the database backs that. The order is REFUNDED once everything has gone back.
//
// When an event is cancelled, all its orders are refunded what is left of them: those that are done, and
// each later one as soon as it is. No order is asked twice, since nothing is left of it then.
//
// A refund that the bank refuses ends FAILED, and the order stays as it is: a person has to look at it,
// and may ask for another one.
package refund

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

// Errors of this package. Compare with errors.Is, which looks at the code.
var (
	// ErrNotRefundable reports an order of which nothing can go back, now or ever; the message says why.
	ErrNotRefundable = problem.New(problem.Conflict, "NOT_REFUNDABLE", "This order cannot be refunded")
	// ErrExceedsPayment reports more than what is left of the payment.
	ErrExceedsPayment = problem.New(problem.Conflict, "REFUND_EXCEEDS_PAYMENT", "That is more than what is left of the payment")
	// ErrTicketUsed reports a ticket that let somebody in.
	ErrTicketUsed = problem.New(problem.Conflict, "TICKET_USED", "A ticket that was used to enter cannot be refunded")
	// ErrTicketNotFound reports a ticket that is not of the order.
	ErrTicketNotFound = problem.New(problem.NotFound, "TICKET_NOT_FOUND", "This order has no such ticket")
	// ErrWindowClosed reports an order whose event was not postponed since, or too long ago.
	ErrWindowClosed = problem.New(problem.Conflict, "REFUND_WINDOW_CLOSED", "The time to return the tickets of a postponed event is not now")
)

func notRefundable(reason string) error {
	return problem.New(ErrNotRefundable.Kind, ErrNotRefundable.Code, "%s", reason)
}

// Status is what became of a refund.
type Status string

// The statuses. A Pending one is under way, or its outcome is not known.
const (
	Pending   Status = "PENDING"
	Succeeded Status = "SUCCEEDED"
	Failed    Status = "FAILED"
)

// Step is what the saga does next; see the package comment.
type Step string

// The steps.
const (
	CancelTickets Step = "CANCEL_TICKETS"
	ReturnMoney   Step = "REFUND"
	Done          Step = "DONE"
)

// Reasons of refunds that are this service's own words.
const (
	ReasonCancelled = "EVENT_CANCELLED" // the event will not take place
	ReasonPostponed = "EVENT_POSTPONED" // it will, and the buyer would rather have the money
)

// Window is how long buyers may choose after their event was postponed.
const Window = 14 * 24 * time.Hour

// Failure says why a refund failed.
type Failure struct {
	Code    string // TICKET_USED, EXPIRED_OR_CANCELED_CARD, ...
	Message string
}

// Refund is money of an order on its way back.
type Refund struct {
	ID          uuid.UUID
	OrderID     uuid.UUID
	RequestedBy uuid.UUID // Nil where no person asked: a saga did
	// Whole says that all the rest goes back, and that all tickets are cancelled.
	Whole     bool
	TicketIDs []uuid.UUID // those that are cancelled
	Amount    money.Amount
	Reason    string
	Status    Status
	Step      Step
	Failure   Failure
	Trace     telemetry.Trace // of the request that it came of
	CreatedAt time.Time
	// TransactionID is the charge at the gateway that the money is of.
	TransactionID string
}

// Key names the refund at ticket-service and at the gateway. It is derived and not drawn, so that no
// crash can lose it.
func (r Refund) Key() string { return "refund-" + r.ID.String() }

// Limits of a refund.
const (
	MaxReason  = 500 // characters
	MaxTickets = order.MaxItems * order.MaxQuantity
)

// Validate checks a new refund. It returns a *problem.Error that names the first bad field.
func (r Refund) Validate() error {
	switch n := utf8.RuneCountInString(r.Reason); {
	case n == 0 || n > MaxReason:
		return problem.Field("reason", "reason must have 1 to %d characters", MaxReason)
	case strings.ContainsFunc(r.Reason, unicode.IsControl): // it is printed in mails
		return problem.Field("reason", "reason must not contain control characters")
	case r.Reason == ReasonCancelled || r.Reason == ReasonPostponed: // which others act on
		return problem.Field("reason", "reason must be in words of your own")
	}
	seen := map[uuid.UUID]bool{}
	for _, id := range r.TicketIDs {
		if seen[id] {
			return problem.Field("ticketIds", "each ticket may stand in a refund once")
		}
		seen[id] = true
	}
	return nil
}

// Ticket is a ticket of an order, as far as refunds go.
type Ticket struct {
	ID       uuid.UUID
	Price    money.Amount
	Refunded bool // or about to be
}

// Ledger is what a refund is admitted on.
type Ledger struct {
	Order    order.Order
	Promised money.Amount // what all refunds that did not fail add up to
	Emptied  bool         // one of those is whole, or took money
	Tickets  []Ticket
}

// Admit makes a refund of what was asked for: Whole, TicketIDs or else Amount. It returns
// ErrNotRefundable, ErrExceedsPayment or ErrTicketNotFound.
func (l Ledger) Admit(r Refund) (Refund, error) {
	switch o := l.Order; {
	case o.Status == order.Refunded:
		return r, notRefundable("Everything has gone back already")
	case o.Status != order.Completed:
		return r, notRefundable("The order is not paid")
	case o.Step == order.Refund:
		return r, notRefundable("Everything is on its way back already")
	case o.Step != order.Done:
		return r, notRefundable("The tickets are still being issued; try again in a moment")
	}
	rest := money.Of(l.Order.Total.Minor-l.Promised.Minor, l.Order.Total.Currency)
	switch {
	case r.Whole:
		if rest.Minor == 0 && l.Emptied {
			return r, notRefundable("Everything is on its way back already")
		}
		r.Amount = rest
		r.TicketIDs = nil
		for _, t := range l.Tickets {
			if !t.Refunded {
				r.TicketIDs = append(r.TicketIDs, t.ID)
			}
		}
	case len(r.TicketIDs) > 0:
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
	}
	if r.Amount.Minor > rest.Minor {
		return r, ErrExceedsPayment
	}
	r.Status, r.Step = Pending, ReturnMoney
	// An order that failed after it was paid never had tickets, but for one that only heard of none.
	if code := l.Order.Failure.Code; (r.Whole || len(r.TicketIDs) > 0) && (code == "" || code == order.CodeNotGenerated) {
		r.Step = CancelTickets
	}
	return r, nil
}
