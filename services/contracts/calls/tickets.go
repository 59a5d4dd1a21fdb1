package calls

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// The internal routes of ticket-service.
var (
	// CheckAvailability reports whether tickets can be bought now. It reserves nothing.
	CheckAvailability = Endpoint[CheckAvailabilityRequest, CheckAvailabilityAnswer]{Route{
		App: ticketService, Method: http.MethodPost, Path: "/api/tickets/internal/check-availability",
		Callers: []string{paymentService},
	}}
	// Reserve holds tickets. It is idempotent by the reservation id.
	Reserve = Endpoint[ReserveRequest, ReserveAnswer]{Route{
		App: ticketService, Method: http.MethodPost, Path: "/api/tickets/internal/reserve",
		Callers:  []string{paymentService},
		Refusals: []problem.Kind{problem.Invalid, problem.NotFound, problem.Conflict},
	}}
	// ConfirmPurchase turns a reservation into tickets. It is idempotent by the order id.
	ConfirmPurchase = Endpoint[ConfirmPurchaseRequest, ConfirmPurchaseAnswer]{Route{
		App: ticketService, Method: http.MethodPost, Path: "/api/tickets/internal/confirm-purchase",
		Callers:  []string{paymentService},
		Refusals: []problem.Kind{problem.Invalid, problem.NotFound, problem.Conflict},
	}}
	// ReleaseReservation ends a reservation. It is idempotent.
	ReleaseReservation = Endpoint[ReleaseReservationRequest, ReleaseReservationAnswer]{Route{
		App: ticketService, Method: http.MethodPost, Path: "/api/tickets/internal/release-reservation",
		Callers:  []string{paymentService},
		Refusals: []problem.Kind{problem.Invalid, problem.Conflict},
	}}
	// ExtendReservation makes a reservation expire later.
	ExtendReservation = Endpoint[ExtendReservationRequest, ExtendReservationAnswer]{Route{
		App: ticketService, Method: http.MethodPost, Path: "/api/tickets/internal/extend-reservation",
		Callers:  []string{paymentService},
		Refusals: []problem.Kind{problem.NotFound},
	}}
	// CancelTickets cancels tickets that are being refunded. It is idempotent by the refund key.
	CancelTickets = Endpoint[CancelTicketsRequest, CancelTicketsAnswer]{Route{
		App: ticketService, Method: http.MethodPost, Path: "/api/tickets/internal/cancel",
		Callers:  []string{paymentService},
		Refusals: []problem.Kind{problem.Invalid, problem.NotFound, problem.Conflict},
	}}
	// TicketCount returns the number of an event's tickets.
	TicketCount = Endpoint[None, TicketCountAnswer]{Route{
		App: ticketService, Method: http.MethodGet, Path: "/api/tickets/internal/events/{eventId}/ticket-count",
		Callers:  []string{eventService},
		Refusals: []problem.Kind{problem.NotFound},
	}}
	// Holders returns a page of the holders of an event's valid tickets.
	Holders = Endpoint[HoldersQuery, HoldersAnswer]{Route{
		App: ticketService, Method: http.MethodGet, Path: "/api/tickets/internal/events/{eventId}/holders",
		Callers:  []string{notificationService},
		Refusals: []problem.Kind{problem.Invalid},
	}}
	// OrderTickets returns the tickets of an order that a user owns, with those that are cancelled or used.
	OrderTickets = Endpoint[OrderTicketsQuery, OrderTicketsAnswer]{Route{
		App: ticketService, Method: http.MethodGet, Path: "/api/tickets/internal/orders/{orderId}/tickets",
		Callers: []string{paymentService, notificationService},
	}}
	// TicketInfo returns a ticket.
	TicketInfo = Endpoint[None, TicketInfoAnswer]{Route{
		App: ticketService, Method: http.MethodGet, Path: "/api/tickets/internal/{ticketId}",
		Callers:  []string{notificationService},
		Refusals: []problem.Kind{problem.NotFound},
	}}
	// OrderPDF returns the valid tickets of an order in one PDF, with a page for each.
	OrderPDF = Endpoint[OrderPDFQuery, OrderPDFAnswer]{Route{
		App: ticketService, Method: http.MethodGet, Path: "/api/tickets/internal/orders/{orderId}/pdf",
		Callers: []string{notificationService},
	}}
	// TicketPDF returns a valid ticket as a PDF.
	TicketPDF = Endpoint[TicketPDFQuery, File]{Route{
		App: ticketService, Method: http.MethodGet, Path: "/api/tickets/internal/{ticketId}/ticket.pdf",
		Callers:  []string{notificationService},
		Refusals: []problem.Kind{problem.NotFound, problem.Conflict},
	}}
)

