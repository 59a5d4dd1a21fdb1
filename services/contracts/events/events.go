// Package events holds the contract's event types: what each carries, the topic it goes to, and the
// attributes that subscriptions may route on. The JSON is the contract's "Event Message Schemas";
// the fields beyond it are named where they stand.
package events

import (
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// Topics of the contract.
const (
	TopicPayments = "payment-events"
	TopicTickets  = "ticket-events"
	TopicEvents   = "event-events"
	// TopicEventUpdates keeps its order. What changes an event goes there as well as to TopicEvents.
	TopicEventUpdates = "event-updates.fifo"
	// TopicUsers is ours: what auth-service has to tell.
	TopicUsers = "user-events"
	// TopicCompensations and TopicOperations are ours: what people have to look after.
	TopicCompensations = "saga-compensation-failed"
	TopicOperations    = "operations-events"
)

// OrderItem is one line of an order.
type OrderItem struct {
	TicketTypeID uuid.UUID     `json:"ticketTypeId"`
	Quantity     int           `json:"quantity"`
	UnitPrice    money.Decimal `json:"unitPrice"`
}

// PaymentCompleted reports that an order is paid. ReservationID is the contract's own addition in its
// ticket-processing-queue format; HolderName is ours, so that ticket-service can print tickets
// without asking anyone.
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

// Type, Topic, Subject and Attributes make PaymentCompleted publishable.
func (PaymentCompleted) Type() string      { return "PAYMENT_COMPLETED" }
func (PaymentCompleted) Topic() string     { return TopicPayments }
func (e PaymentCompleted) Subject() string { return e.OrderID.String() }
func (e PaymentCompleted) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String(), "userid": e.UserID.String()}
}

// PaymentFailed reports that an order will not be paid. EventID is ours: organizers' figures need it.
type PaymentFailed struct {
	OrderID       uuid.UUID `json:"orderId"`
	UserID        uuid.UUID `json:"userId"`
	EventID       uuid.UUID `json:"eventId"`
	ReservationID uuid.UUID `json:"reservationId"`
	FailureReason string    `json:"failureReason"` // a code: INSUFFICIENT_FUNDS
	ErrorMessage  string    `json:"errorMessage"`
	Retryable     bool      `json:"retryable"`
}

// Type, Topic, Subject and Attributes make PaymentFailed publishable.
func (PaymentFailed) Type() string      { return "PAYMENT_FAILED" }
func (PaymentFailed) Topic() string     { return TopicPayments }
func (e PaymentFailed) Subject() string { return e.OrderID.String() }
func (e PaymentFailed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String(), "userid": e.UserID.String()}
}

// RefundProcessed reports that money went back: Amount now, RefundedTotal of the order so far. An order
// of which everything went back is OrderRefunded.
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

// Type, Topic, Subject and Attributes make RefundProcessed publishable.
func (RefundProcessed) Type() string      { return "REFUND_PROCESSED" }
func (RefundProcessed) Topic() string     { return TopicPayments }
func (e RefundProcessed) Subject() string { return e.OrderID.String() }
func (e RefundProcessed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String(), "userid": e.UserID.String()}
}

// Ticket is a ticket as TICKETS_GENERATED lists it. QRCode is a URL of its picture. TicketTypeID is
// ours.
type Ticket struct {
	TicketID     uuid.UUID `json:"ticketId"`
	TicketNumber string    `json:"ticketNumber"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	QRCode       string    `json:"qrCode"`
}

// TicketsGenerated reports that a paid order has its tickets.
type TicketsGenerated struct {
	OrderID uuid.UUID `json:"orderId"`
	UserID  uuid.UUID `json:"userId"`
	EventID uuid.UUID `json:"eventId"`
	Tickets []Ticket  `json:"tickets"`
}

// Type, Topic, Subject and Attributes make TicketsGenerated publishable.
func (TicketsGenerated) Type() string      { return "TICKETS_GENERATED" }
func (TicketsGenerated) Topic() string     { return TopicTickets }
func (e TicketsGenerated) Subject() string { return e.OrderID.String() }
func (e TicketsGenerated) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String()}
}

// TicketGenerationFailed reports that a paid order cannot get its tickets and has to be refunded. It
// is not in the contract's list of types; its compensation table asks for it.
type TicketGenerationFailed struct {
	OrderID       uuid.UUID `json:"orderId"`
	UserID        uuid.UUID `json:"userId"`
	EventID       uuid.UUID `json:"eventId"`
	ReservationID uuid.UUID `json:"reservationId"`
	Reason        string    `json:"reason"` // a code: INSUFFICIENT_INVENTORY
}

// Type, Topic, Subject and Attributes make TicketGenerationFailed publishable.
func (TicketGenerationFailed) Type() string      { return "TICKET_GENERATION_FAILED" }
func (TicketGenerationFailed) Topic() string     { return TopicTickets }
func (e TicketGenerationFailed) Subject() string { return e.OrderID.String() }
func (e TicketGenerationFailed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String()}
}

// Who cancelled a ticket.
const (
	CancelledByOwner  = "OWNER"
	CancelledByRefund = "REFUND" // its money goes back
	CancelledByEvent  = "EVENT"  // which will not take place
)

// TicketCancelled reports that a ticket lets nobody in any more, and that its place is on sale again.
type TicketCancelled struct {
	TicketID     uuid.UUID `json:"ticketId"`
	TicketNumber string    `json:"ticketNumber"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	OrderID      uuid.UUID `json:"orderId"`
	UserID       uuid.UUID `json:"userId"` // whose it was
	EventID      uuid.UUID `json:"eventId"`
	Reason       string    `json:"reason"`
	CancelledBy  string    `json:"cancelledBy"`
}

