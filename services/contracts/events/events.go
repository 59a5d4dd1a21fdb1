// Package events has the Go type of each event: its payload, its topic, and the attributes by which subscriptions can
// filter. The JSON follows the contract's "Event Message Schemas". The comments name the types and fields that this
// project added.
package events

import (
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// The topics. The project added TopicUsers and TopicOperations.
const (
	TopicPayments = "payment-events"
	TopicTickets  = "ticket-events"
	TopicEvents   = "event-events"
	// TopicEventUpdates keeps the order of the changes of each event. They are published to TopicEvents too.
	TopicEventUpdates = "event-updates.fifo"
	// TopicUsers has the events of auth-service.
	TopicUsers = "user-events"
	// TopicCompensations and TopicOperations have what operators must act on.
	TopicCompensations = "saga-compensation-failed"
	TopicOperations    = "operations-events"
)

// OrderItem is one line item of an order.
type OrderItem struct {
	TicketTypeID uuid.UUID     `json:"ticketTypeId"`
	Quantity     int           `json:"quantity"`
	UnitPrice    money.Decimal `json:"unitPrice"`
}

// PaymentCompleted reports that an order was paid. The contract lists ReservationID only in its format of
// ticket-processing-queue. HolderName is added, so that ticket-service can create tickets without calling another
// service.
type PaymentCompleted struct {
	OrderID       uuid.UUID      `json:"orderId"`
	OrderNumber   string         `json:"orderNumber"`
	UserID        uuid.UUID      `json:"userId"`
	EventID       uuid.UUID      `json:"eventId"`
	ReservationID uuid.UUID      `json:"reservationId"`
	HolderName    string         `json:"holderName"`
	TotalAmount   money.Decimal  `json:"totalAmount"`
	Currency      money.Currency `json:"currency"`
	PaymentMethod string         `json:"paymentMethod"`
	TransactionID string         `json:"transactionId"`
	Items         []OrderItem    `json:"items"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (PaymentCompleted) Type() string      { return "PAYMENT_COMPLETED" }
func (PaymentCompleted) Topic() string     { return TopicPayments }
func (e PaymentCompleted) Subject() string { return e.OrderID.String() }
func (e PaymentCompleted) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String(), "userid": e.UserID.String()}
}

// PaymentFailed reports that an order will not be paid. EventID is added for the figures of organizers.
type PaymentFailed struct {
	OrderID       uuid.UUID `json:"orderId"`
	UserID        uuid.UUID `json:"userId"`
	EventID       uuid.UUID `json:"eventId"`
	ReservationID uuid.UUID `json:"reservationId"`
	FailureReason string    `json:"failureReason"` // a code such as INSUFFICIENT_FUNDS
	ErrorMessage  string    `json:"errorMessage"`
	Retryable     bool      `json:"retryable"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (PaymentFailed) Type() string      { return "PAYMENT_FAILED" }
func (PaymentFailed) Topic() string     { return TopicPayments }
func (e PaymentFailed) Subject() string { return e.OrderID.String() }
func (e PaymentFailed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String(), "userid": e.UserID.String()}
}

// RefundProcessed reports a refund of Amount. RefundedTotal is the sum of the refunds of the order so far.
// OrderRefunded reports whether the whole order is refunded.
type RefundProcessed struct {
	OrderID       uuid.UUID      `json:"orderId"`
	UserID        uuid.UUID      `json:"userId"`
	EventID       uuid.UUID      `json:"eventId"`
	RefundID      string         `json:"refundId"`
	Amount        money.Decimal  `json:"amount"`
	RefundedTotal money.Decimal  `json:"refundedTotal,omitempty"`
	Currency      money.Currency `json:"currency"`
	Reason        string         `json:"reason"`
	OrderRefunded bool           `json:"orderRefunded"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (RefundProcessed) Type() string      { return "REFUND_PROCESSED" }
func (RefundProcessed) Topic() string     { return TopicPayments }
func (e RefundProcessed) Subject() string { return e.OrderID.String() }
func (e RefundProcessed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String(), "userid": e.UserID.String()}
}

// RefundFailed reports that the Amount of a refund did not reach the buyer: the bank refused it, or took it and sent it
// back. Reversed reports whether REFUND_PROCESSED was published for it before. RefundedTotal is the sum of the refunds
// of the order that remain. The type is added.
type RefundFailed struct {
	OrderID       uuid.UUID      `json:"orderId"`
	UserID        uuid.UUID      `json:"userId"`
	EventID       uuid.UUID      `json:"eventId"`
	RefundID      string         `json:"refundId"`
	Amount        money.Decimal  `json:"amount"`
	RefundedTotal money.Decimal  `json:"refundedTotal,omitempty"`
	Currency      money.Currency `json:"currency"`
	Reason        string         `json:"reason"` // a code such as EXPIRED_OR_CANCELED_CARD
	Reversed      bool           `json:"reversed"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (RefundFailed) Type() string      { return "REFUND_FAILED" }
func (RefundFailed) Topic() string     { return TopicPayments }
func (e RefundFailed) Subject() string { return e.OrderID.String() }
func (e RefundFailed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String(), "userid": e.UserID.String()}
}

// MaxOrderTickets is the maximum number of tickets of an order. With that many, and with the longest addresses of their
// codes, TICKETS_GENERATED is smaller than messaging.MaxEvent. It is not split, because a confirmation has all tickets.
const MaxOrderTickets = 300

// Ticket is a ticket in TICKETS_GENERATED. QRCode is the URL of its QR code as an image. TicketTypeID is added.
type Ticket struct {
	TicketID     uuid.UUID `json:"ticketId"`
	TicketNumber string    `json:"ticketNumber"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	QRCode       string    `json:"qrCode"`
}

// TicketsGenerated reports that the tickets of a paid order were created.
type TicketsGenerated struct {
	OrderID uuid.UUID `json:"orderId"`
	UserID  uuid.UUID `json:"userId"`
	EventID uuid.UUID `json:"eventId"`
	Tickets []Ticket  `json:"tickets"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (TicketsGenerated) Type() string      { return "TICKETS_GENERATED" }
func (TicketsGenerated) Topic() string     { return TopicTickets }
func (e TicketsGenerated) Subject() string { return e.OrderID.String() }
func (e TicketsGenerated) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String()}
}

