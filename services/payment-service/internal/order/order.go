package order

import (
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Errors of this service. Compare them with errors.Is, which compares codes.
var (
	ErrNotFound = problem.New(problem.NotFound, "ORDER_NOT_FOUND", "No such order")
	// ErrKeyReused reports an Idempotency-Key that the user has sent with a different request before.
	ErrKeyReused = problem.New(problem.Unprocessable, "IDEMPOTENCY_KEY_REUSED",
		"This Idempotency-Key was used for another request")
	// ErrUnknownMethod reports a payment token that cannot be one, such as a card number.
	ErrUnknownMethod = unknownMethod()
	// ErrNotStuck reports an order whose sagas have all completed.
	ErrNotStuck = problem.New(problem.Conflict, "NOTHING_TO_RETRY", "This order has no unfinished saga")
)

func unknownMethod() *problem.Error {
	p := problem.New(problem.Invalid, "UNKNOWN_PAYMENT_METHOD",
		"paymentToken must be the card processor's token for the card, never the card number")
	p.Field = "paymentToken"
	return p
}

// Status is the contract's paymentStatus.
type Status string

// The statuses. Pending becomes Completed or Failed; Completed may become Refunded.
const (
	Pending   Status = "PENDING"
	Completed Status = "COMPLETED"
	Failed    Status = "FAILED"
	Refunded  Status = "REFUNDED"
)

// Step is what the saga does next. The package comment describes the steps.
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

// Method is a payment method.
type Method string

// CreditCard is the only payment method.
const CreditCard Method = "CREDIT_CARD"

// Item is a quantity of one ticket type. Name and UnitPrice are set when the tickets are reserved.
type Item struct {
	TicketTypeID uuid.UUID
	Name         string // of the ticket type, as it was then
	Quantity     int
	UnitPrice    money.Amount
}

// Failure is the reason why an order failed or was refunded.
type Failure struct {
	Code      string // INSUFFICIENT_INVENTORY, INSUFFICIENT_FUNDS, ...
	Message   string
	Retryable bool // a new order may succeed
	// CurrentTotal is what the tickets cost, if the order failed because that is not the expected total.
	CurrentTotal money.Amount
}

// Failure codes that this service itself sets. All others come from ticket-service or payment-gateway.
const (
	CodeAbandoned        = "ORDER_ABANDONED"   // ticket-service did not respond, and the buyer did not retry
	CodePaymentAbandoned = "PAYMENT_ABANDONED" // no charge was made in time
	CodePaymentTooLate   = "PAYMENT_TOO_LATE"  // a charge succeeded after the order had failed; it is refunded
	// CodeNotGenerated means that the order was paid and ticket-service reported no outcome. It may have tickets.
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
	// ExpectedTotal is the total that the buyer has seen, in the currency of the tickets; empty if the buyer sent none.
	ExpectedTotal money.Decimal
	Method        Method
	PaymentToken  string               // the card processor's token for the card; empty when it is no longer needed
	ChargeSince   time.Time            // when the charge was first attempted; zero before
	ChargeAge     time.Duration        // time since ChargeSince, by the database's clock
	Settling      bool                 // no new charge is made; the outcome of the attempts is looked up
	ReturnURL     string               // where the bank sends the buyer after authentication; may be empty
	Action        *calls.PaymentAction // what the buyer has to do to complete the charge; nil if nothing
	TransactionID string
	Refunded      money.Amount // refunded so far
	// Dispute is OPEN, WON or LOST: the status of the disputes of the payment taken together. It is empty if there is
	// none.
	Dispute     calls.DisputeStatus
	Disputed    money.Amount // what the bank has taken because of disputes that are open or lost
	Failure     Failure
	Trace       telemetry.Trace // of the request that placed the order
	CreatedAt   time.Time
	CompletedAt time.Time // zero unless paid
}

// AttemptKey returns the key of the order's one charge at the gateway. It is derived from the order's id, so that no
// crash can lose it.
func (o Order) AttemptKey() string { return "charge-" + o.ID.String() }

// Notice is a webhook event of the card processor. It may arrive late, more than once, or never.
type Notice struct {
	ID            uuid.UUID // the same each time that the event is delivered
	Type          string    // the card processor's event type, such as payment_intent.succeeded
	AttemptKey    string    // of the charge; empty if the event is not about a charge
	RefundKey     string    // of the refund; empty if the event is not about one
	TransactionID string
	Outcome       calls.GatewayStatus // of the charge or refund; empty if there is none
	Failure       Failure             // set if the charge was declined or the refund failed
}

// Time limits of a charge whose outcome is unknown.
const (
	// ChargeWindow is how long the charge is repeated, and how long the buyer has to authenticate. It is shorter than the
	// 15 minutes of a hold, so that no buyer pays for tickets that have been released. After it the charge is settled.
	ChargeWindow = 10 * time.Minute
	// HoldExtendAfter is the age of the charge from which each attempt also extends the hold, so that the tickets are
	// still held when the outcome is known. HoldMaxAge is the age at which that ends: ticket-service keeps no hold any
	// longer.
	HoldExtendAfter = time.Minute
	HoldMaxAge      = 30 * time.Minute
)

// Limits on the wait of a paid order for its tickets. It is refunded when both are reached.
const (
	// Reannouncements is the number of times that the order is announced again.
	Reannouncements = 3
	// FulfilWindow is the minimum time since the payment.
	FulfilWindow = 30 * time.Minute
)

// Limits of an order.
const (
	MaxItems      = 20
	MaxQuantity   = 100 // tickets of one type
	MaxTickets    = events.MaxOrderTickets
	MaxHolderName = 201 // characters: a first and a last name of 100 each, and a space
	MaxToken      = 255 // characters
	MaxReturnURL  = 500 // bytes
	MaxTotal      = 20  // characters of an expected total
)

// IsToken reports whether text can be an opaque token of another party, such as a payment token or an Idempotency-Key:
// 1 to MaxToken printable ASCII characters, which are safe in every log and column.
func IsToken(text string) bool {
	return text != "" && len(text) <= MaxToken &&
		!strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// isTotal reports whether a decimal number can be a total in some currency.
func isTotal(decimal string) bool {
	_, fraction, _ := strings.Cut(decimal, ".")
	return !strings.HasPrefix(decimal, "-") && len(decimal) <= MaxTotal && len(strings.TrimRight(fraction, "0")) <= 3
}

// isReturnURL reports whether text is the URL of a page that a browser can be sent to.
func isReturnURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= MaxReturnURL && u.Host != "" && u.User == nil &&
		(u.Scheme == "https" || u.Scheme == "http")
}

// isCardNumber reports whether token looks like a card number: only digits, spaces and dashes.
func isCardNumber(token string) bool { return strings.Trim(token, "0123456789 -") == "" }

// Validate checks a new order. It returns a *problem.Error that names the first invalid field.
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
	case isCardNumber(o.PaymentToken): // it must not reach the database or a log
		return ErrUnknownMethod
	case o.ReturnURL != "" && !isReturnURL(o.ReturnURL):
		return problem.Field("returnUrl", "returnUrl must be an http or https URL of at most %d bytes", MaxReturnURL)
	case o.ExpectedTotal != "" && !isTotal(string(o.ExpectedTotal)):
		return problem.Field("expectedTotal", "expectedTotal must be an amount of at most %d characters and 3 decimals",
			MaxTotal)
	case n == 0 || n > MaxHolderName:
		return problem.Field("holderName", "holderName must have 1 to %d characters", MaxHolderName)
	case strings.ContainsFunc(o.HolderName, unicode.IsControl): // the name is printed on tickets
		return problem.Field("holderName", "holderName must not contain control characters")
	}
	seen, tickets := map[uuid.UUID]bool{}, 0
	for _, i := range o.Items {
		switch {
		case i.TicketTypeID == uuid.Nil:
			return problem.Field("ticketRequests.ticketTypeId", "ticketTypeId is required")
		case i.Quantity < 1 || i.Quantity > MaxQuantity:
			return problem.Field("ticketRequests.quantity", "quantity must be between 1 and %d", MaxQuantity)
		case seen[i.TicketTypeID]:
			return problem.Field("ticketRequests.ticketTypeId", "an order must not have the same ticket type twice")
		}
		seen[i.TicketTypeID] = true
		tickets += i.Quantity
	}
	if tickets > MaxTickets {
		return problem.Field("ticketRequests", "ticketRequests must not have more than %d tickets in total", MaxTickets)
	}
	return nil
}

