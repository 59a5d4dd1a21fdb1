package events

import (
	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// PaymentDisputed reports a new dispute of an order's payment, or a new status of one. Revision counts the reports
// about a dispute: a consumer ignores one that is not newer than its own. PreviousStatus is empty in the first one. The
// type is added.
type PaymentDisputed struct {
	DisputeID      string         `json:"disputeId"`
	OrderID        uuid.UUID      `json:"orderId"`
	UserID         uuid.UUID      `json:"userId"`
	EventID        uuid.UUID      `json:"eventId"`
	Amount         money.Decimal  `json:"amount"`
	Currency       money.Currency `json:"currency"`
	Reason         string         `json:"reason"` // a code such as FRAUDULENT
	Status         string         `json:"status"` // one of Dispute...
	PreviousStatus string         `json:"previousStatus,omitempty"`
	Revision       int            `json:"revision"`
}

// The values of PaymentDisputed.Status. The bank has the money of a dispute that is open or lost.
const (
	DisputeOpen = "OPEN"
	DisputeWon  = "WON"
	DisputeLost = "LOST"
)

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (PaymentDisputed) Type() string      { return "PAYMENT_DISPUTED" }
func (PaymentDisputed) Topic() string     { return TopicPayments }
func (e PaymentDisputed) Subject() string { return e.OrderID.String() }
func (e PaymentDisputed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String(), "userid": e.UserID.String()}
}

// TicketsDisputed reports to a person what a dispute of an order's payment means for its tickets. UserID is a holder of
// tickets of the order, which may have been transferred, or the organizer of the event. Amount, Currency and Reason are
// set for the organizer only. The type is added.
type TicketsDisputed struct {
	DisputeID     string         `json:"disputeId"`
	OrderID       uuid.UUID      `json:"orderId"`
	EventID       uuid.UUID      `json:"eventId"`
	UserID        uuid.UUID      `json:"userId"`
	Organizer     bool           `json:"organizer"`
	TicketCount   int            `json:"ticketCount"` // of the holder; for the organizer of the order; without used ones
	TicketState   string         `json:"ticketState"` // one of Tickets...
	DisputeStatus string         `json:"disputeStatus"`
	Amount        money.Decimal  `json:"amount,omitempty"`
	Currency      money.Currency `json:"currency,omitempty"`
	Reason        string         `json:"reason,omitempty"`
}

// The values of TicketsDisputed.TicketState.
const (
	TicketsSuspended = "SUSPENDED"
	TicketsVoid      = "VOID" // suspended, and the codes that the holders have never admit again
	TicketsRestored  = "RESTORED"
	TicketsCancelled = "CANCELLED"
)

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (TicketsDisputed) Type() string      { return "TICKETS_DISPUTED" }
func (TicketsDisputed) Topic() string     { return TopicTickets }
func (e TicketsDisputed) Subject() string { return e.OrderID.String() }
func (e TicketsDisputed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String()}
}