// Type, Topic, Subject and Attributes make TicketCancelled publishable.
func (TicketCancelled) Type() string      { return "TICKET_CANCELLED" }
func (TicketCancelled) Topic() string     { return TopicTickets }
func (e TicketCancelled) Subject() string { return e.TicketID.String() }
func (e TicketCancelled) Attributes() map[string]string {
	return map[string]string{"ticketid": e.TicketID.String(), "orderid": e.OrderID.String()}
}

// TicketTransferred reports that a ticket has another owner, and that its code until then is void.
type TicketTransferred struct {
	TicketID   uuid.UUID `json:"ticketId"`
	OrderID    uuid.UUID `json:"orderId"`
	EventID    uuid.UUID `json:"eventId"`
	FromUserID uuid.UUID `json:"fromUserId"`
	ToUserID   uuid.UUID `json:"toUserId"`
}

// Type, Topic, Subject and Attributes make TicketTransferred publishable.
func (TicketTransferred) Type() string      { return "TICKET_TRANSFERRED" }
func (TicketTransferred) Topic() string     { return TopicTickets }
func (e TicketTransferred) Subject() string { return e.TicketID.String() }
func (e TicketTransferred) Attributes() map[string]string {
	return map[string]string{"ticketid": e.TicketID.String(), "orderid": e.OrderID.String()}
}