// Error codes of ticket-service that callers act on.
const (
	// CodeReservationNotFound means that a reservation is unknown or expired.
	CodeReservationNotFound = "RESERVATION_NOT_FOUND"
	// CodePriceChanged means that the tickets cost another total than the caller expects.
	CodePriceChanged = "PRICE_CHANGED"
)

// Reasons that payment-service gives for releases and cancellations. Other reasons are free text.
const (
	ReasonPaymentFailed  = "PAYMENT_FAILED"
	ReasonEventCancelled = "EVENT_CANCELLED"
	ReasonEventPostponed = "EVENT_POSTPONED"
)

// TicketRequest is a quantity of tickets of one type.
type TicketRequest struct {
	TicketTypeID string `json:"ticketTypeId"`
	Quantity     int    `json:"quantity"`
}

// CheckAvailabilityRequest is the request of [CheckAvailability].
type CheckAvailabilityRequest struct {
	EventID        string          `json:"eventId"`
	TicketRequests []TicketRequest `json:"ticketRequests"`
}

// CheckAvailabilityAnswer is the answer of [CheckAvailability].
type CheckAvailabilityAnswer struct {
	Available          bool                 `json:"available"` // all of them
	TicketAvailability []TicketAvailability `json:"ticketAvailability"`
}

// TicketAvailability is the availability of one ticket type.
type TicketAvailability struct {
	TicketTypeID      uuid.UUID `json:"ticketTypeId"`
	Available         bool      `json:"available"`
	QuantityAvailable int       `json:"quantityAvailable"`
	QuantityRequested int       `json:"quantityRequested"`
	Error             string    `json:"error,omitempty"` // the error code if not Available
}

// ReserveRequest is the request of [Reserve].
type ReserveRequest struct {
	UserID         string          `json:"userId"`
	EventID        string          `json:"eventId"`
	ReservationID  string          `json:"reservationId"`
	TicketRequests []TicketRequest `json:"ticketRequests"`
	// ReservationDurationMinutes is optional.
	ReservationDurationMinutes *int `json:"reservationDurationMinutes,omitempty"`
	// ExpectedTotal is optional: what the tickets cost together, in the currency of their types. At any other total the
	// request is refused with CodePriceChanged.
	ExpectedTotal money.Decimal `json:"expectedTotal,omitempty"`
}

// ReserveAnswer is the answer of [Reserve].
type ReserveAnswer struct {
	ReservationID uuid.UUID         `json:"reservationId"`
	Reserved      bool              `json:"reserved"`
	ExpiresAt     time.Time         `json:"expiresAt"`
	Currency      money.Currency    `json:"currency"` // beyond the contract: a price alone cannot be charged
	Tickets       []ReservedTickets `json:"tickets"`
}

// ReservedTickets are the tickets of one type in a reservation.
type ReservedTickets struct {
	TicketTypeID   uuid.UUID     `json:"ticketTypeId"`
	TicketTypeName string        `json:"ticketTypeName,omitempty"` // beyond the contract, for people
	Quantity       int           `json:"quantity"`
	UnitPrice      money.Decimal `json:"unitPrice"`
	TotalPrice     money.Decimal `json:"totalPrice"`
}

