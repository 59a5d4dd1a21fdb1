// Package order holds the rules of orders and the states of the saga that buys one.
//
// # The purchase saga
//
// An order's Step says what is to be done next. It is written before the deed, so that whoever finds
// the order later, after a crash say, can do it again: every deed can be repeated.
//
//	RESERVE --reserved--> CHARGE --paid--> FULFIL --tickets generated--> DONE   (COMPLETED)
//	   |                    |                |
//	   | refused            | declined       | no tickets to be had
//	   v                    v                v
//	  DONE               RELEASE           REFUND --refunded--> DONE            (REFUNDED)
//	(FAILED)                | released
//	                        v
//	                       DONE (FAILED)
//
// The order's Status, the contract's paymentStatus, is PENDING until the charge's outcome is known. The
// charge is the pivot: before it the saga can be given up by releasing the hold; after it there is no
// way but forward, to tickets or to a refund. REFUND means that there is a refund of everything, which
// package refund's saga carries out; the order is done when it is.
//
// A RESERVE without an answer is given up when nobody comes back for it: the buyer was told that
// nothing was bought. A CHARGE without an answer is never given up on a guess: it is repeated under the
// same attempt key, which cannot charge twice, while the hold is kept alive. Once the hold is old, or gone,
// that is written down as the end of all attempts: from then on the gateway is only asked what became of
// them, and "no such charge" is believed when none can be on its way any more. FULFIL is ticket-service's part: it hears PAYMENT_COMPLETED and answers with
// TICKETS_GENERATED or TICKET_GENERATION_FAILED. An order that gets neither is announced again, which
// makes ticket-service answer anew; in the end it is refunded, and whatever tickets it has are cancelled.
//
// A Notice from the card processor may bring the outcome of a charge before its answer does, or in its
// place. It moves an order as the answer would, and never back. Whoever brings it, a charge that succeeded
// after its order had failed changes nothing about the order, and is refunded.
package order

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Errors of this service. Compare with errors.Is, which looks at the code.
var (
	ErrNotFound = problem.New(problem.NotFound, "ORDER_NOT_FOUND", "No such order")
	// ErrKeyReused reports an Idempotency-Key that came with another request before.
	ErrKeyReused = problem.New(problem.Unprocessable, "IDEMPOTENCY_KEY_REUSED",
		"This Idempotency-Key was used for another request")
	// ErrUnknownMethod reports a payment token that is none, such as a card number.
	ErrUnknownMethod = unknownMethod()
	// ErrNotStuck reports an order of which nothing is left to be done.
	ErrNotStuck = problem.New(problem.Conflict, "NOTHING_TO_RETRY", "Nothing is left to be done for this order")
)

func unknownMethod() *problem.Error {
	p := problem.New(problem.Invalid, "UNKNOWN_PAYMENT_METHOD",
		"paymentToken must be the card processor's name for the card, never its number")
	p.Field = "paymentToken"
	return p
}

// Status is the contract's paymentStatus.
type Status string

// The statuses. Only Completed leads on, to Refunded.
const (
	Pending   Status = "PENDING"
	Completed Status = "COMPLETED"
	Failed    Status = "FAILED"
	Refunded  Status = "REFUNDED"
)

// Step is what the saga does next; see the package comment.
type Step string

// The steps.
const (
	Reserve Step = "RESERVE"
	Charge  Step = "CHARGE"
	Release Step = "RELEASE"
	Fulfil  Step = "FULFIL"
	Refund  Step = "REFUND"
	Done    Step = "DONE"
)

// Method is a way to pay.
type Method string

// CreditCard is the one way to pay so far.
const CreditCard Method = "CREDIT_CARD"

// Item is a number of tickets of one type. UnitPrice is set once they are reserved.
type Item struct {
	TicketTypeID uuid.UUID
	Quantity     int
	UnitPrice    money.Amount
}

// Failure says why an order failed or was refunded.
type Failure struct {
	Code      string // INSUFFICIENT_INVENTORY, INSUFFICIENT_FUNDS, ...
	Message   string
	Retryable bool // another attempt, with another order, may succeed
}

// Codes of failures that are this service's own words.
const (
	CodeAbandoned        = "ORDER_ABANDONED"   // a service did not answer, and the buyer did not come back
	CodePaymentAbandoned = "PAYMENT_ABANDONED" // no charge was made in time
	CodePaymentTooLate   = "PAYMENT_TOO_LATE"  // a charge was made after all, and is refunded
	// CodeNotGenerated is of an order that was paid and heard nothing of its tickets. There may be some.
	CodeNotGenerated = "TICKETS_NOT_GENERATED"
)

// Order is a purchase.
type Order struct {
	ID            uuid.UUID
	Number        string // ORD-YYYY-NNNNNN
	UserID        uuid.UUID
	EventID       uuid.UUID
	HolderName    string
	Items         []Item
	Status        Status
	Step          Step
	ReservationID uuid.UUID
	Total         money.Amount // zero until reserved
	Method        Method
	PaymentToken  string        // the gateway's name for the buyer's card; empty once it is no longer needed
	ChargeSince   time.Time     // when the charge was first attempted; zero before
	ChargeAge     time.Duration // since then, by the database's clock
	AskingAge     time.Duration // since no charge is attempted any more, likewise; zero while one may be
	TransactionID string
	Refunded      money.Amount // what has gone back by now
	Failure       Failure
	Trace         telemetry.Trace // of the request that placed it
	CreatedAt     time.Time
	CompletedAt   time.Time // zero unless paid
}