// TicketCheckedIn reports that a ticket let somebody in. It is not in the contract's list of types;
// organizers' figures need it.
type TicketCheckedIn struct {
	TicketID     uuid.UUID `json:"ticketId"`
	OrderID      uuid.UUID `json:"orderId"`
	EventID      uuid.UUID `json:"eventId"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	CheckedInAt  time.Time `json:"checkedInAt"`
	Gate         string    `json:"gate"`
}

// Type, Topic, Subject and Attributes make TicketCheckedIn publishable.
func (TicketCheckedIn) Type() string      { return "TICKET_CHECKED_IN" }
func (TicketCheckedIn) Topic() string     { return TopicTickets }
func (e TicketCheckedIn) Subject() string { return e.TicketID.String() }
func (e TicketCheckedIn) Attributes() map[string]string {
	return map[string]string{"ticketid": e.TicketID.String(), "orderid": e.OrderID.String()}
}

// EventDetails is what EVENT_CREATED, EVENT_UPDATED and EVENT_PUBLISHED say of an event. UpdatedAt
// orders them: one that is not newer than what a consumer has is stale. Only the EVENT_UPDATED of a
// postponement has PostponedFrom, the date until then, and Reason.
type EventDetails struct {
	EventID     uuid.UUID `json:"eventId"`
	OrganizerID uuid.UUID `json:"organizerId"`
	EventName   string    `json:"eventName"`
	EventDate   time.Time `json:"eventDate"`
	VenueName   string    `json:"venueName"`
	Category    string    `json:"category"`
	Status      string    `json:"status"`
	UpdatedAt   time.Time `json:"updatedAt"`

	PostponedFrom *time.Time `json:"postponedFrom,omitempty"`
	Reason        string     `json:"reason,omitempty"`
}

// Topic, Subject and Attributes are common to what embeds EventDetails.
func (EventDetails) Topic() string     { return TopicEvents }
func (e EventDetails) Subject() string { return e.EventID.String() }
func (e EventDetails) Attributes() map[string]string {
	return map[string]string{"eventid": e.EventID.String(), "organizerid": e.OrganizerID.String()}
}

// EventCreated reports a new event, not yet on sale.
type EventCreated struct{ EventDetails }

// Type makes EventCreated publishable.
func (EventCreated) Type() string { return "EVENT_CREATED" }

// EventUpdated reports a change of what EventDetails says.
type EventUpdated struct{ EventDetails }

// Type makes EventUpdated publishable.
func (EventUpdated) Type() string { return "EVENT_UPDATED" }

// EventPublished reports that an event is on sale.
type EventPublished struct{ EventDetails }

// Type makes EventPublished publishable.
func (EventPublished) Type() string { return "EVENT_PUBLISHED" }

// EventCancelled reports that an event will not take place. UpdatedAt is ours, as in EventDetails.
type EventCancelled struct {
	EventID             uuid.UUID `json:"eventId"`
	EventName           string    `json:"eventName"`
	OrganizerID         uuid.UUID `json:"organizerId"`
	CancellationReason  string    `json:"cancellationReason"`
	AffectedTicketCount int       `json:"affectedTicketCount"`
	UpdatedAt           time.Time `json:"updatedAt"`
}

// Type, Topic, Subject and Attributes make EventCancelled publishable.
func (EventCancelled) Type() string      { return "EVENT_CANCELLED" }
func (EventCancelled) Topic() string     { return TopicEvents }
func (e EventCancelled) Subject() string { return e.EventID.String() }
func (e EventCancelled) Attributes() map[string]string {
	return map[string]string{"eventid": e.EventID.String(), "organizerid": e.OrganizerID.String()}
}

// AccountMailRequest is what EMAIL_VERIFICATION_REQUESTED and PASSWORD_RESET_REQUESTED say. Neither the
// address nor the token is in it: whoever sends the mail asks auth-service for them by RequestID.
type AccountMailRequest struct {
	UserID    uuid.UUID `json:"userId"`
	RequestID uuid.UUID `json:"requestId"`
}

// Topic, Subject and Attributes are common to what embeds AccountMailRequest.
func (AccountMailRequest) Topic() string     { return TopicUsers }
func (e AccountMailRequest) Subject() string { return e.UserID.String() }
func (e AccountMailRequest) Attributes() map[string]string {
	return map[string]string{"userid": e.UserID.String()}
}

// EmailVerificationRequested asks for the mail with which a person proves that an address is theirs.
type EmailVerificationRequested struct{ AccountMailRequest }

// Type makes EmailVerificationRequested publishable.
func (EmailVerificationRequested) Type() string { return "EMAIL_VERIFICATION_REQUESTED" }

// PasswordResetRequested asks for the mail with which a person sets a new password.
type PasswordResetRequested struct{ AccountMailRequest }

// Type makes PasswordResetRequested publishable.
func (PasswordResetRequested) Type() string { return "PASSWORD_RESET_REQUESTED" }

// CompensationFailed reports that a step which undoes an order's effects fails time and again. It goes
// on being tried; somebody should know.
type CompensationFailed struct {
	OrderID       uuid.UUID `json:"orderId"`
	ReservationID uuid.UUID `json:"reservationId"`
	Reason        string    `json:"reason"`
	Step          string    `json:"step"`
	Attempts      int       `json:"attempts"`
}

// Type, Topic, Subject and Attributes make CompensationFailed publishable.
func (CompensationFailed) Type() string      { return "COMPENSATION_FAILED" }
func (CompensationFailed) Topic() string     { return TopicCompensations }
func (e CompensationFailed) Subject() string { return e.OrderID.String() }
func (e CompensationFailed) Attributes() map[string]string {
	return map[string]string{"orderid": e.OrderID.String()}
}

// DeadLetterArchived reports that a service could not process an event, and an admin has to say what
// becomes of it. EventID and EventType are as far as they can be read.
type DeadLetterArchived struct {
	Service      string    `json:"service"`
	Queue        string    `json:"queue"`
	DeadLetterID string    `json:"deadLetterId"`
	EventID      string    `json:"eventId"`
	EventType    string    `json:"eventType"`
	Reason       string    `json:"reason"`
	FirstSeen    time.Time `json:"firstSeen"`
}

// Type, Topic, Subject and Attributes make DeadLetterArchived publishable.
func (DeadLetterArchived) Type() string      { return "DEAD_LETTER_ARCHIVED" }
func (DeadLetterArchived) Topic() string     { return TopicOperations }
func (e DeadLetterArchived) Subject() string { return e.DeadLetterID }
func (e DeadLetterArchived) Attributes() map[string]string {
	return map[string]string{"service": e.Service}
}