// MaxTries is the number of failed attempts at a compensation after which operations are alerted. The attempts
// continue, unless the last one was refused for good. That ends the attempts at any step.
const MaxTries = 5

// Unfinished is a saga that has not completed, or a refund that failed and needs a person.
type Unfinished struct {
	SagaID    uuid.UUID // id of the order or of the refund
	OrderID   uuid.UUID
	SagaType  string
	Status    string
	Step      string
	Tries     int // failed attempts at this step
	Reason    string
	CreatedAt time.Time
	AlertedAt *time.Time // when operations were alerted; nil if they were not
	DueAt     *time.Time // when the next attempt is due; nil if there is none without Retry
}

// SagaEvent is an entry of an order's history, the contract's saga_events.
type SagaEvent struct {
	ID        uuid.UUID
	EventType string
	Payload   []byte // JSON
	Status    SagaStatus
	Timestamp time.Time
}

// SagaStatus is the status of the step that a saga event reports.
type SagaStatus string

// The contract's statuses of saga events.
const (
	SagaPending     SagaStatus = "PENDING"     // started; the next event has the outcome
	SagaCompleted   SagaStatus = "COMPLETED"   // done
	SagaCompensated SagaStatus = "COMPENSATED" // undone
	SagaFailed      SagaStatus = "FAILED"      // refused
)