// TicketGenerationFailed reports that the tickets of a paid order cannot be created, so that it must be refunded. The
// type is added: the contract's compensation table requires the refund, but its list of types has no event for it.
type TicketGenerationFailed struct {
	OrderID       uuid.UUID `json:"orderId"`
	UserID        uuid.UUID `json:"userId"`
	EventID       uuid.UUID `json:"eventId"`
	ReservationID uuid.UUID `json:"reservationId"`
	Reason        string    `json:"reason"` // a code such as INSUFFICIENT_INVENTORY
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (TicketGenerationFailed) Type() string      { return "TICKET_GENERATION_FAILED" }
func (TicketGenerationFailed) Topic() string     { return TopicTickets }
func (e TicketGenerationFailed) Subject() string { return e.OrderID.String() }
func (e TicketGenerationFailed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String()}
}

// The values of TicketCancelled.CancelledBy.
const (
	CancelledByOwner  = "OWNER"
	CancelledByRefund = "REFUND" // the ticket was refunded
	CancelledByEvent  = "EVENT"  // the event was cancelled
	// CancelledByDispute means that the bank returned the payment to the buyer for good.
	CancelledByDispute = "DISPUTE"
)

// TicketCancelled reports that a ticket is no longer valid and that its place is on sale again. RefundKey is added: the
// tickets that a refund cancelled have an event each, and the same key. It is empty if no refund cancelled the ticket.
type TicketCancelled struct {
	TicketID     uuid.UUID `json:"ticketId"`
	TicketNumber string    `json:"ticketNumber"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	OrderID      uuid.UUID `json:"orderId"`
	UserID       uuid.UUID `json:"userId"` // the former owner
	EventID      uuid.UUID `json:"eventId"`
	Reason       string    `json:"reason"`
	CancelledBy  string    `json:"cancelledBy"`
	RefundKey    string    `json:"refundKey,omitempty"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (TicketCancelled) Type() string      { return "TICKET_CANCELLED" }
func (TicketCancelled) Topic() string     { return TopicTickets }
func (e TicketCancelled) Subject() string { return e.TicketID.String() }
func (e TicketCancelled) Attributes() map[string]string {
	return map[string]string{"ticketid": e.TicketID.String(), "orderid": e.OrderID.String()}
}

// TicketTransferred reports that a ticket has a new owner and a new QR code. The old code is no longer valid.
type TicketTransferred struct {
	TicketID   uuid.UUID `json:"ticketId"`
	OrderID    uuid.UUID `json:"orderId"`
	EventID    uuid.UUID `json:"eventId"`
	FromUserID uuid.UUID `json:"fromUserId"`
	ToUserID   uuid.UUID `json:"toUserId"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (TicketTransferred) Type() string      { return "TICKET_TRANSFERRED" }
func (TicketTransferred) Topic() string     { return TopicTickets }
func (e TicketTransferred) Subject() string { return e.TicketID.String() }
func (e TicketTransferred) Attributes() map[string]string {
	return map[string]string{"ticketid": e.TicketID.String(), "orderid": e.OrderID.String()}
}

// TicketCheckedIn reports that a ticket was used for entry. The type is added for the figures of organizers.
type TicketCheckedIn struct {
	TicketID     uuid.UUID `json:"ticketId"`
	OrderID      uuid.UUID `json:"orderId"`
	EventID      uuid.UUID `json:"eventId"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	CheckedInAt  time.Time `json:"checkedInAt"`
	Gate         string    `json:"gate"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (TicketCheckedIn) Type() string      { return "TICKET_CHECKED_IN" }
func (TicketCheckedIn) Topic() string     { return TopicTickets }
func (e TicketCheckedIn) Subject() string { return e.TicketID.String() }
func (e TicketCheckedIn) Attributes() map[string]string {
	return map[string]string{"ticketid": e.TicketID.String(), "orderid": e.OrderID.String()}
}

// TicketCheckInUndone reports that the check-in of CheckedInAt was undone, so that the ticket admits again. The type is
// added for the figures of organizers.
type TicketCheckInUndone struct {
	TicketID     uuid.UUID `json:"ticketId"`
	OrderID      uuid.UUID `json:"orderId"`
	EventID      uuid.UUID `json:"eventId"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	CheckedInAt  time.Time `json:"checkedInAt"`
	UndoneAt     time.Time `json:"undoneAt"`
	Reason       string    `json:"reason"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (TicketCheckInUndone) Type() string      { return "TICKET_CHECK_IN_UNDONE" }
func (TicketCheckInUndone) Topic() string     { return TopicTickets }
func (e TicketCheckInUndone) Subject() string { return e.TicketID.String() }
func (e TicketCheckInUndone) Attributes() map[string]string {
	return map[string]string{"ticketid": e.TicketID.String(), "orderid": e.OrderID.String()}
}

// EventDetails is the payload of EVENT_CREATED, EVENT_UPDATED and EVENT_PUBLISHED. UpdatedAt orders the versions of an
// event: a consumer ignores a version that is not newer than its own. EndDate is nil if the organizer has not set it.
// TimeZone is a name of the IANA database; people read the times of the event in it. VenueAddress is empty only in
// events of earlier versions of event-service.
//
// Previous has the details before the change, only in EVENT_UPDATED. PostponedFrom, the previous date, and Reason are
// set only in the EVENT_UPDATED of a postponement.
type EventDetails struct {
	EventID     uuid.UUID `json:"eventId"`
	OrganizerID uuid.UUID `json:"organizerId"`
	EventName   string    `json:"eventName"`
	EventDate   time.Time `json:"eventDate"`
	VenueName   string    `json:"venueName"`
	Category    string    `json:"category"`
	Status      string    `json:"status"`
	UpdatedAt   time.Time `json:"updatedAt"`

	EndDate      *time.Time `json:"endDate,omitempty"`
	TimeZone     string     `json:"timeZone,omitempty"`
	VenueAddress string     `json:"venueAddress,omitempty"`
	// DisputedTickets is VOID, or empty for SUSPEND: what happens to tickets whose payment is disputed. It is added.
	DisputedTickets string         `json:"disputedTickets,omitempty"`
	Previous        *HolderDetails `json:"previous,omitempty"`
	PostponedFrom   *time.Time     `json:"postponedFrom,omitempty"`
	Reason          string         `json:"reason,omitempty"`
}

// HolderDetails are the details of an event that holders of its tickets have to know.
type HolderDetails struct {
	EventName    string     `json:"eventName"`
	EventDate    time.Time  `json:"eventDate"`
	EndDate      *time.Time `json:"endDate,omitempty"`
	VenueName    string     `json:"venueName"`
	VenueAddress string     `json:"venueAddress"`
}

// Topic, Subject and Attributes implement a part of messaging.Payload.
func (EventDetails) Topic() string     { return TopicEvents }
func (e EventDetails) Subject() string { return e.EventID.String() }
func (e EventDetails) Attributes() map[string]string {
	return map[string]string{"eventid": e.EventID.String(), "organizerid": e.OrganizerID.String()}
}

// EventCreated reports a new event, which is not on sale yet.
type EventCreated struct{ EventDetails }

// Type returns the event type.
func (EventCreated) Type() string { return "EVENT_CREATED" }

// EventUpdated reports a change of the details of an event.
type EventUpdated struct{ EventDetails }

// Type returns the event type.
func (EventUpdated) Type() string { return "EVENT_UPDATED" }

// EventPublished reports that an event is on sale.
type EventPublished struct{ EventDetails }

// Type returns the event type.
func (EventPublished) Type() string { return "EVENT_PUBLISHED" }

// EventCancelled reports that an event will not take place. UpdatedAt is added, as in EventDetails.
type EventCancelled struct {
	EventID             uuid.UUID `json:"eventId"`
	EventName           string    `json:"eventName"`
	OrganizerID         uuid.UUID `json:"organizerId"`
	CancellationReason  string    `json:"cancellationReason"`
	AffectedTicketCount int       `json:"affectedTicketCount"`
	UpdatedAt           time.Time `json:"updatedAt"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (EventCancelled) Type() string      { return "EVENT_CANCELLED" }
func (EventCancelled) Topic() string     { return TopicEvents }
func (e EventCancelled) Subject() string { return e.EventID.String() }
func (e EventCancelled) Attributes() map[string]string {
	return map[string]string{"eventid": e.EventID.String(), "organizerid": e.OrganizerID.String()}
}

// AccountMailRequest is the payload of EMAIL_VERIFICATION_REQUESTED and PASSWORD_RESET_REQUESTED. It has neither the
// address nor the token. The consumer that sends the mail requests them from auth-service by RequestID.
type AccountMailRequest struct {
	UserID    uuid.UUID `json:"userId"`
	RequestID uuid.UUID `json:"requestId"`
}

// Topic, Subject and Attributes implement a part of messaging.Payload.
func (AccountMailRequest) Topic() string     { return TopicUsers }
func (e AccountMailRequest) Subject() string { return e.UserID.String() }
func (e AccountMailRequest) Attributes() map[string]string {
	return map[string]string{"userid": e.UserID.String()}
}

// EmailVerificationRequested requests the mail with which a user proves that an address is theirs.
type EmailVerificationRequested struct{ AccountMailRequest }

// Type returns the event type.
func (EmailVerificationRequested) Type() string { return "EMAIL_VERIFICATION_REQUESTED" }

// PasswordResetRequested requests the mail with which a user sets a new password.
type PasswordResetRequested struct{ AccountMailRequest }

// Type returns the event type.
func (PasswordResetRequested) Type() string { return "PASSWORD_RESET_REQUESTED" }

// CompensationFailed reports that a step that compensates an order has failed repeatedly, or that a step was refused
// for good. payment-service continues to retry a step that failed, and none that was refused.
type CompensationFailed struct {
	OrderID       uuid.UUID `json:"orderId"`
	ReservationID uuid.UUID `json:"reservationId"`
	Reason        string    `json:"reason"`
	Step          string    `json:"step"`
	Attempts      int       `json:"attempts"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (CompensationFailed) Type() string      { return "COMPENSATION_FAILED" }
func (CompensationFailed) Topic() string     { return TopicCompensations }
func (e CompensationFailed) Subject() string { return e.OrderID.String() }
func (e CompensationFailed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String()}
}

// DeadLetterArchived reports that a service could not process an event. An admin must replay or discard it. EventID and
// EventType are empty if they could not be read.
type DeadLetterArchived struct {
	Service      string    `json:"service"`
	Queue        string    `json:"queue"`
	DeadLetterID string    `json:"deadLetterId"`
	EventID      string    `json:"eventId"`
	EventType    string    `json:"eventType"`
	Reason       string    `json:"reason"`
	FirstSeen    time.Time `json:"firstSeen"`
}

// Type, Topic, Subject and Attributes implement messaging.Payload.
func (DeadLetterArchived) Type() string      { return "DEAD_LETTER_ARCHIVED" }
func (DeadLetterArchived) Topic() string     { return TopicOperations }
func (e DeadLetterArchived) Subject() string { return e.DeadLetterID }
func (e DeadLetterArchived) Attributes() map[string]string {
	return map[string]string{"service": e.Service}
}