// ReserveRefused is the refusal of [Reserve].
type ReserveRefused struct {
	Reserved bool `json:"reserved"` // false
	Refused
	// CurrentTotal and Currency are what the tickets cost together; only with CodePriceChanged.
	CurrentTotal money.Decimal  `json:"currentTotal,omitempty"`
	Currency     money.Currency `json:"currency,omitempty"`
}

// ConfirmPurchaseRequest is the request of [ConfirmPurchase].
type ConfirmPurchaseRequest struct {
	ReservationID string `json:"reservationId"`
	OrderID       string `json:"orderId"`
	UserID        string `json:"userId"`
	HolderName    string `json:"holderName"`
}

// ConfirmPurchaseAnswer is the answer of [ConfirmPurchase].
type ConfirmPurchaseAnswer struct {
	Confirmed bool              `json:"confirmed"`
	OrderID   uuid.UUID         `json:"orderId"`
	Tickets   []ConfirmedTicket `json:"tickets"`
}

// ConfirmedTicket is a ticket that a purchase created.
type ConfirmedTicket struct {
	TicketID     uuid.UUID `json:"ticketId"`
	TicketNumber string    `json:"ticketNumber"`
	QRCode       string    `json:"qrCode"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
}

// ConfirmPurchaseRefused is the refusal of [ConfirmPurchase].
type ConfirmPurchaseRefused struct {
	Confirmed bool `json:"confirmed"` // false
	Refused
}

// ReleaseReservationRequest is the request of [ReleaseReservation].
type ReleaseReservationRequest struct {
	ReservationID string `json:"reservationId"`
	Reason        string `json:"reason"`
}

// ReleaseReservationAnswer is the answer of [ReleaseReservation].
type ReleaseReservationAnswer struct {
	Released        bool      `json:"released"`
	ReservationID   uuid.UUID `json:"reservationId"`
	TicketsReleased int       `json:"ticketsReleased"`
}

// ReleaseReservationRefused is the refusal of [ReleaseReservation].
type ReleaseReservationRefused struct {
	Released bool `json:"released"` // false
	Refused
}

// ExtendReservationRequest is the request of [ExtendReservation].
type ExtendReservationRequest struct {
	ReservationID string `json:"reservationId"`
	Minutes       int    `json:"minutes"` // from now on
}

// ExtendReservationAnswer is the answer of [ExtendReservation].
type ExtendReservationAnswer struct {
	Extended      bool      `json:"extended"`
	ReservationID uuid.UUID `json:"reservationId"`
	ExpiresAt     time.Time `json:"expiresAt"`
}

// ExtendReservationRefused is the refusal of [ExtendReservation].
type ExtendReservationRefused struct {
	Extended bool `json:"extended"` // false
	Refused
}

// CancelTicketsRequest is the request of [CancelTickets].
type CancelTicketsRequest struct {
	OrderID string `json:"orderId"`
	// TicketIDs are the tickets to cancel. Nil means all tickets of the order.
	TicketIDs TicketIDs `json:"ticketIds,omitzero"`
	RefundKey string    `json:"refundKey"`
	Reason    string    `json:"reason"`
	KeepUsed  bool      `json:"keepUsed,omitempty"` // used tickets stay as they are, and do not refuse the request
	// OwnerID is the user who returns the tickets. A ticket of another user refuses the request. Nil means that it does
	// not matter who owns them.
	OwnerID *string `json:"ownerId,omitempty"`
}

// TicketIDs is an optional list. Only a missing list is nil: null in JSON is an error, because a sender that
// lost its list must not get all tickets cancelled.
type TicketIDs []string

// UnmarshalJSON returns a *json.UnmarshalTypeError for null.
func (ids *TicketIDs) UnmarshalJSON(body []byte) error {
	if string(body) == "null" {
		return &json.UnmarshalTypeError{Value: "null", Type: reflect.TypeFor[TicketIDs]()}
	}
	return json.Unmarshal(body, (*[]string)(ids))
}

// CancelTicketsAnswer is the answer of [CancelTickets].
type CancelTicketsAnswer struct {
	Cancelled bool              `json:"cancelled"`
	OrderID   uuid.UUID         `json:"orderId"`
	Tickets   []CancelledTicket `json:"tickets"`
}

// CancelledTicket is a ticket that was cancelled.
type CancelledTicket struct {
	TicketID     uuid.UUID `json:"ticketId"`
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
}

// CancelTicketsRefused is the refusal of [CancelTickets].
type CancelTicketsRefused struct {
	Cancelled bool `json:"cancelled"` // false
	Refused
}

// TicketCountAnswer is the answer of [TicketCount].
type TicketCountAnswer struct {
	EventID     uuid.UUID `json:"eventId"`
	TicketCount *int      `json:"ticketCount"` // nil if the answer lacks it
}

// HoldersQuery is the request of [Holders].
type HoldersQuery struct {
	Limit  int
	Cursor string // of the page before, empty for the first page
}

func (q HoldersQuery) query() url.Values {
	values := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	if q.Cursor != "" {
		values.Set("cursor", q.Cursor)
	}
	return values
}

// HoldersAnswer is the answer of [Holders].
type HoldersAnswer struct {
	Holders    []Holder `json:"holders"`
	NextCursor string   `json:"nextCursor,omitempty"` // empty on the last page
}

// Holder holds valid tickets of one order.
type Holder struct {
	UserID      uuid.UUID `json:"userId"`
	OrderID     uuid.UUID `json:"orderId"`
	TicketCount int       `json:"ticketCount"`
}

// OrderTicketsQuery is the request of [OrderTickets].
type OrderTicketsQuery struct {
	OwnerID string
}

func (q OrderTicketsQuery) query() url.Values { return url.Values{"ownerId": {q.OwnerID}} }

// OrderTicketsAnswer is the answer of [OrderTickets].
type OrderTicketsAnswer struct {
	Tickets []OrderTicket `json:"tickets"` // empty if the user owns none, or the order is unknown
}

// OrderTicket is a ticket of an order.
type OrderTicket struct {
	TicketID     uuid.UUID    `json:"ticketId"`
	TicketNumber string       `json:"ticketNumber"`
	Status       TicketStatus `json:"status"`
	RefundKey    string       `json:"refundKey,omitempty"` // of the refund that cancelled it
}

// TicketStatus is the status of a ticket.
type TicketStatus string

// The statuses of tickets.
const (
	TicketActive    TicketStatus = "ACTIVE"
	TicketUsed      TicketStatus = "USED"
	TicketCancelled TicketStatus = "CANCELLED"
)

// TicketInfoAnswer is the answer of [TicketInfo].
type TicketInfoAnswer struct {
	TicketID     uuid.UUID    `json:"ticketId"`
	TicketNumber string       `json:"ticketNumber"`
	TicketTypeID uuid.UUID    `json:"ticketTypeId"`
	EventID      uuid.UUID    `json:"eventId"`
	OrderID      uuid.UUID    `json:"orderId"`
	HolderName   string       `json:"holderName"`
	QRCode       string       `json:"qrCode"`
	Status       TicketStatus `json:"status"`
	// Suspension is SUSPENDED or VOID if the ticket does not admit because its payment is disputed; otherwise it is empty.
	// It is beyond the contract.
	Suspension string    `json:"suspension,omitempty"`
	CreatedAt  time.Time `json:"createdAt"`
}

// TicketPDFQuery is the request of [TicketPDF].
type TicketPDFQuery struct {
	UserID string // the only owner for whom the ticket is found
}

func (q TicketPDFQuery) query() url.Values { return url.Values{"userId": {q.UserID}} }

// OrderPDFQuery is the request of [OrderPDF].
type OrderPDFQuery struct {
	UserID string // only this owner's tickets are in the PDF
}

func (q OrderPDFQuery) query() url.Values { return url.Values{"userId": {q.UserID}} }

// OrderPDFAnswer is the answer of [OrderPDF].
type OrderPDFAnswer struct {
	OrderID     uuid.UUID `json:"orderId"`
	TicketCount int       `json:"ticketCount"`       // in the PDF
	Content     []byte    `json:"content,omitempty"` // base64 in JSON; empty without tickets
}