// AttemptKey names the order's one charge at the gateway. It is derived and not drawn, so that no crash
// can lose it.
func (o Order) AttemptKey() string { return "charge-" + o.ID.String() }

// Outcome is what became of a charge, in the gateway's words.
type Outcome string

// The outcomes that end a charge.
const (
	Succeeded Outcome = "SUCCEEDED"
	Declined  Outcome = "DECLINED"
)

// Notice is what the card processor has to tell unasked. It may come late, twice, or not at all.
type Notice struct {
	ID            uuid.UUID // the same each time
	Type          string    // in the processor's words, such as payment_intent.succeeded
	AttemptKey    string    // of the charge that it is about; empty where it is about something else
	TransactionID string
	Outcome       Outcome // of the charge, if it is the end of one
	Failure       Failure // of a Declined one
}

// How long a charge without an answer is what.
const (
	// ChargeWindow is how long it may be attempted again: well within the 15 minutes of a hold, so that
	// nobody pays for tickets that have gone back. From then on the gateway is only asked about it.
	ChargeWindow = 10 * time.Minute
	// HoldFresh is how old it may be before the hold is kept alive for it, and HoldLimit how old a hold can
	// grow: ticket-service keeps none any longer. Tickets that are held when the payment is known at last
	// need not be taken again from what is left.
	HoldFresh = time.Minute
	HoldLimit = 30 * time.Minute
	// ChargeSettled is how long after the end of all attempts one may still be on its way: somebody's who
	// had read the order before and has two calls to make, of 45 s at most each, and then the card
	// processor's, who finishes what it began. From then on "no such charge" is believed.
	ChargeSettled = 3 * time.Minute
	// ChargeLost is from when on it is believed of a gateway that could only look at an index, which lags
	// behind by a minute, and by an hour on its bad days.
	ChargeLost = 2 * time.Hour
)

// How long a paid order waits for word of its tickets.
const (
	// MaxReannouncements is how often it is announced again at least before it is given up.
	MaxReannouncements = 3
	// FulfilWindow is how long it waits at least.
	FulfilWindow = 30 * time.Minute
)

// Limits of an order.
const (
	MaxItems      = 20
	MaxQuantity   = 100 // tickets of one type
	MaxHolderName = 201 // characters: a first and a last name of 100 each, with the space between
	MaxToken      = 255 // characters
)

// IsToken reports whether text can be an opaque name of somebody else's, such as a payment token or an
// Idempotency-Key: 1 to MaxToken printable ASCII characters, which every log and column takes.
func IsToken(text string) bool {
	return text != "" && len(text) <= MaxToken &&
		!strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// isCardNumber tells what people type instead of a token: nothing but digits, spaces and dashes.
func isCardNumber(token string) bool { return strings.Trim(token, "0123456789 -") == "" }

// Validate checks a new order. It returns a *problem.Error that names the first bad field.
func (o Order) Validate() error {
	switch n := utf8.RuneCountInString(o.HolderName); {
	case o.EventID == uuid.Nil:
		return problem.Field("eventId", "eventId is required")
	case len(o.Items) == 0 || len(o.Items) > MaxItems:
		return problem.Field("ticketRequests", "ticketRequests must have 1 to %d entries", MaxItems)
	case o.Method != CreditCard:
		return problem.Field("paymentMethod", "paymentMethod must be %s", CreditCard)
	case !IsToken(o.PaymentToken):
		return problem.Field("paymentToken", "paymentToken must have 1 to %d printable ASCII characters", MaxToken)
	case isCardNumber(o.PaymentToken): // which nobody here wants to have, not even in a log
		return ErrUnknownMethod
	case n == 0 || n > MaxHolderName:
		return problem.Field("holderName", "holderName must have 1 to %d characters", MaxHolderName)
	case strings.ContainsFunc(o.HolderName, unicode.IsControl): // it is printed on tickets
		return problem.Field("holderName", "holderName must not contain control characters")
	}
	seen := map[uuid.UUID]bool{}
	for _, i := range o.Items {
		switch {
		case i.TicketTypeID == uuid.Nil:
			return problem.Field("ticketRequests.ticketTypeId", "ticketTypeId is required")
		case i.Quantity < 1 || i.Quantity > MaxQuantity:
			return problem.Field("ticketRequests.quantity", "quantity must be between 1 and %d", MaxQuantity)
		case seen[i.TicketTypeID]:
			return problem.Field("ticketRequests.ticketTypeId", "each ticket type may stand in an order once")
		}
		seen[i.TicketTypeID] = true
	}
	return nil
}

// MaxTries is how often a compensation may be in vain before people are told.
const MaxTries = 5

// Unfinished is a saga that has not ended, or failed and needs a person: a purchase, or a refund of one.
type Unfinished struct {
	SagaID    uuid.UUID // of the order or of the refund
	OrderID   uuid.UUID
	SagaType  string
	Status    string
	Step      string
	Tries     int // in vain, at this step
	Reason    string
	CreatedAt time.Time
	StuckAt   *time.Time // when people were told
	DueAt     time.Time
}

// SagaEvent is one line of an order's history: the contract's saga_events.
type SagaEvent struct {
	ID        uuid.UUID
	EventType string
	Payload   []byte // JSON
	Status    SagaStatus
	Timestamp time.Time
}

// SagaStatus is what a saga event says of its step.
type SagaStatus string

// The contract's statuses of saga events.
const (
	SagaPending     SagaStatus = "PENDING"     // begun; the outcome is the next event
	SagaCompleted   SagaStatus = "COMPLETED"   // done
	SagaCompensated SagaStatus = "COMPENSATED" // undone
	SagaFailed      SagaStatus = "FAILED"      // refused
)
